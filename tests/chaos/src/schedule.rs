//! What breaks, in which order and for how long: a function of the seed alone.
//!
//! There are lanes, which go on beside each other, so that faults of different kinds overlap as they
//! please. Within a lane a fault has healed before the next one comes: so no two strike the same thing,
//! and a cluster loses its majority only by the fault that is meant to take it.

use std::{ops::RangeInclusive, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom, seq::SliceRandom};

use crate::fault::{BINDINGS, Failure, Fault, Member, Peer, QUEUES};

/// Faults that exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Processes of gateway, relay and saga.
    Core,
    /// Processes of the participants.
    Workers,
    Broker,
    Database,
    Network,
    /// What the broker holds.
    Queues,
}

impl Lane {
    pub(crate) const ALL: [Self; 6] =
        [Self::Core, Self::Workers, Self::Broker, Self::Database, Self::Network, Self::Queues];

    /// Milliseconds between one that has healed and the next.
    fn pauses(self) -> RangeInclusive<u64> {
        match self {
            Self::Core | Self::Workers => 300..=2_500,
            Self::Broker => 3_000..=10_000,
            Self::Database => 8_000..=20_000,
            Self::Network => 500..=4_000,
            Self::Queues => 1_500..=6_000,
        }
    }

    /// One round of it, with every kind of fault that it has.
    fn deck(self, nodes: usize, random: &mut StdRng) -> Vec<Fault> {
        match self {
            Self::Core => processes(false).collect(),
            Self::Workers => processes(true).collect(),
            Self::Broker if nodes == 1 => vec![Fault::KillBroker, Fault::RestartNode(0)],
            Self::Broker => {
                let each = (0..nodes).flat_map(|n| [Fault::KillNode(n), Fault::RestartNode(n)]);
                each.chain([Fault::KillBroker]).collect()
            }
            Self::Database => vec![Fault::KillDatabase, Fault::RestartDatabase],
            Self::Network => networks(random),
            Self::Queues => {
                let purges = QUEUES.map(|queue| Fault::Purge(Some(queue)));
                BINDINGS.map(Fault::Unbind).into_iter().chain(purges).chain([Fault::Purge(None)]).collect()
            }
        }
    }
}

fn processes(workers: bool) -> impl Iterator<Item = Fault> {
    let members = Member::all().filter(move |member| member.is_worker() == workers);
    members.flat_map(|member| [Fault::Kill(member), Fault::Pause(member), Fault::Restart(member)])
}

/// Every failure, once for one process and once, for a while, for all.
fn networks(random: &mut StdRng) -> Vec<Fault> {
    let members: Vec<Member> = Member::all().collect();
    let delay = Failure::Delay(random.random_range(20..=150));
    let failures = [Failure::Cut, Failure::BlackHole, Failure::LostAnswers, delay];
    let mut faults = Vec::new();
    for (failure, peer) in failures.into_iter().flat_map(|f| [(f, Peer::Broker), (f, Peer::Database)]) {
        faults.push(Fault::Network(failure, peer, members.choose(random).copied()));
        faults.push(Fault::Network(failure, peer, None));
    }
    faults
}

/// How many milliseconds a fault lasts.
fn duration(fault: Fault) -> RangeInclusive<u64> {
    match fault {
        Fault::Kill(_) | Fault::KillNode(_) | Fault::KillDatabase => 100..=3_000,
        Fault::Restart(_) | Fault::RestartNode(_) | Fault::RestartDatabase => 0..=1_500,
        // Longer than any lease.
        Fault::Pause(_) => 500..=8_000,
        Fault::KillBroker => 100..=2_000,
        Fault::Network(_, _, Some(_)) => 500..=9_000,
        Fault::Network(_, _, None) => 200..=3_000,
        Fault::Unbind(_) => 500..=5_000,
        Fault::Purge(_) => 500..=2_500,
    }
}

/// A fault, the time before it and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) pause: Duration,
    pub(crate) fault: Fault,
    pub(crate) lasts: Duration,
}

/// The steps of one lane, without end.
pub(crate) struct Steps {
    lane: Lane,
    nodes: usize,
    random: StdRng,
    deck: Vec<Fault>,
}

impl Steps {
    pub(crate) fn new(seed: u64, lane: Lane, nodes: usize) -> Self {
        // Lanes must not repeat each other's numbers.
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..=lane as usize {
            random = StdRng::seed_from_u64(random.random());
        }
        Self { lane, nodes, random, deck: Vec::new() }
    }
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.deck.is_empty() {
            self.deck = self.lane.deck(self.nodes, &mut self.random);
            self.deck.shuffle(&mut self.random);
        }
        let fault = self.deck.pop()?;
        let pause = Duration::from_millis(self.random.random_range(self.lane.pauses()));
        let lasts = Duration::from_millis(self.random.random_range(duration(fault)));
        Some(Step { pause, fault, lasts })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn some(seed: u64, lane: Lane) -> Vec<Step> {
        Steps::new(seed, lane, 3).take(60).collect()
    }

    #[test]
    fn a_seed_repeats_its_faults_and_another_one_does_not() {
        for lane in Lane::ALL {
            assert_eq!(some(7, lane), some(7, lane));
            assert_ne!(some(7, lane), some(8, lane));
        }
    }

    #[test]
    fn every_kind_of_fault_comes() {
        let steps = Lane::ALL.into_iter().flat_map(|lane| some(1, lane));
        let kinds: BTreeSet<&str> = steps.map(|step| step.fault.kind()).collect();
        assert_eq!(kinds.len(), 15, "{kinds:?}");
    }

    #[test]
    fn a_single_node_is_killed_as_the_whole_broker() {
        let kills = Steps::new(1, Lane::Broker, 1).take(10).filter(|step| step.fault == Fault::KillBroker);
        assert_eq!(kills.count(), 5);
    }
}
