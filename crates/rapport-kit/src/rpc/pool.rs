//! The connections of a client, and which of them a call takes.
//!
//! Guarantees: connections whose service serves are picked, the least busy first and those in turn that are equally
//! busy; those whose service leaves only as long as there is no other, since it still answers; a connection that ends is out at once, whatever made it end, and is made anew in the background
//! with growing waits; names are resolved again and again, addresses that went away are left without cutting
//! calls. A call waits for a connection only while one may yet come.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{Response, Uri};
use tokio::sync::{Notify, watch};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::BoxError;

use super::Settings;
use super::connection::{Connection, Picked, Secure};
use super::retry::spread;
use crate::fault::Fault;
use crate::tasks::Tasks;

/// Addresses of one service at most.
const ADDRESSES: usize = 256;
/// Resolving takes no longer, and is not repeated sooner.
const RESOLVE: Duration = Duration::from_secs(3);
const RESOLVE_AGAIN: Duration = Duration::from_millis(250);
/// While nothing serves, names are resolved that often: whoever left has a successor, which the name soon has.
const RESOLVE_IN_NEED: Duration = Duration::from_secs(1);
/// The wait before a connection is tried again, doubling up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A connection that held this long was a good one.
const GOOD: Duration = Duration::from_secs(1);

type Resolve = Box<dyn Fn() -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The connections to one service.
#[derive(Debug)]
pub(super) struct Pool {
    origin: Uri,
    secure: Option<Secure>,
    connections: usize,
    health: bool,
    resolve_every: Duration,
    connect_timeout: Duration,
    state: watch::Sender<State>,
    turn: AtomicUsize,
    lines: AtomicU64,
    lost: Notify,
    tasks: Tasks,
    /// Ends everything: the client is no longer used, or the process ends.
    pub(super) gone: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    resolved: bool,
    lines: Vec<(u64, Phase)>,
}

/// Where one of the connections stands.
#[derive(Debug)]
enum Phase {
    /// It is being made, or its service is starting.
    Coming,
    /// Calls can take it.
    Ready(Arc<Connection>),
    /// The service leaves and answers for a moment yet: calls take it if nothing else is ready.
    Leaving(Arc<Connection>),
    /// The last try failed.
    Away,
}

impl Pool {
    pub(super) fn start(settings: &Settings, tasks: &Tasks) -> Result<Arc<Self>, Fault> {
        let (origin, names) = read(&settings.address)?;
        let secure = secure(settings, &origin)?;
        let resolve: Resolve = match settings.at {
            Some(address) => Box::new(move || Box::pin(std::future::ready(Ok(vec![address])))),
            None => Box::new(move || Box::pin(resolve(names.clone()))),
        };
        Ok(Self::follow(settings, origin, secure, tasks, resolve))
    }

    fn follow(settings: &Settings, origin: Uri, secure: Option<Secure>, tasks: &Tasks, resolve: Resolve) -> Arc<Self> {
        let pool = Arc::new(Self {
            origin,
            secure,
            connections: settings.connections.max(1),
            health: settings.health,
            resolve_every: settings.resolve_every,
            connect_timeout: settings.connect_timeout,
            state: watch::Sender::default(),
            turn: AtomicUsize::new(0),
            lines: AtomicU64::new(0),
            lost: Notify::new(),
            tasks: tasks.clone(),
            gone: tasks.stopping().child_token(),
        });
        tasks.spawn("rpc addresses", Arc::clone(&pool).addresses(resolve));
        pool
    }

