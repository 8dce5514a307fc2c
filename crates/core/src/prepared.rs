//! What is worked out once of something shared and then read by every call (memoization): key material, compiled forms.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// Room for one value of each type. Whoever needs a value makes it the first time; everybody else reads it, without a lock.
///
/// ```
/// use portcullis_core::prepared::Prepared;
///
/// let prepared = Prepared::default();
/// assert_eq!(prepared.get_or_init(|| 7_u32), &7);
/// assert_eq!(prepared.get_or_init(|| 8_u32), &7, "it is made once");
/// assert_eq!(prepared.get_or_init(|| "another type".to_owned()), "another type");
/// ```
#[derive(Default)]
pub struct Prepared {
    /// An `Option<T>` that holds the value.
    value: OnceLock<Box<dyn Any + Send + Sync>>,
    /// Values of further types; as many as there are types in the code that asks.
    further: OnceLock<Box<Prepared>>,
}

impl Prepared {
    /// The value of this type; made now if it is not there. `make` must not ask the same room.
    pub fn get_or_init<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> &T {
        let mut make = Some(make);
        let mut room = self;
        loop {
            // A value that is made here has the type that is asked for, so `make` is taken at most once.
            let held = room.value.get_or_init(|| Box::new(make.take().map(|make| make())));
            if let Some(Some(value)) = held.downcast_ref::<Option<T>>() {
                return value;
            }
            room = room.further.get_or_init(Box::default);
        }
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_type_has_a_value_of_its_own_that_is_made_once_whoever_asks() {
        let (prepared, made) = (Prepared::default(), AtomicUsize::new(0));
        let make = |value: u64| {
            made.fetch_add(1, Ordering::Relaxed);
            value
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    assert_eq!(*prepared.get_or_init(|| make(7)), 7);
                    assert_eq!(prepared.get_or_init(|| Some(3_u8)), &Some(3));
                    assert_eq!(prepared.get_or_init(|| None::<u16>), &None);
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn it_does_not_show() {
        let prepared = Prepared::default();
        prepared.get_or_init(|| "a key".to_owned());
        assert_eq!(format!("{prepared:?}"), "Prepared(…)");
    }
}
