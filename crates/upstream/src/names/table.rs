//! The DNS cache: answers with their TTL, failures (negative caching), and lookups under way. It neither asks anybody nor
//! reads a clock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::found::{Failure, Found};
use crate::race::in_turn;

/// Addresses that are kept of one name; one with more is not tried to its end.
const MOST_ADDRESSES: usize = 16;
/// Addresses of an answer that are looked at for that.
const MOST_LOOKED_AT: usize = 256;
/// Names that are known at once. Beyond, new ones are refused.
const MOST_NAMES: usize = 4_096;
/// Who waits for one lookup at once. Beyond, they are refused.
const MOST_WAITING: usize = 1_024;
/// How long an answer is used at least, and at most, whatever its name server says.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// How long a failure is remembered.
const FAILED: Duration = Duration::from_secs(1);
/// How long a lookup that renews an answer is waited for before the old answer is used.
const PATIENCE: Duration = Duration::from_millis(250);

/// How a lookup has ended: in a new answer, in an old one that is still used, or in none.
pub(super) type Answer = Result<Arc<[IpAddr]>, Arc<str>>;

/// Everything known.
#[derive(Debug)]
pub(super) struct Table {
    names: HashMap<Box<str>, Known>,
    /// Lookups under way, and those among them of names whose last lookup failed.
    lookups: usize,
    doubtful: usize,
    most_lookups: usize,
    most_names: usize,
    /// How much longer an answer is kept after its time, in case that none newer is to be had.
    stale: Duration,
}

/// What is known of one name.
#[derive(Debug, Default)]
struct Known {
    good: Option<Good>,
    failed: Option<Failed>,
    lookup: Option<Lookup>,
    /// How often it was asked for.
    turn: usize,
}

#[derive(Debug)]
struct Good {
    addresses: Arc<[IpAddr]>,
    fresh_until: Instant,
    kept_until: Instant,
}

#[derive(Debug)]
struct Failed {
    until: Instant,
    reason: Arc<str>,
}

#[derive(Debug)]
struct Lookup {
    answer: watch::Sender<Option<Answer>>,
    since: Instant,
    is_doubtful: bool,
}

/// What somebody who needs a name's addresses is to do.
#[derive(Debug)]
pub(super) enum Look {
    /// Take this.
    Known(Answer),
    /// Wait for the lookup under way.
    Wait(Waiting),
    /// The same, and see to it that there is one.
    Ask(Waiting),
    /// Look again when some lookup has ended: there are as many as there may be.
    Later,
}

/// A place among those who wait for a lookup.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Where its end is told.
    pub(super) answer: watch::Receiver<Option<Answer>>,
    /// The last good answer, and when it is taken instead.
    pub(super) old: Option<(Arc<[IpAddr]>, Instant)>,
}

impl Table {
    pub(super) fn new(most_lookups: usize, stale: Duration) -> Self {
        let names = HashMap::new();
        Self { names, lookups: 0, doubtful: 0, most_lookups, most_names: MOST_NAMES, stale }
    }

    /// What to do for the addresses of a name, and whose turn it is to be the first of them.
    pub(super) fn look(&mut self, name: &str, now: Instant) -> (Look, usize) {
        if !self.names.contains_key(name) && !self.has_room(now) {
            return (Look::Known(Err("too many names are resolved".into())), 0);
        }
        let known = self.names.entry(name.into()).or_default();
        known.turn = known.turn.wrapping_add(1);
        let turn = known.turn;
        let look = match &known.good {
            Some(good) if now < good.fresh_until => Look::Known(Ok(Arc::clone(&good.addresses))),
            _ => self.look_up(name, now),
        };
        (look, turn)
    }

    fn look_up(&mut self, name: &str, now: Instant) -> Look {
        let known = self.names.get_mut(name).expect("it was just entered");
        let old = known.good.as_ref().filter(|good| now < good.kept_until).map(|good| Arc::clone(&good.addresses));
        let or_old = |reason: Arc<str>| Look::Known(old.clone().ok_or(reason));
        if let Some(lookup) = &known.lookup {
            let old_from = lookup.since + PATIENCE;
            if now >= old_from && old.is_some() {
                return or_old("".into());
            }
            if lookup.answer.receiver_count() >= MOST_WAITING {
                return or_old("too many calls wait for its addresses".into());
            }
            return Look::Wait(Waiting { answer: lookup.answer.subscribe(), old: old.map(|old| (old, old_from)) });
        }
        if let Some(failed) = known.failed.as_ref().filter(|failed| now < failed.until) {
            return or_old(Arc::clone(&failed.reason));
        }
        // Names that were in vain before leave half of the lookups to others, however many and however slow they are.
        let is_doubtful = known.failed.is_some();
        let has_place =
            self.lookups < self.most_lookups && !(is_doubtful && self.doubtful >= self.most_lookups.div_ceil(2));
        if !has_place {
            return old.map_or(Look::Later, |old| Look::Known(Ok(old)));
        }
        self.lookups += 1;
        self.doubtful += usize::from(is_doubtful);
        let (answer, waiting) = watch::channel(None);
        known.lookup = Some(Lookup { answer, since: now, is_doubtful });
        Look::Ask(Waiting { answer: waiting, old: old.map(|old| (old, now + PATIENCE)) })
    }

