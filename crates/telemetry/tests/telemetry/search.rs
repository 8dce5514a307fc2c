//! The newest records: order, filters, cursors, the budget.

use std::time::Duration;

use portcullis_core::record::Record;
use portcullis_telemetry::{CursorError, Filter, MAX_LIMIT, Page, Recent};

use crate::record;

const PLENTY: usize = 64 << 20;

fn filled(count: u64) -> Recent {
    let recent = Recent::new(PLENTY);
    for number in 0..count {
        recent.push(record(number));
    }
    recent
}

fn found(page: &Page) -> Vec<u64> {
    page.items.iter().map(|entry| entry.record.bytes_in).collect()
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
    recent.push(record(99));
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
        recent.push(record);
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
    recent.push(record(10));
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
        recent.push(record);
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
            recent.push(record);
        }
        let page = recent.after(&everything, MAX_LIMIT, 0);
        let kept = page.items.len() as u64;
        assert_eq!(found(&page), (2_000 - kept..2_000).collect::<Vec<_>>(), "the newest are kept, in their order");
        let sequences: Vec<_> = page.items.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, (2_001 - kept..=2_000).collect::<Vec<_>>(), "under the numbers they had");
        kept as usize
    };
    let budget = 100 << 10;
    let (short, long) = (count(budget, "/"), count(budget, &"/long".repeat(1_000)));
    // A record has its own size and that of its texts; both are counted.
    assert!((budget / 2_000..budget / size_of::<Record>()).contains(&short), "{short}");
    assert!((budget / 8_000..budget / 5_000).contains(&long), "{long}");
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
        recent.push(record);
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
