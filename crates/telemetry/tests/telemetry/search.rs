//! The newest records: order, filters, cursors, the budget.

use std::time::Duration;

use proptest::prelude::*;

use portcullis_core::record::Record;
use portcullis_telemetry::{CursorError, Filter, MAX_LIMIT, Page, Recent};

use crate::record;

const PLENTY: usize = 64 << 20;

fn filled(count: u64) -> Recent {
    let recent = Recent::new(PLENTY);
    for number in 0..count {
        recent.push(&record(number));
    }
    recent
}

fn found(page: &Page) -> Vec<u64> {
    let number = |json: &str| serde_json::from_str::<serde_json::Value>(json).expect("JSON")["bytes_in"].as_u64();
    page.items.iter().map(|entry| number(entry.json()).expect("a number")).collect()
}

fn filter(conditions: &[(&str, &str)]) -> Filter {
    let mut filter = Filter::default();
    for (name, value) in conditions {
        filter.set(name, value).expect("a filter");
    }
    filter
}

#[test]
fn pages_go_from_the_newest_to_the_oldest_without_gaps() {
    let recent = filled(25);
    let everything = Filter::default();
    let first = recent.search(&everything, 10, None).expect("searches");
    assert_eq!(found(&first), (15..25).rev().collect::<Vec<_>>());
    // What comes in between does not shift the pages.
    recent.push(&record(99));
    let second = recent.search(&everything, 10, first.next.as_deref()).expect("searches");
    assert_eq!(found(&second), (5..15).rev().collect::<Vec<_>>());
    let third = recent.search(&everything, 5, second.next.as_deref()).expect("searches");
    assert_eq!(found(&third), [4, 3, 2, 1, 0]);
    assert_eq!(third.next, None, "exactly at the end");
}

#[test]
fn a_page_says_more_only_if_something_older_fulfils_the_filter() {
    let recent = Recent::new(PLENTY);
    for number in 0..30 {
        let mut record = record(number);
        record.status = if number < 10 { 500 } else { 200 };
        recent.push(&record);
    }
    let failures = recent.search(&filter(&[("status", "5xx")]), 4, None).expect("searches");
    assert_eq!(found(&failures), [9, 8, 7, 6]);
    let fine = recent.search(&filter(&[("status", "200")]), 20, None).expect("searches");
    assert_eq!((fine.items.len(), fine.next), (20, None), "the older ones are of another status");
}

#[test]
fn limits_and_cursors_are_held_in_bounds() {
    let recent = filled(1_500);
    let everything = Filter::default();
    assert_eq!(recent.search(&everything, 0, None).expect("searches").items.len(), 1);
    assert_eq!(recent.search(&everything, usize::MAX, None).expect("searches").items.len(), MAX_LIMIT);
    assert_eq!(recent.after(&everything, usize::MAX, 0).items.len(), MAX_LIMIT);
    for cursor in ["", "x", "-1", "+1", "1.0", "99999999999999999999999"] {
        assert_eq!(recent.search(&everything, 1, Some(cursor)).expect_err(cursor), CursorError);
        assert_eq!(Recent::sequence(cursor), Err(CursorError));
    }
    let page = recent.search(&everything, 1, Some("0")).expect("searches");
    assert_eq!((found(&page), page.next), (Vec::new(), None));
    assert_eq!(found(&recent.search(&everything, 1, Some("18446744073709551615")).expect("searches")), [1_499]);
    let empty = Recent::new(PLENTY).search(&everything, 10, Some("5")).expect("searches");
    assert_eq!((found(&empty), empty.next), (Vec::new(), None));
}

