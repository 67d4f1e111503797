//! Makes a service's database and its three roles, as an operator would: for development, tests and installation.

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use crate::fault::Fault;

/// Addresses of one service's database for its three roles.
#[derive(Debug, Clone)]
pub struct Logins {
    /// Owner of the schema; runs migrations, never serves.
    pub migrator: SecretString,
    /// Serves requests under row-level security.
    pub app: SecretString,
    /// Relay, retention and jobs across tenants.
    pub system: SecretString,
}

/// Creates the roles of `service` and the database `database` if they do not exist, with `password` for all
/// three roles. With `template`, the database is a copy of that one. `admin` must be an address of a role
/// that may create both. Safe to run again.
///
/// # Errors
/// What the database answers.
pub async fn provision(
    admin: &SecretString,
    service: &str,
    database: &str,
    template: Option<&str>,
    password: &SecretString,
) -> Result<Logins, Fault> {
    let owner = service.replace('-', "_");
    let options: PgConnectOptions = admin.expose_secret().parse()?;
    let mut connection = options.clone().connect().await?;
    // Several processes may provision one cluster at once; roles are shared by all of its databases.
    connection.execute("select pg_advisory_lock(hashtextextended('rapport.provision', 0))").await?;
    connection.execute(AssertSqlSafe(role("rapport_app", None))).await?;
    connection.execute(AssertSqlSafe(role("rapport_system", None))).await?;
    for kind in ["migrator", "app", "system"] {
        connection.execute(AssertSqlSafe(role(&format!("{owner}_{kind}"), Some(password)))).await?;
    }
    for statement in [
        format!("grant rapport_app to {owner}_app"),
        format!("grant rapport_system to {owner}_system"),
        format!("alter role {owner}_app set client_connection_check_interval = '200ms'"),
        format!("alter role {owner}_app set statement_timeout = '5s'"),
        format!("alter role {owner}_app set lock_timeout = '2s'"),
        format!("alter role {owner}_app set idle_in_transaction_session_timeout = '10s'"),
        // Every disk by now; otherwise small tables are scanned as a whole where an index is faster.
        format!("alter role {owner}_app set random_page_cost = '1.1'"),
        format!("alter role {owner}_system set client_connection_check_interval = '200ms'"),
        format!("alter role {owner}_system set idle_in_transaction_session_timeout = '30s'"),
    ] {
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    let exists: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1)").bind(database).fetch_one(&mut connection).await?;
    if !exists {
        let copy = template.map(|template| format!(" template {template}")).unwrap_or_default();
        connection.execute(AssertSqlSafe(format!("create database {database} owner {owner}_migrator{copy}"))).await?;
    }
    // Also where it exists: an earlier run may have come to its end between the two.
    connection.execute(AssertSqlSafe(format!("revoke connect on database {database} from public"))).await?;
    connection.execute(AssertSqlSafe(format!("grant connect on database {database} to {owner}_app, {owner}_system"))).await?;
    connection.close().await?;
    let login = |kind: &str| {
        let user = format!("{owner}_{kind}");
        address(&options.clone().username(&user).password(password.expose_secret()).database(database))
    };
    Ok(Logins { migrator: login("migrator"), app: login("app"), system: login("system") })
}

/// The options as an address that every client of PostgreSQL takes: without the library's own parameter,
/// which would refuse psql and has its usual value here anyway.
fn address(options: &PgConnectOptions) -> SecretString {
    let mut url = options.to_url_lossy();
    let common: Vec<_> = url.query_pairs().into_owned().filter(|(key, _)| key != "statement-cache-capacity").collect();
    url.query_pairs_mut().clear().extend_pairs(common);
    SecretString::from(url.to_string())
}

fn role(name: &str, password: Option<&SecretString>) -> String {
    let login =
        password.map_or_else(|| "nologin".to_owned(), |password| format!("login password '{}'", password.expose_secret().replace('\'', "''")));
    format!(
        "do $do$ begin
           if not exists (select from pg_roles where rolname = '{name}') then create role {name}; end if;
           alter role {name} {login};
         end $do$"
    )
}
