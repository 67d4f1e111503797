//! Changing one's own password.

use rapport_identity_api::v1 as pb;
use rapport_kit::journal::Earlier;
use rapport_kit::{Ctx, Fault};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::sql;
use crate::events::UserFact;
use crate::{Identity, events, password, security_policy, session, throttle};

/// Checks the current password, stores the new one and ends all sessions but `kept`.
pub(super) async fn change(own: &Identity, ctx: &Ctx, request: pb::ChangePasswordRequest, kept: Option<Uuid>) -> Result<(), Fault> {
    let (current, new): (SecretString, SecretString) = (request.current_password.into(), request.new_password.into());
    let given = [("current_password", &current), ("new_password", &new)];
    let missing = given.into_iter().filter(|(_, secret)| secret.expose_secret().is_empty());
    let missing: Vec<(String, String)> = missing.map(|(field, _)| (field.to_owned(), "must be given".to_owned())).collect();
    if !missing.is_empty() {
        return Err(Fault::invalid_fields(missing));
    }
    match decide(own, ctx, current, new, kept).await {
        // The password may be another one because this very request was carried out before.
        Err(_) if Earlier::find(&own.db, ctx).await?.is_some() => Ok(()),
        done => done,
    }
}

async fn decide(own: &Identity, ctx: &Ctx, current: SecretString, new: SecretString, kept: Option<Uuid>) -> Result<(), Fault> {
    let policy = security_policy::get(&own.db, ctx).await?;
    let turn = own.passwords.turn().await?;
    let mut conn = own.db.for_tenant(ctx).await?;
    let user = sql::find(&mut conn, ctx, ctx.subject()).await?;
    let not_a_user = || Fault::precondition("NOT_A_USER", "Sign in as a user: service accounts have keys instead of a password.");
    let email = user.ok_or_else(not_a_user)?.email;
    throttle::require_open(&mut conn, own, ctx, &email).await?;
    let credentials = sql::credentials(&mut conn, ctx, &email).await?.ok_or_else(not_a_user)?;
    // No connection is held while the processor works.
    drop(conn);
    let stored = credentials.password_hash.map(|hash| hash.expose_secret().to_owned());
    if current.expose_secret().len() > password::MAX_BYTES || !turn.verify(current, stored.clone()).await? {
        // This very request may have changed the password before; sent again it is no failed attempt.
        if Earlier::find(&own.db, ctx).await?.is_some() {
            return Ok(());
        }
        throttle::count_failure(own, ctx, &policy, &email, Some(&credentials.user)).await?;
        return Err(Fault::argument("PASSWORD_WRONG", "Send the password that you have now; this one is not it."));
    }
    if let Some(weakness) = password::weakness(&new, policy.password_min_length, &[&email, &credentials.user.display_name]) {
        return Err(Fault::invalid("new_password", weakness));
    }
    let hash = turn.hash(new).await?;
    let mut user = credentials.user;
    user.touch(ctx.now());
    let mut tx = own.db.begin(ctx).await?;
    // First of all the user stands still, so that no session begins beside the ones that end here.
    if !sql::holds_password(&mut tx, ctx, user.id, stored.as_deref().unwrap_or_default()).await? {
        return Err(Fault::contended());
    }
    let ended = session::end_all(&mut tx, ctx, user.id, kept).await?;
    let mut entries = events::user(ctx, &user, UserFact::PasswordChanged)?;
    entries.extend(events::sessions_ended(ctx, &user, &ended, kept)?);
    if !sql::update_in(tx.conn(), ctx, &user, &entries).await? {
        return Err(Fault::contended());
    }
    sql::store_hash(&mut tx, ctx, user.id, &hash).await?;
    throttle::forget(&mut tx, own, ctx, &email).await?;
    tx.commit().await?;
    own.heed(&entries).await;
    Ok(())
}
