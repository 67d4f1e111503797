//! What batch writes of both resources share: which record each entry is about, and what is refused to it.

use std::collections::{HashMap, HashSet};

use rapport_kit::{Ctx, Db, Fault, name, page};
use rapport_proto::common::v1::ExternalId;
use uuid::Uuid;

use crate::search::Kind;
use crate::{external_id, merge};

/// What stands around a record in the answer to its entry, and the number that an account is given in the write.
const AROUND: usize = 64;

/// How an entry of a batch write says which record it is about.
#[derive(Debug)]
pub struct Reference<'a> {
    /// `name` of the entry; may be empty.
    pub name: &'a str,
    /// External ids of the entry.
    pub external_ids: &'a [ExternalId],
}

/// The record that an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// None yet.
    New,
    /// The one it names.
    Named(Uuid),
    /// The one that has one of its external ids.
    Matched(Uuid),
}

impl Target {
    /// Id of the record, if there is one.
    #[must_use]
    pub fn id(self) -> Option<Uuid> {
        match self {
            Self::New => None,
            Self::Named(id) | Self::Matched(id) => Some(id),
        }
    }
}

/// The record of each entry, or why it has none; the records need not be visible to the caller.
///
/// # Errors
/// What the database answers.
pub async fn targets(db: &Db, ctx: &Ctx, kind: Kind, entries: &[Reference<'_>]) -> Result<Vec<Result<Target, Fault>>, Fault> {
    // PostgreSQL's text has no NUL: such an id is nobody's, and parsing refuses its entry alone.
    let pairs = entries.iter().flat_map(|entry| entry.external_ids).filter(|pair| !pair.system.contains('\0') && !pair.id.contains('\0'));
    let (systems, ids): (Vec<String>, Vec<String>) = pairs.map(|pair| (pair.system.clone(), pair.id.clone())).unzip();
    let mut conn = db.for_tenant(ctx).await?;
    let rows = sqlx::query!(
        "select e.system, e.external_id, e.record_id from external_ids e join unnest($3::text[], $4::text[]) sent(system, id)
           on e.system = sent.system and e.external_id = sent.id
         where e.tenant_id = $1 and e.collection = $2 and e.live",
        ctx.tenant(),
        kind.collection(),
        &systems,
        &ids
    )
    .fetch_all(&mut conn)
    .await?;
    // Ids that no live record has may be those of merged ones, and lead to where these go on.
    let followed = match rows.len() < ids.len() {
        true => merge::sql::followed(&mut conn, ctx, kind, &systems, &ids).await?,
        false => Vec::new(),
    };
    drop(conn);
    let mut known: HashMap<(&str, &str), Uuid> = followed.iter().map(|(system, id, into)| ((system.as_str(), id.as_str()), *into)).collect();
    known.extend(rows.iter().map(|row| ((row.system.as_str(), row.external_id.as_str()), row.record_id)));
    let mut taken = HashSet::new();
    let mut targets = Vec::with_capacity(entries.len());
    for entry in entries {
        // Who does not see the ids may not learn of them by trying.
        let readable = if entry.external_ids.is_empty() { Ok(()) } else { ctx.fields(kind.resource()).require_readable("external_ids") };
        targets.push(readable.and_then(|()| target(kind.collection(), entry, &known, &mut taken)));
    }
    Ok(targets)
}

fn target<'a>(
    collection: &str,
    entry: &Reference<'a>,
    known: &HashMap<(&str, &str), Uuid>,
    taken: &mut HashSet<(&'a str, &'a str)>,
) -> Result<Target, Fault> {
    let pairs = || entry.external_ids.iter().map(|pair| (pair.system.as_str(), pair.id.as_str()));
    let mut matched: Vec<Uuid> = pairs().filter_map(|pair| known.get(&pair).copied()).collect();
    matched.sort_unstable();
    matched.dedup();
    let target = match (entry.name, matched.as_slice()) {
        ("", []) if entry.external_ids.is_empty() => return Err(Fault::invalid("external_ids", "an entry needs an external id or a name")),
        ("", []) => Target::New,
        ("", [id]) => Target::Matched(*id),
        ("", _) => {
            return Err(Fault::precondition(
                "EXTERNAL_IDS_DISAGREE",
                "The external ids of the entry belong to several records; send an entry for each.",
            ));
        }
        (name, matched) => {
            let id = name::parse(collection, name, "name")?;
            if matched.iter().any(|other| *other != id) {
                return Err(external_id::taken("external_ids"));
            }
            Target::Named(id)
        }
    };
    // Ids of new records are remembered too, so that a second entry for one is seen before it is written.
    if pairs().any(|pair| taken.contains(&pair)) {
        return Err(repeated());
    }
    taken.extend(pairs());
    Ok(target)
}

/// The refusal of a second entry for one record.
#[must_use]
pub fn repeated() -> Fault {
    Fault::argument("ENTRY_REPEATED", "An entry before this one is about the same record; send one entry for each record.")
}

/// The refusal of a change to a record that the caller may only read.
#[must_use]
pub fn read_only(name: &str) -> Fault {
    Fault::denied("RECORD_READ_ONLY", format!("Your roles let you read {name}, not change it.")).with("name", name)
}

/// Refuses a batch whose answer callers would not take in, before anything of it is written; `bytes` says what an
/// entry's answer takes.
///
/// # Errors
/// RESOURCE_EXHAUSTED (MESSAGE_TOO_LARGE).
pub fn require_tellable<P>(plans: &[P], bytes: impl Fn(&P) -> usize) -> Result<(), Fault> {
    let bytes = plans.iter().map(|plan| bytes(plan) + AROUND).sum();
    page::require_bytes(bytes, "Send fewer entries at once: the answer would take more than 4 MiB. Nothing was written.")
}

/// The refusal of a sound entry of an atomic batch.
#[must_use]
pub fn abandoned() -> Fault {
    Fault::precondition("BATCH_ABANDONED", "The entry is sound, but another one of the batch is not and all or none were asked for.")
}

/// Whether a batch failed for what others did since it was planned, so that another plan may succeed.
#[must_use]
pub fn is_stale(fault: &Fault) -> bool {
    matches!(fault.reason(), "EXTERNAL_ID_TAKEN" | "CONTENDED") || fault.constraint() == Some("idempotency_key")
}

/// Refuses entries that are new to a caller who may not create records.
///
/// # Errors
/// PERMISSION_DENIED (PERMISSION_MISSING).
pub fn require_create(ctx: &Ctx, permission: &'static str) -> Result<(), Fault> {
    if !ctx.scope_of(permission).permits_anything() {
        return Err(
            Fault::denied("PERMISSION_MISSING", format!("The record is new and your roles lack {permission}.")).with("permission", permission)
        );
    }
    Ok(())
}
