//! The real program, started as an operator starts it: its own environment, signals, exit code, log.

mod http;
mod log;

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use self::log::Log;
use crate::{
    client::{self, Client},
    patience::{in_time, until},
    port::free_address,
    prometheus::Scrape,
};

/// How a process is started. It may be started again and again, at the same addresses.
#[derive(Clone, Debug)]
pub struct Program {
    binary: PathBuf,
    environment: BTreeMap<String, String>,
    grpc: SocketAddr,
    http: SocketAddr,
    log: Option<PathBuf>,
    paused: bool,
}

/// Every role.
pub const ALL_ROLES: &str = "gateway,relay,saga,order,payment,dispatch";

impl Program {
    /// All roles of `binary`, with this database and these names on this broker.
    pub fn new(binary: impl AsRef<Path>, database: &str, amqp: &str, prefix: &str) -> Self {
        let binary = binary.as_ref().to_owned();
        let (grpc, http) = (free_address(), free_address());
        let program = Self { binary, environment: BTreeMap::new(), grpc, http, log: None, paused: false };
        program
            .set("WAYBILL_DATABASE_URL", database)
            .set("WAYBILL_AMQP_URL", amqp)
            .set("WAYBILL_AMQP_PREFIX", prefix)
            .set("WAYBILL_LOG_FORMAT", "json")
            .roles(ALL_ROLES)
    }

    /// The same with one variable of the environment set.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same with these roles.
    #[must_use]
    pub fn roles(self, roles: &str) -> Self {
        self.set("WAYBILL_ROLES", roles)
    }

    /// The same with a copy of what it logs at the end of `file`.
    #[must_use]
    pub fn log_to(self, file: PathBuf) -> Self {
        Self { log: Some(file), ..self }
    }

    /// The same by another binary.
    #[must_use]
    pub fn by(self, binary: impl AsRef<Path>) -> Self {
        Self { binary: binary.as_ref().to_owned(), ..self }
    }

    /// The same at addresses of its own, to run at the same time.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { grpc: free_address(), http: free_address(), ..self.clone() }
    }

    /// The same, with its sagas paused from the start.
    #[must_use]
    pub fn paused(&self) -> Self {
        Self { paused: true, ..self.clone() }
    }

    /// A client of its gateway, which need not run yet.
    pub fn client(&self) -> Client {
        client::lazy(self.grpc)
    }

    /// Where its gRPC port is.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where its HTTP port is.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where its gateway listens, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&self) -> Process {
        let flags: &[&str] = if self.paused { &["serve", "--paused"] } else { &["serve"] };
        let mut command = self.command(flags);
        command.stdout(Stdio::null());
        let mut child = command.spawn().expect("the program can be started");
        let open = |file| File::options().create(true).append(true).open(file).expect("a file to log to");
        let log = Log::follow(child.stderr.take().expect("a pipe"), self.log.as_ref().map(open));
        Process { child, log, http: self.http }
    }

    /// Runs another command of it, with the same configuration, to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        let output = in_time("the end of a command", command.stdout(Stdio::piped()).output()).await;
        let output = output.expect("the program can be started");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if ["WAYBILL_", "OTEL_", "RUST_LOG"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(&*name);
            }
        }
        command
            .args(arguments)
            .env("WAYBILL_GRPC_ADDR", self.grpc.to_string())
            .env("WAYBILL_HTTP_ADDR", self.http.to_string())
            .env("WAYBILL_ENDPOINT", self.endpoint())
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Starts it and waits until it says that it is ready.
    pub async fn start(&self) -> Process {
        let process = self.spawn();
        process.ready().await;
        process
    }

    /// Starts it and waits until it is ready and each of its roles is at work.
    pub async fn start_whole(&self) -> Process {
        let process = self.start().await;
        let roles = self.environment["WAYBILL_ROLES"].split(',');
        for part in roles.chain(["broker", "broker-consume", "relay"]) {
            process.up(part).await;
        }
        process
    }
}

/// A running process. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Log,
    http: SocketAddr,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Every line that it logged.
    pub log: Vec<String>,
}

/// What a command said before it ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it logged or complained about.
    pub err: String,
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Waits until it is ready. Panics with its log when it ended instead.
    pub async fn ready(&self) {
        until("ready", async || {
            assert!(!self.log.is_over(), "it ended before it was ready:\n{}", self.log.text());
            http::get(self.http, "/readyz").await.is_some_and(|(status, _)| status == 200)
        })
        .await;
    }

    /// What it answers at a path of its HTTP address: status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        http::get(self.http, path).await.expect("it answers")
    }

    /// Whether it says now that it is ready.
    pub async fn is_ready(&self) -> bool {
        http::get(self.http, "/readyz").await.is_some_and(|(status, _)| status == 200)
    }

    /// Waits until one of its parts is up.
    pub async fn up(&self, part: &str) {
        self.part(part, "up").await;
    }

    /// Waits until its health tells of this pause.
    pub async fn tells_pause(&self, text: &str) {
        until(text, async || {
            let answer = http::get(self.http, "/healthz").await;
            answer.is_some_and(|(_, body)| body.contains(&format!(r#""paused":["{text}"]"#)))
        })
        .await;
    }

    /// Waits until one of its parts is down.
    pub async fn down(&self, part: &str) {
        self.part(part, "down").await;
    }

    async fn part(&self, part: &str, status: &str) {
        until(&format!("{part} {status}"), async || {
            let answer = http::get(self.http, "/healthz").await;
            let body = answer.map(|(_, body)| body).unwrap_or_default();
            // Flat enough: `"part":{"reason":…,"status":"down"}`.
            let said = body.split_once(&format!(r#""{part}":{{"#)).map_or("", |(_, said)| said);
            let said = said.split(r#""status":""#).nth(1).unwrap_or_default();
            said.starts_with(&format!(r#"{status}""#))
        })
        .await;
    }

    /// What it measures.
    pub async fn scrape(&self) -> Scrape {
        let answer = http::get(self.http, "/metrics").await.expect("it answers");
        assert_eq!(answer.0, 200, "{}", answer.1);
        Scrape::parse(&answer.1)
    }

    /// Waits until what it measures is as `condition` says.
    pub async fn measures(&self, what: &str, condition: impl Fn(&Scrape) -> bool) {
        until(what, async || condition(&self.scrape().await)).await;
    }

    /// What the health of one of its parts says; empty where it says nothing.
    pub async fn reason(&self, part: &str) -> String {
        let answer = http::get(self.http, "/healthz").await;
        let body = answer.map(|(_, body)| body).unwrap_or_default();
        let said = body.split_once(&format!(r#""{part}":{{"#)).map_or("", |(_, said)| said);
        said.split('}').next().unwrap_or_default().to_owned()
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub async fn terminate(mut self) -> Ended {
        self.signal(Signal::TERM);
        let status = in_time("the end after SIGTERM", self.child.wait()).await.expect("it was started");
        Ended { status, log: self.log.whole().await }
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Ended {
        let status = in_time("its end", self.child.wait()).await.expect("it was started");
        Ended { status, log: self.log.whole().await }
    }

    /// Whether it has ended, by itself or not.
    pub fn is_over(&self) -> bool {
        self.log.is_over()
    }

    /// Waits until it has logged this.
    pub async fn logs(&self, text: &str) {
        until(text, async || self.log.text().contains(text)).await;
    }

    /// Tells it that files have changed (SIGHUP).
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Holds it up wherever it is (SIGSTOP).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it was started");
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(id.expect("it runs"), signal).expect("a signal reaches it");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the process under test has logged:\n{}", self.log.text());
        }
    }
}
