//! What the two resources are called: in names, permissions and field rules.

use crate::layout::Resource;
use crate::{account, contact};

impl Resource {
    /// The collection that its records are in.
    #[must_use]
    pub fn collection(self) -> &'static str {
        match self {
            Self::Contact => contact::COLLECTION,
            Self::Account => account::COLLECTION,
        }
    }

    /// The resource whose records are in `collection`; none if there is no such one.
    #[must_use]
    pub fn of(collection: &str) -> Option<Self> {
        [Self::Contact, Self::Account].into_iter().find(|resource| resource.collection() == collection)
    }

    /// As field rules name it.
    #[must_use]
    pub fn ruled(self) -> &'static str {
        match self {
            Self::Contact => contact::RESOURCE,
            Self::Account => account::RESOURCE,
        }
    }

    /// What reading its records asks for.
    #[must_use]
    pub fn read_permission(self) -> &'static str {
        match self {
            Self::Contact => "contacts.contact.read",
            Self::Account => "contacts.account.read",
        }
    }
}
