use crate::Session;
use crate::database::config_of;
use postgres::NoTls;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A throw-away server of the test's own, for what must not happen to the one that the other tests share. It ends when this
/// is dropped, and also when the test is killed: its script waits for the end of its input.
pub struct Cluster {
    script: Child,
    host: String,
    template: String,
}

impl Cluster {
    /// `settings` as in postgresql.conf, such as `log_min_messages=panic`.
    pub fn start(settings: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let script = r#"set -e; . scripts/env.sh; . scripts/cluster.sh; cluster_start "$@"; cluster_template
            printf '%s\n' "$PGHOST" "$CREDIT_POOLS_TEMPLATE"; cat >/dev/null"#;
        let mut script = Command::new("bash")
            .args(["-c", script, "cluster"])
            .args(settings)
            .current_dir(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let mut lines = BufReader::new(script.stdout.take().expect("piped")).lines();
        let mut line = || match lines.next() {
            Some(Ok(line)) => line,
            _ => panic!("the server of this test does not start"),
        };
        let (host, template) = (line(), line());
        Cluster { script, host, template }
    }

    pub fn session(&self) -> Session {
        self.try_session().unwrap_or_else(|error| panic!("cannot connect: {error}"))
    }

    pub fn try_session(&self) -> Result<Session, postgres::Error> {
        config_of(&self.host, 5432, "postgres", &self.template).connect(NoTls).map(Session::new)
    }

    /// A session as soon as the server takes one again, after a crash.
    pub fn session_after_crash(&self) -> Session {
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            match self.try_session() {
                Ok(mut session) => {
                    // It may be one that the server still took before it noticed, and ends with the others.
                    if session.try_exec("SELECT pg_sleep(0.2)").is_ok() {
                        return session;
                    }
                }
                Err(error) if Instant::now() > limit => panic!("the server does not come back: {error}"),
                Err(_) => sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Ends a server process as the kernel would that runs out of memory.
    pub fn kill(&self, backend: i64) -> bool {
        let status = Command::new("kill").args(["-KILL", &backend.to_string()]).stderr(Stdio::null()).status();
        status.expect("kill runs").success()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
