//! The processes under test: two of each role, every one with a network of its own to broker and database.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, sleep, sleep_until, timeout},
};
use waybill_test_support::{Process, Program, Proxy, Way, client::Client};

use crate::{
    fault::{Failure, Member, Peer},
    mix,
    servers::Servers,
};

/// Until a process that nothing hinders is ready.
const PATIENCE: Duration = Duration::from_mins(2);
const INTERVAL: Duration = Duration::from_millis(100);
/// More than the drain time-out of the processes.
const STOPPING: Duration = Duration::from_mins(1);
/// Exit codes that SIGTERM may end in while faults happen: everything finished, or the time was up.
const FAULTY_CODES: [i32; 2] = [0, 9];

/// Short, so that what a fault has held up goes on soon. A step is never given up for lack of an answer: only so
/// does the request alone decide how a dispatch ends.
const SETTINGS: [(&str, &str); 10] = [
    ("WAYBILL_RELAY_LEASE", "3s"),
    ("WAYBILL_RELAY_CONFIRM_TIMEOUT", "4s"),
    ("WAYBILL_SAGA_STEP_TIMEOUT", "3s"),
    ("WAYBILL_SAGA_STEP_ATTEMPTS", "1000"),
    ("WAYBILL_DRAIN_TIMEOUT", "10s"),
    ("WAYBILL_DATABASE_CONNECTIONS", "8"),
    ("WAYBILL_RUNTIME_THREADS", "2"),
    ("WAYBILL_ORDER_BLOCKED_CUSTOMERS", mix::BLOCKED),
    ("WAYBILL_PAYMENT_CREDIT_LIMIT", mix::CREDIT_LIMIT),
    ("WAYBILL_PAYMENT_TARIFF", mix::TARIFF),
];

struct Seat {
    member: Member,
    program: Program,
    broker: Proxy,
    database: Proxy,
    process: AsyncMutex<Option<Process>>,
}

/// All processes.
pub(crate) struct Fleet {
    seats: Vec<Seat>,
    /// Ends that nobody asked for, and others than were asked for.
    broken: Mutex<Vec<String>>,
}

impl Fleet {
    /// Starts all of them, their logs in `folder`, and waits until each is ready.
    pub(crate) async fn start(program: &Path, folder: &Path, servers: &Servers) -> Self {
        let seats = Member::all().map(|member| Seat::new(program, folder, servers, member));
        let fleet = Self { seats: join_all(seats).await, broken: Mutex::default() };
        fleet.raise().await;
        fleet
    }

    /// Starts what does not run, and waits until each is ready.
    pub(crate) async fn raise(&self) {
        for seat in &self.seats {
            let mut place = seat.process.lock().await;
            let process = self.at_work(seat.member, place.take()).await;
            *place = Some(process.unwrap_or_else(|| seat.program.spawn()));
        }
        let latest = Instant::now() + PATIENCE;
        for seat in &self.seats {
            let place = seat.process.lock().await;
            let Some(process) = &*place else { continue };
            while !process.is_ready().await {
                if Instant::now() > latest {
                    self.note(format!("{} does not become ready", seat.member));
                    break;
                }
                sleep(INTERVAL).await;
            }
        }
    }

    /// Clients of both gateways.
    pub(crate) fn clients(&self) -> [Client; 2] {
        [self.seats[0].program.client(), self.seats[1].program.client()]
    }

    /// SIGKILL; starts it again at `until`.
    pub(crate) async fn kill(&self, member: Member, until: Instant) {
        let seat = &self.seats[member.0];
        let mut place = seat.process.lock().await;
        if let Some(process) = self.at_work(member, place.take()).await {
            process.kill().await;
        }
        sleep_until(until).await;
        *place = Some(seat.program.spawn());
    }

    /// SIGSTOP; SIGCONT at `until`.
    pub(crate) async fn pause(&self, member: Member, until: Instant) {
        let seat = &self.seats[member.0];
        let mut place = seat.process.lock().await;
        match self.at_work(member, place.take()).await {
            Some(process) => {
                process.pause();
                sleep_until(until).await;
                process.resume();
                *place = Some(process);
            }
            None => *place = Some(seat.program.spawn()),
        }
    }

