//! One dead letter with another body, sent again.

use std::{
    fs,
    io::{Read as _, stdin},
    path::PathBuf,
    process::ExitCode,
};

use waybill_proto::v1::{EditDeadLetterRequest, edit_dead_letter_request::Body};

use super::show::print;
use crate::cli::{Failure, client::ClientArgs, why::Why};

/// Gives a dead letter another body, keeps the one it had, and sends it again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waybill dead-letters show 0198c1f0-7a5e-7cc3-98c4-dc0c0c07398f --json | jq .body > new.json
  waybill dead-letters edit 0198c1f0-7a5e-7cc3-98c4-dc0c0c07398f --body new.json --reason 'currency'

Exit codes: 0 done, 3 it is no body of its type, and why, 5 not found, 8 it is not dead any more, or was handled.")]
pub(super) struct Edit {
    /// Its id
    id: String,
    /// The new body as JSON of its type; `-` for standard input
    #[arg(long, value_name = "FILE", required_unless_present = "raw")]
    body: Option<PathBuf>,
    /// The new body as it goes over the wire; `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "body")]
    raw: Option<PathBuf>,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    client: ClientArgs,
}

impl Edit {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let body = match (&self.body, &self.raw) {
            (Some(path), _) => String::from_utf8(read(path)?)
                .map(Body::Json)
                .map_err(|_| Failure::usage(format!("{}: is no text in UTF-8", path.display())))?,
            (None, Some(path)) => Body::Raw(read(path)?),
            (None, None) => return Err(Failure::usage("no body was given")),
        };
        let (_, mut operator) = self.client.connect_operator().await?;
        let Why { reason, operator: name } = self.why;
        let request = EditDeadLetterRequest { id: self.id, body: Some(body), reason, operator: name };
        let letter = self.client.call(request, |request| operator.edit_dead_letter(request)).await?;
        print(&letter, self.client.json).map(|()| ExitCode::SUCCESS)
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = if path.as_os_str() == "-" {
        stdin().lock().read_to_end(&mut body).map(|_| body)
    } else {
        fs::read(path)
    };
    read.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}
