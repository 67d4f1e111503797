//! Calls of any method by its path, with encoded messages: no client of its own for each service.

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use rapport_kit::clock;
use rapport_kit::testing::{Subject, password};
use secrecy::ExposeSecret;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// What a service answered: the encoded message, or why not.
pub(crate) type Answer = Result<Vec<u8>, Status>;

/// A connection over which any method can be called.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    channel: Channel,
}

/// Who calls, and what goes with the call.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    credential: Option<String>,
    key: Option<String>,
    /// The request id under which the call is recorded.
    pub(crate) request_id: String,
}

impl Caller {
    /// Nobody.
    pub(crate) fn anonymous() -> Self {
        Self { credential: None, key: None, request_id: clock::new_id().to_string() }
    }

    /// Somebody with a valid token.
    pub(crate) fn of(subject: &Subject) -> Self {
        Self { credential: Some(subject.token.clone()), ..Self::anonymous() }
    }

    /// The operator of the installation.
    pub(crate) fn operator() -> Self {
        Self { credential: Some(password().expose_secret().to_owned()), ..Self::anonymous() }
    }

    /// The same under an idempotency key.
    pub(crate) fn with_key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }
}

impl Wire {
    /// Calls over `channel`.
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// Sends the encoded `request` to the method at `path`.
    pub(crate) async fn send(&self, path: &str, caller: &Caller, request: Vec<u8>) -> Answer {
        let mut request = Request::new(request);
        if let Some(credential) = &caller.credential {
            request.metadata_mut().insert("authorization", format!("Bearer {credential}").parse().expect("a credential is ASCII"));
        }
        request.metadata_mut().insert("x-request-id", caller.request_id.parse().expect("a request id is ASCII"));
        if let Some(key) = &caller.key {
            request.metadata_mut().insert("idempotency-key", key.parse().expect("a key is ASCII"));
        }
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::try_from(path).expect("a method has a path");
        Ok(Box::pin(client.unary(request, path, Bytes)).await?.into_inner())
    }
}

/// Passes messages as the bytes they are.
#[derive(Debug, Clone, Copy)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; from.remaining()];
        from.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}

/// Everything that a caller can read of an answer or a refusal.
pub(crate) fn bytes(answer: &Answer) -> Vec<u8> {
    match answer {
        Ok(message) => message.clone(),
        Err(status) => [status.message().as_bytes(), status.details(), format!("{:?}", status.metadata()).as_bytes()].concat(),
    }
}

/// Ids that stand in the bytes as text.
pub(crate) fn ids(bytes: &[u8]) -> Vec<uuid::Uuid> {
    let is_letter = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
    let windows = bytes.windows(36).filter(|window| window.get(8) == Some(&b'-') && window.iter().all(is_letter));
    windows.filter_map(|window| uuid::Uuid::try_parse_ascii(window).ok()).collect()
}

/// Whether `part` stands in `whole`.
pub(crate) fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}
