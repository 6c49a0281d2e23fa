//! Runs against a gateway that misbehaves on purpose.

use std::{sync::Arc, time::Duration};

use clap::Parser as _;
use tokio::time::Instant;
use tonic::Code;

use super::{Args, Bench, ledger::Ledger, mix::Outcome, run::Interrupt, tally::Tally};
use crate::cli::fake::Fake;

#[derive(Debug, clap::Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

async fn bench(fake: &Fake, flags: &str) -> Bench {
    let endpoint = fake.serve().await;
    let flags = format!("bench --endpoint {endpoint} {flags}");
    Command::try_parse_from(flags.split_whitespace()).unwrap().args.prepare().unwrap()
}

async fn measure(bench: &Bench, interrupt: &Interrupt) -> Arc<Ledger> {
    let clients = bench.connect().await.unwrap();
    let start = Instant::now();
    let ledger = Arc::new(Ledger::new(start, Tally::new(Duration::ZERO).unwrap(), false));
    bench.measure(&clients, start, &ledger, interrupt).await.unwrap();
    ledger
}

#[tokio::test]
async fn what_was_on_its_way_in_a_broken_stream_is_an_error_and_the_rest_goes_through_the_next() {
    let fake = Fake::breaking(1);
    let bench =
        bench(&fake, "--streaming --connections 1 --requests 20 --in-flight 4 --drain-timeout 0s").await;
    let ledger = measure(&bench, &Interrupt::default()).await;
    let books = ledger.books();
    let tally = &books.tally;
    let lost = tally.errors[&i32::from(Code::Unavailable)];
    assert!((1..=4).contains(&lost), "{lost}");
    assert_eq!((tally.sent, tally.accepted), (20, 20 - lost));
    // Nobody told of an end.
    assert_eq!((tally.unfinished, tally.ends()), (20 - lost, 0));
}

#[tokio::test]
async fn a_request_whose_receipt_is_lost_is_looked_up_and_an_end_that_no_list_shows_is_asked_for() {
    let fake = Fake::breaking(1).ending();
    let bench = bench(&fake, "--streaming --connections 1 --requests 20 --in-flight 4 --poll 1ms").await;
    let ledger = measure(&bench, &Interrupt::default()).await;
    let books = ledger.books();
    let tally = &books.tally;
    let unavailable = tally.errors[&i32::from(Code::Unavailable)];
    // The fake had taken one or more of those whose receipts are lost.
    let taken = fake.requests().len() as u64;
    assert!(taken > 20 - unavailable, "{taken}");
    assert_eq!((tally.accepted, tally.ended[&Outcome::Completed]), (taken, taken));
    assert_eq!((tally.wrong, tally.unfinished), (0, 0));
    // What has no receipt has no latency.
    assert_eq!(tally.end.count(), 20 - unavailable);
}

#[tokio::test]
async fn a_cancelled_dispatch_may_complete_only_when_the_answer_to_the_cancel_request_allows_it() {
    for (answer, way, too_late, wrong, errors) in [
        (Some(Code::FailedPrecondition), "", 10, 0, 0),
        (Some(Code::FailedPrecondition), "--streaming", 10, 0, 0),
        (Some(Code::Unavailable), "", 10, 0, 10),
        (Some(Code::PermissionDenied), "", 0, 10, 10),
        (None, "", 0, 10, 0),
    ] {
        let fake = Fake::default().ending().refusing_cancel(answer);
        let flags = format!("--mix cancelled=1 --requests 10 --in-flight 4 --poll 1ms {way}");
        let bench = bench(&fake, &flags).await;
        let ledger = measure(&bench, &Interrupt::default()).await;
        let books = ledger.books();
        let tally = &books.tally;
        assert_eq!((tally.accepted, tally.unfinished), (10, 0), "{answer:?}");
        assert_eq!((tally.too_late, tally.wrong), (too_late, wrong), "{answer:?}: {:?}", tally.listed);
        assert_eq!((tally.error_count(), tally.ends()), (errors, 10), "{answer:?}");
    }
}

#[tokio::test]
async fn a_load_that_is_stopped_reports_what_was_sent_until_then() {
    for flags in ["", "--rate 2000", "--streaming"] {
        let fake = Fake::default();
        let bench = bench(&fake, &format!("--duration 1h --drain-timeout 0s {flags}")).await;
        let interrupt = Interrupt::default();
        let stop = async {
            // The fake says nothing by itself.
            while fake.requests().len() < 10 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            interrupt.stop.cancel();
        };
        let (ledger, ()) = tokio::join!(measure(&bench, &interrupt), stop);
        let books = ledger.books();
        assert!(books.tally.sent >= 10, "{flags}");
        assert_eq!(books.tally.accepted, books.tally.sent, "{flags}: all of it is answered");
        assert_eq!(fake.requests().len() as u64, books.tally.sent, "{flags}");
    }
}

#[tokio::test]
async fn what_finds_no_place_before_the_end_counts_as_not_sent() {
    let fake = Fake::silent();
    let bench =
        bench(&fake, "--duration 200ms --rate 100 --in-flight 1 --timeout 300ms --drain-timeout 0s").await;
    let ledger = measure(&bench, &Interrupt::default()).await;
    let books = ledger.books();
    assert_eq!((books.tally.sent, books.tally.not_sent), (1, 19));
    assert_eq!(books.tally.errors, [(i32::from(Code::DeadlineExceeded), 1)].into());
}
