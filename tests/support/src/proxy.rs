//! A TCP proxy that breaks the network on purpose: it cuts connections, refuses them, swallows what one
//! side says, delays, throttles, and can wait for certain bytes to pass, so that a fault happens at one
//! exact point of a protocol and not at some moment.

mod rule;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{oneshot, watch},
    time::sleep,
};

use self::rule::{Effect, Rules, Tail};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the one who connected.
    ToServer,
    /// From the one who was connected to.
    ToClient,
}

#[derive(Clone, Copy, Default)]
struct Line {
    swallow: bool,
    delay: Duration,
    bytes_per_second: Option<u32>,
}

#[derive(Clone, Copy)]
struct Conditions {
    /// Connections of an earlier epoch are closed.
    epoch: u64,
    open: bool,
    to_server: Line,
    to_client: Line,
}

impl Conditions {
    fn line(&mut self, way: Way) -> &mut Line {
        match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        }
    }
}

/// A running proxy. Everything ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    targets: Arc<[String]>,
    conditions: Arc<watch::Sender<Conditions>>,
    rules: Arc<Rules>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Forwards to `target`, host and port.
    pub async fn to(target: &str) -> Self {
        Self::to_any([target.to_owned()].into()).await
    }

    async fn to_any(targets: Arc<[String]>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let line = Line::default();
        let conditions = Conditions { epoch: 0, open: true, to_server: line, to_client: line };
        let conditions = Arc::new(watch::Sender::new(conditions));
        let rules = Arc::new(Rules::default());
        let accepting =
            tokio::spawn(accept(listener, Arc::clone(&targets), Arc::clone(&conditions), Arc::clone(&rules)));
        Self { address, targets, conditions, rules, accepting }
    }

    /// Forwards to the server that `url` names.
    pub async fn for_url(url: &str) -> Self {
        Self::to(host(url)).await
    }

    /// Forwards each connection to one of the servers that `urls` name, in turn, and to the next where one
    /// does not listen: what stands before a cluster.
    pub async fn for_cluster(urls: &[String]) -> Self {
        Self::to_any(urls.iter().map(|url| host(url).to_owned()).collect()).await
    }

    /// `url`, by way of this proxy.
    pub fn url(&self, url: &str) -> String {
        let target = self.targets.iter().find(|target| url.contains(*target));
        let target = target.unwrap_or_else(|| panic!("{url} does not lead to {:?}", self.targets));
        url.replacen(target, &self.address.to_string(), 1)
    }

    /// Closes every connection; new ones go through.
    pub fn cut(&self) {
        self.conditions.send_modify(|conditions| conditions.epoch += 1);
    }

    /// Closes every connection and lets no new one in.
    pub fn close(&self) {
        self.conditions.send_modify(|conditions| {
            conditions.epoch += 1;
            conditions.open = false;
        });
    }

    /// Lets connections in, and everything through.
    pub fn open(&self) {
        self.conditions.send_modify(|conditions| {
            conditions.open = true;
            (conditions.to_server, conditions.to_client) = (Line::default(), Line::default());
        });
    }

    /// From now on what goes this way disappears, on every connection.
    pub fn swallow(&self, way: Way) {
        self.conditions.send_modify(|conditions| conditions.line(way).swallow = true);
    }

    /// Holds up whatever goes this way.
    pub fn delay(&self, way: Way, delay: Duration) {
        self.conditions.send_modify(|conditions| conditions.line(way).delay = delay);
    }

    /// Lets no more than this through.
    pub fn throttle(&self, way: Way, bytes_per_second: u32) {
        self.conditions
            .send_modify(|conditions| conditions.line(way).bytes_per_second = Some(bytes_per_second));
    }

    /// Tells when these have passed, one after the other, on one connection.
    pub fn seen(&self, way: Way, patterns: &[&[u8]]) -> oneshot::Receiver<()> {
        self.rules.add(way, patterns, Effect::Tell)
    }

    /// When the client has said these, one after the other, on one connection, the server still hears the
    /// last one, but nobody hears the server any more. Tells when that has happened.
    pub fn swallow_answers_after(&self, patterns: &[&[u8]]) -> oneshot::Receiver<()> {
        self.rules.add(Way::ToServer, patterns, Effect::SwallowAnswers)
    }

    /// When the client has said these, one after the other, on one connection, the server does not hear the
    /// last one nor anything more of this connection, which stays open. Tells when that has happened.
    pub fn freeze_after(&self, patterns: &[&[u8]]) -> oneshot::Receiver<()> {
        self.rules.add(Way::ToServer, patterns, Effect::Freeze)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.close();
    }
}

/// Host and port of a URL.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").expect("a URL").1;
    let authority = rest.split(['/', '?']).next().expect("an authority");
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

async fn accept(
    listener: TcpListener,
    targets: Arc<[String]>,
    conditions: Arc<watch::Sender<Conditions>>,
    rules: Arc<Rules>,
) {
    for connection in 0_u64.. {
        let Ok((client, _)) = listener.accept().await else { return };
        if conditions.borrow().open {
            let (conditions, rules) = (Arc::clone(&conditions), Arc::clone(&rules));
            tokio::spawn(forward(client, Arc::clone(&targets), Pipe { connection, conditions, rules }));
        }
    }
}

#[derive(Clone)]
struct Pipe {
    connection: u64,
    conditions: Arc<watch::Sender<Conditions>>,
    rules: Arc<Rules>,
}

/// Carries one connection until it ends or is cut.
async fn forward(client: TcpStream, targets: Arc<[String]>, pipe: Pipe) {
    let mut conditions = pipe.conditions.subscribe();
    let epoch = conditions.borrow().epoch;
    let carrying = async {
        let Some(server) = connect(&targets, pipe.connection).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::join!(
            pipe.carry(Way::ToServer, from_client, to_server),
            pipe.carry(Way::ToClient, from_server, to_client)
        );
    };
    tokio::select! {
        () = carrying => {}
        _ = conditions.wait_for(|conditions| conditions.epoch != epoch) => {}
    }
}

/// The first that answers, beginning with another one for each connection.
async fn connect(targets: &[String], connection: u64) -> Option<TcpStream> {
    let first = usize::try_from(connection).unwrap_or_default() % targets.len();
    for target in targets[first..].iter().chain(&targets[..first]) {
        if let Ok(server) = TcpStream::connect(target).await {
            return Some(server);
        }
    }
    None
}

impl Pipe {
    /// Carries one direction; the end of one side is passed on to the other.
    async fn carry(&self, way: Way, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 16 * 1_024];
        let mut tail = Tail::default();
        let mut frozen = false;
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let bytes = &buffer[..read];
            // Before they are passed on: what a rule sets off is in force when the server reads them.
            for effect in self.rules.note(way, self.connection, tail.with(bytes)) {
                match effect {
                    Effect::Tell => {}
                    Effect::SwallowAnswers => {
                        self.conditions.send_modify(|conditions| conditions.to_client.swallow = true);
                    }
                    Effect::Freeze => frozen = true,
                }
            }
            let line = *self.conditions.borrow().clone().line(way);
            if frozen || line.swallow {
                continue;
            }
            let size = u32::try_from(read).unwrap_or(u32::MAX);
            let slow = line.bytes_per_second.map(|rate| Duration::from_secs(1) * size / rate);
            let pause = line.delay + slow.unwrap_or_default();
            if !pause.is_zero() {
                sleep(pause).await;
            }
            if to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }
}
