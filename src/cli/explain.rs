//! `waybill explain`: why a dispatch is not done, what happens next, and what to type.

use std::process::ExitCode;

use serde_json::{Value, json};
use tonic::Code;
use waybill_proto::v1::{
    ExplainDispatchRequest, Explanation, OperatorOption, OperatorVerb, explain_dispatch_request::Key,
};

use super::{
    Failure,
    clean::clean,
    client::{ClientArgs, Operator},
    find::By,
    json,
    out::{self, Colour, Paint},
    state, time,
};

/// Says where a dispatch stands, what it waits for, what happens next, and what you can type
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill explain order-4711
  waybill explain 0198c1f0-7a5e-7cc3-98c4-dc0c0c07398f --json | jq .waits_for

Exit codes: 0 explained, 5 not found; see `waybill --help` for the others.")]
pub(crate) struct Args {
    /// Id of the dispatch, of its message or of its order
    #[arg(value_name = "ID")]
    id: String,
    /// What kind of id it is; without this it is tried as each in turn
    #[arg(long, value_enum)]
    by: Option<By>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Args {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let (_, mut operator) = self.client.connect_operator().await?;
        let explanation = self.ask(&mut operator).await?;
        let flag = self.client.flag();
        let text = if self.client.json {
            json::line(&as_json(&explanation, &flag))
        } else {
            as_text(&explanation, &flag, Paint::of_stdout())
        };
        out::text(&text).map(|()| ExitCode::SUCCESS)
    }

    async fn ask(&self, operator: &mut Operator) -> Result<Explanation, Failure> {
        let kinds = self.by.map_or(vec![By::Dispatch, By::Message, By::Order], |by| vec![by]);
        let mut failure = Failure::usage("no id was given");
        for kind in kinds {
            let id = self.id.clone();
            let key = match kind {
                By::Dispatch => Key::DispatchId(id),
                By::Message => Key::MessageId(id),
                By::Order => Key::OrderId(id),
            };
            let request = ExplainDispatchRequest { key: Some(key) };
            match self.client.call(request, |request| operator.explain_dispatch(request)).await {
                Ok(explanation) => return Ok(explanation),
                Err(status)
                    if self.by.is_none()
                        && matches!(status.code(), Code::NotFound | Code::InvalidArgument) =>
                {
                    failure = status.into();
                }
                Err(status) => return Err(status.into()),
            }
        }
        Err(failure)
    }
}

/// The command that uses a verb, ready to copy.
fn command(option: &OperatorOption, explanation: &Explanation, flag: &str) -> String {
    let dispatch = explanation.dispatch.clone().unwrap_or_default();
    let (id, version) = (clean(&dispatch.dispatch_id), dispatch.version);
    let on = |verb: &str| format!("waybill {verb} {id} --version {version} --reason '…'{flag}");
    match option.verb() {
        OperatorVerb::Retry => on("retry"),
        OperatorVerb::SkipDone => on("skip --as done"),
        OperatorVerb::SkipRefused => on("skip --as refused"),
        OperatorVerb::Compensate => on("compensate"),
        OperatorVerb::ForceComplete => on("force-complete"),
        OperatorVerb::Cancel => format!("waybill cancel {id} --reason '…'{flag}"),
        OperatorVerb::Pause => format!("waybill pause dispatch:{id} --reason '…'{flag}"),
        OperatorVerb::Resume => format!("waybill resume {} --reason '…'{flag}", clean(&option.scope)),
        OperatorVerb::Unspecified => String::new(),
    }
}

fn as_text(explanation: &Explanation, flag: &str, paint: Paint) -> String {
    let dispatch = explanation.dispatch.clone().unwrap_or_default();
    let state = dispatch.state();
    let shown_state = paint.paint(state::colour(state), state::name(state));
    let mut lines = vec![format!("dispatch {}  {shown_state}", clean(&dispatch.dispatch_id))];
    let mut field = |name: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("  {name:<10} {}", clean(text)));
        }
    };
    field("order", &dispatch.order_id);
    field("stands", &explanation.standing);
    field("waits for", &waits(explanation));
    field("next", &next(explanation));
    for finding in &explanation.findings {
        field("found", finding);
    }
    if !explanation.options.is_empty() {
        lines.push(String::new());
        lines.push("You can type:".to_owned());
    }
    for option in &explanation.options {
        lines.push(format!("  {}", command(option, explanation, flag)));
        lines.push(paint.paint(Colour::Dim, &format!("      {}", clean(&option.effect))));
    }
    lines.join("\n")
}