    /// SIGTERM; starts it again at `until`, or when it has ended.
    pub(crate) async fn restart(&self, member: Member, until: Instant) {
        let seat = &self.seats[member.0];
        let mut place = seat.process.lock().await;
        if let Some(process) = self.at_work(member, place.take()).await {
            self.stop(member, process, &FAULTY_CODES).await;
        }
        sleep_until(until).await;
        *place = Some(seat.program.spawn());
    }

    /// Breaks the network of one process, or of all, until `until`.
    pub(crate) async fn network(&self, failure: Failure, peer: Peer, member: Option<Member>, until: Instant) {
        let concerned = |seat: &&Seat| member.is_none_or(|member| member == seat.member);
        let proxies: Vec<&Proxy> = self.seats.iter().filter(concerned).map(|seat| seat.proxy(peer)).collect();
        for proxy in &proxies {
            match failure {
                Failure::Cut => proxy.close(),
                Failure::BlackHole => {
                    proxy.swallow(Way::ToServer);
                    proxy.swallow(Way::ToClient);
                }
                Failure::LostAnswers => proxy.swallow(Way::ToClient),
                Failure::Delay(milliseconds) => {
                    proxy.delay(Way::ToClient, Duration::from_millis(milliseconds));
                }
            }
        }
        sleep_until(until).await;
        for proxy in &proxies {
            // A stream with a hole in it is of no use to anybody.
            if !matches!(failure, Failure::Delay(_)) {
                proxy.cut();
            }
            proxy.open();
        }
    }

    /// Keeps the processes of these roles away from the broker, so that their queues fill, until they are let in.
    pub(crate) fn shut_out(&self, roles: &[&str]) {
        for seat in self.of(roles) {
            seat.broker.close();
        }
    }

    /// The end of that.
    pub(crate) fn let_in(&self, roles: &[&str]) {
        for seat in self.of(roles) {
            seat.broker.open();
        }
    }

    fn of(&self, roles: &[&str]) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| roles.contains(&seat.member.role()))
    }

    /// Stops all of them in order.
    pub(crate) async fn end(&self) {
        let stopping = self.seats.iter().map(async |seat| {
            let process = seat.process.lock().await.take();
            if let Some(process) = self.at_work(seat.member, process).await {
                self.stop(seat.member, process, &[0]).await;
            }
        });
        join_all(stopping).await;
    }

    /// What went wrong with the processes themselves.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The process, unless it has ended by itself.
    async fn at_work(&self, member: Member, process: Option<Process>) -> Option<Process> {
        let process = process?;
        if !process.is_over() {
            return Some(process);
        }
        let ended = process.ended().await;
        let last = ended.log.last().map_or("", |line| line);
        self.note(format!("{member} ended by itself with {}: {last}", ended.status));
        None
    }

    async fn stop(&self, member: Member, process: Process, codes: &[i32]) {
        match timeout(STOPPING, process.terminate()).await {
            Err(_) => self.note(format!("{member} did not end in {} s after SIGTERM", STOPPING.as_secs())),
            Ok(ended) if ended.status.code().is_some_and(|code| codes.contains(&code)) => {}
            Ok(ended) => self.note(format!("{member} ended after SIGTERM with {}", ended.status)),
        }
    }

    fn note(&self, what: String) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

impl Seat {
    async fn new(program: &Path, folder: &Path, servers: &Servers, member: Member) -> Self {
        let broker = Proxy::for_cluster(&servers.broker_urls).await;
        let database = Proxy::for_url(&servers.database_url).await;
        // A heartbeat that notices a silent broker while the fault lasts.
        let amqp = format!("{}?heartbeat=3", broker.url(&servers.broker_urls[0]));
        let program = Program::new(program, &database.url(&servers.database_url), &amqp, "waybill.")
            .roles(member.role())
            .log_to(folder.join(format!("{member}.log")));
        let program = SETTINGS.iter().fold(program, |program, (name, value)| program.set(name, value));
        Self { member, program, broker, database, process: AsyncMutex::default() }
    }

    fn proxy(&self, peer: Peer) -> &Proxy {
        match peer {
            Peer::Broker => &self.broker,
            Peer::Database => &self.database,
        }
    }
}
