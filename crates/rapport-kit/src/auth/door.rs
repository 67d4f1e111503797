//! The door of each method: what the layer stack asks before a handler is entered.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use prost::Message;
use rapport_proto::MethodRule;
use secrecy::{ExposeSecret, SecretString};

use super::{Refusal, Verified, Verifier};
use crate::access::{Access, within};
use crate::ctx::{Actor, Admitted, Call};
use crate::fault::Fault;
use crate::policy::Policy;

/// The rules of all methods that a process serves, by path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    by_path: HashMap<&'static str, &'static MethodRule>,
}

impl Rules {
    pub(crate) fn new(tables: &[&'static [MethodRule]]) -> Self {
        Self { by_path: tables.iter().flat_map(|table| table.iter()).map(|rule| (rule.path, rule)).collect() }
    }

    /// These rules and `others`, for methods that none of these is about.
    pub(crate) fn and(mut self, others: impl Iterator<Item = &'static MethodRule>) -> Self {
        for rule in others {
            self.by_path.entry(rule.path).or_insert(rule);
        }
        self
    }

    pub(crate) fn get(&self, path: &str) -> Option<&'static MethodRule> {
        self.by_path.get(path).copied()
    }

    /// Paths of the methods of `served` services that have no rule; a service that no descriptor knows is
    /// named with all of its methods.
    pub(crate) fn missing(&self, served: &[&'static str], descriptors: &[&[u8]]) -> Result<Vec<String>, Fault> {
        let mut unseen: Vec<&str> = served.to_vec();
        let mut missing = Vec::new();
        for bytes in descriptors {
            let set = prost_types::FileDescriptorSet::decode(*bytes).map_err(Fault::internal)?;
            for file in &set.file {
                for service in &file.service {
                    let name = format!("{}.{}", file.package(), service.name());
                    if !served.contains(&name.as_str()) {
                        continue;
                    }
                    unseen.retain(|unseen| *unseen != name);
                    let paths = service.method.iter().map(|method| format!("/{name}/{}", method.name()));
                    missing.extend(paths.filter(|path| self.get(path).is_none()));
                }
            }
        }
        missing.extend(unseen.iter().map(|service| format!("/{service}/*")));
        missing.sort();
        missing.dedup();
        Ok(missing)
    }
}

/// What decides about entry.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) verifier: Verifier,
    pub(crate) policy: Policy,
    /// Credentials of the operator and of services; any of them opens operator's methods.
    pub(crate) credentials: Vec<SecretString>,
}

impl Door {
    /// Lets a call in, or says why not. Public methods and those of operators carry no tenant.
    pub(crate) async fn admit(&self, rule: &'static MethodRule, headers: &HeaderMap, call: &Arc<Call>) -> Result<Option<Admitted>, Fault> {
        match rule.door {
            rapport_proto::Door::Public => Ok(None),
            rapport_proto::Door::Operator => self.operator(headers).map(|()| None),
            rapport_proto::Door::Authenticated | rapport_proto::Door::Permission => self.subject(rule, headers, call).await.map(Some),
        }
    }

    fn operator(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let shown = bearer(headers).ok_or(Refusal::Missing)?;
        let known = self.credentials.iter().filter(|credential| !credential.expose_secret().is_empty()).any(|credential| {
            aws_lc_rs::constant_time::verify_slices_are_equal(digest(credential.expose_secret()).as_ref(), digest(shown).as_ref()).is_ok()
        });
        if known {
            return Ok(());
        }
        Err(Fault::credential("Send the credential of the operator or of a service: this method takes nothing else, and no user's token."))
    }

    async fn subject(&self, rule: &'static MethodRule, headers: &HeaderMap, call: &Arc<Call>) -> Result<Admitted, Fault> {
        let token = bearer(headers).ok_or(Refusal::Missing)?;
        let verified = self.verifier.verify(token)?;
        let claims = &verified.claims;
        if claims.sid.is_some_and(|session| self.policy.session_ended(session)) {
            return Err(Refusal::NotValid.into());
        }
        call.shows(claims.tid, &claims.sub);
        let access = self.policy.access(claims.tid, verified.subject).await?.ok_or(Refusal::NotValid)?;
        self.allowed(rule, &verified, &access).await?;
        let actor = match &claims.act {
            Some(service) => Actor { name: service.clone(), on_behalf_of: Some(claims.sub.clone()) },
            None => Actor { name: claims.sub.clone(), on_behalf_of: None },
        };
        Ok(Admitted {
            call: Arc::clone(call),
            tenant: claims.tid,
            actor,
            subject: verified.subject,
            session: claims.sid,
            access,
            permission: rule.permission,
            limits: claims.scope.clone(),
        })
    }

    /// Whether a known subject may enter: the tenant serves, and the permission is held and within the token's scope.
    async fn allowed(&self, rule: &'static MethodRule, verified: &Verified, access: &Access) -> Result<(), Fault> {
        let claims = &verified.claims;
        if !rule.set_up && !self.policy.tenant_ready(claims.tid).await? {
            return Err(Fault::precondition(
                "SECURITY_POLICY_MISSING",
                "Store the security policy first (UpdateSecurityPolicy): until then this tenant serves nothing but its set-up.",
            ));
        }
        if rule.door == rapport_proto::Door::Permission {
            let scoped = claims.scope.as_ref().is_none_or(|scope| within(scope, rule.permission));
            if !scoped || !access.permits(rule.permission) {
                return Err(Fault::denied("PERMISSION_MISSING", format!("Ask an administrator for a role with {}.", rule.permission))
                    .with("permission", rule.permission));
            }
        } else if claims.scope.is_some() {
            // A limited credential is good for what it names and nothing else.
            return Err(Fault::denied("PERMISSION_MISSING", "This credential is limited to the permissions that it names.").with("permission", ""));
        }
        Ok(())
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let token = value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer "))?.trim();
    (!token.is_empty()).then_some(token)
}

fn digest(text: &str) -> aws_lc_rs::digest::Digest {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes())
}
