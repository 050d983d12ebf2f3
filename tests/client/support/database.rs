use crate::Session;
use postgres::{Config, NoTls};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

static CREATING: Mutex<()> = Mutex::new(());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A database of the test's own with the extension in it; dropped at the end, also after a panic.
/// `CREDIT_POOLS_KEEP_DATABASES=1` keeps it for a look.
pub struct Database {
    name: String,
    roles: Mutex<Vec<String>>,
}

impl Database {
    /// An empty database with the extension: a copy of the template `CREDIT_POOLS_TEMPLATE`, where there is one.
    pub fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("credit_pools_client_{}_{number}", std::process::id());
        {
            // CREATE DATABASE copies a template and wants to be alone with it.
            let _one_at_a_time = CREATING.lock().unwrap_or_else(|poison| poison.into_inner());
            let mut server = connect("postgres");
            let copy = template().map_or(String::new(), |template| format!(" TEMPLATE {template}"));
            let mut attempt = 0;
            loop {
                match server.try_exec(&format!("CREATE DATABASE {name}{copy}")) {
                    Ok(()) => break,
                    Err(fault) if fault.code == "55006" && attempt < 50 => {
                        attempt += 1;
                        sleep(Duration::from_millis(100));
                    }
                    Err(fault) => panic!("{fault}"),
                }
            }
        }
        let database = Database { name, roles: Mutex::new(Vec::new()) };
        if template().is_none() {
            database.session().exec("CREATE EXTENSION credit_pools");
        }
        database
    }

    /// With the small catalogue of [`crate::seed_catalogue`].
    pub fn with_catalogue() -> Self {
        let database = Database::new();
        crate::seed_catalogue(&mut database.session());
        database
    }

    pub fn session(&self) -> Session {
        connect(&self.name)
    }

    /// A session, and where the messages of its warnings gather.
    pub fn session_with_warnings(&self) -> (Session, Arc<Mutex<Vec<String>>>) {
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let gathered = Arc::clone(&warnings);
        let mut config = config(&self.name);
        config.notice_callback(move |notice| {
            gathered.lock().unwrap_or_else(|poison| poison.into_inner()).push(notice.message().to_owned());
        });
        let client = config.connect(NoTls).unwrap_or_else(|error| panic!("cannot connect: {error}"));
        (Session::new(client), warnings)
    }

    /// Makes a role without any attribute, named after the database; it is dropped with it.
    pub fn role(&self, suffix: &str) -> String {
        let role = format!("{}_{suffix}", self.name);
        self.session().exec(&format!("CREATE ROLE {role}"));
        self.roles.lock().unwrap_or_else(|poison| poison.into_inner()).push(role.clone());
        role
    }
}

impl Default for Database {
    fn default() -> Self {
        Database::new()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if std::env::var_os("CREDIT_POOLS_KEEP_DATABASES").is_some() {
            eprintln!("kept: database {}", self.name);
            return;
        }
        let Ok(mut server) = try_connect("postgres") else {
            return;
        };
        let roles = std::mem::take(self.roles.get_mut().unwrap_or_else(|poison| poison.into_inner()));
        let drop_database = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        if let Err(fault) = server.try_exec(&drop_database) {
            eprintln!("{fault}");
        }
        for role in roles {
            if let Err(fault) = server.try_exec(&format!("DROP ROLE IF EXISTS {role}")) {
                eprintln!("{fault}");
            }
        }
    }
}

fn template() -> Option<String> {
    std::env::var("CREDIT_POOLS_TEMPLATE").ok().filter(|name| !name.is_empty())
}

fn connect(database: &str) -> Session {
    try_connect(database).unwrap_or_else(|error| panic!("cannot connect to database {database}: {error}"))
}

fn try_connect(database: &str) -> Result<Session, postgres::Error> {
    config(database).connect(NoTls).map(Session::new)
}

fn config(database: &str) -> Config {
    let host = match std::env::var("PGHOST") {
        Ok(host) if !host.is_empty() => host,
        _ => panic!(
            "PGHOST is not set: these tests need a running server with credit_pools installed. \
             `make test-client` starts one and sets PGHOST (a socket folder), PGPORT and PGUSER."
        ),
    };
    let user = std::env::var("PGUSER").unwrap_or_else(|_| "postgres".to_owned());
    let port = std::env::var("PGPORT").ok().filter(|port| !port.is_empty());
    config_of(&host, port.map_or(5432, |port| port.parse().expect("PGPORT is a port number")), &user, database)
}

/// How to reach a database of any server. A host that begins with a slash is a socket folder.
pub(crate) fn config_of(host: &str, port: u16, user: &str, database: &str) -> Config {
    let mut config = Config::new();
    config.host(host).port(port).user(user).dbname(database);
    // Nothing here takes long: a statement that does is a hang, and has to show as an error.
    config.options("-c statement_timeout=60s -c client_min_messages=warning -c TimeZone=UTC");
    config
}
