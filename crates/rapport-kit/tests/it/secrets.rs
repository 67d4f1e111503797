//! Secrets come from files, and a file that holds nothing is as bad as none.

use std::fs;

use rapport_kit::clock;
use rapport_kit::config::Secrets;
use secrecy::ExposeSecret;
use tonic::Code;

#[test]
fn an_empty_secret_is_refused_by_name_together_with_a_missing_one() {
    let folder = std::env::temp_dir().join(format!("rapport-{}", clock::new_id()));
    fs::create_dir(&folder).expect("a folder is made");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a secret is written");
    write("database_app", "postgres://app\n");
    write("database_system", " \n");
    write("broker", "amqp://broker");
    write("credential", "");
    let fault = Secrets::load(&folder).expect_err("two secrets are empty and one is missing");
    assert_eq!((fault.code(), fault.reason()), (Code::FailedPrecondition, "CONFIG_INVALID"));
    for told in ["database_system: is empty", "credential: is empty", "sealing: "] {
        assert!(fault.text().contains(told), "{told} in {fault}");
    }
    for kept in ["database_app", "broker", "postgres://", "amqp://"] {
        assert!(!fault.text().contains(kept), "{kept} in {fault}");
    }
    for name in ["database_system", "credential", "sealing"] {
        write(name, "something");
    }
    let secrets = Secrets::load(&folder).expect("all are there");
    assert_eq!(secrets.database_app.expose_secret(), "postgres://app", "without the line's end");
    let missing = Secrets::migrator(&folder).expect_err("where no migrations run there is none");
    assert!(missing.text().contains("database_migrator"), "{missing}");
    fs::remove_dir_all(&folder).expect("the folder goes");
}
