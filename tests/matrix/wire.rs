//! The wire between saga and participants. They have names of their own on the broker, and whatever one sends
//! the other passes here: it is carried over, lost, delayed, doubled or replaced.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use futures_util::StreamExt;
use lapin::{message::Delivery, options::BasicAckOptions};
use tokio::{sync::mpsc, task::JoinSet};
use waybill_saga::{Command, Participant};
use waybill_test_support::TestBroker;

use crate::{
    cell::{Cell, Fault},
    post::{Post, To},
};

/// What is done to the next messages of a kind.
#[derive(Clone, Copy, Debug)]
enum Treatment {
    /// Kept until [`Line::release`].
    Hold,
    Twice,
    TwiceAnew,
    /// Lost, and in its place comes the refusal of another command.
    Nonsense,
}

/// All that is to be done, and was done, to the messages of one dispatch.
pub(crate) struct Line {
    /// With how many of them it is still to be done.
    treatments: Mutex<HashMap<(To, Command), (Treatment, u32)>>,
    struck: mpsc::UnboundedSender<Command>,
    held: Mutex<Vec<Post>>,
    /// By their ids.
    seen: Mutex<BTreeMap<String, Post>>,
}

impl Line {
    /// What the cell asks for, and who hears when it has been done.
    fn new(cell: &Cell) -> (Self, mpsc::UnboundedReceiver<Command>) {
        let mut treatments = HashMap::new();
        if let Some(step) = cell.turned_back_at() {
            let step = &cell.definition.steps[step];
            treatments.insert((To::Saga, step.command), (Treatment::Hold, step.patience.attempts));
        }
        let attempts = cell.patience().attempts;
        let own = match cell.fault {
            Fault::Refused if cell.impossible().is_some() => Some((To::Saga, (Treatment::Nonsense, 1))),
            Fault::ArrivedLate => Some((To::Participant, (Treatment::Hold, 1))),
            Fault::NeverArrived => Some((To::Participant, (Treatment::Hold, attempts))),
            Fault::NeverAnswered => Some((To::Saga, (Treatment::Hold, attempts))),
            Fault::CommandTwice => Some((To::Participant, (Treatment::Twice, 1))),
            Fault::CommandTwiceAnew => Some((To::Participant, (Treatment::TwiceAnew, 1))),
            Fault::AnswerTwice => Some((To::Saga, (Treatment::Twice, 1))),
            Fault::AnswerTwiceAnew => Some((To::Saga, (Treatment::TwiceAnew, 1))),
            // Not by the wire.
            Fault::Refused
            | Fault::Transient
            | Fault::ParticipantDiesBeforeCommit
            | Fault::ParticipantDiesAfterCommit
            | Fault::OrchestratorDiesBeforeCommit
            | Fault::OrchestratorDiesAfterCommit => None,
        };
        if let Some((to, treatment)) = own {
            treatments.insert((to, cell.command()), treatment);
        }
        let (struck, strikes) = mpsc::unbounded_channel();
        let (held, seen) = (Mutex::default(), Mutex::default());
        (Self { treatments: Mutex::new(treatments), struck, held, seen }, strikes)
    }

    /// What is to be carried over in place of this.
    fn treat(&self, post: Post) -> Vec<Post> {
        self.seen.lock().unwrap().insert(post.id(), post.clone());
        let mut treatments = self.treatments.lock().unwrap();
        let treatment = treatments.get_mut(&(post.to, post.command)).filter(|(_, left)| *left > 0);
        let Some((treatment, left)) = treatment else { return vec![post] };
        *left -= 1;
        let command = post.command;
        let posts = match treatment {
            Treatment::Hold => {
                self.held.lock().unwrap().push(post);
                Vec::new()
            }
            Treatment::Twice => vec![post.clone(), post],
            Treatment::TwiceAnew => vec![post.anew(ANEW), post],
            Treatment::Nonsense => vec![post.nonsense()],
        };
        // Nobody listens any more once the test has failed.
        let _ = self.struck.send(command);
        posts
    }

    /// What was done to fewer messages than it was to be done to.
    pub(crate) fn missed(&self) -> Vec<(To, Command)> {
        let treatments = self.treatments.lock().unwrap();
        treatments.iter().filter(|(_, (_, left))| *left > 0).map(|(at, _)| *at).collect()
    }

    /// What was kept.
    pub(crate) fn release(&self) -> Vec<Post> {
        std::mem::take(&mut *self.held.lock().unwrap())
    }

    /// Every message so far, each id once.
    pub(crate) fn seen(&self) -> Vec<Post> {
        self.seen.lock().unwrap().values().cloned().collect()
    }
}

/// A version that no instance here gets to.
const ANEW: &str = "900";

/// Both ends of the wire.
pub(crate) struct Wire {
    saga: TestBroker,
    participants: TestBroker,
    lines: Mutex<HashMap<String, Arc<Line>>>,
}

impl Wire {
    pub(crate) fn new(saga: TestBroker, participants: TestBroker) -> Arc<Self> {
        Arc::new(Self { saga, participants, lines: Mutex::default() })
    }

    /// Begins to carry. Both sides have declared their queues.
    pub(crate) async fn carry(self: &Arc<Self>) -> JoinSet<()> {
        let mut carriers = JoinSet::new();
        let commands = Participant::ALL.map(|participant| (&self.saga, participant.name()));
        for (broker, queue) in commands.into_iter().chain([(&self.participants, "saga")]) {
            let mut deliveries = broker.consume(queue).await;
            let wire = Arc::clone(self);
            carriers.spawn(async move {
                while let Some(delivery) = deliveries.next().await {
                    wire.pass(delivery.unwrap()).await;
                }
            });
        }
        carriers
    }

    /// The line of the order, made before its request.
    pub(crate) fn line(&self, order_id: &str, cell: &Cell) -> (Arc<Line>, mpsc::UnboundedReceiver<Command>) {
        let (line, strikes) = Line::new(cell);
        let line = Arc::new(line);
        self.lines.lock().unwrap().insert(order_id.to_owned(), Arc::clone(&line));
        (line, strikes)
    }

    async fn pass(&self, delivery: Delivery) {
        let post = Post::read(&delivery);
        let line = Arc::clone(&self.lines.lock().unwrap()[&post.order_id]);
        for post in line.treat(post) {
            self.send(post).await;
        }
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }

    /// Carries over, past all treatment.
    pub(crate) async fn send(&self, post: Post) {
        let broker = match post.to {
            To::Saga => &self.saga,
            To::Participant => &self.participants,
        };
        broker.publish("dispatch", &post.key, &post.body, post.properties).await;
    }

    /// Deletes everything of both sides.
    pub(crate) async fn clean(self) {
        self.saga.clean().await;
        self.participants.clean().await;
    }
}