#[test]
fn following_goes_forwards_and_always_says_where_to_go_on() {
    let recent = filled(10);
    let everything = Filter::default();
    let first = recent.after(&everything, 4, 0);
    assert_eq!((found(&first), first.next.as_deref()), (vec![0, 1, 2, 3], Some("4")));
    let second = recent.after(&everything, 100, 4);
    assert_eq!((found(&second), second.next.as_deref()), (vec![4, 5, 6, 7, 8, 9], Some("10")));
    let third = recent.after(&everything, 100, recent.newest());
    assert_eq!((found(&third), third.next.as_deref()), (vec![], Some("10")));
    recent.push(&record(10));
    assert_eq!(found(&recent.after(&everything, 100, 10)), [10]);
    // What does not fulfil the filter is not looked at twice.
    let nothing = recent.after(&filter(&[("user", "nobody")]), 100, 2);
    assert_eq!((found(&nothing), nothing.next.as_deref()), (vec![], Some("11")));
    assert_eq!(found(&recent.after(&everything, 100, u64::MAX)), Vec::<u64>::new());
}

#[test]
fn every_condition_must_be_true() {
    let recent = Recent::new(PLENTY);
    let changes: [fn(&mut Record); 8] = [
        |_| {},
        |record| record.version = Some("v2".into()),
        |record| (record.service, record.version) = (None, None),
        |record| record.status = 404,
        |record| record.status = 499,
        |record| record.client = Some("cli".into()),
        |record| record.user = Some("ann".into()),
        |record| record.path = "/orders/v10".into(),
    ];
    for (change, number) in changes.into_iter().zip(0..) {
        let mut record = record(number);
        change(&mut record);
        recent.push(&record);
    }
    for (conditions, wanted) in [
        (&[][..], vec![7, 6, 5, 4, 3, 2, 1, 0]),
        (&[("service", "orders")], vec![7, 6, 5, 4, 3, 1, 0]),
        (&[("service", "orders/v2")], vec![1]),
        (&[("service", "order")], vec![]),
        (&[("status", "404")], vec![3]),
        (&[("status", "4xx")], vec![4, 3]),
        (&[("status", "5xx")], vec![]),
        (&[("client", "cli")], vec![5]),
        (&[("user", "ann")], vec![6]),
        (&[("path", "/orders/v1/")], vec![6, 5, 4, 3, 2, 1, 0]),
        (&[("path", "/orders/v1")], vec![7, 6, 5, 4, 3, 2, 1, 0]),
        (&[("since", "1005")], vec![7, 6, 5]),
        (&[("since", "1970-01-01T00:16:46Z")], vec![7, 6]),
        (&[("status", "4xx"), ("since", "1004"), ("service", "orders/v1"), ("client", "web")], vec![4]),
        (&[("status", "4xx"), ("user", "ann")], vec![]),
    ] {
        let page = recent.search(&filter(conditions), 100, None).expect("searches");
        assert_eq!(found(&page), wanted, "{conditions:?}");
    }
}

#[test]
fn the_oldest_go_when_the_budget_is_spent() {
    let everything = Filter::default();
    let count = |budget: usize, path: &str| {
        let recent = Recent::new(budget);
        for number in 0..2_000 {
            let mut record = record(number);
            record.path = path.into();
            recent.push(&record);
        }
        let page = recent.after(&everything, MAX_LIMIT, 0);
        let kept = page.items.len() as u64;
        assert_eq!(found(&page), (2_000 - kept..2_000).collect::<Vec<_>>(), "the newest are kept, in their order");
        let sequences: Vec<_> = page.items.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, (2_001 - kept..=2_000).collect::<Vec<_>>(), "under the numbers they had");
        kept as usize
    };
    let budget = 100 << 10;
    let (short, long) = (count(budget, "/"), count(budget, &"/long".repeat(200)));
    // A record has its own size and that of its texts; both are counted.
    assert!((budget / 200..budget / 100).contains(&short), "{short}");
    assert!((budget / 1_600..budget / 1_000).contains(&long), "{long}");
    assert_eq!(count(0, "/"), 0);
}

