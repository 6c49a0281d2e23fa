//! The commands against a gateway that misbehaves: nothing is lost, nothing is asked for ever, and the
//! errors have their exit codes.

use std::{io::Write as _, path::Path};

use clap::Parser as _;
use waybill_proto::v1::{DispatchState, GetDispatchRequest};

use super::{Args, board::Board, session::Session, source, tally::Tally};
use crate::cli::{Cli, Client, Command, Failure, client::ClientArgs, fake::Fake, follow::follow};

#[derive(Debug, clap::Parser)]
struct Connection {
    #[command(flatten)]
    args: ClientArgs,
}

fn connection(endpoint: &str, timeout: &str) -> ClientArgs {
    Connection::parse_from(["test", "--endpoint", endpoint, "--timeout", timeout]).args
}

fn lines(ids: &[&str]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for id in ids {
        let parcels = u8::from(!id.starts_with("bad"));
        writeln!(
            file,
            r#"{{"message_id":"{id}","order_id":"o","destination_code":"D","parcel_count":{parcels}}}"#
        )
        .unwrap();
    }
    file
}

/// As `many::run`, but returns the figures instead of printing them.
async fn submit_many(args: &ClientArgs, file: &Path, in_flight: u16, wait: bool) -> Result<Tally, Failure> {
    let source = source::open(file).await?;
    let client = args.connect().await?;
    let mut board = Board::new(args, client.clone(), source.total, wait)?;
    Session::new(args, client, source, in_flight).run(&mut board).await?;
    board.wait_for_rest().await?;
    Ok(board.tally)
}

