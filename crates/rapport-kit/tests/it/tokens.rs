//! Tokens that identity did not sign for this moment and this purpose open no door.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rapport_kit::auth::TYPE;
use rapport_kit::clock;
use rapport_kit::testing::{Identity, Subject};
use serde_json::{Map, Value, json};
use tonic::{Code, Request};

use crate::support::{Rig, do_as, refusal};

#[tokio::test]
async fn whoever_shows_no_credential_is_turned_away() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    for credential in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic dXNlcjpwYXNz"), Some("Bearer a.b.c")] {
        let mut request = Request::new(do_as("answer:"));
        if let Some(credential) = credential {
            request.metadata_mut().insert("authorization", credential.parse().unwrap());
        }
        let status = client.list_changes(request).await.expect_err("nobody is there to let in");
        assert_eq!(refusal(&status), (Code::Unauthenticated, "CREDENTIAL_INVALID".to_owned()), "{credential:?}");
    }
}

#[tokio::test]
async fn a_forged_or_spoilt_token_is_refused_however_it_is_made() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let mut client = rig.client().await;
    client.list_changes(caller.request(do_as("answer:"))).await.expect("the good token is good");
    let forge = Forge { identity: &rig.identity, caller: &caller };
    let (good, _) = forge.signed(plain(), forge.claims());
    let unspoilt = Subject { token: good, ..caller.clone() };
    client.list_changes(unspoilt.request(do_as("answer:"))).await.expect("what the cases below spoil is good");

    let cases: Vec<(String, String)> =
        [forge.algorithms(), forge.headers(), forge.wrong_claims(), forge.missing_claims(), forge.spoilt_texts()].concat();
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    for (what, token) in cases {
        let forged = Subject { token, ..caller.clone() };
        let Err(status) = client.list_changes(forged.request(do_as("answer:"))).await else { panic!("{what} was let in") };
        assert_eq!(refusal(&status), (Code::Unauthenticated, "CREDENTIAL_INVALID".to_owned()), "{what}");
    }
    client.list_changes(caller.request(do_as("answer:"))).await.expect("the good token is good still");
}

#[tokio::test]
async fn a_refusal_says_what_the_holder_can_mend_and_nothing_about_tokens_of_others() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let forge = Forge { identity: &rig.identity, caller: &caller };
    let spoilt = |change: Value| {
        let Value::Object(claims) = changed(Value::Object(forge.claims()), &change) else { unreachable!() };
        claims
    };
    let expired = spoilt(json!({"exp": clock::now().timestamp() - 60}));
    let elsewhere = spoilt(json!({"aud": "another installation"}));
    let unsigned = |claims: &Map<String, Value>| {
        let good = forge.signed(plain(), forge.claims()).0;
        let (_, signature) = good.rsplit_once('.').expect("three parts");
        format!("{}.{}.{signature}", encoded(&plain()), encoded(&Value::Object(claims.clone())))
    };
    let nothing_more = "the credential is not valid here";
    let cases = [
        (None, "there is none"),
        (Some("Basic dXNlcjpwYXNz".to_owned()), "there is none"),
        (Some("Bearer not a token".to_owned()), "this is none, or not all of it"),
        (Some(format!("Bearer {}", "x".repeat(5000))), "this is none, or not all of it"),
        (Some("Bearer rpk_c2VjcmV0".to_owned()), "Exchange the API key first"),
        (Some("Bearer rpr_c2VjcmV0".to_owned()), "RefreshSession"),
        (Some(format!("Bearer {}", forge.signed(plain(), expired.clone()).0)), "has expired"),
        (Some(format!("Bearer {}", forge.signed(plain(), elsewhere.clone()).0)), "another audience"),
        (Some(format!("Bearer {}", unsigned(&expired))), nothing_more),
        (Some(format!("Bearer {}", unsigned(&elsewhere))), nothing_more),
        (Some(format!("Bearer {}", forge.signed(plain(), spoilt(json!({"iss": "somebody"}))).0)), nothing_more),
    ];
    let mut client = rig.client().await;
    for (credential, told) in cases {
        let mut request = Request::new(do_as("answer:"));
        if let Some(credential) = &credential {
            request.metadata_mut().insert("authorization", credential.parse().unwrap());
        }
        let status = client.list_changes(request).await.expect_err("no case is a good token");
        assert_eq!(refusal(&status), (Code::Unauthenticated, "CREDENTIAL_INVALID".to_owned()), "{credential:?}");
        assert!(status.message().contains(told), "{credential:?} is told {:?}", status.message());
    }
}

