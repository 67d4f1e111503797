//! Tags: free labels, sorted and without doubles.

use crate::limits;
use crate::violations::Violations;

/// The tags in `texts`.
pub fn parse(found: &mut Violations, field: &str, texts: Vec<String>) -> Vec<String> {
    let texts = found.at_most(field, texts, limits::TAGS);
    let mut tags: Vec<String> =
        texts.into_iter().enumerate().map(|(index, text)| found.required(&format!("{field}[{index}]"), text, limits::LABEL)).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}
