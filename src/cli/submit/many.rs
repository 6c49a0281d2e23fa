//! Many dispatches: send them all, wait if asked, sum up, and choose the exit code.

use std::process::ExitCode;

use tonic::Code;

use super::{Args, board::Board, session::Session, source::Source, summary, tally::Tally};
use crate::cli::{Failure, exit, json, out, status};

pub(super) async fn run(args: &Args, source: Source) -> Result<ExitCode, Failure> {
    let client = args.client.connect().await?;
    let mut board = Board::new(&args.client, client.clone(), source.total, args.wait)?;
    let session = Session::new(&args.client, client, source, args.in_flight);
    let mut outcome = session.run(&mut board).await;
    // After malformed input what was accepted before it is still seen to its end.
    if outcome.as_ref().err().is_none_or(|failure| failure.code == exit::USAGE) {
        outcome = outcome.and(board.wait_for_rest().await);
    }
    board.give_up();
    let tally = &board.tally;
    out::text(&if args.client.json {
        json::line(&summary::value(tally))
    } else {
        summary::text(tally, args.wait)
    })?;
    outcome.and_then(|()| verdict(tally))
}

/// Success when nothing was rejected and nothing was left behind.
fn verdict(tally: &Tally) -> Result<ExitCode, Failure> {
    let rejections = tally.rejections();
    if rejections > 0 {
        let mut codes = tally.rejected.keys().map(|code| status::exit_code(Code::from_i32(*code)));
        let first = codes.next().unwrap_or(1);
        let code = if codes.all(|code| code == first) { first } else { 1 };
        return Err(Failure::new(code, format!("{rejections} of {} were not accepted", tally.sent)));
    }
    if tally.unfinished > 0 {
        let message = format!("{} were accepted and have not ended yet", tally.unfinished);
        return Err(Failure::new(exit::UNREACHABLE, message));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::{Tally, verdict};

    fn code(rejections: &[Code], unfinished: u64) -> Option<u8> {
        let mut tally = Tally::new().unwrap();
        for code in rejections {
            tally.rejected(*code);
        }
        tally.unfinished = unfinished;
        verdict(&tally).err().map(|failure| failure.code)
    }

    #[test]
    fn the_exit_code_is_that_of_the_rejections_where_they_agree() {
        assert_eq!(code(&[], 0), None);
        assert_eq!(code(&[Code::InvalidArgument, Code::InvalidArgument], 0), Some(3));
        assert_eq!(code(&[Code::InvalidArgument, Code::AlreadyExists], 0), Some(1));
        assert_eq!(code(&[Code::AlreadyExists], 5), Some(4));
        assert_eq!(code(&[], 5), Some(6));
    }
}
