//! One cell from its request to its end: the fault strikes, time is turned forward, what was kept back arrives
//! after all.

use std::sync::Arc;

use tokio::sync::mpsc;
use waybill_proto::v1::{DispatchReceipt, DispatchState};
use waybill_saga::Command;
use waybill_test_support::{
    client::{get, watch},
    load::insist,
    patience::{in_time, until},
};

use crate::{
    cell::{Cell, Course, Fault},
    expected,
    post::To,
    stage::Stage,
    trouble,
    wire::Line,
};

pub(crate) struct Story {
    pub(crate) cell: Cell,
    pub(crate) receipt: DispatchReceipt,
    pub(crate) line: Arc<Line>,
    strikes: mpsc::UnboundedReceiver<Command>,
    order_id: String,
}

impl Story {
    pub(crate) async fn begin(stage: &Stage, cell: Cell) -> Self {
        let request = cell.request();
        let order_id = request.order_id.clone();
        let (line, strikes) = stage.wire.line(&order_id, &cell);
        if cell.fault == Fault::Transient {
            trouble::make(&stage.back, &order_id, cell.command()).await;
        }
        let receipt = insist(&stage.client, request).await;
        Self { cell, receipt, line, strikes, order_id }
    }

    /// The id of the command that the fault is aimed at.
    pub(crate) fn command_id(&self) -> String {
        format!("{}:{}", self.receipt.dispatch_id, self.cell.command().name())
    }

    /// Where the cell is about a compensation, has the saga turn back.
    pub(crate) async fn turn_back(&mut self, stage: &Stage) {
        let Some(step) = self.cell.turned_back_at() else { return };
        let step = self.cell.definition.steps[step];
        for _ in 0..step.patience.attempts {
            self.struck(step.command).await;
            stage.turn_forward(&self.receipt.dispatch_id).await;
        }
    }

    /// The fault strikes as often as it is aimed, and time passes until the saga has given up.
    pub(crate) async fn suffer(&mut self, stage: &Stage) {
        match self.cell.course() {
            Course::Refused => {}
            Course::Unharmed => self.struck(self.cell.command()).await,
            Course::Retried => {
                self.struck(self.cell.command()).await;
                stage.turn_forward(&self.receipt.dispatch_id).await;
            }
            Course::GivenUp => {
                for attempt in 1..=self.cell.patience().attempts {
                    if self.cell.fault == Fault::Transient {
                        trouble::struck(&stage.back, &self.command_id(), attempt).await;
                    } else {
                        self.struck(self.cell.command()).await;
                    }
                    stage.turn_forward(&self.receipt.dispatch_id).await;
                }
            }
        }
        if self.cell.is_stuck() {
            self.reach(stage, DispatchState::Stuck).await;
            self.free(stage).await;
        }
    }

    /// What made it stuck is over.
    async fn free(&self, stage: &Stage) {
        match self.cell.fault {
            Fault::NeverAnswered => self.release(stage).await,
            Fault::Transient => {
                trouble::mend(&stage.back, &self.order_id).await;
                stage.turn_forward(&self.receipt.dispatch_id).await;
            }
            _ => stage.turn_forward(&self.receipt.dispatch_id).await,
        }
    }

    /// Waits for the end, and then all arrives that has not yet.
    pub(crate) async fn end(&mut self, stage: &Stage) {
        let reached = match expected::end(&self.cell).state.as_str() {
            "COMPLETED" => DispatchState::Completed,
            _ => DispatchState::Cancelled,
        };
        self.reach(stage, reached).await;
        self.release(stage).await;
        if self.cell.fault == Fault::Transient {
            self.deal_with_dead_letter(stage).await;
        }
        assert_eq!(self.line.missed(), [], "{} struck as often as it was aimed", self.cell.name());
        assert!(self.strikes.try_recv().is_err(), "{} struck nothing else", self.cell.name());
    }

    async fn release(&self, stage: &Stage) {
        for post in self.line.release() {
            stage.wire.send(post).await;
        }
    }

    /// The dead command is sent again, though its saga is over.
    async fn deal_with_dead_letter(&self, stage: &Stage) {
        trouble::mend(&stage.back, &self.order_id).await;
        trouble::clear(&stage.back, &self.command_id()).await;
        let seen = self.line.seen();
        let mut commands = seen.into_iter().filter(|post| post.to == To::Participant);
        let command = commands.find(|post| post.command == self.cell.command()).unwrap();
        stage.wire.send(command).await;
    }

    async fn struck(&mut self, command: Command) {
        let struck = in_time(&format!("{} strikes", self.cell.name()), self.strikes.recv()).await;
        assert_eq!(struck, Some(command), "{}", self.cell.name());
    }

    /// A watch ends where the saga ends, and where it is stuck: whoever goes on from there has to look.
    async fn reach(&self, stage: &Stage, wanted: DispatchState) {
        let (name, id) = (self.cell.name(), &self.receipt.dispatch_id);
        if wanted == DispatchState::Stuck || !self.cell.is_stuck() {
            let last = watch(&stage.client, id, 0).await.pop().unwrap();
            assert_eq!(last.state(), wanted, "{name}");
        } else {
            until(&name, async || get(&stage.client, id).await.state() == wanted).await;
        }
    }
}