    /// A lookup has ended: whoever waits is told, and it is remembered.
    pub(super) fn settle(&mut self, name: &str, now: Instant, found: Result<Found, Failure>) {
        let Some(known) = self.names.get_mut(name) else { return };
        let Some(lookup) = known.lookup.take() else { return };
        self.lookups -= 1;
        self.doubtful -= usize::from(lookup.is_doubtful);
        let answer = match found {
            Ok(found) => {
                let mut addresses = Vec::new();
                for address in found.addresses.into_iter().take(MOST_LOOKED_AT) {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                let mut addresses = in_turn(&addresses, 0);
                addresses.truncate(MOST_ADDRESSES);
                let addresses: Arc<[IpAddr]> = addresses.into();
                let fresh_until = now + found.lasts.clamp(SHORTEST, LONGEST);
                let kept_until = fresh_until + self.stale;
                known.good = Some(Good { addresses: Arc::clone(&addresses), fresh_until, kept_until });
                known.failed = None;
                Ok(addresses)
            }
            Err(failure) => {
                // That there is no such name is an answer too, and what was there before is none any more.
                known.good = known.good.take().filter(|good| !failure.is_final && now < good.kept_until);
                let reason: Arc<str> = failure.reason.into();
                known.failed = Some(Failed { until: now + FAILED, reason: Arc::clone(&reason) });
                known.good.as_ref().map(|good| Arc::clone(&good.addresses)).ok_or(reason)
            }
        };
        lookup.answer.send_replace(Some(answer));
    }

    /// Whether there is room for one more name, if need be in the place of those that nothing new is known of.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.names.len() >= self.most_names {
            self.names.retain(|_, known| {
                known.lookup.is_some()
                    || known.good.as_ref().is_some_and(|good| now < good.fresh_until)
                    || known.failed.as_ref().is_some_and(|failed| now < failed.until)
            });
        }
        self.names.len() < self.most_names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(3_600);

    fn found(addresses: &[&str], seconds: u64) -> Result<Found, Failure> {
        let addresses = addresses.iter().map(|text| text.parse().expect("an IP")).collect();
        Ok(Found { addresses, lasts: Duration::from_secs(seconds) })
    }

    fn passing() -> Result<Found, Failure> {
        Err(Failure::passing("no answer".to_owned()))
    }

    /// What is told of a name without waiting, or why it must be waited.
    fn told(table: &mut Table, name: &str, now: Instant) -> Result<Vec<String>, String> {
        match table.look(name, now).0 {
            Look::Known(Ok(addresses)) => Ok(addresses.iter().map(ToString::to_string).collect()),
            Look::Known(Err(reason)) => Err(reason.to_string()),
            Look::Wait(_) => Err("wait".to_owned()),
            Look::Ask(_) => Err("ask".to_owned()),
            Look::Later => Err("later".to_owned()),
        }
    }

    fn seconds(number: f32) -> Duration {
        Duration::from_secs_f32(number)
    }

    fn ok(address: &str) -> Result<Vec<String>, String> {
        Ok(vec![address.to_owned()])
    }

    fn err(reason: &str) -> Result<Vec<String>, String> {
        Err(reason.to_owned())
    }

    #[test]
    fn one_asks_and_all_others_wait_for_the_same_answer() {
        let (mut table, now) = (Table::new(8, STALE), Instant::now());
        let (Look::Ask(mut first), 1) = table.look("a", now) else { panic!("nothing is known") };
        let (Look::Wait(mut second), 2) = table.look("a", now) else { panic!("it is asked for") };
        table.settle("a", now, found(&["10.0.0.1", "10.0.0.1", "::1"], 10));
        for waiting in [&mut first, &mut second] {
            let told = waiting.answer.borrow_and_update().clone().expect("told").expect("addresses");
            assert_eq!(told.len(), 2, "each address once");
        }
        assert!(matches!(table.look("a", now), (Look::Known(Ok(_)), 3)));
    }

    #[test]
    fn an_answer_lasts_as_long_as_it_says_within_bounds() {
        let now = Instant::now();
        for (says, lasts) in [(0, 1), (1, 1), (20, 20), (86_400, 300)] {
            let mut table = Table::new(8, STALE);
            assert_eq!(told(&mut table, "a", now), err("ask"));
            table.settle("a", now, found(&["10.0.0.1"], says));
            let end = now + Duration::from_secs(lasts);
            assert_eq!(told(&mut table, "a", end - seconds(0.1)), ok("10.0.0.1"), "{says}");
            assert_eq!(told(&mut table, "a", end), err("ask"), "{says}");
        }
    }

