//! `make bench` in short: that it measures everything it says, and that everything ended as it should. No
//! figure is judged: that needs a quiet machine.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::path::Path;

use clap::Parser as _;
use waybill_yardsticks::{Report, Settings, run};

/// One short round of some parts, with its pages written to a folder.
async fn short(flags: &str, folder: &Path) -> Report {
    let report = folder.to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_waybill");
    let always =
        ["yardsticks", "--rounds=1", "--seconds=1", "--warm-up=0", "--report", report, "--program", program];
    let settings = Settings::parse_from(always.into_iter().chain(flags.split_whitespace()));
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(".local");
    let mut reports = run(settings, &place).await.unwrap();
    println!("{}", reports[0].text());
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

/// Nothing is wrong, each of these tables has that many rows of figures, and what is written can be shown.
fn check(report: &Report, folder: &Path, tables: &[(&str, usize)], pictures: usize) {
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let found: Vec<_> = report.tables().map(|(title, rows)| (title, rows.len())).collect();
    assert_eq!(found, tables);
    let page = std::fs::read_to_string(folder.join(format!("{}.md", report.name))).unwrap();
    for (title, _) in tables {
        assert!(page.contains(&format!("\n## {title}\n")), "{page}");
    }
    let drawn = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let drawn: Vec<_> = drawn.filter(|path| path.extension().is_some_and(|end| end == "svg")).collect();
    assert_eq!(drawn.len(), pictures);
    for picture in drawn {
        let name = picture.file_name().unwrap().to_str().unwrap();
        assert!(page.contains(&format!("]({name})")), "{name} is not shown");
        let drawn = std::fs::read_to_string(&picture).unwrap();
        assert!(drawn.contains("<polyline") && drawn.trim_end().ends_with("</svg>"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_yardsticks_measure_waybill_and_the_reference_and_every_dispatch_ends() {
    let folder = tempfile::tempdir().unwrap();
    // To ask the broker for its counts takes a second of CPU each time: here it is not asked.
    let flags = format!("--loads=1,64 --accepting=16 --rabbitmq={}", folder.path().display());
    let report = short(&flags, folder.path()).await;
    // A row for each subject and load; packing is measured where the program knows it.
    let rows = || report.tables().take(3).flat_map(|(_, rows)| rows);
    let packing = rows().any(|row| row[0].ends_with("packing on"));
    let sagas = if packing { 14 } else { 8 };
    let tables = [
        ("Yardsticks", 9),
        ("From request to end", sagas),
        ("Accepts alone", 7),
        ("What a dispatch costs", sagas + 6),
    ];
    check(&report, folder.path(), &tables, 2);
    // A figure in every place: a count in flight and a speed at least.
    let empty = |cell: &String| ["–", "0.00", "NaN", "inf"].contains(&cell.as_str());
    assert!(rows().all(|row| row.len() > 2 && !row[2..].iter().any(empty)), "{}", report.text());
    // Nobody has 256 in flight here; all the rest can be told.
    for goal in report.goals().iter().filter(|goal| !goal.what().contains("256 in flight")) {
        assert!(goal.reached().is_some_and(|reached| reached > 0.0), "{goal:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cost_of_traces_is_measured_beside_none_and_spans_come_only_where_there_are_traces() {
    let folder = tempfile::tempdir().unwrap();
    let report = short("--only=telemetry", folder.path()).await;
    check(&report, folder.path(), &[("Traces", 4)], 0);
    let spans: Vec<f64> =
        report.tables().flat_map(|(_, rows)| rows).map(|row| row[3].parse().unwrap()).collect();
    assert!(spans[..2].iter().all(|spans| *spans == 0.0) && spans[2] < spans[3], "{spans:?}");
    assert!(report.goals().iter().all(|goal| goal.reached().is_some_and(|reached| reached > 0.0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_value_of_a_setting_is_measured_and_every_dispatch_ends() {
    let folder = tempfile::tempdir().unwrap();
    let report = short("--only=tuning --turn=window", folder.path()).await;
    check(&report, folder.path(), &[("Against settings", 5)], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn growth_is_measured_and_every_dispatch_ends() {
    let folder = tempfile::tempdir().unwrap();
    let flags = "--only=growth --history=500,5000 --backlog=300 --processes=1,2 --held=4";
    let report = short(flags, folder.path()).await;
    let tables = [
        ("Against history", 16),
        ("While history is forgotten", 1),
        ("Against backlog", 1),
        ("Against payload size", 3),
        ("Against the number of processes", 2),
        ("Under an old snapshot", 3),
    ];
    check(&report, folder.path(), &tables, 6);
    let page = std::fs::read_to_string(folder.path().join("growth.md")).unwrap();
    assert!(!page.contains("unknown"), "{page}");
    assert!(report.goals().iter().all(|goal| goal.reached().is_some_and(|reached| reached > 0.0)));
}
