//! What can be broken, as data.

use std::fmt;

/// The roles; of each there are two processes.
pub(crate) const ROLES: [&str; 6] = ["gateway", "relay", "saga", "order", "payment", "dispatch"];

/// One of the processes, by its place in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member(pub(crate) usize);

impl Member {
    /// Both processes of every role.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..ROLES.len() * 2).map(Self)
    }

    /// What it does.
    pub(crate) fn role(self) -> &'static str {
        ROLES[self.0 / 2]
    }

    /// Whether it is a participant.
    pub(crate) fn is_worker(self) -> bool {
        self.0 / 2 >= 3
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.role(), self.0 % 2 + 1)
    }
}

/// What a process talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Broker,
    Database,
}

/// How the network between a process and its peer fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Connections break, and new ones are refused.
    Cut,
    /// Connections stand, and nothing passes.
    BlackHole,
    /// What the process says arrives; the answers do not.
    LostAnswers,
    /// Every packet comes late, by so many milliseconds.
    Delay(u64),
}

/// The queues; each is named after the role that consumes it.
pub(crate) const QUEUES: [&str; 4] = ["saga", "order", "payment", "dispatch"];

/// A queue's binding: queue and routing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding(pub(crate) &'static str, pub(crate) &'static str);

/// Everything that the queues are bound by.
pub(crate) const BINDINGS: [Binding; 5] = [
    Binding("saga", "dispatch.requested"),
    Binding("saga", "saga.reply"),
    Binding("order", "order.command"),
    Binding("payment", "payment.command"),
    Binding("dispatch", "dispatch.command"),
];

/// One thing that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL.
    Kill(Member),
    /// SIGSTOP, later SIGCONT.
    Pause(Member),
    /// SIGTERM.
    Restart(Member),
    /// One node of the broker is killed.
    KillNode(usize),
    /// One node of the broker is stopped in order.
    RestartNode(usize),
    /// All nodes of the broker are killed.
    KillBroker,
    /// The database server is killed, all of its processes at once.
    KillDatabase,
    /// The database server is stopped, its sessions are thrown out.
    RestartDatabase,
    /// The network of one process, or of all.
    Network(Failure, Peer, Option<Member>),
    /// A queue gets no more messages of this kind.
    Unbind(Binding),
    /// The broker forgets what a queue holds, or all of them.
    Purge(Option<&'static str>),
}

impl Fault {
    /// Under what it is counted.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Kill(_) => "process killed",
            Self::Pause(_) => "process stopped and continued",
            Self::Restart(_) => "process restarted",
            Self::KillNode(_) => "broker node killed",
            Self::RestartNode(_) => "broker node restarted",
            Self::KillBroker => "all broker nodes killed",
            Self::KillDatabase => "database killed",
            Self::RestartDatabase => "database restarted",
            Self::Network(Failure::Cut, ..) => "network cut",
            Self::Network(Failure::BlackHole, ..) => "network black hole",
            Self::Network(Failure::LostAnswers, ..) => "network answers lost",
            Self::Network(Failure::Delay(_), ..) => "network delay",
            Self::Unbind(_) => "binding removed",
            Self::Purge(Some(_)) => "queue purged",
            Self::Purge(None) => "all queues purged",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Kill(member) | Self::Pause(member) | Self::Restart(member) => write!(f, "{kind}: {member}"),
            Self::KillNode(node) | Self::RestartNode(node) => write!(f, "{kind}: {}", node + 1),
            Self::KillBroker | Self::KillDatabase | Self::RestartDatabase | Self::Purge(None) => {
                write!(f, "{kind}")
            }
            Self::Network(_, peer, Some(member)) => write!(f, "{kind}: {member} and {peer:?}"),
            Self::Network(_, peer, None) => write!(f, "{kind}: everybody and {peer:?}"),
            Self::Unbind(Binding(queue, key)) => write!(f, "{kind}: {queue}, {key}"),
            Self::Purge(Some(queue)) => write!(f, "{kind}: {queue}"),
        }
    }
}
