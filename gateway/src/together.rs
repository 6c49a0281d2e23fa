//! Reads of one kind, answered together: those who ask while a statement is under way are answered by the next one,
//! all at once. Who asks alone is answered alone, and at once.

use tokio::sync::{mpsc, oneshot};
use waybill_messaging::StoreError;

/// Who may wait for the next statement; those beyond wait for a place.
const WAITING: usize = 1_024;
/// Keys in one statement, at most.
const MOST: usize = 256;

/// Where to ask for the value of a key. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Together<K, V>(mpsc::Sender<Asked<K, V>>);

#[derive(Debug)]
struct Asked<K, V> {
    key: K,
    answer: oneshot::Sender<Result<V, StoreError>>,
}

impl<K, V> Together<K, V>
where
    K: Clone + Send + 'static,
    V: Send + 'static,
{
    /// `read` returns a value for each key, in their order. It is asked until nobody can ask any more.
    pub(crate) fn new<R>(read: impl Fn(Vec<K>) -> R + Send + Sync + 'static) -> Self
    where
        R: Future<Output = Result<Vec<V>, StoreError>> + Send,
    {
        let (asked, mut asking) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let mut together = Vec::with_capacity(MOST);
            while asking.recv_many(&mut together, MOST).await > 0 {
                answer(&read, together.drain(..)).await;
            }
        });
        Self(asked)
    }

    /// Errors: those of the statement, which one key in it that cannot be read does not spoil for the others.
    pub(crate) async fn ask(&self, key: K) -> Result<V, StoreError> {
        let (answer, answered) = oneshot::channel();
        // Both fail only where reading has panicked.
        let _ = self.0.send(Asked { key, answer }).await;
        answered.await.unwrap_or_else(|_| Err(StoreError::Refused("nobody reads any more".to_owned())))
    }
}

impl<K, V> Clone for Together<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

async fn answer<K, V, R>(read: &impl Fn(Vec<K>) -> R, asked: impl Iterator<Item = Asked<K, V>>)
where
    K: Clone,
    R: Future<Output = Result<Vec<V>, StoreError>>,
{
    // Some have gone away meanwhile.
    let waiting = asked.filter(|asked| !asked.answer.is_closed());
    let (keys, answers): (Vec<K>, Vec<_>) = waiting.map(|asked| (asked.key, asked.answer)).unzip();
    if keys.is_empty() {
        return;
    }
    match read(keys.clone()).await {
        Ok(values) => {
            for (answer, value) in answers.into_iter().zip(values) {
                // Whoever is gone needs no answer.
                let _ = answer.send(Ok(value));
            }
        }
        Err(error) if error.is_outage() || keys.len() == 1 => {
            for answer in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
        Err(_) => {
            for (key, answer) in keys.into_iter().zip(answers) {
                let value = read(vec![key]).await.map(|mut values| values.pop());
                let missing = || StoreError::Refused("nothing was read".to_owned());
                let _ = answer.send(value.and_then(|value| value.ok_or_else(missing)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::{join, sync::Notify};

    use super::*;

    type Reads = Arc<Mutex<Vec<Vec<i32>>>>;

    /// Reads a number as its double, 13 not at all, and writes down what it was asked; the first time it waits.
    fn doubling(first: Arc<Notify>) -> (Together<i32, i32>, Reads) {
        let reads = Reads::default();
        let written = Arc::clone(&reads);
        let together = Together::new(move |keys: Vec<i32>| {
            let is_first = written.lock().unwrap().is_empty();
            written.lock().unwrap().push(keys.clone());
            let first = Arc::clone(&first);
            async move {
                if is_first {
                    first.notified().await;
                }
                if keys.contains(&13) {
                    return Err(StoreError::Refused("13".to_owned()));
                }
                Ok(keys.into_iter().map(|key| key * 2).collect())
            }
        });
        (together, reads)
    }

    #[tokio::test]
    async fn who_asks_during_a_read_is_answered_by_the_next_with_all_the_others() {
        let first = Arc::new(Notify::new());
        let (together, reads) = doubling(Arc::clone(&first));
        let others = async {
            while reads.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            let (two, three, release) = (together.ask(2), together.ask(3), async { first.notify_one() });
            join!(two, three, release)
        };
        let (one, (two, three, ())) = join!(together.ask(1), others);
        assert_eq!((one, two, three), (Ok(2), Ok(4), Ok(6)));
        assert_eq!(*reads.lock().unwrap(), [vec![1], vec![2, 3]]);
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_read_spoils_nobody_elses_answer() {
        let first = Arc::new(Notify::new());
        first.notify_one();
        let (together, reads) = doubling(first);
        let (one, bad, three) = join!(together.ask(1), together.ask(13), together.ask(3));
        assert_eq!((one, three), (Ok(2), Ok(6)));
        assert_eq!(bad, Err(StoreError::Refused("13".to_owned())));
        assert_eq!(reads.lock().unwrap().len(), 4, "together, and then each alone");
    }
}
