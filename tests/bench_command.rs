//! `waybill bench` against the real program: its figures are those of the tables, and what does not end as
//! the mix says does not pass.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use waybill_test_support::{Ran, Rig, TestDatabase, audit::Fate, client::BLOCKED, on_both_databases};

on_both_databases!(
    the_figures_of_a_load_are_those_of_the_tables,
    what_a_load_cancels_has_ended_as_the_answers_said,
    a_load_whose_participants_decide_otherwise_fails_and_names_the_dispatches,
    a_load_whose_dispatches_do_not_end_fails,
);

const WAYBILL: &str = env!("CARGO_BIN_EXE_waybill");
const MIX: &str = "completed=16,rejected=1,refused-by-order=1,refused-by-payment=1,refused-by-dispatch=1";

/// No step is sent twice just because the machine is slow.
async fn rig(database: TestDatabase, change: &[(&str, &str)]) -> Rig {
    Rig::with(WAYBILL, database, |program| {
        let program = program.set("WAYBILL_SAGA_STEP_TIMEOUT", "60s");
        change.iter().fold(program, |program, (name, value)| program.set(name, value))
    })
    .await
}

async fn bench(rig: &Rig, flags: &str) -> (Ran, Value) {
    let arguments: Vec<&str> = ["bench", "--json", "-"].into_iter().chain(flags.split(' ')).collect();
    let ran = rig.program.run(&arguments).await;
    let report = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran, report)
}

/// How many dispatches of a run ended in which way, by the tables.
async fn ended(rig: &Rig, report: &Value) -> BTreeMap<&'static str, u64> {
    let run = report["settings"]["run"].as_str().unwrap();
    let ids = format!("SELECT dispatch_id FROM dispatches WHERE message_id LIKE 'bench-{run}-%'");
    let entries = rig.books().entries().await;
    let mut ended = BTreeMap::new();
    for id in rig.database.texts(&ids).await {
        let fates = [
            ("completed", Fate::Completed),
            ("refused-by-order", Fate::RefusedByOrder),
            ("refused-by-payment", Fate::RefusedByPayment),
            ("refused-by-dispatch", Fate::RefusedByDispatch),
        ];
        let name = fates.into_iter().find(|(_, fate)| fate.entry() == entries[&id]);
        *ended.entry(name.map_or("otherwise", |(name, _)| name)).or_default() += 1;
    }
    ended
}

async fn the_figures_of_a_load_are_those_of_the_tables(database: TestDatabase) {
    let rig = rig(database, &[]).await;
    for (flags, sent, measured) in [
        ("--requests 100 --in-flight 16 --until ended", 100, 100),
        ("--requests 100 --in-flight 32 --streaming --connections 3", 100, 100),
        ("--requests 60 --rate 200 --warm-up 200ms", 100, 60),
        ("--requests 100 --in-flight 16 --until ended --ends watched", 100, 100),
    ] {
        let (ran, report) = bench(&rig, &format!("{flags} --mix {MIX} --blocked-customer {BLOCKED}")).await;
        assert_eq!(ran.code, Some(0), "{flags}: {ran:?}");
        assert_eq!((&report["sent"], &report["warm_up"]), (&sent.into(), &(sent - measured).into()));
        assert_eq!((&report["rejected"], &report["accepted"]), (&5.into(), &95.into()), "{report}");
        for nothing in ["wrong", "unfinished", "not_sent"] {
            assert_eq!(report[nothing], 0, "{flags}: {nothing}");
        }
        let expected = BTreeMap::from([
            ("completed", 80),
            ("refused-by-order", 5),
            ("refused-by-payment", 5),
            ("refused-by-dispatch", 5),
        ]);
        assert_eq!(report["ended"], serde_json::to_value(&expected).unwrap(), "{flags}");
        assert_eq!(ended(&rig, &report).await, expected, "{flags}");
        // Every twentieth of the measured was rejected.
        let dated = measured - measured / 20;
        assert_eq!(report["late_seconds"]["count"], measured, "{flags}");
        for latency in ["accept_seconds", "end_seconds"] {
            assert_eq!(report[latency]["count"], dated, "{flags}: {latency}");
        }
        if flags.contains("watched") {
            // Only those that a watch has not brought within a second are asked for, and dated by the server.
            assert_ne!(report["server_seconds"]["count"], dated, "{report}");
            continue;
        }
        assert_eq!(report["server_seconds"]["count"], dated, "{flags}");
        let p50 = |latency: &str| report[latency]["p50"].as_f64().unwrap();
        assert!(p50("end_seconds") >= p50("server_seconds"), "{flags}: {report}");
        assert!(p50("end_seconds") >= p50("accept_seconds"), "{flags}: {report}");
    }
    rig.end(&[]).await;
}

