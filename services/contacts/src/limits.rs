//! Limits of what one record or request may hold. The protos promise the same numbers.

/// Contact points of a record.
pub const CONTACT_POINTS: usize = 50;
/// Addresses of a record.
pub const ADDRESSES: usize = 50;
/// Lines of an address.
pub const ADDRESS_LINES: usize = 10;
/// Letters of a line or another part of an address.
pub const ADDRESS_LINE: usize = 200;
/// External ids of a record.
pub const EXTERNAL_IDS: usize = 20;
/// Letters of another system's name.
pub const SYSTEM: usize = 64;
/// Letters of another system's id.
pub const EXTERNAL_ID: usize = 255;
/// Tags of a record.
pub const TAGS: usize = 50;
/// Letters of a tag or of a contact point's label.
pub const LABEL: usize = 64;
/// Letters of a contact point.
pub const CONTACT_POINT: usize = 512;
/// Letters of an e-mail address (RFC 5321, path without brackets).
pub const EMAIL: usize = 254;
/// Letters of an e-mail address before the @ (RFC 5321).
pub const EMAIL_LOCAL: usize = 64;
/// Accounts that a contact acts for.
pub const ACCOUNT_ROLES: usize = 50;
/// Letters of a part of a name, of a role or of a line of business.
pub const NAME: usize = 100;
/// Letters of a salutation or language tag.
pub const SALUTATION: usize = 50;
/// Letters of a job title.
pub const JOB_TITLE: usize = 200;
/// Letters of notes.
pub const NOTES: usize = 10_000;
/// Letters of an account's name.
pub const DISPLAY_NAME: usize = 255;
/// Letters of a web site's address.
pub const WEBSITE: usize = 512;
/// Levels of accounts, from the uppermost to the lowest.
pub const LEVELS: i32 = 32;
/// Letters of a header that a saved mapping has.
pub const HEADER: usize = 255;
/// Columns of a view.
pub const COLUMNS: usize = 50;
/// Names of one batch read.
pub const BATCH_GET: usize = 1000;
/// Entries of one batch write.
pub const BATCH_UPSERT: usize = 500;
/// Columns of an exported table.
pub const EXPORT_COLUMNS: usize = 2000;
