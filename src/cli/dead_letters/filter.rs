//! Which dead letters: the same words for looking at them and for acting on them.

use waybill_proto::v1::{DeadLetterFilter, DeadLetterKind};

use super::words::Kind;

/// What is absent does not matter.
#[derive(Debug, clap::Args)]
pub(super) struct FilterArgs {
    /// Only in this database: `common`, or a participant that has one of its own
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Only of this queue, without the prefix
    #[arg(long)]
    queue: Option<String>,
    /// Only of this type, such as `dispatch.v1.ReservePayment`
    #[arg(long = "type", value_name = "NAME")]
    type_name: Option<String>,
    /// Only of this kind
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only those that died for this reason, in its very words
    #[arg(long, value_name = "TEXT")]
    letter_reason: Option<String>,
    /// Only of this dispatch
    #[arg(long, value_name = "ID")]
    dispatch: Option<String>,
}

impl FilterArgs {
    pub(super) fn wire(self, ids: Vec<String>) -> DeadLetterFilter {
        DeadLetterFilter {
            ids,
            database: self.database,
            queue: self.queue,
            r#type: self.type_name,
            kind: self.kind.map_or(DeadLetterKind::Unspecified, Kind::wire).into(),
            reason: self.letter_reason,
            dispatch_id: self.dispatch,
        }
    }
}
