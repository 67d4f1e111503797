//! The rules of tenants that have none of their own.
//!
//! A point is about half a bit: the weight of a comparison is twice the binary logarithm of how much more often it agrees
//! among records of one person than among those of two, its penalty the same for disagreement (Fellegi and Sunter). They
//! began as those figures of 500 pairs of made-up Australian people with known truth (FEBRL's data set 1) and were then
//! moved, within a few points, to what finds most at 99.4 % precision among those and 3,000 generated people: of these a third have copies
//! with up to seven mistakes, and a quarter have somebody else in their household, who shares all but the given name and
//! the birth. So parts of an address, which depend on each other, count little together, and a given name that
//! differs counts against it more than anything else. E-mail and telephone do not occur there; their weights are estimates, as are
//! all of those for accounts: of a person's two records four in ten have another address or number. How they do among people
//! of common names is counted in `generated.rs`.

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
                of(Field::GivenName, Method::Name, 17, 9),
                of(Field::FamilyName, Method::Name, 17, 4),
                of(Field::BirthDate, Method::Date, 32, 6),
                of(Field::Email, Method::Slip, 30, 3),
                of(Field::Phone, Method::Digits, 16, 3),
                of(Field::Street, Method::Slip, 16, 6),
                of(Field::StreetNumber, Method::Exact, 2, 1),
                of(Field::PostalCode, Method::Digits, 5, 3),
                of(Field::Locality, Method::Slip, 7, 2),
                Comparison { system: "soc".to_owned(), ..of(Field::ExternalId, Method::Digits, 43, 5) },
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
