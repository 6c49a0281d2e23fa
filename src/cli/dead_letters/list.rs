//! Dead letters in groups, or one by one.

use std::process::ExitCode;

use comfy_table::Cell;
use serde_json::{Value, json};
use waybill_proto::v1::{
    DeadLetter, DeadLetterFilter, DeadLetterGroup, GroupDeadLettersRequest, ListDeadLettersRequest,
};

use super::{
    filter::FilterArgs,
    words::{self, State},
};
use crate::cli::{Failure, clean::clean, client::ClientArgs, json, out, time};

/// The largest page that the server gives.
const PAGE: usize = 1_000;
const NOTHING: &str = "there are no such dead letters";

#[derive(Debug, clap::Args)]
pub(super) struct Look {
    /// One by one, the newest first, instead of by queue, type, kind and reason
    #[arg(long)]
    list: bool,
    /// In these states
    #[arg(long, value_enum, value_delimiter = ',', default_value = "dead")]
    state: Vec<State>,
    /// How many, at most, with --list
    #[arg(long, default_value_t = 50, value_name = "COUNT", requires = "list")]
    limit: usize,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Look {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let Self { list, state, limit, filter, client } = self;
        let (states, filter) =
            (state.into_iter().map(|state| state.wire().into()).collect(), filter.wire(vec![]));
        let done = if list {
            letters(&client, filter, states, limit).await
        } else {
            groups(&client, filter, states).await
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

async fn groups(client: &ClientArgs, filter: DeadLetterFilter, states: Vec<i32>) -> Result<(), Failure> {
    let (_, mut operator) = client.connect_operator().await?;
    let request = GroupDeadLettersRequest { filter: Some(filter), states };
    let found = client.call(request, |request| operator.group_dead_letters(request)).await?;
    if client.json {
        return found.groups.iter().try_for_each(|group| out::text(&json::line(&of_group(group))));
    }
    let mut table = out::table(&["Letters", "Database", "Queue", "Type", "Kind", "First", "Last", "Reason"]);
    for group in &found.groups {
        table.add_row([
            Cell::new(group.dead_letters.to_string()),
            Cell::new(clean(&group.database)),
            Cell::new(clean(&group.queue)),
            Cell::new(clean(&group.r#type)),
            Cell::new(words::kind(group.kind())),
            Cell::new(time::shown(group.first_at.as_ref())),
            Cell::new(time::shown(group.last_at.as_ref())),
            Cell::new(clean(&group.reason)),
        ]);
    }
    out::text(&if table.is_empty() { NOTHING.to_owned() } else { table.trim_fmt() })
}

async fn letters(
    client: &ClientArgs,
    filter: DeadLetterFilter,
    states: Vec<i32>,
    limit: usize,
) -> Result<(), Failure> {
    let (_, mut operator) = client.connect_operator().await?;
    let mut table =
        out::table(&["Letter", "State", "Queue", "Type", "Kind", "Died", "Times", "Dispatch", "Reason"]);
    let (mut left, mut page_token) = (limit, String::new());
    while left > 0 {
        let page_size = i32::try_from(left.min(PAGE)).unwrap_or(i32::MAX);
        let (filter, states) = (Some(filter.clone()), states.clone());
        let request = ListDeadLettersRequest { page_size, page_token, filter, states };
        let page = client.call(request, |request| operator.list_dead_letters(request)).await?;
        left = left.saturating_sub(page.dead_letters.len());
        for letter in &page.dead_letters {
            if client.json {
                out::text(&json::line(&of_letter(letter)))?;
            } else {
                table.add_row(row(letter));
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if client.json {
        return Ok(());
    }
    let mut text = if table.is_empty() { NOTHING.to_owned() } else { table.trim_fmt() };
    if !page_token.is_empty() {
        text.push_str("\nthere are more: --limit");
    }
    out::text(&text)
}

fn row(letter: &DeadLetter) -> [Cell; 9] {
    [
        Cell::new(clean(&letter.id)),
        Cell::new(words::state(letter.state())),
        Cell::new(clean(&letter.queue)),
        Cell::new(clean(&letter.r#type)),
        Cell::new(words::kind(letter.kind())),
        Cell::new(time::shown(letter.dead_at.as_ref())),
        Cell::new(letter.times.to_string()),
        Cell::new(clean(&letter.dispatch_id)),
        Cell::new(clean(&letter.reason)),
    ]
}

fn of_group(group: &DeadLetterGroup) -> Value {
    json!({
        "database": group.database,
        "queue": group.queue,
        "type": group.r#type,
        "kind": words::kind(group.kind()),
        "reason": group.reason,
        "dead_letters": group.dead_letters,
        "first_at": time::exact(group.first_at.as_ref()),
        "last_at": time::exact(group.last_at.as_ref()),
    })
}

/// Without its body.
pub(super) fn of_letter(letter: &DeadLetter) -> Value {
    json::filled(json!({
        "id": letter.id,
        "database": letter.database,
        "queue": letter.queue,
        "type": letter.r#type,
        "message_id": letter.message_id,
        "dispatch_id": letter.dispatch_id,
        "causation_id": letter.causation_id,
        "reply_to": letter.reply_to,
        "routing_key": letter.routing_key,
        "trace_id": letter.trace_id,
        "traceparent": letter.traceparent,
        "tracestate": letter.tracestate,
        "attempt": letter.attempt,
        "times": letter.times,
        "kind": words::kind(letter.kind()),
        "reason": letter.reason,
        "first_at": time::exact(letter.first_at.as_ref()),
        "dead_at": time::exact(letter.dead_at.as_ref()),
        "state": words::state(letter.state()),
        "resolved_at": time::exact(letter.resolved_at.as_ref()),
        "resolved_by": letter.resolved_by,
        "resolution": letter.resolution,
        "recorded": letter.recorded,
        "past_inbox_window": letter.past_inbox_window,
        "body_size": letter.body_size,
    }))
}
