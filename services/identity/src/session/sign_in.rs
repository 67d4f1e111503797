//! Opening a session and going on with it.

use rapport_identity_api::v1 as pb;
use rapport_kit::auth::REFRESH_PREFIX as PREFIX;
use rapport_kit::ctx::Call;
use rapport_kit::{Ctx, Fault, clock, name};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::model::{Session, Token};
use super::sql;
use crate::events::{self, UserFact};
use crate::secret::Secret;
use crate::security_policy::{self, SecurityPolicy};
use crate::signing_key::{Issued, Subject};
use crate::user::User;
use crate::{Identity, password, tenant, throttle, user};

/// A session with what its client needs to go on. Its tokens are secrets: not for logs.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) access: Issued,
    pub(super) refresh_token: String,
}

/// Opens a session.
pub(super) async fn sign_in(own: &Identity, call: &Call, request: pb::SignInRequest, client: (String, String)) -> Result<Opened, Fault> {
    let secret: SecretString = request.password.into();
    let email = request.email.trim();
    if email.is_empty() || email.len() > 1024 || request.tenant.is_empty() || secret.expose_secret().is_empty() {
        return Err(Fault::invalid_fields(missing(&request.tenant, email, &secret)));
    }
    let named = name::parse("tenants", &request.tenant, "tenant").ok();
    let tenant = tenant::find(&own.system, named, &request.tenant).await?;
    // The turn comes first: whoever waits for it sees the lock that was made meanwhile.
    let turn = own.passwords.turn().await?;
    let Some(tenant) = tenant else {
        turn.verify(short(secret), None).await?;
        return Err(Fault::unauthenticated());
    };
    let ctx = Ctx::system(tenant, "services/identity", call.clone());
    let policy = security_policy::get(&own.db, &ctx).await?;
    let mut conn = own.db.for_tenant(&ctx).await?;
    throttle::require_open(&mut conn, own, &ctx, email).await?;
    let found = user::credentials(&mut conn, &ctx, email).await?;
    // No connection is held while the processor works.
    drop(conn);
    let stored = found.as_ref().and_then(|found| found.password_hash.as_ref()).map(|hash| hash.expose_secret().to_owned());
    let right = turn.verify(short(secret), stored.clone()).await?;
    drop(turn);
    match (found, stored) {
        (Some(found), Some(hash)) if right && !found.user.disabled => open(own, call, tenant, &policy, found.user, &hash, client).await,
        (found, _) => {
            throttle::count_failure(own, &ctx, &policy, email, found.as_ref().map(|found| &found.user)).await?;
            Err(Fault::unauthenticated())
        }
    }
}

/// Stores the session; a user whose lock has ended is unlocked with it. A password that was changed since it was
/// verified (`hash`) opens none.
async fn open(
    own: &Identity,
    call: &Call,
    tenant: Uuid,
    policy: &SecurityPolicy,
    mut user: User,
    hash: &str,
    (user_agent, ip_address): (String, String),
) -> Result<Opened, Fault> {
    let ctx = Ctx::system(tenant, &user.name(), call.clone());
    let refresh = Secret::random(tenant, clock::new_id());
    let mut session = Session::begin(refresh.id, user.id, refresh.hash(), policy, ctx.now());
    (session.user_agent, session.ip_address) = (user_agent, ip_address);
    let mut tx = own.db.begin(&ctx).await?;
    // Whoever changes the password or disables the user now waits for this session and ends it with the others.
    if !user::holds_password(&mut tx, &ctx, user.id, hash).await? {
        return Err(Fault::unauthenticated());
    }
    sql::insert(&mut tx, &ctx, &session).await?;
    throttle::forget(&mut tx, own, &ctx, &user.email).await?;
    let mut entries = Vec::new();
    if user.locked_until.take().is_some() {
        user.touch(ctx.now());
        entries = events::user(&ctx, &user, UserFact::Unlocked)?;
        if !user::update_in(tx.conn(), &ctx, &user, &entries).await? {
            return Err(Fault::contended());
        }
    }
    tx.commit().await?;
    own.heed(&entries).await;
    opened(own, &ctx, session, &refresh)
}

/// Goes on with a session.
pub(super) async fn refresh(own: &Identity, call: &Call, token: SecretString) -> Result<Opened, Fault> {
    if token.expose_secret().is_empty() {
        return Err(Fault::invalid("refresh_token", "must be given"));
    }
    let secret = Secret::read(&token, PREFIX, &own.sealer).ok_or_else(Fault::unauthenticated)?;
    let ctx = Ctx::system(secret.tenant, "services/identity", call.clone());
    let policy = security_policy::get(&own.db, &ctx).await?;
    // A token that is used twice at once is read again as the repeated one.
    for _ in 0..3 {
        let mut session = sql::find(&own.db, &ctx, secret.id).await?.ok_or_else(Fault::unauthenticated)?;
        if !session.is_open(&policy, ctx.now()) || !is_active(own, &ctx, session.user).await? {
            return Err(Fault::unauthenticated());
        }
        let next = secret.successor(&own.sealer);
        match session.token(&secret) {
            Token::Live => {
                session.refresh(&next, &policy, ctx.now());
                if sql::refresh(&own.db, &ctx, &session).await? {
                    return opened(own, &ctx, session, &next);
                }
            }
            Token::Repeated => {
                // A new token is in use from now on: when the session ends, everybody has to hear of it.
                if !sql::touch(&own.db, &ctx, session.id).await? {
                    return Err(Fault::unauthenticated());
                }
                session.last_use_at = ctx.now();
                return opened(own, &ctx, session, &next);
            }
            Token::Spent => {
                tracing::warn!(session = %session.id, "a spent refresh token came back; its session is ended");
                end(own, &ctx, session.id, session.user).await?;
                return Err(Fault::unauthenticated());
            }
        }
    }
    Err(Fault::contended())
}

/// Ends a session; one that has ended stays so.
pub(super) async fn end(own: &Identity, ctx: &Ctx, session: Uuid, user: Uuid) -> Result<(), Fault> {
    let entries = events::session_ended(ctx, session, user)?;
    if sql::end(&own.db, ctx, session, &entries).await? {
        own.heed(&entries).await;
    }
    Ok(())
}

async fn is_active(own: &Identity, ctx: &Ctx, id: Uuid) -> Result<bool, Fault> {
    let mut conn = own.db.for_tenant(ctx).await?;
    Ok(user::find(&mut conn, ctx, id).await?.is_some_and(|user| !user.disabled))
}

fn opened(own: &Identity, ctx: &Ctx, session: Session, refresh: &Secret) -> Result<Opened, Fault> {
    let subject = Subject {
        tenant: ctx.tenant(),
        name: name::format("users", session.user),
        session: Some(session.id),
        service: None,
        scope: None,
        until: Some(session.expires_at),
    };
    let access = own.signer.issue(subject, ctx.now())?;
    Ok(Opened { session, access, refresh_token: refresh.text(PREFIX, &own.sealer) })
}

/// A password that is too long to be anybody's is verified as an empty one, which is nobody's either.
fn short(secret: SecretString) -> SecretString {
    if secret.expose_secret().len() > password::MAX_BYTES { SecretString::default() } else { secret }
}

fn missing(tenant: &str, email: &str, password: &SecretString) -> Vec<(String, String)> {
    let given =
        [("tenant", !tenant.is_empty()), ("email", !email.is_empty() && email.len() <= 1024), ("password", !password.expose_secret().is_empty())];
    given.into_iter().filter(|(_, given)| !given).map(|(field, _)| (field.to_owned(), "must be given".to_owned())).collect()
}
