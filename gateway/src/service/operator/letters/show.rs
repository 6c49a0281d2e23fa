//! `ListDeadLetters`, `GroupDeadLetters`, `GetDeadLetter`.

use sha2::{Digest, Sha256};
use tonic::Status;
use uuid::Uuid;
use waybill_messaging::dead_letter::desk::{self, State};
use waybill_proto::v1;

use super::{Which, id, no_such, which, wire};
use crate::{
    desk::{Database, Desk},
    page_token,
    service::operator::{page_size, page_start},
    violations::Violations,
};

/// Pages over all databases: ids sort by time wherever they were made.
pub(crate) async fn list(
    desk: &Desk,
    request: v1::ListDeadLettersRequest,
) -> Result<v1::ListDeadLettersResponse, Status> {
    let v1::ListDeadLettersRequest { page_size: asked, page_token, filter, states } = request;
    let mut wrong = Violations::default();
    let filters = Sha256::digest(format!("{filter:?}{states:?}")).into();
    let size = page_size(&mut wrong, asked);
    let before = page_start(&mut wrong, &filters, &page_token);
    let before: Option<Uuid> = before.and_then(|id| id.parse().ok());
    let states = read_states(&mut wrong, &states);
    let which = which(&mut wrong, desk, filter.unwrap_or_default(), states);
    let Which { filter, databases } = wrong.or(which)?;

    let most = u32::try_from(size + 1).unwrap_or(u32::MAX);
    let mut found = Vec::new();
    for database in databases {
        let letters = desk::rows(&database.store, &filter, before, most).await;
        let letters = letters.map_err(|error| database.failed(&error))?;
        found.extend(letters.into_iter().map(|letter| (database.clone(), letter)));
    }
    found.sort_unstable_by_key(|(_, letter)| std::cmp::Reverse(letter.id));
    let is_last = found.len() <= size;
    found.truncate(size);
    let last = found.last().filter(|_| !is_last);
    let next = last.map(|(_, letter)| page_token::encode(&filters, &letter.id.to_string()));
    Ok(v1::ListDeadLettersResponse {
        dead_letters: found.into_iter().map(|(database, letter)| summary(desk, &database, letter)).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

pub(crate) async fn groups(
    desk: &Desk,
    request: v1::GroupDeadLettersRequest,
) -> Result<v1::GroupDeadLettersResponse, Status> {
    let v1::GroupDeadLettersRequest { filter, states } = request;
    let mut wrong = Violations::default();
    let states = read_states(&mut wrong, &states);
    let which = which(&mut wrong, desk, filter.unwrap_or_default(), states);
    let Which { filter, databases } = wrong.or(which)?;
    let mut groups = Vec::new();
    for database in databases {
        let found = desk::groups(&database.store, &filter).await;
        let found = found.map_err(|error| database.failed(&error))?;
        groups.extend(found.into_iter().map(|group| wire::group(database.name, group)));
    }
    // Stable, so that the order of each database remains among equals.
    groups.sort_by_key(|group| std::cmp::Reverse(group.dead_letters));
    Ok(v1::GroupDeadLettersResponse { groups })
}

pub(crate) async fn get(desk: &Desk, request: v1::GetDeadLetterRequest) -> Result<v1::DeadLetter, Status> {
    let id = id(&request.id)?;
    let (database, letter) = desk.find(id).await?.ok_or_else(|| no_such(id))?;
    let old = desk::old_bodies(&database.store, id).await.map_err(|error| database.failed(&error))?;
    let (type_name, body) = (letter.envelope.type_name.clone(), letter.envelope.body.clone());
    let letter = summary(desk, &database, letter);
    Ok(wire::whole(letter, &type_name, &body, old))
}

fn summary(desk: &Desk, database: &Database, letter: desk::Letter) -> v1::DeadLetter {
    let early = desk.early(database.store.clock().now());
    wire::letter(database.name, letter, early)
}

fn read_states(wrong: &mut Violations, states: &[i32]) -> Vec<State> {
    let read: Vec<State> = states.iter().filter_map(|state| wire::read_state(*state)).collect();
    wrong.check(read.len() == states.len(), "states", "must be states of dead letters");
    if read.is_empty() { vec![State::Dead] } else { read }
}