async fn what_a_load_cancels_has_ended_as_the_answers_said(database: TestDatabase) {
    let rig = rig(database, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.PNG");
    for way in ["", " --streaming", " --until ended"] {
        let flags = format!(
            "--requests 30 --in-flight 8 --mix completed=1,cancelled=2{way} --plot {}",
            plot.display()
        );
        let (ran, report) = bench(&rig, &flags).await;
        assert_eq!(ran.code, Some(0), "{flags}: {ran:?}");
        assert_eq!(
            (&report["accepted"], &report["errors"]),
            (&30.into(), &serde_json::json!({})),
            "{report}"
        );
        let count = |value: &Value| value.as_u64().unwrap_or_default();
        let (cancelled, too_late) = (count(&report["ended"]["cancelled"]), count(&report["too_late"]));
        assert_eq!((cancelled + too_late, count(&report["ended"]["completed"])), (20, 10), "{report}");
        let run = report["settings"]["run"].as_str().unwrap();
        let in_state = |state: &str| {
            format!(
                "SELECT count(*) FROM saga_instances i JOIN dispatches d ON d.dispatch_id = i.dispatch_id \
                 WHERE d.message_id LIKE 'bench-{run}-%' AND i.state = '{state}'"
            )
        };
        let compensated = rig.database.number(&in_state("COMPENSATED")).await;
        let completed = rig.database.number(&in_state("COMPLETED")).await;
        assert_eq!(
            (u64::try_from(compensated), u64::try_from(completed)),
            (Ok(cancelled), Ok(10 + too_late))
        );
    }
    let drawn = std::fs::read(plot).unwrap();
    assert!(drawn.starts_with(b"\x89PNG\r\n\x1a\n") && drawn.ends_with(b"IEND\xaeB`\x82"));
    rig.end(&[]).await;
}

async fn a_load_whose_participants_decide_otherwise_fails_and_names_the_dispatches(database: TestDatabase) {
    let rig = rig(database, &[("WAYBILL_DISPATCH_REFUSED_DESTINATIONS", "DEHAM")]).await;
    let (ran, report) = bench(&rig, "--requests 10 --mix completed=3,refused-by-payment=2").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(
        (&report["accepted"], &report["wrong"], &report["unfinished"]),
        (&10.into(), &6.into(), &0.into())
    );
    assert_eq!(report["ended"], serde_json::json!({ "refused-by-payment": 4 }));
    let reason = "SELECT dispatch_id FROM deliveries WHERE state = 'REFUSED'";
    let refused: BTreeSet<String> = rig.database.texts(reason).await.into_iter().collect();
    let named = |key: &str| {
        report["listed"].as_array().unwrap().iter().map(|w| w[key].as_str().unwrap().to_owned()).collect()
    };
    let listed: BTreeSet<String> = named("dispatch_id");
    assert_eq!(listed, refused);
    assert_eq!(listed.len(), 6);
    assert!(ran.err.starts_with("waybill: 6 of 10 accepted did not end as the mix says\n"), "{}", ran.err);
    for id in &listed {
        let line = ran.err.lines().find(|line| line.contains(id)).unwrap();
        assert!(line.ends_with("CANCELLED: destination DEHAM is not served, expected completed"), "{line}");
    }

    // A refusal, but not by the one who had to refuse.
    let (ran, report) = bench(&rig, "--requests 3 --mix refused-by-order=1 --blocked-customer nobody").await;
    assert_eq!((ran.code, &report["wrong"]), (Some(1), &3.into()), "{ran:?}");
    let found: BTreeSet<&str> =
        report["listed"].as_array().unwrap().iter().map(|w| w["found"].as_str().unwrap()).collect();
    assert_eq!(found, BTreeSet::from(["refused by dispatch: destination DEHAM is not served"]));
    rig.end(&[]).await;
}

async fn a_load_whose_dispatches_do_not_end_fails(database: TestDatabase) {
    let rig = rig(database, &[]).await;
    let paused = rig.program.run(&["pause", "participant:payment", "--reason", "a test"]).await;
    assert_eq!(paused.code, Some(0), "{paused:?}");
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let flags = format!(
        "--requests 6 --mix completed=1,refused-by-order=1 --blocked-customer {BLOCKED} --drain-timeout 3s --plot {}",
        plot.display()
    );
    let (ran, report) = bench(&rig, &flags).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(
        (&report["accepted"], &report["unfinished"], &report["wrong"]),
        (&6.into(), &3.into(), &0.into())
    );
    assert!(ran.err.starts_with("waybill: 3 of 6 accepted did not end as the mix says\n"), "{}", ran.err);
    assert_eq!(ran.err.matches("not ended, expected completed").count(), 3, "{}", ran.err);
    let drawn = std::fs::read_to_string(plot).unwrap();
    assert!(drawn.contains("Latency by percentile") && drawn.trim_end().ends_with("</svg>"));
    let resumed = rig.program.run(&["resume", "participant:payment", "--reason", "a test"]).await;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    rig.end(&[]).await;
}
