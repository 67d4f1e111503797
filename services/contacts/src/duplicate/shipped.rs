//! The rules of tenants that have none of their own.
//!
//! A point is half a bit: the weight of a comparison is twice the binary logarithm of how much more often it agrees among
//! records of one person than among those of two, its penalty the same for disagreement (Fellegi and Sunter). So 48 points
//! say that agreement is 16 million times as likely for one person. The figures come from 500 pairs of generated Australian
//! people with known truth (FEBRL's data set 1) against pairs of two, and were rounded down where fields depend on each other: parts of
//! an address together count less than their sum, and a given name that differs more, since people of one household share
//! the rest. E-mail and telephone do not occur there; their weights are those of values that few share, lowered for
//! households. The weights for accounts are not fitted.

use super::rule::{Comparison, Details, Field, Method};
use crate::search::Kind;

/// The shipped rule for records of the kind.
#[must_use]
pub fn rule(kind: Kind) -> Details {
    let of = |field, method, weight, penalty| Comparison { field, method, weight, penalty, system: String::new() };
    let (display_name, threshold, comparisons) = match kind {
        Kind::Contact => (
            "People",
            48,
            vec![
                of(Field::GivenName, Method::Name, 13, 14),
                of(Field::FamilyName, Method::Name, 15, 8),
                of(Field::BirthDate, Method::Date, 28, 12),
                of(Field::Email, Method::Slip, 30, 2),
                of(Field::Phone, Method::Digits, 22, 2),
                of(Field::Street, Method::Slip, 14, 5),
                of(Field::StreetNumber, Method::Exact, 6, 2),
                of(Field::PostalCode, Method::Digits, 12, 5),
                of(Field::Locality, Method::Slip, 8, 4),
                Comparison { system: "soc".to_owned(), ..of(Field::ExternalId, Method::Digits, 36, 10) },
            ],
        ),
        Kind::Account => (
            "Organisations",
            40,
            vec![
                of(Field::DisplayName, Method::Slip, 24, 14),
                of(Field::Domain, Method::Exact, 22, 4),
                of(Field::Phone, Method::Digits, 22, 2),
                of(Field::Street, Method::Slip, 10, 4),
                of(Field::PostalCode, Method::Digits, 8, 4),
            ],
        ),
    };
    Details { display_name: display_name.to_owned(), kind, comparisons, threshold, blocks: false, disabled: false }
}
