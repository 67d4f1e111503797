//! A wire between the kit and a server, on which a test can do what networks and servers do at their worst.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rapport_kit::tasks::Tasks;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// Before the first frame a client of the broker says which protocol it speaks.
const GREETING: usize = 8;
/// Type, channel and length of a frame.
const HEAD: usize = 7;
const ACK: [u8; 4] = [0, 60, 0, 80];
const PUBLISH: [u8; 4] = [0, 60, 0, 40];
/// `connection.blocked` with an empty reason, as a whole frame.
const BLOCKED: [u8; 13] = [1, 0, 0, 0, 0, 0, 5, 0, 10, 0, 60, 0, 0xce];

/// A wire to one server. Connections that are made after a disturbance are sound.
pub(crate) struct Wire {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// Grows when the connections that there are fall silent.
    silences: watch::Sender<u64>,
    /// The same for what a broker does to publishers when it runs out of memory.
    blocks: watch::Sender<u64>,
    /// The next acknowledgement names a delivery that never was.
    forges: AtomicBool,
}

impl Wire {
    /// A wire to the server of `url`.
    pub(crate) async fn to(url: &SecretString) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State { silences: watch::Sender::new(0), blocks: watch::Sender::new(0), forges: AtomicBool::new(false) });
        let (server, speaks_frames) = (authority(url), url.expose_secret().starts_with("amqp"));
        let tasks = Tasks::default();
        let (accepting, connections) = (Arc::clone(&state), tasks.clone());
        tasks.spawn("wire", async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server answers");
                connections.spawn("wire", connect(client, server, Arc::clone(&accepting), speaks_frames));
            }
        });
        Self { address, state }
    }

    /// The address `url` over this wire.
    pub(crate) fn url(&self, url: &SecretString) -> SecretString {
        SecretString::from(url.expose_secret().replace(&authority(url), &self.address.to_string()))
    }

    /// From now on nothing that the server says arrives over the connections that there are; they stay open.
    pub(crate) fn hush(&self) {
        self.state.silences.send_modify(|silences| *silences += 1);
    }

    /// The broker tells the publishers that there are to stop, and reads nothing from them any more.
    pub(crate) fn block_publishers(&self) {
        self.state.blocks.send_modify(|blocks| *blocks += 1);
    }

    /// The next acknowledgement names a delivery that never was.
    pub(crate) fn forge_an_acknowledgement(&self) {
        self.state.forges.store(true, Ordering::SeqCst);
    }

    /// Whether that acknowledgement has been sent.
    pub(crate) fn has_forged(&self) -> bool {
        !self.state.forges.load(Ordering::SeqCst)
    }
}

fn authority(url: &SecretString) -> String {
    let uri: http::Uri = url.expose_secret().parse().expect("an address");
    let authority = uri.authority().expect("an address names a server");
    format!("{}:{}", authority.host(), authority.port_u16().expect("an address names a port"))
}

async fn connect(client: TcpStream, server: TcpStream, state: Arc<State>, speaks_frames: bool) {
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (to_say, saying) = mpsc::channel::<Vec<u8>>(64);
    let mut blocks = state.blocks.subscribe();
    let mut silences = state.silences.subscribe();
    let answers = to_say.clone();
    let up = async {
        let mut publishes = false;
        let mut greets = speaks_frames;
        loop {
            let heard = tokio::select! {
                biased;
                blocked = blocks.changed(), if publishes => {
                    if blocked.is_ok() {
                        let _ = to_say.send(BLOCKED.to_vec()).await;
                    }
                    // Nothing is read any more; the connection stays open.
                    std::future::pending::<Option<Vec<u8>>>().await
                }
                heard = hear(&mut from_client, speaks_frames, &mut greets) => heard,
            };
            let Some(mut heard) = heard else { return };
            publishes |= is(&heard, PUBLISH);
            if is(&heard, ACK) && state.forges.swap(false, Ordering::SeqCst) {
                heard[HEAD + 4..HEAD + 12].copy_from_slice(&u64::MAX.to_be_bytes());
            }
            if to_server.write_all(&heard).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut greets = false;
        while let Some(heard) = hear(&mut from_server, speaks_frames, &mut greets).await {
            if answers.send(heard).await.is_err() {
                return;
            }
        }
    };
    let silence = async {
        let _ = silences.changed().await;
    };
    let hushed = state.silences.subscribe();
    let over = async {
        tokio::select! {
            () = up => {}
            () = down => {}
        }
        // Not even the end of a connection is heard in the silence.
        if hushed.has_changed().unwrap_or(false) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = over => {}
        () = say(saying, to_client, silence) => {}
    }
}

/// Says what there is to say until the silence comes.
async fn say(mut saying: mpsc::Receiver<Vec<u8>>, mut to_client: impl AsyncWrite + Unpin, silence: impl Future<Output = ()>) {
    let speaking = async {
        while let Some(said) = saying.recv().await {
            if to_client.write_all(&said).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = silence => std::future::pending().await,
        () = speaking => {}
    }
}

/// Whether the frame is this method.
fn is(frame: &[u8], method: [u8; 4]) -> bool {
    frame.first() == Some(&1) && frame.get(HEAD..HEAD + 4) == Some(method.as_slice())
}

/// The next frame, or whatever has come where no frames are spoken; none at the end.
async fn hear(from: &mut (impl AsyncRead + Unpin), speaks_frames: bool, greets: &mut bool) -> Option<Vec<u8>> {
    if !speaks_frames {
        let mut heard = vec![0; 16 * 1024];
        let length = from.read(&mut heard).await.ok().filter(|length| *length > 0)?;
        heard.truncate(length);
        return Some(heard);
    }
    let mut heard = vec![0; if *greets { GREETING } else { HEAD }];
    from.read_exact(&mut heard).await.ok()?;
    if std::mem::take(greets) {
        return Some(heard);
    }
    let length = u32::from_be_bytes(heard.get(3..HEAD)?.try_into().ok()?);
    heard.resize(HEAD + usize::try_from(length).ok()? + 1, 0);
    from.read_exact(heard.get_mut(HEAD..)?).await.ok()?;
    Some(heard)
}
