//! Between legal entities and their messages.

use rapport_identity_api::v1 as pb;
use rapport_kit::filter::{Column, Field, Kind};
use rapport_kit::mask::Mask;
use rapport_kit::{Fault, clock};

use super::LegalEntity;
use super::codes::{is_country, is_currency};
use super::model::{Series, TaxId};
use crate::parse::Problems;

pub(super) const KNOWN: &[&str] =
    &["display_name", "country", "currency", "fiscal_year_start_month", "default_language", "time_zone", "tax_ids", "number_series"];

pub(super) const FIELDS: &[Field] = &[
    Field { path: "display_name", column: Column::Plain("l.name_folded"), kind: Kind::Folded, sort: true },
    Field { path: "create_time", column: Column::Plain("l.created_at"), kind: Kind::Time, sort: true },
    Field { path: "country", column: Column::Plain("l.country"), kind: Kind::Text, sort: false },
    Field { path: "currency", column: Column::Plain("l.currency"), kind: Kind::Text, sort: false },
];

/// `entity` with the fields of the mask as the request says.
pub(super) fn change(mut entity: LegalEntity, request: &pb::LegalEntity, mask: &Mask) -> Result<LegalEntity, Fault> {
    let mut problems = Problems::default();
    let mut series = None;
    for field in mask.paths() {
        match *field {
            "display_name" => entity.display_name = problems.text("legal_entity.display_name", &request.display_name, 1, 200),
            "country" => {
                if !is_country(&request.country) {
                    problems.note("legal_entity.country", "must be an ISO 3166-1 alpha-2 code such as TR");
                }
                entity.country.clone_from(&request.country);
            }
            "currency" => currency(&mut entity, &request.currency, &mut problems),
            "fiscal_year_start_month" => {
                let month = request.fiscal_year_start_month;
                entity.fiscal_year_start_month = problems.number("legal_entity.fiscal_year_start_month", if month == 0 { 1 } else { month }, 1, 12);
            }
            "default_language" => {
                entity.default_language = problems.language("legal_entity.default_language", &request.default_language, true);
            }
            "time_zone" => entity.time_zone = problems.time_zone("legal_entity.time_zone", &request.time_zone, true),
            "tax_ids" => entity.tax_ids = tax_ids(&request.tax_ids, &mut problems),
            _ => series = Some(number_series(&request.number_series, &mut problems)),
        }
    }
    problems.done()?;
    if let Some(series) = series {
        entity.set_series(series)?;
    }
    Ok(entity)
}

/// A new entity takes any currency, one that has one keeps it.
fn currency(entity: &mut LegalEntity, asked: &str, problems: &mut Problems) {
    if !is_currency(asked) {
        problems.note("legal_entity.currency", "must be an ISO 4217 code such as EUR");
    } else if !entity.currency.is_empty() && entity.currency != asked {
        problems.note("legal_entity.currency", "cannot be changed, amounts are pinned to it");
    }
    asked.clone_into(&mut entity.currency);
}

fn tax_ids(asked: &[pb::TaxId], problems: &mut Problems) -> Vec<TaxId> {
    if asked.len() > 20 {
        problems.note("legal_entity.tax_ids", "must have at most 20 entries");
    }
    let read = |(index, id): (usize, &pb::TaxId)| TaxId {
        kind: problems.text(&format!("legal_entity.tax_ids[{index}].kind"), &id.kind, 1, 32),
        value: problems.text(&format!("legal_entity.tax_ids[{index}].value"), &id.value, 1, 64),
    };
    asked.iter().take(20).enumerate().map(read).collect()
}

fn number_series(asked: &[pb::NumberSeries], problems: &mut Problems) -> Vec<Series> {
    if asked.len() > 50 {
        problems.note("legal_entity.number_series", "must have at most 50 entries");
    }
    let mut series: Vec<Series> = Vec::new();
    for (index, one) in asked.iter().take(50).enumerate() {
        let at = |part: &str| format!("legal_entity.number_series[{index}].{part}");
        let plain = one.collection.bytes().all(|byte| byte.is_ascii_alphabetic());
        if one.collection.is_empty() || one.collection.len() > 64 || !plain || !one.collection.as_bytes()[0].is_ascii_lowercase() {
            problems.note(&at("collection"), "must be a collection such as quotes");
        }
        if series.iter().any(|other| other.collection == one.collection) {
            problems.note(&at("collection"), "must not have two series");
        }
        let prefix = problems.text(&at("prefix"), &one.prefix, 0, 16);
        series.push(Series { collection: one.collection.clone(), prefix, gapless: one.gapless, next: 1 });
    }
    series
}

pub(super) fn populated(entity: &pb::LegalEntity, field: &str) -> bool {
    match field {
        "display_name" => !entity.display_name.is_empty(),
        "country" => !entity.country.is_empty(),
        "currency" => !entity.currency.is_empty(),
        "fiscal_year_start_month" => entity.fiscal_year_start_month != 0,
        "default_language" => !entity.default_language.is_empty(),
        "time_zone" => !entity.time_zone.is_empty(),
        "tax_ids" => !entity.tax_ids.is_empty(),
        _ => !entity.number_series.is_empty(),
    }
}

impl From<&LegalEntity> for pb::LegalEntity {
    fn from(entity: &LegalEntity) -> Self {
        let tax_id = |id: &TaxId| pb::TaxId { kind: id.kind.clone(), value: id.value.clone() };
        let series =
            |one: &Series| pb::NumberSeries { collection: one.collection.clone(), prefix: one.prefix.clone(), gapless: one.gapless, next: one.next };
        Self {
            name: entity.name(),
            display_name: entity.display_name.clone(),
            country: entity.country.clone(),
            currency: entity.currency.clone(),
            fiscal_year_start_month: entity.fiscal_year_start_month,
            default_language: entity.default_language.clone(),
            time_zone: entity.time_zone.clone(),
            tax_ids: entity.tax_ids.iter().map(tax_id).collect(),
            number_series: entity.series.iter().map(series).collect(),
            etag: entity.version.to_string(),
            create_time: Some(clock::timestamp(entity.created_at)),
            update_time: Some(clock::timestamp(entity.updated_at)),
        }
    }
}