    /// The address of a request to this service.
    pub(super) fn uri(&self, asked: &Uri) -> Result<Uri, Fault> {
        let mut parts = self.origin.clone().into_parts();
        parts.path_and_query = Some(asked.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
        Uri::from_parts(parts).map_err(Fault::internal)
    }

    /// A connection for a call, if possible to none of the addresses `tried`; none if nothing is or becomes ready.
    pub(super) async fn pick(&self, tried: &[SocketAddr], until: Instant) -> Option<Picked> {
        let until = until.min(Instant::now() + self.connect_timeout);
        let mut state = self.state.subscribe();
        loop {
            {
                let now = state.borrow_and_update();
                if let Some(connection) = self.choose(&now, tried) {
                    return Some(Picked::new(connection));
                }
                let hopeful = !now.resolved || now.lines.iter().any(|(_, phase)| matches!(phase, Phase::Coming));
                if !hopeful {
                    return None;
                }
            }
            tokio::time::timeout_at(until.into(), state.changed()).await.ok()?.ok()?;
        }
    }

    fn choose(&self, state: &State, tried: &[SocketAddr]) -> Option<Arc<Connection>> {
        let ready = state.lines.iter().filter_map(|(_, phase)| if let Phase::Ready(connection) = phase { Some(connection) } else { None });
        let leaving = state.lines.iter().filter_map(|(_, phase)| if let Phase::Leaving(connection) = phase { Some(connection) } else { None });
        let mut open: Vec<&Arc<Connection>> = ready.collect();
        if open.is_empty() {
            open = leaving.collect();
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(open.len()).unwrap_or_default();
        open.rotate_left(turn);
        let least = |connections: &mut dyn Iterator<Item = &Arc<Connection>>| {
            connections.min_by_key(|connection| connection.pending.load(Ordering::Relaxed)).cloned()
        };
        least(&mut open.iter().copied().filter(|connection| !tried.contains(&connection.address))).or_else(|| least(&mut open.iter().copied()))
    }

    /// What a caller is told when the service could not be reached.
    pub(super) fn away(&self, error: Option<BoxError>) -> Response<Body> {
        if let Some(error) = error {
            tracing::debug!(service = %self.origin, %error, "a call to another service failed");
        }
        let service = self.origin.host().unwrap_or_default();
        let text = format!("The service at {service} does not answer at this moment; send the request again.");
        Status::from(Fault::unavailable("SERVICE_AWAY", text).with("service", service).retry_after(Duration::from_millis(20))).into_http()
    }

    /// Keeps connections to the addresses that the name has.
    async fn addresses(self: Arc<Self>, resolve: Resolve) {
        let mut known: HashMap<SocketAddr, CancellationToken> = HashMap::new();
        let mut warned = false;
        loop {
            match tokio::time::timeout(RESOLVE, resolve()).await {
                Ok(Ok(found)) if !found.is_empty() => {
                    warned = false;
                    self.keep_to(&mut known, found.into_iter().take(ADDRESSES).collect());
                }
                // Whoever was there before is still the best guess.
                failed => {
                    if !warned {
                        tracing::warn!(service = %self.origin, ?failed, "the address of another service could not be resolved; trying again");
                    }
                    warned = true;
                }
            }
            self.state.send_if_modified(|state| !std::mem::replace(&mut state.resolved, true));
            tokio::select! {
                () = self.gone.cancelled() => return,
                () = tokio::time::sleep(if self.serves() { self.resolve_every } else { self.resolve_every.min(RESOLVE_IN_NEED) }) => {}
                () = self.lost.notified() => tokio::time::sleep(RESOLVE_AGAIN).await,
            }
        }
    }

    fn serves(&self) -> bool {
        self.state.borrow().lines.iter().any(|(_, phase)| matches!(phase, Phase::Ready(_)))
    }

    fn keep_to(self: &Arc<Self>, known: &mut HashMap<SocketAddr, CancellationToken>, found: HashSet<SocketAddr>) {
        known.retain(|address, gone| {
            let stays = found.contains(address);
            if !stays {
                gone.cancel();
            }
            stays
        });
        for address in found {
            known.entry(address).or_insert_with(|| {
                let gone = self.gone.child_token();
                for _ in 0..self.connections {
                    let id = self.lines.fetch_add(1, Ordering::Relaxed);
                    self.state.send_modify(|state| state.lines.push((id, Phase::Coming)));
                    self.tasks.spawn("rpc connection", Arc::clone(self).keep(id, address, gone.clone()));
                }
                gone
            });
        }
    }

    /// Keeps one connection until its address is gone.
    async fn keep(self: Arc<Self>, id: u64, address: SocketAddr, gone: CancellationToken) {
        let mut wait = FIRST_WAIT;
        loop {
            let good = tokio::select! {
                () = gone.cancelled() => break,
                good = self.attend(id, address) => good,
            };
            self.lost.notify_one();
            if good {
                wait = FIRST_WAIT;
                self.enter(id, Phase::Coming);
                continue;
            }
            self.enter(id, Phase::Away);
            tokio::select! {
                () = gone.cancelled() => break,
                () = tokio::time::sleep(wait / 2 + spread(wait / 2)) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        self.state.send_modify(|state| state.lines.retain(|(line, _)| *line != id));
    }

    /// One connection's life; answers whether it was a good one. When this ends, or is dropped, calls that run on
    /// the connection still come to their end.
    async fn attend(&self, id: u64, address: SocketAddr) -> bool {
        let (connection, driving) = match Connection::dial(address, self.secure.as_ref(), self.connect_timeout).await {
            Ok(dialled) => dialled,
            Err(error) => {
                tracing::debug!(%address, %error, "another service could not be reached");
                return false;
            }
        };
        let (connection, begun) = (Arc::new(connection), Instant::now());
        let ready = || self.enter(id, Phase::Ready(Arc::clone(&connection)));
        let health = async {
            if !self.health {
                ready();
                return std::future::pending().await;
            }
            let mut served = false;
            let said = |serves: bool| match (serves, std::mem::replace(&mut served, serves)) {
                (true, _) => ready(),
                (false, true) => {
                    self.enter(id, Phase::Leaving(Arc::clone(&connection)));
                    self.lost.notify_one();
                }
                (false, false) => {}
            };
            connection.health(self.origin.clone(), self.connect_timeout, said).await;
        };
        tokio::select! {
            () = driving => {}
            () = health => {}
        }
        begun.elapsed() > GOOD
    }

    fn enter(&self, id: u64, phase: Phase) {
        self.state.send_modify(|state| {
            if let Some(line) = state.lines.iter_mut().find(|(line, _)| *line == id) {
                line.1 = phase;
            }
        });
    }
}

/// Origin and names of `http://a:1,b:2`, or of `https://a:1`.
fn read(address: &str) -> Result<(Uri, Vec<String>), Fault> {
    let invalid = || invalid(address, "it must look like http://name:port, or https://name:port with one name");
    let (scheme, usual, names) = match address.split_once("://") {
        Some(("http", names)) => ("http", 80, names),
        // The certificates of all addresses are for this one name.
        Some(("https", names)) if !names.contains(',') => ("https", 443, names),
        _ => return Err(invalid()),
    };
    let names = names.trim_end_matches('/');
    let mut read = Vec::new();
    for name in names.split(',') {
        let authority: http::uri::Authority = name.parse().map_err(|_| invalid())?;
        if authority.host().is_empty() {
            return Err(invalid());
        }
        read.push(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(usual)));
    }
    let origin = format!("{scheme}://{}", names.split(',').next().unwrap_or_default()).parse().map_err(|_| invalid())?;
    Ok((origin, read))
}

/// How connections to `origin` are protected; none if it does not ask for TLS.
fn secure(settings: &Settings, origin: &Uri) -> Result<Option<Secure>, Fault> {
    if origin.scheme_str() != Some("https") {
        return Ok(None);
    }
    let address = &settings.address;
    let lacking = "it asks for TLS, which takes tls.certificate, tls.key and tls.authority in the file that --config names";
    let tls = settings.tls.clone().ok_or_else(|| invalid(address, lacking))?;
    let host = origin.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let host = ServerName::try_from(host).map_err(|_| invalid(address, "no certificate can be for this name"))?;
    Ok(Some(Secure { tls, host }))
}

fn invalid(address: &str, why: &str) -> Fault {
    Fault::precondition("SERVICE_ADDRESS_INVALID", format!("Correct the address {address:?} of a service: {why}.")).with("address", address)
}

/// All addresses of all names; names that do not resolve are passed over as long as one does.
async fn resolve(names: Vec<String>) -> std::io::Result<Vec<SocketAddr>> {
    let (mut found, mut failed) = (Vec::new(), None);
    for name in names {
        match tokio::net::lookup_host(name).await {
            Ok(addresses) => found.extend(addresses),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_address_names_one_or_several_hosts() {
        let (origin, names) = read("http://contacts:8080").unwrap();
        assert_eq!((origin.to_string().as_str(), names.as_slice()), ("http://contacts:8080/", ["contacts:8080".to_owned()].as_slice()));
        assert_eq!(read("http://10.0.0.1:1,[::1]:2/").unwrap().1, ["10.0.0.1:1", "[::1]:2"]);
        assert_eq!(read("https://contacts").unwrap().1, ["contacts:443"]);
        for wrong in ["", "contacts:8080", "ftp://contacts", "http://", "http://:80", "http://a b", "http://a:1,", "https://a:1,b:1"] {
            assert_eq!(read(wrong).expect_err(wrong).reason(), "SERVICE_ADDRESS_INVALID");
        }
    }

    #[tokio::test]
    async fn addresses_that_come_are_connected_to_and_those_that_go_are_left() {
        let (one, other) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (first, second) = (one.local_addr().unwrap(), other.local_addr().unwrap());
        let name = Arc::new(Mutex::new(vec![first]));
        let known = Arc::clone(&name);
        let resolve: Resolve = Box::new(move || {
            let found = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Box::pin(async move { Ok(found) })
        });
        let settings = Settings { health: false, resolve_every: Duration::from_millis(20), ..Settings::new("") };
        let tasks = Tasks::default();
        let pool = Pool::follow(&settings, Uri::from_static("http://pods"), None, &tasks, resolve);
        let soon = || Instant::now() + Duration::from_secs(20);
        assert_eq!(pool.pick(&[], soon()).await.expect("the first pod").address, first);
        let replace = |addresses: &[SocketAddr]| *name.lock().unwrap_or_else(PoisonError::into_inner) = addresses.to_vec();
        let ready = async |wanted: &[SocketAddr]| {
            let mut state = pool.state.subscribe();
            let found = state.wait_for(|state| {
                let ready =
                    state.lines.iter().filter_map(|(_, phase)| if let Phase::Ready(connection) = phase { Some(connection.address) } else { None });
                ready.collect::<HashSet<_>>() == wanted.iter().copied().collect()
            });
            tokio::time::timeout(Duration::from_secs(20), found).await.expect("the pods change").unwrap();
        };
        replace(&[first, second]);
        ready(&[first, second]).await;
        // What was tried already is left for last.
        assert_eq!(pool.pick(&[first], soon()).await.unwrap().address, second);
        assert_eq!(pool.pick(&[second], soon()).await.unwrap().address, first);
        // The least busy one is taken.
        let busy = pool.pick(&[first], soon()).await.unwrap();
        assert_eq!(pool.pick(&[], soon()).await.unwrap().address, first);
        drop(busy);
        replace(&[second]);
        ready(&[second]).await;
        // A name that does not resolve at this moment changes nothing.
        replace(&[]);
        assert_eq!(pool.pick(&[], soon()).await.unwrap().address, second);
        pool.gone.cancel();
        assert!(tasks.stop(Duration::from_secs(20)).await);
    }
}
