//! Mutual TLS: who is let in and who is believed, what a renewal changes, and what is told in plain text beside it.

mod ends;
mod handshake;
mod renewal;

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use rapport_kit::clock;
use rapport_kit::config::TlsFiles;
use rapport_kit::rpc::{Client, Settings};
use rapport_kit::tasks::Tasks;
use rapport_kit::tls::Tls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::Status;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// What a client of HTTP/2 says first, and a frame of no settings.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Ends a test that hangs; nothing is judged by it.
const HANGS: Duration = Duration::from_secs(60);

/// Signs the certificates of an installation.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with what belongs to it, as cert-manager writes them into a Secret.
#[derive(Clone)]
struct Issued {
    certificate: String,
    key: String,
    authority: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", clock::new_id()));
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate of the probe, which is reached at localhost too.
    fn issue(&self) -> Issued {
        self.sign(&CertificateParams::new(vec!["probe".to_owned(), "localhost".to_owned()]).expect("names"))
    }

    fn sign(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Issued { certificate, key: key.serialize_pem(), authority: self.pem.clone() }
    }
}

impl Issued {
    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }
}

/// A Secret as it is mounted: its files are links by way of one that is exchanged when the Secret changes.
struct Mounted(PathBuf);

impl Mounted {
    fn new(issued: &Issued) -> Self {
        let mounted = Self(std::env::temp_dir().join(format!("rapport-{}", clock::new_id())));
        fs::create_dir(&mounted.0).expect("a folder is made");
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            symlink(Path::new("..data").join(file), mounted.0.join(file)).expect("a link is made");
        }
        mounted.put(issued);
        mounted
    }

    fn put(&self, issued: &Issued) {
        let version = clock::new_id().to_string();
        let folder = self.0.join(&version);
        fs::create_dir(&folder).expect("a folder is made");
        for (file, text) in [("tls.crt", &issued.certificate), ("tls.key", &issued.key), ("ca.crt", &issued.authority)] {
            fs::write(folder.join(file), text).expect("a file is written");
        }
        symlink(version, self.0.join("..data_tmp")).expect("a link is made");
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).expect("the link is exchanged");
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.0.join("tls.crt"), key: self.0.join("tls.key"), authority: self.0.join("ca.crt") }
    }

    fn tls(&self) -> Tls {
        Tls::load(&self.files()).expect("files that can be used").expect("a certificate")
    }

    /// A client that shows this certificate to whoever is at `address` and calls itself `name`.
    fn client(&self, name: &str, address: SocketAddr) -> Client {
        let settings = Settings { tls: Some(self.tls()), at: Some(address), ..Settings::new(format!("https://{name}")) };
        Client::new(settings, &[rapport_proto::METHODS], &Tasks::default()).expect("an address")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks whether the service serves.
async fn serves(client: &Client) -> Result<ServingStatus, Status> {
    let answer = HealthClient::new(client.alone()).check(HealthCheckRequest::default()).await?;
    Ok(answer.into_inner().status())
}

/// Connects to the probe at `address`, believing `authority`, and shows `own` if it is asked who it is.
async fn dial(address: SocketAddr, authority: &Authority, own: Option<&Issued>) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("a certificate")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(roots);
    let mut config = match own {
        Some(own) => {
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
            config.with_client_auth_cert(vec![own.der()], key).expect("a certificate and its key")
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("probe").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

/// Whether the probe speaks HTTP/2 with whoever shows `own`.
async fn is_let_in(address: SocketAddr, authority: &Authority, own: Option<&Issued>) -> bool {
    let speaking = async {
        let mut stream = dial(address, authority, own).await?;
        stream.write_all(GREETING).await?;
        stream.flush().await?;
        stream.read(&mut [0; 64]).await
    };
    // The refusal may come as late as the first answer: a client of TLS 1.3 goes on before the server has looked.
    tokio::time::timeout(HANGS, speaking).await.expect("an answer or a refusal").is_ok_and(|read| read > 0)
}
