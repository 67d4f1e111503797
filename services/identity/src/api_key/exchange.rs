//! Making, listing, revoking and exchanging keys.

use chrono::TimeDelta;
use prost::Message;
use rapport_identity_api::v1 as pb;
use rapport_kit::auth::API_KEY_PREFIX as PREFIX;
use rapport_kit::command::Done;
use rapport_kit::ctx::Call;
use rapport_kit::journal::{Earlier, Record};
use rapport_kit::page::{self, Cursor, Measured, Query};
use rapport_kit::{Ctx, Fault, clock, name};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{ApiKey, sql};
use crate::parse::{Problems, required};
use crate::secret::Secret;
use crate::service_account::ServiceAccount;
use crate::signing_key::Subject;
use crate::user::require_within;
use crate::{Identity, events, role};

/// Live keys of a service account at most.
const MOST: i64 = 20;

/// Makes a key; its secret is in the answer and nowhere else. A key is worth as much as its account's grants, so
/// making one asks for as much as giving them. A request that comes again under its idempotency key makes no second
/// one, and cannot be told the secret of the first.
pub(crate) async fn create(
    own: &Identity,
    ctx: &Ctx,
    account: &ServiceAccount,
    asked: Option<pb::ApiKey>,
) -> Result<pb::CreateApiKeyResponse, Fault> {
    let asked = required(asked, "api_key")?;
    match make(own, ctx, account, asked).await {
        Ok(answer) => Ok(answer),
        Err(refusal) => match Earlier::find(&own.db, ctx).await? {
            Some(earlier) => Err(shown_before(&name::format("apiKeys", earlier.record()?.0))),
            None => Err(refusal),
        },
    }
}

fn shown_before(key: &str) -> Fault {
    let text = format!("Revoke {key} and create another key: this request made it before, and its secret is shown once only.");
    Fault::precondition("SECRET_SHOWN_BEFORE", text).with("name", key)
}

async fn make(own: &Identity, ctx: &Ctx, account: &ServiceAccount, asked: pb::ApiKey) -> Result<pb::CreateApiKeyResponse, Fault> {
    let now = ctx.now();
    let mut problems = Problems::default();
    let display_name = problems.text("api_key.display_name", &asked.display_name, 1, 200);
    let scopes = role::permissions("api_key.scopes", &asked.scopes, 200, &mut problems);
    let expires_at = asked.expire_time.and_then(clock::time).filter(|time| *time > now && *time <= now + TimeDelta::days(366));
    if expires_at.is_none() {
        problems.note("api_key.expire_time", "must be in the future, at most 366 days ahead");
    }
    problems.done()?;
    let secret = Secret::random(ctx.tenant(), clock::new_id());
    let text = secret.text(PREFIX, &own.sealer);
    let key = ApiKey {
        id: secret.id,
        version: 1,
        account: account.id,
        display_name,
        scopes,
        secret_hash: secret.hash(),
        secret_prefix: text.chars().take(12).collect(),
        expires_at: expires_at.unwrap_or(now),
        last_use_at: None,
        revoked_at: None,
        created_at: now,
    };
    let entries = events::api_key_created(ctx, &key)?;
    let mut tx = own.db.begin(ctx).await?;
    for grant in &account.grants {
        require_within(tx.conn(), ctx, *grant, account.unit).await?;
    }
    let live = sql::count_live(&mut tx, ctx, account.id).await?.ok_or_else(|| Fault::not_found(account.name()))?;
    if live >= MOST {
        return Err(Fault::precondition("TOO_MANY_API_KEYS", format!("Revoke a key first: a service account has at most {MOST} live ones.")));
    }
    sql::insert(&mut tx, ctx, &key, &entries).await?;
    tx.commit().await?;
    Ok(pb::CreateApiKeyResponse { api_key: Some(key.to_proto()), secret: text })
}

/// Which page of an account's keys is asked for.
pub(crate) struct Page {
    account: Uuid,
    size: i64,
    query: Query,
    before: Uuid,
}

impl Page {
    /// Reads the request.
    pub(crate) fn asked(own: &Identity, ctx: &Ctx, account: Uuid, request: &pb::ListApiKeysRequest) -> Result<Self, Fault> {
        let size = page::size(request.page_size)?;
        let query = Query::of(ctx).with("parent", account);
        let before = own.sealer.open(&request.page_token, &query)?.map_or(Uuid::max(), |cursor| cursor.id);
        Ok(Self { account, size, query, before })
    }
}

impl Measured for ApiKey {
    fn bytes(&self) -> usize {
        self.to_proto().encoded_len()
    }
}

/// A page of an account's keys; whether the caller sees the account was asked before.
pub(crate) async fn list(own: &Identity, ctx: &Ctx, Page { account, size, query, before }: Page) -> Result<pb::ListApiKeysResponse, Fault> {
    let mut keys = sql::list(&own.db, ctx, account, before, size + 1).await?;
    let next_page_token = page::end(ctx, &query, &mut keys, size, |key| Ok(Cursor { keys: Vec::new(), id: key.id }))?;
    Ok(pb::ListApiKeysResponse { api_keys: keys.iter().map(ApiKey::to_proto).collect(), next_page_token })
}

/// Ends a key for good.
pub(crate) async fn revoke(own: &Identity, ctx: &Ctx, mut key: ApiKey) -> Result<Done<pb::ApiKey>, Fault> {
    if key.revoked_at.is_some() {
        let record = Record { collection: "apiKeys", id: key.id, version: key.version };
        return Ok(Done::Unchanged(key.to_proto(), record));
    }
    key.revoked_at = Some(ctx.now());
    key.version += 1;
    let entries = events::api_key_revoked(ctx, &key)?;
    if !sql::revoke(&own.db, ctx, &key, &entries).await? {
        return Err(Fault::contended());
    }
    own.heed(&entries).await;
    Ok(Done::Written(key.to_proto()))
}

/// An access token for a key's secret.
pub(crate) async fn exchange(own: &Identity, call: &Call, text: SecretString) -> Result<pb::ExchangeApiKeyResponse, Fault> {
    if text.expose_secret().is_empty() {
        return Err(Fault::invalid("secret", "must be given"));
    }
    let secret = Secret::read(&text, PREFIX, &own.sealer).ok_or_else(Fault::unauthenticated)?;
    let ctx = Ctx::system(secret.tenant, "services/identity", call.clone());
    let key = sql::find(&own.db, &ctx, secret.id).await?.filter(|key| secret.is(&key.secret_hash) && key.is_live(ctx.now()));
    let key = key.ok_or_else(Fault::unauthenticated)?;
    sql::touch(&own.db, &ctx, key.id, ctx.now() - TimeDelta::minutes(1)).await?;
    let subject = Subject {
        tenant: secret.tenant,
        name: name::format("serviceAccounts", key.account),
        session: Some(key.id),
        service: None,
        scope: (!key.scopes.is_empty()).then(|| key.scopes.clone()),
        until: Some(key.expires_at),
    };
    let issued = own.signer.issue(subject, ctx.now())?;
    Ok(pb::ExchangeApiKeyResponse { access_token: issued.token, access_token_expire_time: Some(clock::timestamp(issued.expires_at)) })
}
