//! Work without which the gateway must not go on: a worker, an acceptor, a writer, the task of changes. A panic of such
//! work, or an end it must not have, is the end of the process, which says why. A process that has ended is started
//! again; one that lives on without a part of itself answers nobody, or forgets, and nobody is told.
//!
//! Tasks of one connection or one call are not vital: they end alone. What they held is dropped, and the panic is told
//! and counted by the process.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::OnceLock;

type End = Box<dyn Fn(&str, &str) + Send + Sync>;

static END: OnceLock<End> = OnceLock::new();

/// Says how the process ends when vital work is lost: by its name, and why it was lost. The first to say so is heard.
/// Where nobody does, as in tests, a panic goes on as it would without this.
pub fn on_loss(end: impl Fn(&str, &str) + Send + Sync + 'static) {
    // The process has one end.
    let _ = END.set(Box::new(end));
}

/// A future whose panic ends the process.
pub async fn task<T>(name: &'static str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(polled) => polled,
        Err(panic) => lose(END.get(), name, panic),
    })
    .await
}

/// The work of a thread, whose panic ends the process.
pub fn thread<T>(name: &str, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| lose(END.get(), name, panic))
}

/// Vital work has come to an end that it must not have.
pub fn lost(name: &str, reason: &str) {
    match END.get() {
        Some(end) => end(name, reason),
        None => tell_in_tests(name, reason),
    }
}

fn tell_in_tests(name: &str, reason: &str) {
    // Nobody has said how this process ends.
    panic!("{name}: {reason}");
}

fn lose<T>(end: Option<&End>, name: &str, panic: Box<dyn Any + Send>) -> T {
    if let Some(end) = end {
        end(name, words_of(panic.as_ref()));
    }
    resume_unwind(panic)
}

/// What a panic says.
pub fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn noted() -> (End, std::sync::Arc<Mutex<Vec<String>>>) {
        let notes = std::sync::Arc::new(Mutex::new(Vec::new()));
        let kept = std::sync::Arc::clone(&notes);
        let end: End = Box::new(move |name, reason| {
            kept.lock().expect("not poisoned").push(format!("{name}: {reason}"));
        });
        (end, notes)
    }

    #[test]
    fn what_is_lost_is_told_with_its_words() {
        let (end, notes) = noted();
        for (panic, words) in [
            (Box::new("a text") as Box<dyn Any + Send>, "a text"),
            (Box::new("formatted".to_owned()), "formatted"),
            (Box::new(7), "a panic without words"),
        ] {
            let outcome = catch_unwind(AssertUnwindSafe(|| lose::<()>(Some(&end), "the worker", panic)));
            assert!(outcome.is_err(), "an end that comes back is none");
            assert_eq!(notes.lock().expect("not poisoned").pop(), Some(format!("the worker: {words}")));
        }
    }

    #[test]
    fn a_panic_goes_on_where_nobody_has_said_how_the_process_ends() {
        assert!(catch_unwind(|| thread("a thread", || panic!("no"))).is_err());
        assert!(catch_unwind(|| lost("a task", "it has ended")).is_err());
        let mut work = pin!(task("a task", async { panic!("no") }));
        let mut context = Context::from_waker(Waker::noop());
        assert!(catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context))).is_err());
    }

    #[test]
    fn work_that_does_not_panic_is_left_alone() {
        assert_eq!(thread("a thread", || 7), 7);
        let mut work = pin!(task("a task", async { 7 }));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(work.as_mut().poll(&mut context), Poll::Ready(7));
    }
}
