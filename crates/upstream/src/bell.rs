//! What wakes the task that drives a connection in HTTP/1.1.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

/// Wakes the task that drives a connection, unless it is known that there is nothing for it to do.
///
/// hyper wakes it whenever a piece of an answer has been taken, also when that was the last and the task waits for the next
/// request. For each call that would be a look at the connection in which nothing is found.
#[derive(Debug, Default)]
pub struct Bell {
    task: OnceLock<Waker>,
    is_muffled: AtomicBool,
    is_let_go: AtomicBool,
}

/// Somebody has the connection, or what it has become. Whoever drives it sees when that is over.
#[derive(Debug)]
pub struct Held(Arc<Bell>);

impl Held {
    /// What wakes its task.
    pub fn bell(&self) -> &Bell {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.is_let_go.store(true, Relaxed);
        // Also where it is muffled.
        if let Some(task) = self.0.task.get() {
            task.wake_by_ref();
        }
    }
}

impl Bell {
    /// That somebody has the connection. There is one of these.
    pub fn held(self: &Arc<Self>) -> Held {
        Held(Arc::clone(self))
    }

    /// Ready when nobody has it any more. For the task that drives it.
    pub fn poll_let_go(&self, context: &Context<'_>) -> Poll<()> {
        self.task.get_or_init(|| context.waker().clone());
        if self.is_let_go.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Drives a connection, in a task of its own: the same waker comes with each look.
    pub async fn drive<F: Future>(self: Arc<Self>, connection: F) -> F::Output {
        let waker = Waker::from(Arc::clone(&self));
        let mut connection = pin!(connection);
        poll_fn(|context| {
            self.task.get_or_init(|| context.waker().clone());
            connection.as_mut().poll(&mut Context::from_waker(&waker))
        })
        .await
    }

    /// Does something that would wake the task for nothing. Whatever else could wake it is of this thread, and not now.
    pub fn muffled<T>(&self, work: impl FnOnce() -> T) -> T {
        self.is_muffled.store(true, Relaxed);
        let done = work();
        self.is_muffled.store(false, Relaxed);
        done
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(task) = self.task.get()
            && !self.is_muffled.load(Relaxed)
        {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Lets tasks that were woken have their turn.
    async fn turn() {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn it_wakes_but_for_when_it_is_muffled() {
        let (bell, looks) = (Arc::<Bell>::default(), Arc::new(AtomicUsize::new(0)));
        let inner: Arc<OnceLock<Waker>> = Arc::default();
        let connection = {
            let (looks, inner) = (Arc::clone(&looks), Arc::clone(&inner));
            poll_fn(move |context| {
                inner.get_or_init(|| context.waker().clone());
                if looks.fetch_add(1, Relaxed) == 3 { Poll::Ready("over") } else { Poll::Pending }
            })
        };
        // Nobody drives it yet.
        Arc::clone(&bell).wake();
        let driven = tokio::spawn(Arc::clone(&bell).drive(connection));
        turn().await;
        assert_eq!(looks.load(Relaxed), 1);
        let inner = inner.get().expect("it was looked at").clone();
        bell.muffled(|| inner.wake_by_ref());
        turn().await;
        assert_eq!(looks.load(Relaxed), 1, "nothing to do");
        for woken in [2, 3] {
            inner.wake_by_ref();
            turn().await;
            assert_eq!(looks.load(Relaxed), woken);
        }
        inner.wake();
        assert_eq!(driven.await.expect("no panic"), "over");
        assert_eq!(looks.load(Relaxed), 4);
    }
}
