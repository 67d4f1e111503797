//! Stored statements still fit the migrated schemas: offline data can go stale without any build noticing.

use std::path::Path;

use rapport_kit::Service;
use rapport_kit::testing::Infra;
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, Column, Connection, Executor, SqlSafeStr, Statement, TypeInfo};

#[tokio::test]
async fn every_stored_statement_prepares_on_its_migrated_schema_with_the_same_types() {
    for service in [&rapport_identity::SERVICE, &rapport_contacts::SERVICE] {
        let checked = check(service).await;
        assert!(checked > 0, "{} has no stored statements: run scripts/prepare", service.name);
    }
}

async fn check(service: &Service) -> usize {
    let logins = Infra::from_environment().database(service).await;
    let mut connection = sqlx::PgConnection::connect(logins.app.expose_secret()).await.expect("the application role can connect");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services").join(service.name).join(".sqlx");
    let mut checked = 0;
    for entry in std::fs::read_dir(&folder).expect("offline data is committed") {
        let path = entry.expect("an entry can be read").path();
        let stored: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("a file can be read")).expect("offline data is JSON");
        let text = stored["query"].as_str().expect("offline data has a statement").to_owned();
        let statement = (&mut connection).prepare(AssertSqlSafe(text.clone()).into_sql_str()).await.unwrap_or_else(|error| panic!("{text}\n{error}"));
        let described = statement.columns().iter().map(|column| (column.name().to_owned(), spelled(column.type_info().name()))).collect::<Vec<_>>();
        let columns = stored["describe"]["columns"].as_array().expect("offline data has columns");
        let kept = columns
            .iter()
            .map(|column| (column["name"].as_str().unwrap_or_default().to_owned(), type_name(&column["type_info"])))
            .collect::<Vec<_>>();
        assert_eq!(described, kept, "{text}\nhas other columns now: run scripts/prepare {}", service.name);
        checked += 1;
    }
    checked
}

/// A type as offline data spells it, in lower case without brackets and underscores.
fn type_name(stored: &serde_json::Value) -> String {
    let text = stored.as_str().map(str::to_owned).or_else(|| stored["Custom"]["name"].as_str().map(str::to_owned)).unwrap_or_default();
    spelled(&text)
}

fn spelled(name: &str) -> String {
    let array = name.strip_suffix("[]").map(|item| format!("{item}array"));
    array.unwrap_or_else(|| name.to_owned()).to_lowercase().replace(['_', '"'], "")
}