#[tokio::test]
async fn unanswered_items_are_sent_again_over_a_new_stream() {
    let fake = Fake::breaking(2);
    let args = connection(&fake.serve().await, "10s");
    let ids: Vec<String> = (0..20).map(|number| format!("m-{number}")).collect();
    let file = lines(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let tally = submit_many(&args, file.path(), 4, false).await.unwrap();
    assert_eq!((tally.sent, tally.accepted + tally.duplicates, tally.rejections()), (20, 20, 0));
    let requests = fake.requests();
    assert_eq!(requests.len(), 20);
    assert!(requests.values().any(|seen| *seen > 1), "no receipt was lost: {requests:?}");
}

#[tokio::test]
async fn a_full_server_is_asked_again_and_a_rejection_is_final() {
    let fake = Fake::default();
    let args = connection(&fake.serve().await, "10s");
    let file = lines(&["full-1", "bad-1", "m-1", "m-1", "full-2"]);
    let tally = submit_many(&args, file.path(), 256, false).await.unwrap();
    assert_eq!((tally.sent, tally.retried, tally.rejections()), (5, 2, 1));
    assert_eq!(tally.accepted + tally.duplicates, 4);
    assert_eq!((fake.requests()["full-1"], fake.requests()["bad-1"]), (2, 1));
}

#[tokio::test]
async fn every_dispatch_is_followed_to_its_end_through_broken_watches() {
    let fake = Fake::default();
    let args = connection(&fake.serve().await, "10s");
    let file = lines(&["m-1", "m-2", "bad-1"]);
    let tally = submit_many(&args, file.path(), 256, true).await.unwrap();
    assert_eq!((tally.ends(), tally.unfinished), (2, 0));
    assert_eq!(tally.ended[&("COMPLETED", String::new())], 2);
    let max = tally.end.max();
    assert_eq!(max.as_millis() / 10, 25, "from receipt to end: {max:?}");
    assert!(fake.watches() >= 6);
}

#[tokio::test]
async fn a_watch_resumes_after_the_last_version_seen() {
    let args = connection(&Fake::default().serve().await, "10s");
    let mut versions = Vec::new();
    let client = args.connect().await.unwrap();
    let end = follow(&args, client, "d-1", 0, |transition| {
        versions.push(transition.version);
        Ok(())
    });
    assert_eq!(end.await.unwrap().version, 3);
    assert_eq!(versions, [1, 2, 3]);
}

/// Left before it has ended it would be cancelled, and a connection bears a thousand of those.
#[tokio::test]
async fn a_watch_is_read_until_the_server_ends_it() {
    let fake = Fake::holding_watches();
    let args = connection(&fake.serve().await, "10s");
    let client = args.connect().await.unwrap();
    let (seen, end) = tokio::sync::oneshot::channel();
    let mut seen = Some(seen);
    let watching = follow(&args, client.clone(), "d-1", 0, |transition| {
        if transition.state() == DispatchState::Completed {
            seen.take().unwrap().send(()).unwrap();
        }
        Ok(())
    });
    // On the same connection, and so after the stream was reset if it was.
    let asking = async {
        end.await.unwrap();
        client.clone().get_dispatch(GetDispatchRequest::default()).await.unwrap_err()
    };
    let (watched, _) = tokio::join!(watching, asking);
    assert_eq!((watched.unwrap().version, fake.left()), (3, 0));
}

async fn failure(words: &[&str]) -> Failure {
    let command = Cli::parse_from([&["waybill"], words].concat()).command;
    let client = match command {
        Command::Get(args) => Client::Get(args),
        Command::Cancel(args) => Client::Cancel(args),
        Command::Submit(args) => Client::Submit(args),
        other => panic!("{other:?}"),
    };
    client.run().await.unwrap_err()
}

#[tokio::test]
async fn errors_have_their_exit_codes() {
    let endpoint = Fake::default().serve().await;
    let unknown = failure(&["get", "x", "--endpoint", &endpoint]).await;
    assert_eq!(unknown.code, 5);
    assert_eq!(unknown.message, "NOT_FOUND: unknown (nor is it the id of a dispatch or a message)");
    let file = lines(&["bad-1", "bad-2"]);
    let path = file.path().to_str().unwrap();
    let rejected = failure(&["submit", "--file", path, "--endpoint", &endpoint]).await;
    assert_eq!((rejected.code, rejected.message.as_str()), (3, "2 of 2 were not accepted"));
    let nobody = failure(&["get", "x", "--endpoint", "http://127.0.0.1:1", "--timeout", "2s"]).await;
    assert_eq!(nobody.code, 6);
    assert!(nobody.message.starts_with("cannot reach http://127.0.0.1:1: "), "{nobody}");
}

#[tokio::test]
async fn one_dispatch_is_followed_to_its_end() {
    let endpoint = Fake::default().serve().await;
    let flags =
        ["--order-id", "o", "--destination", "D", "--parcels", "1", "--message-id", "full-1", "--wait"];
    let words = [&["waybill", "--endpoint", &endpoint], flags.as_slice()].concat();
    let code = Flags::parse_from(words).args.run().await.unwrap();
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
}

#[tokio::test]
async fn a_malformed_file_is_refused_before_anything_is_sent() {
    let fake = Fake::default();
    let endpoint = fake.serve().await;
    let mut file = lines(&["m-1"]);
    writeln!(file, "{{").unwrap();
    let failure =
        failure(&["submit", "--file", file.path().to_str().unwrap(), "--endpoint", &endpoint]).await;
    assert_eq!(failure.code, 2);
    assert!(failure.details[0].starts_with("line 2: "), "{failure}");
    assert!(fake.requests().is_empty());
}

#[test]
fn one_dispatch_is_described_whole() {
    let words = ["--file", "f", "--order-id", "o"];
    assert!(Flags::try_parse_from([&["test"], words.as_slice()].concat()).is_err());
    assert!(Flags::try_parse_from(["test", "--order-id", "o"]).is_err());
    assert!(
        Flags::try_parse_from(["test", "--order-id", "o", "--destination", "D", "--parcels", "1"]).is_ok()
    );
}

#[derive(Debug, clap::Parser)]
struct Flags {
    #[command(flatten)]
    args: Args,
}