#[test]
fn a_page_is_json_without_private_reasons() {
    let recent = Recent::new(PLENTY);
    for number in 0..2 {
        let mut record = record(number);
        record.refusal = Some("no_route");
        record.reason = Some("private".into());
        record.duration = Duration::from_millis(1);
        recent.push(&record);
    }
    let page = recent.search(&Filter::default(), 1, None).expect("searches");
    let item = "{\"time\":\"1970-01-01T00:16:41.000000Z\",\"request_id\":\"00000000000000000000000000000001\",\
        \"client_ip\":\"192.0.2.7\",\"method\":\"GET\",\"path\":\"/orders/v1/7\",\"status\":200,\
        \"service\":\"orders\",\"version\":\"v1\",\"client\":\"web\",\"user\":null,\"duration_us\":1000,\
        \"upstream_duration_us\":null,\"bytes_in\":1,\"bytes_out\":0,\"refusal\":\"no_route\",\"target\":null}";
    assert_eq!(page.items[0].json(), item);
    let json = serde_json::to_string(&page).expect("serialises");
    assert_eq!(json, format!("{{\"items\":[{item}],\"next\":\"2\"}}"));
}

/// What is done to the newest records, and to a list of all of them.
#[derive(Debug, Clone)]
enum Step {
    /// So many come, with a path of this length.
    Come(u64, usize),
    /// The next older page is asked for, or the first.
    Older { anew: bool, limit: usize },
    /// What has come since the last time is asked for, or since a number.
    Newer { since: Option<u64>, limit: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let limit = || prop_oneof![1..8_usize, 50..200_usize];
    prop::collection::vec(
        prop_oneof![
            3 => (1..60_u64, prop_oneof![5 => 0..40_usize, 2 => 0..700_usize, 1 => 3_000..9_000_usize])
                .prop_map(|(count, length)| Step::Come(count, length)),
            3 => (prop::bool::weighted(0.3), limit()).prop_map(|(anew, limit)| Step::Older { anew, limit }),
            2 => (prop::option::of(0..600_u64), limit()).prop_map(|(since, limit)| Step::Newer { since, limit }),
        ],
        1..40,
    )
}

proptest! {
    #[test]
    fn pages_are_those_of_a_plain_list_of_what_is_kept(
        steps in steps(),
        budget in prop_oneof![Just(8 << 10), Just(40 << 10), Just(200 << 10), Just(4 << 20)],
        wanted in prop_oneof![Just(None), Just(Some("200")), Just(Some("404"))],
    ) {
        let recent = Recent::new(budget);
        let filter = filter(wanted.map(|status| ("status", status)).as_slice());
        let takes = |number: &u64| wanted.is_none_or(|status| (status == "404") == number.is_multiple_of(7));
        // The number of a record is its sequence number less one.
        let (mut last, mut cursor, mut followed): (u64, Option<String>, u64) = (0, None, 0);
        for step in steps {
            let oldest = recent.after(&Filter::default(), 1, 0).items.first().map_or(last, |entry| entry.sequence - 1);
            let kept = oldest..last;
            match step {
                Step::Come(count, length) => {
                    for number in last..last + count {
                        let mut record = record(number);
                        record.path = "/".repeat(length).into();
                        record.status = if number.is_multiple_of(7) { 404 } else { 200 };
                        recent.push(&record);
                    }
                    last += count;
                }
                Step::Older { anew, limit } => {
                    let from = cursor.take().filter(|_| !anew);
                    let below = from.as_ref().map_or(last, |cursor| cursor.parse::<u64>().expect("a number") - 1);
                    let page = recent.search(&filter, limit, from.as_deref()).expect("searches");
                    let older: Vec<_> = kept.rev().filter(|number| *number < below).filter(takes).collect();
                    prop_assert_eq!(found(&page), &older[..limit.min(older.len())]);
                    prop_assert_eq!(page.next.is_some(), older.len() > limit);
                    cursor = page.next;
                }
                Step::Newer { since, limit } => {
                    let since = since.unwrap_or(followed);
                    let page = recent.after(&filter, limit, since);
                    let newer: Vec<_> = kept.filter(|number| *number >= since).filter(takes).collect();
                    prop_assert_eq!(found(&page), &newer[..limit.min(newer.len())]);
                    let seen = if newer.len() < limit { last } else { newer[limit - 1] + 1 };
                    prop_assert_eq!(page.next, Some(seen.to_string()));
                    followed = seen;
                }
            }
            prop_assert_eq!(recent.newest(), last);
        }
    }
}
