//! Judgements in merges: whoever was told apart from the loser is told apart from the survivor, so that nobody is asked again.
//!
//! Guarantees: what people have said of a pair of the survivor stays; of more than 100 judgements the last 100 follow, and the
//! others are asked again. A judgement that followed stays when the merge is taken back: it can be taken back itself.

use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault};
use uuid::Uuid;

use super::pair::Pair;
use super::pair_sql;
use crate::events;
use crate::search::Kind;

/// Judgements that follow at most.
const FOLLOWED: i64 = 100;

/// Lets judgements of the loser follow to the survivor. Both records are locked.
///
/// # Errors
/// What the database answers.
pub async fn to_survivor(conn: &mut Conn, ctx: &Ctx, kind: Kind, survivor: Uuid, loser: Uuid) -> Result<(), Fault> {
    let judged = pair_sql::told_apart(conn, ctx, kind, loser, FOLLOWED).await?;
    let mut followed: Vec<Pair> = judged.into_iter().filter_map(|pair| pair.follow(loser, survivor)).collect();
    if followed.is_empty() {
        return Ok(());
    }
    followed.sort_unstable_by_key(Pair::id);
    let written = pair_sql::put_followed(conn, ctx, &followed).await?;
    let entries = written.iter().map(|pair| events::duplicate_pair_reviewed(ctx, pair).map(events::unkeyed)).collect::<Result<Vec<_>, Fault>>()?;
    pair_sql::record(conn, entries).await
}
