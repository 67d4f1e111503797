//! Sessions: how refresh tokens follow one another, and what a password is worth.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use rapport_identity_api::v1 as pb;
use rapport_kit::testing::{Subject, eventually};
use tonic::{Code, Status};

use crate::bureau::{ADMINISTRATOR, Bureau, PASSWORD, Stored, policy};
use crate::coverage::errors::{reason, told};
use crate::coverage::wire::{Caller, bytes};

const LIST_SESSIONS: &str = "SessionService/ListSessions";
/// Refreshes at once.
const CROWD: usize = 100;

async fn refresh(bureau: &Bureau, token: &str) -> Result<pb::RefreshSessionResponse, Status> {
    let request = pb::RefreshSessionRequest { refresh_token: token.to_owned() };
    bureau.try_ask(&Caller::anonymous(), "SessionService/RefreshSession", &request).await
}

/// Names of the open sessions of whoever asks.
async fn open_sessions(bureau: &Bureau, subject: &Subject) -> Result<BTreeSet<String>, Status> {
    let answer: pb::ListSessionsResponse = bureau.try_ask(&Caller::of(subject), LIST_SESSIONS, &pb::ListSessionsRequest::default()).await?;
    Ok(answer.sessions.into_iter().map(|session| session.name).collect())
}

fn is_refused(status: &Status) -> bool {
    (status.code(), reason(status).as_str()) == (Code::Unauthenticated, "CREDENTIAL_INVALID")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_refresh_token_that_comes_back_ends_the_whole_session() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("spent", Some(policy())).await;
    let (signed_in, opened) = bureau.sign_in(administrator.tenant, ADMINISTRATOR).await;
    let second = refresh(&bureau, &opened.refresh_token).await.expect("the first token is live");
    let third = refresh(&bureau, &second.refresh_token).await.expect("the second token is live");

    let replayed = refresh(&bureau, &opened.refresh_token).await.expect_err("the first token was spent, and its successor used");
    assert!(is_refused(&replayed), "{}", told(&replayed));
    for (which, token) in [("newest", &third.refresh_token), ("second", &second.refresh_token), ("first", &opened.refresh_token)] {
        let refused = refresh(&bureau, token).await.expect_err("the session has ended");
        assert!(is_refused(&refused), "the {which} token: {}", told(&refused));
    }
    // Access tokens of the session that are still within their five minutes are worth nothing either.
    for token in [opened.access_token, second.access_token, third.access_token] {
        let subject = Subject { token, ..signed_in.clone() };
        let refused = open_sessions(&bureau, &subject).await.expect_err("the session has ended");
        assert!(is_refused(&refused), "{}", told(&refused));
    }
    let session = opened.session.expect("a sign-in opens a session").name;
    let open = open_sessions(&bureau, &administrator).await.expect("another session of the same user goes on");
    assert!(!open.is_empty() && !open.contains(&session), "{open:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_answer_got_lost_asks_again_and_goes_on() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("lost", Some(policy())).await;
    let (_, opened) = bureau.sign_in(administrator.tenant, ADMINISTRATOR).await;
    let lost = refresh(&bureau, &opened.refresh_token).await.expect("the first token is live");
    let again = refresh(&bureau, &opened.refresh_token).await.expect("nobody has used the token that follows");
    assert_eq!(again.refresh_token, lost.refresh_token, "there is one successor");
    let next = refresh(&bureau, &again.refresh_token).await.expect("the successor is live");
    assert_ne!(next.refresh_token, again.refresh_token);
    refresh(&bureau, &next.refresh_token).await.expect("and so on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_refreshes_at_once_leave_one_live_branch() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("branches", Some(policy())).await;
    let (signed_in, opened) = bureau.sign_in(administrator.tenant, ADMINISTRATOR).await;
    let answers = join_all((0..CROWD).map(|_| refresh(&bureau, &opened.refresh_token))).await;
    let refused: Vec<String> = answers.iter().filter_map(|answer| answer.as_ref().err()).map(told).collect();
    assert!(refused.is_empty(), "{} of {CROWD} refused: {:?}", refused.len(), refused.first());
    let followers: BTreeSet<String> = answers.into_iter().flatten().map(|answer| answer.refresh_token).collect();
    assert_eq!(followers.len(), 1, "tokens that follow the one that was used");

    let follower = followers.first().expect("there is one");
    let next = refresh(&bureau, follower).await.expect("the branch is live");
    let session = opened.session.expect("a sign-in opens a session").name;
    assert!(open_sessions(&bureau, &signed_in).await.expect("the session is open").contains(&session));
    refresh(&bureau, &opened.refresh_token).await.expect_err("the root is spent now");
    refresh(&bureau, &next.refresh_token).await.expect_err("and with it the session has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_passwords_are_argon2id_with_parameters_that_cost_something() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("stored", Some(policy())).await;
    bureau.user(&administrator, "second@example.com", None, true).await;
    let query = "select password_hash from users where tenant_id = $1 and password_hash is not null";
    let stored: Vec<String> =
        sqlx::query_scalar(query).bind(administrator.tenant).fetch_all(&mut bureau.database().await).await.expect("stored passwords");
    assert_eq!(stored.len(), 2);
    let mut salts = BTreeSet::new();
    for text in &stored {
        let parts: Vec<&str> = text.split('$').collect();
        let ["", "argon2id", "v=19", parameters, salt, hash] = parts.as_slice() else { panic!("not a PHC string of argon2id: {text}") };
        let number = |name: &str| -> u32 {
            let given = parameters.split(',').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='));
            given.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {parameters}"))
        };
        // The least that OWASP asks for: 19 MiB, two passes, one lane.
        assert!(number("m") >= 19_456 && number("t") >= 2 && number("p") >= 1, "{parameters}");
        // base64 without padding: 16 bytes of salt, 32 of hash.
        assert!(salt.len() >= 22 && hash.len() >= 43, "{text}");
        assert!(!text.contains(PASSWORD));
        salts.insert((*salt).to_owned());
    }
    assert_eq!(salts.len(), stored.len(), "each password has a salt of its own, the same password too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_sign_in_does_not_tell_what_was_wrong() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("silent", Some(policy())).await;
    let caller = Caller::of(&administrator);
    let disabled = bureau.user(&administrator, "disabled@example.com", None, true).await;
    bureau.user(&administrator, "without@example.com", None, false).await;
    let request = pb::DisableUserRequest { name: disabled.name, etag: String::new() };
    let _: pb::User = bureau.ask(&caller, "UserService/DisableUser", &request).await;
    let tenant = administrator.tenant;
    let cases = [
        (tenant, ADMINISTRATOR, "not the password of anybody"),
        (tenant, "unknown@example.com", PASSWORD),
        (tenant, "disabled@example.com", PASSWORD),
        (tenant, "without@example.com", PASSWORD),
        (rapport_kit::clock::new_id(), ADMINISTRATOR, PASSWORD),
    ];
    let mut told_so = BTreeSet::new();
    for (tenant, email, password) in cases {
        let refused = bureau.try_sign_in(tenant, email, password).await.expect_err("no case is right");
        assert!(is_refused(&refused), "{email}: {}", told(&refused));
        told_so.insert((refused.message().to_owned(), refused.details().to_vec()));
    }
    assert_eq!(told_so.len(), 1, "all are told the same: {told_so:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_begins_from_a_password_that_was_changed_while_it_was_verified() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("raced", Some(policy())).await;
    let before = open_sessions(&bureau, &administrator).await.expect("sessions");
    let mut database = bureau.database().await;
    let mut other = bureau.database().await;
    // A change of the password that has written and is about to commit.
    sqlx::query("begin").execute(&mut database).await.expect("a transaction");
    let change = "update users set password_hash = 'another one' where tenant_id = $1 and id = $2";
    sqlx::query(change).bind(administrator.tenant).bind(administrator.id).execute(&mut database).await.expect("the password is changed");

    let signing_in = bureau.try_sign_in(administrator.tenant, ADMINISTRATOR, PASSWORD);
    let changing = async {
        eventually("the sign-in waits for the change of the password", || async {
            let waiting = "select 1 from pg_locks l join pg_stat_activity a using (pid) where not l.granted and a.datname = current_database()";
            let mut watching = bureau.database().await;
            sqlx::query(waiting).fetch_optional(&mut watching).await.expect("an answer").map(|_| ())
        })
        .await;
        sqlx::query("commit").execute(&mut database).await.expect("the change is committed");
    };
    let (signed_in, ()) = tokio::join!(signing_in, changing);
    let refused = signed_in.expect_err("the password that was verified is nobody's any more");
    assert!(is_refused(&refused), "{}", told(&refused));
    let open: i64 = sqlx::query_scalar("select count(*) from session where tenant_id = $1 and revoked_at is null")
        .bind(administrator.tenant)
        .fetch_one(&mut other)
        .await
        .expect("sessions");
    assert_eq!(usize::try_from(open).expect("a number"), before.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_every_other_session_and_opens_new_ones() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("renewed", Some(policy())).await;
    let (_, other) = bureau.sign_in(administrator.tenant, ADMINISTRATOR).await;
    let new_password = "quite another long password".to_owned();
    let request = pb::ChangePasswordRequest { current_password: PASSWORD.to_owned(), new_password: new_password.clone() };
    let changed = bureau.send(&Caller::of(&administrator), "UserService/ChangePassword", prost::Message::encode_to_vec(&request)).await;
    assert!(changed.is_ok(), "{}", String::from_utf8_lossy(&bytes(&changed)));
    refresh(&bureau, &other.refresh_token).await.expect_err("the other session has ended");
    assert_eq!(open_sessions(&bureau, &administrator).await.expect("the own session goes on").len(), 1);
    bureau.try_sign_in(administrator.tenant, ADMINISTRATOR, PASSWORD).await.expect_err("the old password is nobody's");
    bureau.try_sign_in(administrator.tenant, ADMINISTRATOR, &new_password).await.expect("the new password opens a session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_a_repeated_refresh_ends_with_its_session_too() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("repeated", Some(policy())).await;
    let (signed_in, opened) = bureau.sign_in(administrator.tenant, ADMINISTRATOR).await;
    refresh(&bureau, &opened.refresh_token).await.expect("the first token is live");
    // So long ago that no token of that time is valid any more.
    sqlx::query("update session set last_use_at = last_use_at - interval '15 minutes' where tenant_id = $1")
        .bind(administrator.tenant)
        .execute(&mut bureau.database().await)
        .await
        .expect("the sessions are old");
    let late = refresh(&bureau, &opened.refresh_token).await.expect("nobody has used the token that follows");
    let late = Subject { token: late.access_token, ..signed_in };
    open_sessions(&bureau, &late).await.expect("the new token opens the door");
    let request = pb::ChangePasswordRequest { current_password: PASSWORD.to_owned(), new_password: "quite another long password".to_owned() };
    let _: () = bureau.ask(&Caller::of(&administrator), "UserService/ChangePassword", &request).await;
    let refused = open_sessions(&bureau, &late).await.expect_err("the session has ended");
    assert!(is_refused(&refused), "{}", told(&refused));
    let again = refresh(&bureau, &opened.refresh_token).await.expect_err("the session has ended");
    assert!(is_refused(&again), "{}", told(&again));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_opens_an_address_that_was_locked_before_its_user_came() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("early", Some(policy())).await;
    let sign_in = async || bureau.try_sign_in(administrator.tenant, "ann@example.com", PASSWORD).await;
    for _ in 0..policy().lockout_attempts {
        sign_in().await.expect_err("there is no such user");
    }
    let user = bureau.user(&administrator, "ann@example.com", None, true).await;
    assert_eq!(reason(&sign_in().await.expect_err("the address has to wait")), "SIGN_IN_LOCKED");
    let unlock = pb::UnlockUserRequest { name: user.name, etag: String::new() };
    let answer: Stored = bureau.ask(&Caller::of(&administrator), "UserService/UnlockUser", &unlock).await;
    assert_eq!(answer.etag, user.etag, "the user was not marked");
    sign_in().await.expect("the address is open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sign_in_and_whoever_changes_its_user_never_wait_for_each_other_in_a_circle() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("circle", Some(policy())).await;
    let fail = async || bureau.try_sign_in(administrator.tenant, ADMINISTRATOR, "not the password").await.expect_err("a wrong password");
    for _ in 1..policy().lockout_attempts {
        assert!(is_refused(&fail().await));
    }
    // A change of the user, as far as it holds the user and has not come to the address.
    let mut database = bureau.database().await;
    sqlx::query("begin").execute(&mut database).await.expect("a transaction");
    let hold = "select from users where tenant_id = $1 and id = $2 for no key update";
    sqlx::query(hold).bind(administrator.tenant).bind(administrator.id).execute(&mut database).await.expect("the user stands still");
    let changing = async {
        eventually("the failed sign-in waits for the change of its user", async || {
            let waiting = "select 1 from pg_locks l join pg_stat_activity a using (pid) where not l.granted and a.datname = current_database()";
            sqlx::query(waiting).fetch_optional(&mut bureau.database().await).await.expect("an answer").map(|_| ())
        })
        .await;
        let forget = "delete from sign_in_failure where tenant_id = $1";
        sqlx::query(forget).bind(administrator.tenant).execute(&mut database).await.expect("the address is free");
        sqlx::query("commit").execute(&mut database).await.expect("the change is committed");
    };
    let (refused, ()) = tokio::join!(fail(), changing);
    assert!(is_refused(&refused), "{}", told(&refused));
}
