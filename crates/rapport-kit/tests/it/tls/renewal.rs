//! The files of a certificate: what a process starts with, and what their renewal changes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rapport_kit::config::{Config, TlsFiles};
use rapport_kit::testing::eventually;
use rapport_kit::tls::Tls;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{Authority, Issued, Mounted, dial};
use crate::support::{Lines, Rig, Wire, over, refused};

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_whoever_comes_and_changes_nothing_for_those_inside() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(), authority.issue());
    let mounted = Mounted::new(&first);
    let rig = Rig::configured(|config| config.tls = mounted.files()).await;
    let shown = async || {
        let stream = dial(rig.running.address, &authority, Some(&first)).await.expect("a connection");
        stream.get_ref().1.peer_certificates().expect("certificates")[0].clone()
    };
    assert_eq!(shown().await, first.der());
    let inside = over(dial(rig.running.address, &authority, Some(&first)).await.unwrap()).await;
    let mut inside: HealthClient<Wire> = HealthClient::with_origin(inside, "https://probe".parse().unwrap());
    inside.check(HealthCheckRequest::default()).await.expect("an answer");

    let lines = Lines::default();
    let listening = lines.listen();
    mounted.put(&Issued { key: second.key.clone(), ..first.clone() });
    eventually("a warning", async || lines.text().contains("tls.key").then_some(())).await;
    assert_eq!(shown().await, first.der(), "a key of another certificate is not taken");
    mounted.put(&Issued { authority: Authority::new().pem, ..second.clone() });
    eventually("another warning", async || lines.text().contains("tls.certificate").then_some(())).await;
    assert_eq!(shown().await, first.der(), "nor is what every peer would refuse");
    drop(listening);

    mounted.put(&second);
    eventually("the renewed certificate", async || (shown().await == second.der()).then_some(())).await;
    inside.check(HealthCheckRequest::default()).await.expect("the connection goes on");
}

#[test]
fn a_certificate_is_used_for_all_calls_or_for_none() {
    let files = |text: &str| TlsFiles { certificate: text.into(), key: text.into(), authority: text.into() };
    let services = BTreeMap::from([("sales".to_owned(), "http://sales:8080".to_owned())]);
    let plain = Config { services, ..Config::default() };
    assert_eq!(plain.errors(), Vec::<String>::new());
    let told = |config: Config, parts: &[&str]| {
        let errors = config.errors();
        assert_eq!(errors.len(), parts.len(), "{errors:?}");
        assert!(parts.iter().all(|part| errors.iter().any(|error| error.starts_with(part))), "{errors:?}");
    };
    told(Config { tls: files("/a"), ..plain.clone() }, &["identity: ", "services.sales: "]);
    told(Config { identity: "https://identity:8080".to_owned(), ..plain.clone() }, &["identity: "]);
    let secure = Config { identity: "https://identity:8080".to_owned(), tls: files("/a"), ..Config::default() };
    told(secure.clone(), &[]);
    told(Config { tls: TlsFiles { key: PathBuf::new(), ..files("/a") }, ..secure.clone() }, &["tls.key: "]);
    told(Config { health: "everywhere".to_owned(), ..secure }, &["health: "]);
}

#[test]
fn a_process_does_not_start_with_a_certificate_that_nobody_would_believe() {
    let authority = Authority::new();
    let (issued, other) = (authority.issue(), Authority::new().issue());
    let mut of_a_client = CertificateParams::new(vec!["probe".to_owned()]).expect("names");
    of_a_client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let mut of_a_server = of_a_client.clone();
    of_a_server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let unusable = [
        ("tls.certificate", authority.sign(&of_a_client)),
        ("tls.certificate", authority.sign(&of_a_server)),
        ("tls.certificate", Issued { certificate: String::new(), ..issued.clone() }),
        ("tls.certificate", Issued { authority: other.authority.clone(), ..issued.clone() }),
        ("tls.key", Issued { key: other.key.clone(), ..issued.clone() }),
        ("tls.key", Issued { key: "no key".to_owned(), ..issued.clone() }),
        ("tls.authority", Issued { authority: String::new(), ..issued.clone() }),
    ];
    for (key, unusable) in unusable {
        let fault = Tls::load(&Mounted::new(&unusable).files()).expect_err(key);
        assert!(fault.text().contains(key) && !fault.text().contains("PRIVATE"), "{key}: {fault}");
        assert_eq!(refused(fault), (Code::FailedPrecondition, "CONFIG_INVALID".to_owned()));
    }
    let (whole, newlines_lost) = (issued.key.clone(), issued.key.replace('\n', ""));
    let told = [
        ("tls.key: is not a private key in PEM", Issued { key: newlines_lost.clone(), ..issued.clone() }),
        ("tls.certificate: holds no certificate in PEM", Issued { certificate: whole.clone(), ..issued.clone() }),
        ("tls.certificate: cannot be read as PEM", Issued { certificate: newlines_lost.clone(), ..issued.clone() }),
        ("tls.authority: holds no certificate in PEM", Issued { authority: whole, ..issued.clone() }),
        ("tls.authority: cannot be read as PEM", Issued { authority: newlines_lost, ..issued.clone() }),
        (
            "tls.certificate: has no DNS name by which clients could ask for it",
            authority.sign(&CertificateParams::new(Vec::<String>::new()).expect("no names")),
        ),
    ];
    for (why, unusable) in told {
        let fault = Tls::load(&Mounted::new(&unusable).files()).expect_err(why);
        assert_eq!(fault.text(), format!("Correct the configuration: {why}."));
    }
    let of_any_host = authority.sign(&CertificateParams::new(vec!["*.rapport.example".to_owned()]).expect("names"));
    assert!(Tls::load(&Mounted::new(&of_any_host).files()).expect("clients believe a wildcard").is_some());
    let missing = TlsFiles { key: "/nowhere/tls.key".into(), ..Mounted::new(&issued).files() };
    let fault = Tls::load(&missing).expect_err("the files are gone with their folder");
    assert!(fault.text().contains("tls.certificate"), "{fault}");
    assert!(Tls::load(&TlsFiles::default()).expect("nothing is asked for").is_none());
}
