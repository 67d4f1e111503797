//! Mutual TLS between services: the certificate of this process, the authority that it believes, and their renewal.
//!
//! Guarantees: whichever side began, a peer is spoken with only if the authority signed its certificate, and a server
//! only if its certificate names the host that was asked for; what else the system trusts does not count, and each
//! connection proves itself anew. Files that change are read again while the process runs: connections that are made
//! from then on take them, those that there are go on. Files that cannot be used, or whose certificate peers would
//! refuse, are not taken: those before stay in use. Keys are never printed.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::config::{TlsFiles, invalid};
use crate::fault::Fault;
use crate::metrics;
use crate::tasks::Tasks;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(5);
/// Bytes of a file at most.
const LARGEST: u64 = 1024 * 1024;
/// What is spoken within: HTTP/2, by its name in RFC 9113, section 3.2.
const PROTOCOL: &[u8] = b"h2";

/// The certificate of a process and the authority that it believes; all clones are the same.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    current: Arc<watch::Sender<Current>>,
}

/// What is in use.
struct Current {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    /// When the certificate ends, in seconds since 1970.
    ends: i64,
    digest: Vec<u8>,
}

/// What stands in the files.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files; none if none are named.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (CONFIG_INVALID) if they cannot be used, or if peers would refuse the certificate.
    pub fn load(files: &TlsFiles) -> Result<Option<Self>, Fault> {
        if !files.are_named() {
            return Ok(None);
        }
        let current = Contents::read(files).and_then(|contents| Current::of(&contents)).map_err(|wrong| invalid(&[wrong]))?;
        Ok(Some(Self { files: files.clone(), current: Arc::new(watch::Sender::new(current)) }))
    }

    /// Follows the files until the process ends.
    pub(crate) fn follow(&self, tasks: &Tasks) {
        let (tls, own) = (self.clone(), tasks.clone());
        metrics::certificate_expiry().set(self.current.borrow().ends);
        tasks.spawn("certificate", async move {
            let (mut last, mut looks) = (None, 0_u64);
            while own.pause(LOOK).await {
                let wrong = tls.renew().err();
                looks = if wrong == last { looks + 1 } else { 1 };
                // The files are read one after the other and may be exchanged meanwhile: at the next look they fit.
                if let Some(error) = wrong.as_ref().filter(|_| looks == 2) {
                    tracing::warn!(error, "the renewed certificate cannot be used; the one before stays in use");
                }
                last = wrong;
            }
        });
    }

    /// Takes what stands in the files now, if it is anything new.
    fn renew(&self) -> Result<(), String> {
        let contents = Contents::read(&self.files)?;
        if contents.digest() != self.current.borrow().digest {
            let current = Current::of(&contents)?;
            tracing::info!(ends = current.ends, "a renewed certificate is in use");
            metrics::certificate_expiry().set(current.ends);
            self.current.send_replace(current);
        }
        Ok(())
    }

    /// The server's side of a new connection; ends when the peer has shown its certificate.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        let acceptor = self.current.borrow().acceptor.clone();
        acceptor.accept(stream).await
    }

    /// The client's side, of a connection to `host`.
    pub(crate) async fn connect(&self, host: ServerName<'static>, stream: TcpStream) -> io::Result<client::TlsStream<TcpStream>> {
        let connector = self.current.borrow().connector.clone();
        connector.connect(host, stream).await
    }
}

impl Current {
    fn of(contents: &Contents) -> Result<Self, String> {
        let chain = certificates("certificate", &contents.certificate)?;
        let key = private_key(&contents.key)?;
        let mut roots = RootCertStore::empty();
        for root in certificates("authority", &contents.authority)? {
            roots.add(root).map_err(wrong("authority"))?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(default_provider()));
        // What peers would say to the certificate: servers that it calls, and clients that call it.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build().map_err(wrong("authority"))?;
        let (leaf, others) = chain.split_first().ok_or_else(|| wrong("certificate")("it is missing"))?;
        verifier.verify_client_cert(leaf, others, UnixTime::now()).map_err(wrong("certificate"))?;
        let clients = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build().map_err(wrong("authority"))?;
        clients.verify_server_cert(leaf, others, &name(leaf)?, &[], UnixTime::now()).map_err(wrong("certificate"))?;
        let ends = ends(&chain)?;

        // Nothing is resumed: what was proven under one certificate says nothing about the next.
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let server = server.map_err(wrong("certificate"))?.with_client_cert_verifier(verifier);
        let mut server = server.with_single_cert(chain.clone(), key.clone_key()).map_err(wrong("key"))?;
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = client.map_err(wrong("certificate"))?.with_root_certificates(roots);
        let mut client = client.with_client_auth_cert(chain, key).map_err(wrong("key"))?;
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Self { acceptor: Arc::new(server).into(), connector: Arc::new(client).into(), ends, digest: contents.digest() })
    }
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, String> {
        Ok(Self {
            certificate: content("certificate", &files.certificate)?,
            key: content("key", &files.key)?,
            authority: content("authority", &files.authority)?,
        })
    }

    fn digest(&self) -> Vec<u8> {
        let mut digest = Context::new(&SHA256);
        for part in [&self.certificate, &self.key, &self.authority] {
            digest.update(part);
        }
        digest.finish().as_ref().to_vec()
    }
}

/// What is told of an error about the key `name` of the configuration.
fn wrong<E: Display>(name: &'static str) -> impl Fn(E) -> String {
    move |error| format!("tls.{name}: {error}")
}

/// What stands in the file of the key `name`.
fn content(name: &'static str, file: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    match File::open(file).and_then(|file| file.take(LARGEST).read_to_end(&mut content)) {
        Ok(read) if read as u64 == LARGEST => Err(wrong(name)("a file of a mebibyte or more is none of certificates")),
        Ok(_) => Ok(content),
        Err(error) => Err(wrong(name)(format!("{}: {error}", file.display()))),
    }
}

/// The private key in `pem`. What the parser says of an error must not be told: it quotes what it has read.
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| wrong("key")("is not a private key in PEM"))
}

/// The certificates in `pem`, one at least. The parser's errors must not be told here either: what was put into the
/// file may be a key.
fn certificates(name: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| wrong(name)("cannot be read as PEM"))?;
    if found.is_empty() { Err(wrong(name)("holds no certificate in PEM")) } else { Ok(found) }
}

/// The certificate as far as it can be read.
fn read<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    let (_, certificate) = parse_x509_certificate(certificate).map_err(|_| wrong("certificate")("holds a certificate that cannot be read"))?;
    Ok(certificate)
}

/// A name under which clients would ask for whoever shows `leaf`.
fn name(leaf: &CertificateDer<'_>) -> Result<ServerName<'static>, String> {
    let leaf = read(leaf)?;
    let names = leaf.subject_alternative_name().map_err(wrong("certificate"))?.map(|names| &names.value.general_names);
    let host = names.into_iter().flatten().find_map(|name| match name {
        // A wildcard stands for any name in its place.
        GeneralName::DNSName(name) => DnsName::try_from(name.replacen('*', "any", 1)).ok(),
        _ => None,
    });
    host.map(ServerName::DnsName).ok_or_else(|| wrong("certificate")("has no DNS name by which clients could ask for it"))
}

/// When the first of these ends, in seconds since 1970.
fn ends(chain: &[CertificateDer<'_>]) -> Result<i64, String> {
    let mut first = i64::MAX;
    for certificate in chain {
        first = first.min(read(certificate)?.validity().not_after.timestamp());
    }
    Ok(first)
}
