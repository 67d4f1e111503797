//! Reactions to events of other services, one a file.

pub mod legal_entity_changed;
