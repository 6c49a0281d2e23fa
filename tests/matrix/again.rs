//! When everything has ended, every message that ever passed is delivered again, under its own id and under
//! another one: nothing changes.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use waybill_test_support::patience::until;

use crate::{
    post::{Post, To},
    stage::Stage,
    story::Story,
};

/// As an operator would have a command sent, had its instance this version.
const VERSION: &str = "901";

pub(crate) async fn deliver_everything_again(stage: &Stage, stories: &[Story]) {
    let (before, versions) = (tables(stage).await, versions(stage).await);
    let known: Vec<Vec<Post>> = stories.iter().map(|story| story.line.seen()).collect();
    let anew = known.iter().map(|posts| {
        let commands = posts.iter().filter(|post| post.to == To::Participant);
        commands.map(|post| post.anew(VERSION)).collect::<Vec<_>>()
    });
    let anew: Vec<Vec<Post>> = anew.collect();
    let asked: BTreeSet<_> = anew.iter().flatten().map(|post| format!("{}:reply", post.id())).collect();
    send(stage, known).await;
    send(stage, anew).await;
    // Each command under its new id has its answer, which is new to the saga, and comes last.
    let like = format!("'%:{VERSION}:reply'");
    let answered = format!("SELECT message_id FROM inbox WHERE message_id LIKE {like} ORDER BY message_id");
    let count = format!("SELECT count(*) FROM inbox WHERE message_id LIKE {like}");
    let all = i64::try_from(asked.len()).unwrap();
    until("every answer", async || stage.front.number(&count).await >= all).await;
    stage.books().settled().await;
    assert_eq!(stage.front.texts(&answered).await, asked.into_iter().collect::<Vec<_>>());
    assert_eq!(tables(stage).await, before, "nothing has changed");
    let recorded = self::versions(stage).await - versions;
    assert_eq!(recorded, all, "one answer that came too late for each new id, and none for a known one");
}

/// Those of one dispatch in order, beside those of the others.
async fn send(stage: &Stage, posts: Vec<Vec<Post>>) {
    let sending = posts.into_iter().map(async |posts| {
        for post in posts {
            stage.wire.send(post).await;
        }
    });
    join_all(sending).await;
}

/// All that could have changed.
async fn tables(stage: &Stage) -> Vec<String> {
    let instances = "SELECT dispatch_id || ' ' || state || ' ' || steps || ' ' || reason FROM saga_instances \
                     ORDER BY dispatch_id";
    let mut rows = stage.front.texts(instances).await;
    let text = "CAST(updated_at AS TEXT)";
    for (table, key, values) in [
        ("orders", "dispatch_id", "state || ' ' || reason".to_owned()),
        (
            "payment_reservations",
            "dispatch_id",
            "state || ' ' || reason || CAST(captured_at AS TEXT)".to_owned(),
        ),
        ("deliveries", "dispatch_id", "state || ' ' || reason".to_owned()),
        ("payment_accounts", "customer_id", "CAST(reserved_minor_units AS TEXT)".to_owned()),
    ] {
        let sql = format!("SELECT {key} || ' ' || {values} || ' ' || {text} FROM {table} ORDER BY {key}");
        rows.extend(stage.back.texts(&sql).await);
    }
    rows
}

/// Of all instances together.
async fn versions(stage: &Stage) -> i64 {
    stage.front.number("SELECT CAST(sum(version) AS BIGINT) FROM saga_instances").await
}
