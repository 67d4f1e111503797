//! The keys as everybody may read them, and their rotation.

use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::{Ctx, Fault, SystemDb};
use rapport_proto::common::v1 as common;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::sql::{self, CURRENT, KeyRow, NEXT};
use crate::Identity;

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

#[tonic::async_trait]
impl pb::signing_key_service_server::SigningKeyService for Rpc {
    async fn get_jwks(&self, _: Request<pb::GetJwksRequest>) -> Result<Response<pb::GetJwksResponse>, Status> {
        Ok(Response::new(pb::GetJwksResponse { keys: published(&self.0.system).await? }))
    }

    async fn rotate_signing_keys(&self, request: Request<pb::RotateSigningKeysRequest>) -> Result<Response<pb::RotateSigningKeysResponse>, Status> {
        let ctx = Ctx::acting(&request, Uuid::nil(), "operators/installation")?;
        let key = ctx.key().map(|key| (key.key.as_str(), key.hash.as_slice()));
        self.0.signer.rotate(&self.0.system, request.get_ref().force, key, ctx.now()).await?;
        tracing::info!(forced = request.get_ref().force, "signing keys were rotated");
        Ok(Response::new(pb::RotateSigningKeysResponse { keys: published(&self.0.system).await? }))
    }
}

/// The public halves: current, next, previous.
pub(crate) async fn published(db: &SystemDb) -> Result<Vec<common::Jwk>, Fault> {
    Ok(sql::all(db).await?.into_iter().map(jwk).collect())
}

fn jwk(row: KeyRow) -> common::Jwk {
    let state = match row.state {
        NEXT => common::KeyState::Next,
        CURRENT => common::KeyState::Current,
        _ => common::KeyState::Previous,
    };
    common::Jwk {
        kid: row.kid,
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x: row.public_key,
        y: String::new(),
        alg: "EdDSA".to_owned(),
        r#use: "sig".to_owned(),
        state: state.into(),
    }
}