fn waits(explanation: &Explanation) -> String {
    let Explanation { waits_for, waits_since, attempt, attempts, .. } = explanation;
    let since = waits_since.as_ref().map(|at| format!(", since {}", time::shown(Some(at))));
    let attempt = (*attempt > 0).then(|| format!(", attempt {attempt} of {attempts}"));
    if waits_for.is_empty() {
        return String::new();
    }
    format!("{waits_for}{}{}", since.unwrap_or_default(), attempt.unwrap_or_default())
}

fn next(explanation: &Explanation) -> String {
    match &explanation.next_at {
        Some(at) if !explanation.next.is_empty() => {
            format!("{}, at {} if no answer comes", explanation.next, time::shown(Some(at)))
        }
        _ => explanation.next.clone(),
    }
}

fn as_json(explanation: &Explanation, flag: &str) -> Value {
    let options = explanation.options.iter().map(|option| {
        json!({
            "verb": option.verb().as_str_name().trim_start_matches("OPERATOR_VERB_"),
            "effect": option.effect,
            "command": command(option, explanation, flag),
        })
    });
    json::filled(json!({
        "dispatch": explanation.dispatch.as_ref().map(json::dispatch),
        "standing": explanation.standing,
        "waits_for": explanation.waits_for,
        "waits_since": time::exact(explanation.waits_since.as_ref()),
        "attempt": explanation.attempt,
        "attempts": explanation.attempts,
        "next": explanation.next,
        "next_at": time::exact(explanation.next_at.as_ref()),
        "findings": explanation.findings,
        "options": options.collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use waybill_proto::v1::{Dispatch, DispatchState};

    use super::*;

    #[test]
    fn an_explanation_ends_with_commands_that_can_be_copied() {
        let option = |verb: OperatorVerb, scope: &str, effect: &str| OperatorOption {
            verb: verb.into(),
            scope: scope.to_owned(),
            effect: effect.to_owned(),
        };
        let explanation = Explanation {
            dispatch: Some(Dispatch {
                dispatch_id: "d-1".to_owned(),
                order_id: "o-1".to_owned(),
                state: DispatchState::Stuck.into(),
                version: 7,
                ..Dispatch::default()
            }),
            standing: "stuck at complete_order".to_owned(),
            waits_for: "the answer of order".to_owned(),
            waits_since: Some(Timestamp { seconds: 0, nanos: 0 }),
            attempt: 3,
            attempts: 10,
            next: "CompleteOrder is sent again".to_owned(),
            next_at: Some(Timestamp { seconds: 60, nanos: 0 }),
            findings: vec!["the broker is away".to_owned()],
            options: vec![
                option(OperatorVerb::Retry, "", "it is sent again"),
                option(OperatorVerb::Resume, "participant:order", "it goes on"),
            ],
        };
        let text = as_text(&explanation, " --endpoint http://x:1", Paint::none());
        let expected = "\
dispatch d-1  STUCK
  order      o-1
  stands     stuck at complete_order
  waits for  the answer of order, since 1970-01-01T00:00:00.000Z, attempt 3 of 10
  next       CompleteOrder is sent again, at 1970-01-01T00:01:00.000Z if no answer comes
  found      the broker is away

You can type:
  waybill retry d-1 --version 7 --reason '…' --endpoint http://x:1
      it is sent again
  waybill resume participant:order --reason '…' --endpoint http://x:1
      it goes on";
        assert_eq!(text, expected);
        assert_eq!(as_json(&explanation, "")["options"][0]["verb"], "RETRY");
    }
}