    #[test]
    fn the_last_answer_is_kept_while_none_newer_comes() {
        let (mut table, mut now) = (Table::new(8, STALE), Instant::now());
        told(&mut table, "a", now).expect_err("nothing is known");
        table.settle("a", now, found(&["10.0.0.1"], 10));
        let end = now + seconds(10.) + STALE;
        now += seconds(10.);
        assert_eq!(told(&mut table, "a", now), err("ask"));
        assert_eq!(told(&mut table, "a", now + seconds(0.2)), err("wait"));
        assert_eq!(told(&mut table, "a", now + seconds(0.3)), ok("10.0.0.1"), "it has been waited for long enough");
        table.settle("a", now, passing());
        assert_eq!(told(&mut table, "a", now + seconds(0.9)), ok("10.0.0.1"));
        assert_eq!(told(&mut table, "a", now + seconds(1.)), err("ask"));
        table.settle("a", end - seconds(0.1), passing());
        assert_eq!(told(&mut table, "a", end - seconds(0.05)), ok("10.0.0.1"));
        assert_eq!(told(&mut table, "a", end), err("no answer"), "there is an end to it");
    }

    #[test]
    fn a_name_that_is_denied_is_gone_and_failures_last_a_second() {
        let (mut table, now) = (Table::new(8, STALE), Instant::now());
        told(&mut table, "a", now).expect_err("nothing is known");
        table.settle("a", now, found(&["10.0.0.1"], 1));
        let (Look::Ask(mut waiting), _) = table.look("a", now + seconds(1.)) else { panic!("its time is over") };
        table.settle("a", now + seconds(1.), Err(Failure::lasting("no such name".to_owned())));
        assert!(waiting.answer.borrow_and_update().clone().expect("told").is_err());
        assert_eq!(told(&mut table, "a", now + seconds(1.9)), err("no such name"));
        assert_eq!(told(&mut table, "a", now + seconds(2.)), err("ask"));
        table.settle("a", now + seconds(2.), found(&["10.0.0.2"], 10));
        assert_eq!(told(&mut table, "a", now + seconds(2.)), ok("10.0.0.2"));
    }

    #[test]
    fn what_is_asked_in_vain_leaves_half_of_the_lookups_to_others() {
        let (mut table, mut now) = (Table::new(4, STALE), Instant::now());
        let names: Vec<String> = (0..4).map(|number| format!("silent{number}")).collect();
        for name in &names {
            assert_eq!(told(&mut table, name, now), err("ask"));
        }
        assert_eq!(told(&mut table, "good", now), err("later"));
        names.iter().for_each(|name| table.settle(name, now, passing()));
        now += seconds(1.);
        let asked = names.iter().filter(|name| told(&mut table, name, now) == err("ask")).count();
        assert_eq!(asked, 2);
        assert_eq!(told(&mut table, "good", now), err("ask"));
        assert_eq!(told(&mut table, "better", now), err("ask"));
        assert_eq!(told(&mut table, "best", now), err("later"));
        table.settle("good", now, found(&["10.0.0.1"], 10));
        assert_eq!(told(&mut table, "best", now), err("ask"), "a lookup that has ended gives its place back");
    }

    #[test]
    fn everything_has_its_bound() {
        let (mut table, mut now) = (Table { most_names: 2, ..Table::new(8, STALE) }, Instant::now());
        told(&mut table, "a", now).expect_err("nothing is known");
        told(&mut table, "b", now).expect_err("nothing is known");
        assert_eq!(told(&mut table, "c", now), err("too many names are resolved"));
        let many: Vec<String> = (1..=100).map(|last| format!("10.0.0.{last}")).collect();
        table.settle("a", now, found(&many.iter().map(String::as_str).collect::<Vec<_>>(), 10));
        assert_eq!(told(&mut table, "a", now).map(|addresses| addresses.len()), Ok(MOST_ADDRESSES));
        assert_eq!(told(&mut table, "c", now), err("too many names are resolved"), "both are needed");
        now += seconds(10.);
        assert_eq!(told(&mut table, "c", now), err("ask"), "'a' has nothing new");
        let places: Vec<_> = (0..MOST_WAITING).map(|_| table.look("c", now)).collect();
        assert_eq!(told(&mut table, "c", now), err("too many calls wait for its addresses"));
        drop(places);
        assert_eq!(told(&mut table, "c", now), err("wait"));
        // An end that nobody waits for any more, or of what was never begun, is none.
        table.settle("nobody", now, passing());
        table.settle("c", now, found(&["10.0.0.1"], 10));
        table.settle("c", now, passing());
        assert_eq!(told(&mut table, "c", now), ok("10.0.0.1"));
    }
}
