//! Between sessions and their messages.

use std::net::IpAddr;

use prost::Message;
use rapport_identity_api::v1 as pb;
use rapport_kit::page::Measured;
use rapport_kit::{clock, name};
use tonic::Request;
use uuid::Uuid;

use super::model::Session;

/// The client as it named itself, and the address that the nearest proxy saw.
pub(super) fn client<T>(request: &Request<T>) -> (String, String) {
    let text = |key: &str| request.metadata().get(key).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let agent = text("user-agent").chars().take(256).collect();
    let forwarded = text("x-forwarded-for").rsplit(',').next().unwrap_or_default().trim();
    let address = forwarded.parse::<IpAddr>().ok().or_else(|| request.remote_addr().map(|address| address.ip()));
    (agent, address.map(|address| address.to_string()).unwrap_or_default())
}

impl Measured for Session {
    fn bytes(&self) -> usize {
        to_proto(self, None).encoded_len()
    }
}

/// The session as its caller sees it; `current` is the session of the caller's token.
pub(super) fn to_proto(session: &Session, current: Option<Uuid>) -> pb::Session {
    pb::Session {
        name: name::format("sessions", session.id),
        user: name::format("users", session.user),
        user_agent: session.user_agent.clone(),
        ip_address: session.ip_address.clone(),
        current: current == Some(session.id),
        last_use_time: Some(clock::timestamp(session.last_use_at)),
        idle_expire_time: Some(clock::timestamp(session.idle_expires_at)),
        expire_time: Some(clock::timestamp(session.expires_at)),
        create_time: Some(clock::timestamp(session.created_at)),
    }
}
