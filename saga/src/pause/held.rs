//! What is held up just now, as an orchestrator sees it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use waybill_messaging::{Store, StoreError, Tx, classify};

use super::{COLUMNS, Pause, Scope, read};
use crate::{Definition, Instance, Participant, machine::Out};

/// For how long "nothing is paused" is believed without asking.
pub(crate) const STALE: Duration = Duration::from_millis(250);

/// Everything but single dispatches.
const WIDE: &str = "scope NOT LIKE 'dispatch:%'";

/// Remembers when nothing was paused, so that it is not asked for every message. Shared by its clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pauses(Arc<Mutex<Option<Instant>>>);

impl Pauses {
    /// What is paused, within the transaction. A pause that holds is locked against being lifted before what is
    /// parked under it is committed: who lifts it will find that. To be asked before an instance is locked.
    pub(crate) async fn held(&self, tx: &Tx) -> Result<Held, StoreError> {
        if self.nothing_lately() {
            return Ok(Held::default());
        }
        let sql = format!("SELECT {COLUMNS} FROM saga_pauses WHERE resuming = 0 AND {WIDE} ORDER BY scope");
        let lock = if tx.has_row_locks() { "FOR SHARE" } else { "" };
        let rows = match tx.glance(&sql).await? {
            Some(rows) if rows.is_empty() => rows,
            _ => tx.query(&format!("{sql} {lock}"), Vec::new()).await?,
        };
        let pauses = rows.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(|e| classify(&e))?;
        let nothing = pauses.is_empty().then(Instant::now);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = nothing;
        Ok(Held(pauses))
    }

    fn nothing_lately(&self) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < STALE)
    }
}

/// What is paused; single dispatches are marked on their rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held(Vec<Pause>);

impl Held {
    /// Those whose deadlines are left alone.
    pub(crate) async fn deadlines(store: &Store) -> Result<Self, StoreError> {
        let rows =
            store.query(&format!("SELECT {COLUMNS} FROM saga_pauses WHERE {WIDE}"), Vec::new()).await?;
        let all = rows.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(|e| classify(&e))?;
        Ok(Self(all.into_iter().filter(Pause::holds_deadlines).collect()))
    }

    /// The same without one of them.
    pub(crate) fn without(mut self, scope: &Scope) -> Self {
        self.0.retain(|pause| pause.scope != *scope);
        self
    }

    /// Whether nothing holds an instance, whatever it would send.
    pub(crate) fn is_nothing_for(&self, instance: &Instance) -> bool {
        self.0.is_empty() && !instance.paused
    }

    /// The pause that holds a saga up that would send this.
    pub(crate) fn holds(&self, definition: &Definition, instance: &Instance, out: &[Out]) -> Option<Scope> {
        let sends = |participant| {
            out.iter().any(|out| {
                matches!(out, Out::Command(step, _)
                    if definition.steps[*step].command.participant() == participant)
            })
        };
        let holds = |scope: &Scope| match scope {
            Scope::All => true,
            Scope::Saga(name) => *name == definition.name,
            Scope::Participant(participant) => sends(*participant),
            Scope::Dispatch(_) => false,
        };
        let wide = self.0.iter().map(|pause| &pause.scope).find(|scope| holds(scope)).cloned();
        wide.or_else(|| instance.paused.then(|| Scope::Dispatch(instance.dispatch_id.clone())))
    }

    /// Why nothing may be sent, for a person.
    pub(crate) fn describe(&self, scope: &Scope) -> String {
        let known = self.0.iter().find(|pause| pause.scope == *scope);
        known.map_or_else(|| format!("{scope} is paused"), Pause::describe)
    }

    /// The participants whose steps of a definition are not to be woken; `None`: none is.
    pub(crate) fn silent(&self, definition: &Definition) -> Option<Vec<Participant>> {
        let mut silent = Vec::new();
        for pause in &self.0 {
            match &pause.scope {
                Scope::All => return None,
                Scope::Saga(name) if *name == definition.name => return None,
                Scope::Participant(participant) => silent.push(*participant),
                Scope::Saga(_) | Scope::Dispatch(_) => {}
            }
        }
        Some(silent)
    }
}