#[tokio::test]
async fn clocks_may_differ_by_a_moment() {
    let rig = Rig::start().await;
    let caller = rig.identity.administrator(rig.identity.tenant());
    let mut claims = rig.identity.claims(caller.tenant, &caller.name());
    claims.nbf += 3;
    let early = Subject { token: rig.identity.token(&claims), ..caller.clone() };
    rig.client().await.list_changes(early.request(do_as("answer:"))).await.expect("identity's clock is a little ahead");
}

struct Forge<'a> {
    identity: &'a Identity,
    caller: &'a Subject,
}

type Case = (String, String);

impl Forge<'_> {
    fn claims(&self) -> Map<String, Value> {
        let claims = self.identity.claims(self.caller.tenant, &self.caller.name());
        serde_json::to_value(claims).expect("an object").as_object().expect("an object").clone()
    }

    /// A token with any header and any claims under the real signature.
    fn signed(&self, header: Value, claims: Map<String, Value>) -> (String, String) {
        let header: Header = serde_json::from_value(header).expect("a header");
        let token = self.identity.sign(&header, &claims);
        let body = token.rsplit_once('.').expect("three parts").0.to_owned();
        (token, body)
    }

    fn algorithms(&self) -> Vec<Case> {
        let body = |header: Value| format!("{}.{}", encoded(&header), encoded(&Value::Object(self.claims())));
        let public = URL_SAFE_NO_PAD.decode(&self.identity.published().x).expect("base64");
        let signature = self.signed(plain(), self.claims()).0.rsplit_once('.').expect("three parts").1.to_owned();
        let mut cases = Vec::new();
        for none in ["none", "None", "NONE", "nOnE", ""] {
            let header = json!({"alg": none, "typ": TYPE, "kid": "test"});
            cases.push((format!("alg {none:?} without signature"), format!("{}.", body(header.clone()))));
            cases.push((format!("alg {none:?} with a signature"), format!("{}.{signature}", body(header))));
        }
        for secret in [public.as_slice(), self.identity.published().x.as_bytes(), b""] {
            let mut header = Header::new(Algorithm::HS256);
            (header.typ, header.kid) = (Some(TYPE.to_owned()), Some("test".to_owned()));
            let token = jsonwebtoken::encode(&header, &self.claims(), &EncodingKey::from_secret(secret)).expect("a token");
            cases.push((format!("HS256 with the public key of {} bytes", secret.len()), token));
        }
        for wrong in ["ES256", "RS256", "PS256", "HS512", "eddsa"] {
            let header = json!({"alg": wrong, "typ": TYPE, "kid": "test"});
            cases.push((format!("alg {wrong} over an EdDSA signature"), format!("{}.{signature}", body(header))));
        }
        let other = Ed25519KeyPair::generate().expect("a key").to_pkcs8().expect("a key");
        let mut header = Header::new(Algorithm::EdDSA);
        (header.typ, header.kid) = (Some(TYPE.to_owned()), Some("test".to_owned()));
        let token = jsonwebtoken::encode(&header, &self.claims(), &EncodingKey::from_ed_der(other.as_ref())).expect("a token");
        cases.push(("another key under the known id".to_owned(), token));
        cases
    }

    fn headers(&self) -> Vec<Case> {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": self.identity.published().x});
        let changes = [
            ("no typ", json!({"typ": null})),
            ("typ JWT", json!({"typ": "JWT"})),
            ("typ of a refresh token", json!({"typ": "rt+jwt"})),
            ("no kid", json!({"kid": null})),
            ("an empty kid", json!({"kid": ""})),
            ("an unknown kid", json!({"kid": "other"})),
            ("a kid that is a path", json!({"kid": "../../../../dev/null"})),
            ("a kid that is a statement", json!({"kid": "test' or '1'='1"})),
            ("a key in the header", json!({"jwk": jwk})),
            ("a link to keys", json!({"jku": "https://keys.example/jwks.json"})),
            ("a link to a certificate", json!({"x5u": "https://keys.example/cert.pem"})),
            ("a certificate", json!({"x5c": ["MIIB"]})),
            ("a critical extension", json!({"crit": ["b64"], "b64": true})),
            ("an empty list of critical extensions", json!({"crit": []})),
        ];
        let case = |(what, change): (&str, Value)| ((*what).to_owned(), self.signed(changed(plain(), &change), self.claims()).0);
        changes.into_iter().map(case).collect()
    }

    fn wrong_claims(&self) -> Vec<Case> {
        let now = clock::now().timestamp();
        let changes = [
            ("another issuer", json!({"iss": "somebody"})),
            ("the issuer in another case", json!({"iss": "Rapport-Identity"})),
            ("another audience", json!({"aud": "another installation"})),
            ("an empty audience", json!({"aud": ""})),
            ("no audience in a list", json!({"aud": []})),
            ("an end beyond the leeway", json!({"exp": now - 6})),
            ("an end long ago", json!({"exp": 1})),
            ("an end that is a text", json!({"exp": "tomorrow"})),
            ("a beginning in the future", json!({"nbf": now + 60})),
            ("a subject that is no name", json!({"sub": "admin"})),
            ("a subject of another kind", json!({"sub": format!("teams/{}", self.caller.id)})),
            ("a subject that nobody knows", json!({"sub": format!("users/{}", clock::new_id())})),
            ("another tenant", json!({"tid": clock::new_id()})),
            ("a tenant that is no id", json!({"tid": "*"})),
        ];
        let case = |(what, change): (&str, Value)| {
            let Value::Object(claims) = changed(Value::Object(self.claims()), &change) else { unreachable!() };
            ((*what).to_owned(), self.signed(plain(), claims).0)
        };
        changes.into_iter().map(case).collect()
    }

    fn missing_claims(&self) -> Vec<Case> {
        let case = |claim: &str| {
            let mut claims = self.claims();
            claims.remove(claim).expect("a good token has it");
            (format!("no {claim}"), self.signed(plain(), claims).0)
        };
        ["iss", "aud", "sub", "tid", "jti", "iat", "nbf", "exp"].into_iter().map(case).collect()
    }

    fn spoilt_texts(&self) -> Vec<Case> {
        let good = self.signed(plain(), self.claims()).0;
        let mut padded = self.claims();
        padded.insert("note".to_owned(), json!("x".repeat(6000)));
        let (body, signature) = good.rsplit_once('.').expect("three parts");
        let (head, claims) = body.split_once('.').expect("three parts");
        let mut richer = self.claims();
        richer.insert("sub".to_owned(), json!(format!("users/{}", clock::new_id())));
        let mut cases = vec![
            ("an oversized token".to_owned(), self.signed(plain(), padded).0),
            ("a token without its signature".to_owned(), body.to_owned()),
            ("a token with an empty signature".to_owned(), format!("{body}.")),
            ("a token cut short".to_owned(), good[..good.len() - 1].to_owned()),
            ("a token with something behind it".to_owned(), format!("{good}A")),
            ("a token with a fourth part".to_owned(), format!("{good}.{signature}")),
            ("claims of somebody else under this signature".to_owned(), format!("{head}.{}.{signature}", encoded(&Value::Object(richer)))),
            ("parts that changed places".to_owned(), format!("{claims}.{head}.{signature}")),
            ("a signature twice".to_owned(), format!("{body}.{signature}{signature}")),
        ];
        for at in [0, head.len() / 2, head.len() + 1, head.len() + claims.len() / 2, body.len() + 1, good.len() - 43, good.len() - 1] {
            let mut bytes = good.clone().into_bytes();
            let byte = bytes.get_mut(at).expect("within the token");
            *byte = if *byte == b'A' { b'B' } else { b'A' };
            let spoilt = String::from_utf8(bytes).expect("ASCII");
            if spoilt != good {
                cases.push((format!("a changed character at {at}"), spoilt));
            }
        }
        cases
    }
}

/// The header of a good token.
fn plain() -> Value {
    json!({"alg": "EdDSA", "typ": TYPE, "kid": "test"})
}

/// `value` with the members of `change`; those that are null are taken away.
fn changed(mut value: Value, change: &Value) -> Value {
    let members = value.as_object_mut().expect("an object");
    for (name, to) in change.as_object().expect("an object") {
        if to.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), to.clone());
        }
    }
    value
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("JSON"))
}
