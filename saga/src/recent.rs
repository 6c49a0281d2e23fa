//! Instances as this process has written them last, so that an optimistic run need not read them again. What it writes
//! is guarded by their versions: where another orchestrator, a deadline or a person was at one of them meanwhile, the
//! run comes to nothing and the next one reads. Then nothing is remembered for a while, because whoever it was is
//! likely to be there still: several processes take turns at one saga.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lru::LruCache;
use tokio::time::Instant;

use crate::{Instance, InstanceState};

/// Instances remembered at most, about 1 KB each.
const MOST: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
/// For how long nothing is, after a run that came to nothing.
const PAUSE: Duration = Duration::from_secs(5);

/// Shared by its clones.
#[derive(Clone, Debug)]
pub(crate) struct Recent(Arc<Mutex<Memory>>);

#[derive(Debug)]
struct Memory {
    instances: LruCache<String, Instance>,
    /// A run that took instances from here has not been committed yet.
    in_doubt: bool,
    /// Nothing is remembered until then.
    not_until: Option<Instant>,
}

impl Default for Recent {
    fn default() -> Self {
        let instances = LruCache::new(MOST);
        Self(Arc::new(Mutex::new(Memory { instances, in_doubt: false, not_until: None })))
    }
}

impl Recent {
    /// Takes those out that are remembered.
    pub(crate) fn take<'a>(&self, dispatch_ids: impl Iterator<Item = &'a str>) -> Vec<Instance> {
        let mut memory = self.lock();
        if std::mem::take(&mut memory.in_doubt) {
            memory.instances.clear();
            memory.not_until = Some(Instant::now() + PAUSE);
        }
        let taken: Vec<Instance> = dispatch_ids.filter_map(|id| memory.instances.pop(id)).collect();
        memory.in_doubt = !taken.is_empty();
        taken
    }

    /// Remembers instances as they have just been committed. Nobody asks for one that has ended.
    pub(crate) fn keep(&self, instances: Vec<Instance>) {
        let mut memory = self.lock();
        memory.in_doubt = false;
        if memory.not_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        for instance in instances {
            if matches!(instance.state, InstanceState::Running | InstanceState::Compensating) {
                memory.instances.put(instance.dispatch_id.clone(), instance);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // Whatever was left undone under this lock is guarded by the versions.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
