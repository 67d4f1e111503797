//! What is wrong with a request, collected so that the caller learns of everything at once.

use rapport_kit::{Fault, name};
use uuid::Uuid;

/// Fields at fault with what is wrong.
#[derive(Debug, Default)]
pub struct Violations {
    found: Vec<(String, String)>,
}

impl Violations {
    /// Notes that `field` is wrong.
    pub fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.found.push((field.into(), problem.into()));
    }

    /// A text of at most `max` letters, without spaces around it. PostgreSQL's text has no NUL.
    pub fn text(&mut self, field: &str, text: String, max: usize) -> String {
        if text.chars().count() > max {
            self.add(field, format!("must have at most {max} characters"));
        }
        if text.contains('\0') {
            self.add(field, "must not contain the character NUL");
        }
        if text.trim().len() == text.len() { text } else { text.trim().to_owned() }
    }

    /// As [`Violations::text`], but not empty.
    pub fn required(&mut self, field: &str, text: String, max: usize) -> String {
        let text = self.text(field, text, max);
        if text.is_empty() {
            self.add(field, "is required");
        }
        text
    }

    /// The id in a name of `collection`; none if the name is empty.
    pub fn reference(&mut self, field: &str, collection: &str, text: &str) -> Option<Uuid> {
        match name::parse_optional(collection, text, field) {
            Ok(id) => id,
            Err(_) => {
                self.add(field, format!("must look like {collection}/{{uuid}}"));
                None
            }
        }
    }

    /// Refuses a list that is too long; longer ones are not looked at.
    pub fn at_most<T>(&mut self, field: &str, list: Vec<T>, max: usize) -> Vec<T> {
        if list.len() > max {
            self.add(field, format!("must have at most {max} entries"));
            return Vec::new();
        }
        list
    }

    /// Nothing, or one refusal that names every field.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID) if anything was found.
    pub fn finish(self) -> Result<(), Fault> {
        if self.found.is_empty() { Ok(()) } else { Err(Fault::invalid_fields(self.found)) }
    }
}
