//! Who changed what: two neighbouring snapshots compared through their descriptor, no code for each resource.

use std::collections::BTreeMap;

use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::audit_service_server::AuditService;
use serde_json::Value;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Common, RecordType};
use crate::access::{Effect, FieldRules, covers, masked};
use crate::clock;
use crate::ctx::Ctx;
use crate::fault::Fault;
use crate::journal;
use crate::journal::seal::{self, Range};
use crate::page::{self, Cursor, KeyValue, Query};

/// Rows of all tenants after which one verification ends.
const ROWS: i64 = 50_000;
/// Changes with every change and says nothing of its own.
const NOISE: &[&str] = &["etag", "update_time"];

#[tonic::async_trait]
impl AuditService for Common {
    async fn list_changes(&self, request: Request<pb::ListChangesRequest>) -> Result<Response<pb::ListChangesResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let size = page::size(request.page_size)?;
        let query = Query::of(&ctx).with("name", &request.name);
        let cursor = ctx.call().sealer.open(&request.page_token, &query)?;
        let (kind, id) = self.readable(&ctx, &request.name).await?;
        ctx.log_read(std::slice::from_ref(&request.name));
        let before = cursor.map(|cursor| before(&cursor)).transpose()?;
        // One more, to know whether there is a next page.
        let rows = journal::changes(&self.db, &ctx, id, before, size + 1).await?;
        let fitting = page::fit(&rows, size)?;
        let mut changes = Vec::with_capacity(rows.len().min(fitting + 1));
        for (position, row) in rows.iter().take(fitting + 1).enumerate() {
            let mut earlier = rows.iter().skip(position + 1).find(|other| other.version < row.version && other.ordinal == 0).cloned();
            // Shares raise the version too, so the change before may lie any number of rows behind the page.
            if earlier.is_none() && row.ordinal == 0 && row.version > 1 {
                earlier = journal::before(&self.db, &ctx, id, row.version).await?;
            }
            changes.push(self.change(kind, row, earlier.as_ref(), ctx.fields(kind.resource))?);
        }
        // Told as text, a change may take more than its snapshots did.
        let fitting = i64::try_from(fitting).map_err(Fault::internal)?;
        let next_page_token = page::end(&ctx, &query, &mut changes, fitting, |last| {
            Ok(Cursor { keys: vec![KeyValue::Int(last.version), KeyValue::Int(i64::from(last.ordinal))], id })
        })?;
        Ok(Response::new(pb::ListChangesResponse { changes, next_page_token }))
    }

    async fn verify_seal(&self, request: Request<pb::VerifySealRequest>) -> Result<Response<pb::VerifySealResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        if request.name.is_empty() {
            return Err(Fault::invalid("name", "is required").into());
        }
        if request.name != format!("services/{}", self.service) {
            return Err(Fault::not_found(request.name).into());
        }
        let anchor = anchor(&request.anchor)?;
        let query = Query::of(&ctx).with("name", &request.name).with("anchor", &request.anchor);
        let after = ctx.call().sealer.open(&request.page_token, &query)?.map(|cursor| checkpoint(&cursor)).transpose()?;
        let range = Range { tenant: ctx.tenant(), after, rows: ROWS, anchor: anchor.as_deref() };
        let verdict = seal::verify(&self.system, &ctx.call().sealer, range).await?;
        let next = verdict.next.map(|next| ctx.call().sealer.seal(&Cursor { keys: vec![KeyValue::Int(next)], id: Uuid::nil() }, &query));
        Ok(Response::new(pb::VerifySealResponse {
            checked_row_count: verdict.checked,
            intact: verdict.broken_seal.is_none() && !verdict.anchor_missing,
            first_broken_seal: verdict.broken_seal.unwrap_or_default(),
            next_page_token: next.unwrap_or_default(),
            anchor: verdict.newest.map(hex::encode).unwrap_or_default(),
            anchor_missing: verdict.anchor_missing,
        }))
    }
}

impl page::Measured for journal::Change {
    /// A snapshot may be told twice: as what came after one change and before the next.
    fn bytes(&self) -> usize {
        2 * self.message.as_ref().map_or(0, Vec::len)
    }
}

impl page::Measured for pb::Change {
    fn bytes(&self) -> usize {
        self.encoded_len()
    }
}

