//! Postal addresses and what they are for.

use serde::{Deserialize, Serialize};

/// A postal address of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// What it is for.
    pub kind: Kind,
    /// Country, ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Language it is written in; empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// Postal code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub postal_code: String,
    /// Such as `CEDEX`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sorting_code: String,
    /// State or province.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub administrative_area: String,
    /// City.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub locality: String,
    /// Part of the city.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sublocality: String,
    /// Street and what else stands below the city.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// Who receives there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Organisation at the address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub organization: String,
    /// The one to use among those of its kind.
    pub primary: bool,
}

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Invoices.
    Billing,
    /// Goods.
    Shipping,
    /// Work.
    Work,
    /// Home.
    Home,
    /// Anything else.
    Other,
}
