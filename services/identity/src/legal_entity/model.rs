//! What a legal entity is, and how its number series may change.

use chrono::{DateTime, Utc};
use rapport_kit::{Fault, name};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A company of the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegalEntity {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) display_name: String,
    pub(crate) country: String,
    pub(crate) currency: String,
    pub(crate) fiscal_year_start_month: i32,
    pub(crate) default_language: String,
    pub(crate) time_zone: String,
    pub(crate) tax_ids: Vec<TaxId>,
    pub(crate) series: Vec<Series>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A number that an authority gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaxId {
    pub(crate) kind: String,
    pub(crate) value: String,
}

/// How the records of one collection are numbered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) collection: String,
    pub(crate) prefix: String,
    pub(crate) gapless: bool,
    /// The number that the series began with.
    pub(crate) next: i64,
}

impl LegalEntity {
    /// `legalEntities/{id}`.
    pub(crate) fn name(&self) -> String {
        name::format("legalEntities", self.id)
    }

    /// Takes over these series; each keeps its place. Others give the numbers out, so that each that is stored may have
    /// given some: none goes, and none becomes gapless.
    pub(super) fn set_series(&mut self, mut series: Vec<Series>) -> Result<(), Fault> {
        for own in &self.series {
            let kept = series.iter().find(|new| new.collection == own.collection);
            if !kept.is_some_and(|new| !new.gapless || own.gapless) {
                let text = format!("Keep the series of {} as it is or let it have gaps: numbers of it may be in use.", own.collection);
                return Err(Fault::precondition("NUMBER_SERIES_IN_USE", text).with("collection", &own.collection));
            }
        }
        for new in &mut series {
            new.next = self.series.iter().find(|own| own.collection == new.collection).map_or(1, |own| own.next);
        }
        self.series = series;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(collection: &str, gapless: bool, next: i64) -> Series {
        Series { collection: collection.to_owned(), prefix: String::new(), gapless, next }
    }

    #[test]
    fn a_series_keeps_its_place_and_neither_goes_nor_becomes_gapless() {
        let now = DateTime::UNIX_EPOCH;
        let mut entity = LegalEntity {
            id: Uuid::nil(),
            version: 1,
            display_name: String::new(),
            country: String::new(),
            currency: String::new(),
            fiscal_year_start_month: 1,
            default_language: String::new(),
            time_zone: String::new(),
            tax_ids: Vec::new(),
            series: vec![series("quotes", true, 7), series("orders", false, 1)],
            created_at: now,
            updated_at: now,
        };
        for refused in [vec![series("quotes", true, 0)], vec![series("quotes", true, 0), series("orders", true, 0)]] {
            assert_eq!(entity.set_series(refused).unwrap_err().reason(), "NUMBER_SERIES_IN_USE");
        }
        entity.set_series(vec![series("quotes", false, 0), series("orders", false, 0), series("cases", true, 99)]).unwrap();
        assert_eq!(entity.series, [series("quotes", false, 7), series("orders", false, 1), series("cases", true, 1)]);
    }
}