impl Common {
    fn change(&self, kind: RecordType, row: &journal::Change, earlier: Option<&journal::Change>, rules: &FieldRules) -> Result<pb::Change, Fault> {
        let after = if row.ordinal == 0 { self.fields(kind, row.message.as_deref())? } else { BTreeMap::new() };
        let before = match earlier {
            Some(earlier) if row.ordinal == 0 => self.fields(kind, earlier.message.as_deref())?,
            _ => BTreeMap::new(),
        };
        let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let field_changes = paths.into_iter().filter(|path| before.get(*path) != after.get(*path) && !NOISE.contains(&path.as_str()));
        Ok(pb::Change {
            version: row.version,
            ordinal: i32::from(row.ordinal),
            fact: row.fact.clone(),
            actor: row.actor.clone(),
            on_behalf_of: row.on_behalf_of.clone().unwrap_or_default(),
            request_id: row.request_id.clone(),
            trace_id: row.trace_id.clone().unwrap_or_default(),
            job_id: row.job_id.map(|job| job.to_string()).unwrap_or_default(),
            record_time: Some(clock::timestamp(row.recorded_at)),
            field_changes: field_changes.filter_map(|path| told(path, before.get(path), after.get(path), rules)).collect(),
            emptied: row.message.is_none(),
        })
    }

    /// The fields of the snapshot inside an event, by path; empty for a fact without one.
    fn fields(&self, kind: RecordType, message: Option<&[u8]>) -> Result<BTreeMap<String, Value>, Fault> {
        let mut fields = BTreeMap::new();
        let Some(snapshot) = message.map(journal::snapshot_bytes).transpose()?.flatten() else { return Ok(fields) };
        let descriptor = self.descriptors()?.get_message_by_name(kind.message).ok_or_else(|| Fault::internal("a record type names no message"))?;
        let snapshot = DynamicMessage::decode(descriptor, snapshot.as_slice()).map_err(Fault::internal)?;
        let options = SerializeOptions::new().use_proto_field_name(true);
        let value = snapshot.serialize_with_options(serde_json::value::Serializer, &options).map_err(Fault::internal)?;
        flatten(String::new(), value, &mut fields);
        Ok(fields)
    }
}

fn flatten(path: String, value: Value, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(path, member, fields);
            }
        }
        value => {
            fields.insert(path, value);
        }
    }
}

/// A field's change as the caller may know it; none if the field is hidden.
fn told(path: &str, before: Option<&Value>, after: Option<&Value>, rules: &FieldRules) -> Option<pb::FieldChange> {
    let text = |value: Option<&Value>| match (value, rules.effect(path)) {
        (None, _) => String::new(),
        (Some(Value::String(text)), Some(Effect::Masked)) => Value::String(masked(text)).to_string(),
        (Some(_), Some(Effect::Masked)) => String::new(),
        (Some(value), _) => value.to_string(),
    };
    // A rule on a part of a list hides the list: its parts cannot be told apart here.
    let inside = rules.iter().any(|(rule, effect)| effect > Effect::ReadOnly && rule != path && covers(path, rule));
    let hidden = inside || rules.effect(path) == Some(Effect::Hidden);
    (!hidden).then(|| pb::FieldChange { path: path.to_owned(), before: text(before), after: text(after) })
}

fn before(cursor: &Cursor) -> Result<(i64, i16), Fault> {
    match cursor.keys.as_slice() {
        [KeyValue::Int(version), KeyValue::Int(ordinal)] => Ok((*version, i16::try_from(*ordinal).map_err(Fault::internal)?)),
        _ => Err(foreign()),
    }
}

/// The checkpoint that an earlier verification came to.
fn checkpoint(cursor: &Cursor) -> Result<i64, Fault> {
    match cursor.keys.as_slice() {
        [KeyValue::Int(checkpoint)] => Ok(*checkpoint),
        _ => Err(foreign()),
    }
}

fn foreign() -> Fault {
    page::invalid("belongs to another list")
}

/// The digest that an anchor says; none if it is empty.
fn anchor(text: &str) -> Result<Option<Vec<u8>>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let digest = hex::decode(text).ok().filter(|digest| digest.len() == 32);
    digest.map(Some).ok_or_else(|| Fault::invalid("anchor", "must be the anchor of an earlier answer: 64 hexadecimal digits"))
}
