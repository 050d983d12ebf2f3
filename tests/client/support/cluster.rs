use crate::Session;
use crate::database::config_of;
use postgres::NoTls;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A throw-away server of the test's own, for what must not happen to the one that the other tests share. It ends when this
/// is dropped, and also when the test is killed: its script waits for the end of its input.
pub struct Cluster {
    script: Child,
    answers: Mutex<Lines<BufReader<ChildStdout>>>,
    host: String,
    folder: PathBuf,
    template: String,
}

/// After the start it does what it is told, line by line, in the cluster's folder.
const SCRIPT: &str = r#"set -e; . scripts/env.sh; . scripts/cluster.sh; cluster_start "$@"; cluster_template
    printf '%s\n' "$PGHOST" "$CLUSTER" "$CREDIT_POOLS_TEMPLATE"
    cd "$CLUSTER"
    server_start() {
        as_server "$PG_CTL" -D data -l data/log -w -t 120 start >/dev/null 2>&1 </dev/null || { tail -n 40 data/log >&2; return 1; }
    }
    server_stop() { as_server "$PG_CTL" -D data -m fast -w -t 120 stop >/dev/null 2>&1 </dev/null; }
    while read -r command; do
        if eval "$command" >&2 </dev/null; then echo done; else echo failed; fi
    done
    for pid in ./*.pid; do [ ! -e "$pid" ] || kill "$(cat "$pid")" || true; done"#;

impl Cluster {
    /// `settings` as in postgresql.conf, such as `log_min_messages=panic`.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_by(&["bash"], settings)
    }

    /// In a world of its own of file systems: what is mounted there goes with it. Needs root.
    pub fn start_apart(settings: &[&str]) -> Self {
        Self::start_by(&["unshare", "--mount", "--", "bash"], settings)
    }

    fn start_by(shell: &[&str], settings: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut script = Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", SCRIPT, "cluster"])
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
        let (host, folder, template) = (line(), line(), line());
        Cluster { script, answers: Mutex::new(lines), host, folder: folder.into(), template }
    }

    pub fn session(&self) -> Session {
        self.try_session().unwrap_or_else(|error| panic!("cannot connect: {error}"))
    }

    pub fn try_session(&self) -> Result<Session, postgres::Error> {
        self.try_session_by(&self.host, 5432, "postgres")
    }

    /// By another socket, such as that of a pooler, or as another user.
    pub fn try_session_by(&self, host: &str, port: u16, user: &str) -> Result<Session, postgres::Error> {
        config_of(host, port, user, &self.template).connect(NoTls).map(Session::new)
    }

    /// The folder of its socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its own folder below /tmp, which goes with it. The server's files are in `data`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The database that its sessions are in.
    pub fn database(&self) -> &str {
        &self.template
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
        signal("KILL", &[backend])
    }

    /// kill -9 of the postmaster: with all of its children at one instant, as if the power were gone, or alone, so that
    /// they find out for themselves while they work. Returns when they are gone.
    pub fn kill_server(&self, with_children: bool) {
        let postmaster = self.postmaster();
        // It is to notice nothing, nor to start another child.
        assert!(signal("STOP", &[postmaster]), "the postmaster is there");
        let children: Vec<i64> =
            processes().into_iter().filter(|(_, parent, _)| *parent == postmaster).map(|(pid, ..)| pid).collect();
        let mut victims = vec![postmaster];
        if with_children {
            victims.extend(&children);
        }
        // Some child may have ended by itself.
        signal("KILL", &victims);
        self.wait_for_the_end(postmaster, &children);
    }

    /// When the processes are gone, so are what would keep another server from starting.
    fn wait_for_the_end(&self, postmaster: i64, children: &[i64]) {
        let limit = Instant::now() + Duration::from_secs(60);
        let alive = || -> Vec<i64> {
            let ours = |pid: &i64| *pid == postmaster || children.contains(pid);
            let alive = processes().into_iter().filter(|(pid, _, state)| ours(pid) && *state != 'Z');
            alive.map(|(pid, ..)| pid).collect()
        };
        loop {
            let left = alive();
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < limit, "processes {left:?} outlive their postmaster");
            sleep(Duration::from_millis(10));
        }
        // Where nobody reaps the dead, such as in a container, they count as alive for the next postmaster.
        for lock in [self.folder.join("data/postmaster.pid"), Path::new(&self.host).join(".s.PGSQL.5432.lock")] {
            let _ = fs::remove_file(lock);
        }
    }

    /// Waits for a postmaster that has ended by itself, with its children.
    pub fn wait_until_down(&self, postmaster: i64) {
        self.wait_for_the_end(postmaster, &[]);
    }

    pub fn postmaster(&self) -> i64 {
        let file = fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("the server runs");
        file.lines().next().and_then(|line| line.trim().parse().ok()).expect("a process id")
    }

    /// Starts the server again and waits until it has recovered.
    pub fn start_again(&self) {
        assert!(self.run("server_start"), "the server does not start again");
    }

    pub fn stop(&self) {
        assert!(self.run("server_stop"), "the server does not stop");
    }

    /// A command of the script's shell, in the cluster's folder. A process that it leaves behind writes its id to a file
    /// NAME.pid there, to be ended with the server.
    pub fn run(&self, command: &str) -> bool {
        let mut answers = self.answers.lock().unwrap_or_else(|poison| poison.into_inner());
        let mut input = self.script.stdin.as_ref().expect("open until this is dropped");
        writeln!(input, "{}", command.replace('\n', "; ")).expect("the script reads");
        answers.next().expect("the script answers").expect("a line") == "done"
    }
}

/// Whether all of them could be reached.
fn signal(name: &str, processes: &[i64]) -> bool {
    let pids = processes.iter().map(i64::to_string);
    let status = Command::new("kill").arg(format!("-{name}")).args(pids).stderr(Stdio::null()).status();
    status.expect("kill runs").success()
}

/// Process, parent and state of all there are.
fn processes() -> Vec<(i64, i64, char)> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").expect("a Linux").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have just gone.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let mut words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        if let (Some(state), Some(parent)) = (words.next(), words.next()) {
            all.push((pid, parent.parse().unwrap_or(0), state.chars().next().unwrap_or('Z')));
        }
    }
    all
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
