//! Two nodes on one registry, with an issuer in this process: who orders, who answers, and what becomes of failures.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use portcullis_admin::Renewals as _;
use portcullis_core::jobs::{Class, Job, Jobs, QueueFull};
use portcullis_core::memory::{ManualClock, MemoryRegistry};
use portcullis_core::model::Owner;
use portcullis_core::ports::{Clock, Expect, Kind, Row, Upkeep, Write};
use portcullis_identity::MasterKey;
use portcullis_proxy::challenges::Challenges as _;
use portcullis_proxy::stage::Stage;
use portcullis_proxy::tls::{Settings as TlsSettings, Termination};
use rcgen::{CertificateParams, KeyPair};
use std::sync::Arc;
use tokio::sync::{Notify, watch};

use super::*;

const HOSTS: [&str; 2] = ["a.example", "b.example"];
const DIRECTORY: &str = "https://ca.example/dir";
const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

/// Issues for ninety days, unless it was told to fail.
#[derive(Default)]
struct Signer {
    clock: Option<Arc<ManualClock>>,
    orders: Mutex<Vec<(String, ChallengeKind, bool)>>,
    fails: Mutex<VecDeque<Failure>>,
    window: Mutex<Option<(Window, Duration)>>,
    asked: AtomicUsize,
    /// While this is set, orders wait to be let go.
    holds: AtomicBool,
    /// While this is set, so does whoever asks for a window.
    holds_windows: AtomicBool,
    go: Notify,
    panics: AtomicBool,
}

#[async_trait]
impl Issuer for Signer {
    async fn issue(&self, wanted: CertificateRequest<'_>) -> Result<Issued, Failure> {
        let order = (wanted.host.to_owned(), wanted.challenge, wanted.replaces.is_some());
        self.orders.lock().expect("not poisoned").push(order);
        if self.holds.load(SeqCst) {
            self.go.notified().await;
        }
        assert!(!self.panics.swap(false, SeqCst), "told to panic");
        if let Some(failure) = self.fails.lock().expect("not poisoned").pop_front() {
            return Err(failure);
        }
        let now = self.clock.as_ref().expect("a clock").unix_millis() / 1_000;
        let moment = |seconds: u64| time::OffsetDateTime::from_unix_timestamp(seconds as i64).expect("a moment");
        let mut params = CertificateParams::new([wanted.host.to_owned()]).expect("a name");
        (params.not_before, params.not_after) = (moment(now), moment(now + 90 * DAY));
        let key = KeyPair::generate().expect("a key");
        let der = params.self_signed(&key).expect("signed").der().clone();
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
        let chain = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        Ok(Issued { chain, key: Zeroizing::new(key.serialize_der()) })
    }

    async fn window(&self, _: &CertificateDer<'static>) -> Result<Option<(Window, Duration)>, Failure> {
        self.asked.fetch_add(1, SeqCst);
        if self.holds_windows.load(SeqCst) {
            self.go.notified().await;
        }
        Ok(*self.window.lock().expect("not poisoned"))
    }
}

/// Jobs that run where they are asked for.
struct Here;

impl Jobs for Here {
    fn submit(&self, _: Class, job: Job) -> Result<(), QueueFull> {
        tokio::spawn(job);
        Ok(())
    }
}

/// What nodes have in common.
struct Nodes {
    registry: Arc<dyn Upkeep>,
    master: Arc<MasterKey>,
    clock: Arc<ManualClock>,
    signer: Arc<Signer>,
    stage: watch::Sender<Stage>,
}

struct NodeOf {
    renewer: Renewer,
    tls: Arc<Termination>,
    report: Arc<Report>,
    board: Arc<ChallengeStore>,
}

impl Nodes {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        Self {
            registry: Arc::new(MemoryRegistry::default()),
            master: Arc::new(MasterKey::from_bytes(&[7; 32])),
            signer: Arc::new(Signer { clock: Some(Arc::clone(&clock)), ..Signer::default() }),
            clock,
            stage: watch::Sender::new(Stage::Serving),
        }
    }

    async fn node(&self) -> NodeOf {
        self.node_of(DIRECTORY).await
    }

    async fn node_of(&self, directory: &str) -> NodeOf {
        let hosts: Vec<String> = HOSTS.map(str::to_owned).to_vec();
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let settings = TlsSettings { awaited: hosts.clone(), ..TlsSettings::default() };
        let tls = Arc::new(Termination::open(settings, Arc::clone(&clock)).expect("it opens"));
        let board = ChallengeStore::new(hosts.clone(), Arc::clone(&self.registry), Arc::new(Here), Arc::clone(&clock));
        let report = Arc::new(Report::default());
        let renewer = Renewer::start(RenewerParts {
            hosts,
            directory: directory.to_owned(),
            challenges: vec![ChallengeKind::TlsAlpn01, ChallengeKind::Http01],
            registry: Arc::clone(&self.registry),
            master: Arc::clone(&self.master),
            clock,
            issuer: Arc::clone(&self.signer) as _,
            board: Arc::clone(&board),
            tls: Arc::clone(&tls),
            report: Arc::clone(&report),
        });
        NodeOf { renewer: renewer.await.expect("a registry"), tls, report, board }
    }

    async fn step(&self, node: &mut NodeOf) -> u64 {
        node.renewer.step(&mut self.stage.subscribe()).await.expect("a registry")
    }

    fn orders(&self) -> Vec<(String, ChallengeKind, bool)> {
        std::mem::take(&mut *self.signer.orders.lock().expect("not poisoned"))
    }

    fn fail(&self, detail: &str, retry_after: Option<Duration>) {
        let failure = Failure { detail: detail.to_owned(), retry_after };
        self.signer.fails.lock().expect("not poisoned").push_back(failure);
    }
}

fn fingerprints(node: &NodeOf) -> Vec<String> {
    node.tls.shown().into_iter().map(|shown| shown.leaf.fingerprint).collect()
}

#[tokio::test]
async fn one_orders_and_the_other_takes_up_what_it_has_got() {
    let nodes = Nodes::new();
    let (mut one, mut other) = (nodes.node().await, nodes.node().await);
    nodes.signer.holds.store(true, SeqCst);
    let (stage, signer) = (nodes.stage.clone(), Arc::clone(&nodes.signer));
    let ordering = tokio::spawn(async move {
        one.renewer.step(&mut stage.subscribe()).await.expect("a registry");
        one
    });
    while signer.orders.lock().expect("not poisoned").is_empty() {
        tokio::task::yield_now().await;
    }
    // While one of them orders, the other leaves it alone.
    nodes.step(&mut other).await;
    assert!(fingerprints(&other).is_empty());
    assert_eq!(nodes.orders().len(), 1);
    nodes.signer.holds.store(false, SeqCst);
    nodes.signer.go.notify_one();
    let one = ordering.await.expect("no panic");
    nodes.step(&mut other).await;
    assert_eq!(fingerprints(&one).len(), 2);
    assert_eq!(fingerprints(&one), fingerprints(&other));
    assert_eq!(nodes.orders(), [("b.example".to_owned(), ChallengeKind::TlsAlpn01, false)]);
    // Nor does a third that starts now ask anybody for anything.
    let mut third = nodes.node().await;
    assert_eq!(fingerprints(&third), fingerprints(&one));
    nodes.step(&mut third).await;
    assert!(nodes.orders().is_empty());
}

#[tokio::test]
async fn a_certificate_that_is_shown_is_told_of_with_its_own_renewal() {
    let nodes = Nodes::new();
    let mut node = nodes.node().await;
    let (tls, report) = (Arc::clone(&node.tls), Arc::clone(&node.report));
    nodes.signer.holds_windows.store(true, SeqCst);
    let (mut stage, signer) = (nodes.stage.subscribe(), Arc::clone(&nodes.signer));
    let stepping = tokio::spawn(async move { node.renewer.step(&mut stage).await.map(drop) });
    while signer.asked.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // The authority has not yet said when it wants the first to be renewed, and the second has not been ordered.
    assert_eq!(tls.shown().len(), 1);
    let told = report.all().remove(0);
    assert_eq!((told.host.as_str(), told.failures), ("a.example", 0));
    assert!(told.next_at > nodes.clock.unix_millis(), "{}", told.next_at);
    nodes.signer.holds_windows.store(false, SeqCst);
    nodes.signer.go.notify_one();
    stepping.await.expect("no panic").expect("a registry");
    assert_eq!(tls.shown().len(), 2);
}

#[tokio::test]
async fn what_one_posts_the_other_can_show() {
    let nodes = Nodes::new();
    let (one, other) = (nodes.node().await, nodes.node().await);
    let asked = Asked(Arc::clone(&other.board));
    assert!(asked.may_be_pending(), "an order is due somewhere");
    assert_eq!(asked.answer("a.example", "token").await, None);
    let posting = one.board.post("a.example", "token", "token.print", true).await.expect("posted");
    assert_eq!(asked.answer("a.example", "token").await.as_deref(), Some("token.print"));
    assert_eq!(asked.answer("a.example", "other").await, None);
    assert_eq!(asked.answer("b.example", "token").await, None);
    assert!(asked.certificate("a.example").await.is_some());
    assert!(asked.certificate("b.example").await.is_none());
    posting.take_down().await;
    assert!(nodes.registry.all_kept(Kind::Challenge).await.expect("rows").is_empty());
    assert_eq!(asked.answer("c.example", "token").await, None, "a host of nobody is not looked up");
    assert_eq!(asked.answer("a.example", "new").await, None);
    assert_eq!(asked.known("a.example", "token"), None, "what was taken down is gone here too");
}

#[tokio::test]
async fn what_nobody_takes_down_is_not_shown_for_ever() {
    let nodes = Nodes::new();
    let (one, other) = (nodes.node().await, nodes.node().await);
    let posting = one.board.post("a.example", "token", "token.print", false).await.expect("posted");
    // The process dies; its row stays.
    drop(posting);
    let asked = Asked(Arc::clone(&other.board));
    assert!(asked.answer("a.example", "token").await.is_some());
    nodes.clock.advance(Duration::from_secs(601));
    assert_eq!(asked.answer("a.example", "token").await, None);
}

#[tokio::test]
async fn a_node_that_was_paused_takes_nothing_of_anothers_down() {
    let nodes = Nodes::new();
    let (paused, one, other) = (nodes.node().await, nodes.node().await, nodes.node().await);
    let late = paused.board.post("a.example", "old", "old.print", false).await.expect("posted");
    nodes.clock.advance(Duration::from_secs(20));
    let _posting = one.board.post("a.example", "new", "new.print", false).await.expect("posted");
    let asked = Asked(Arc::clone(&other.board));
    assert_eq!(asked.answer("a.example", "new").await.as_deref(), Some("new.print"), "the newest counts");
    late.take_down().await;
    let third = nodes.node().await;
    assert_eq!(Asked(third.board).answer("a.example", "new").await.as_deref(), Some("new.print"));
    // What was left behind goes when something is posted the next time.
    nodes.clock.advance(Duration::from_secs(601));
    let _next = other.board.post("b.example", "next", "next.print", false).await.expect("posted");
    let keys: Vec<_> =
        nodes.registry.all_kept(Kind::Challenge).await.expect("rows").into_iter().map(|row| row.key).collect();
    assert_eq!(keys, ["b.example/next"]);
}

#[tokio::test]
async fn while_nothing_is_due_nothing_is_looked_up() {
    let nodes = Nodes::new();
    let mut node = nodes.node().await;
    nodes.step(&mut node).await;
    let asked = Asked(Arc::clone(&node.board));
    assert!(!asked.may_be_pending());
    let another = nodes.node().await;
    let _posting = another.board.post("a.example", "token", "token.print", false).await.expect("posted");
    assert_eq!(asked.answer("a.example", "token").await, None);
    nodes.clock.advance(Duration::from_secs(70 * DAY));
    assert!(asked.may_be_pending());
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_takes_the_place_of_the_old_one() {
    let nodes = Nodes::new();
    let mut node = nodes.node().await;
    let due = nodes.step(&mut node).await;
    assert!((60 * DAY..65 * DAY).contains(&(due / 1_000 - NOW)), "{due}");
    let first = fingerprints(&node);
    nodes.orders();
    nodes.clock.advance(Duration::from_secs(59 * DAY));
    nodes.step(&mut node).await;
    assert_eq!((nodes.orders(), fingerprints(&node)), (Vec::new(), first.clone()));
    nodes.clock.advance(Duration::from_secs(6 * DAY));
    nodes.step(&mut node).await;
    let renewed: Vec<_> = nodes.orders().into_iter().map(|(host, _, replaces)| (host, replaces)).collect();
    assert_eq!(renewed, HOSTS.map(|host| (host.to_owned(), true)));
    assert!(fingerprints(&node).iter().all(|print| !first.contains(print)) && fingerprints(&node).len() == 2);
}

#[tokio::test]
async fn failures_wait_longer_each_time_try_the_other_way_and_keep_the_old_one() {
    let nodes = Nodes::new();
    let mut node = nodes.node().await;
    nodes.step(&mut node).await;
    let first = fingerprints(&node);
    nodes.orders();
    nodes.clock.advance(Duration::from_secs(66 * DAY));
    nodes.fail("no", None);
    nodes.step(&mut node).await;
    // The other host is none the worse for it.
    assert_eq!(nodes.orders().len(), 2);
    assert_eq!(fingerprints(&node)[0], first[0]);
    assert_ne!(fingerprints(&node)[1], first[1]);
    let renewal = |node: &NodeOf| node.report.all().remove(0);
    let told = renewal(&node);
    assert_eq!((told.failures, told.last_error), (1, Some((nodes.clock.unix_millis(), "no".to_owned()))));
    let wait = |node: &NodeOf| renewal(node).next_at - nodes.clock.unix_millis();
    assert!((60_000..66_000).contains(&wait(&node)));
    nodes.clock.advance(Duration::from_secs(59));
    nodes.step(&mut node).await;
    assert!(nodes.orders().is_empty());
    nodes.clock.advance(Duration::from_secs(7));
    nodes.fail("later", Some(Duration::from_secs(7_200)));
    nodes.step(&mut node).await;
    assert_eq!(nodes.orders(), [("a.example".to_owned(), ChallengeKind::Http01, true)]);
    assert_eq!(wait(&node), 7_200_000, "the authority wants it so");
    // Another process keeps the wait.
    let mut next = nodes.node().await;
    nodes.step(&mut next).await;
    assert!(nodes.orders().is_empty());
    assert_eq!(renewal(&next), renewal(&node));
    nodes.clock.advance(Duration::from_secs(7_200));
    nodes.step(&mut next).await;
    assert_eq!(nodes.orders(), [("a.example".to_owned(), ChallengeKind::TlsAlpn01, true)]);
    assert_eq!((renewal(&next).failures, renewal(&next).last_error), (0, None));
    assert_ne!(fingerprints(&next)[0], first[0]);
}

#[tokio::test]
async fn what_has_convinced_the_authority_is_tried_first_the_next_time() {
    let nodes = Nodes::new();
    let mut node = nodes.node().await;
    nodes.fail("not so", None);
    nodes.step(&mut node).await;
    nodes.clock.advance(Duration::from_secs(120));
    nodes.step(&mut node).await;
    nodes.clock.advance(Duration::from_secs(66 * DAY));
    nodes.step(&mut node).await;
    let kinds: Vec<_> =
        nodes.orders().into_iter().filter(|order| order.0 == "a.example").map(|order| order.1).collect();
    assert_eq!(kinds, [ChallengeKind::TlsAlpn01, ChallengeKind::Http01, ChallengeKind::Http01]);
}

#[tokio::test]
async fn the_authority_says_when() {
    let nodes = Nodes::new();
    let mut node = nodes.node().await;
    let window = Window { start: (NOW + 10 * DAY) * 1_000, end: (NOW + 11 * DAY) * 1_000 };
    *nodes.signer.window.lock().expect("not poisoned") = Some((window, Duration::from_secs(6 * 3_600)));
    nodes.step(&mut node).await;
    assert_eq!(nodes.signer.asked.load(SeqCst), 2);
    let next = node.report.all().remove(0).next_at;
    assert!((window.start..window.end).contains(&next), "{next}");
    // Not asked again before its time, and the same window moves nothing.
    nodes.step(&mut node).await;
    assert_eq!(nodes.signer.asked.load(SeqCst), 2);
    nodes.clock.advance(Duration::from_secs(6 * 3_600 + 1));
    nodes.step(&mut node).await;
    assert_eq!(nodes.signer.asked.load(SeqCst), 4);
    assert_eq!(node.report.all().remove(0).next_at, next);
    // It wants it back at once.
    nodes.orders();
    let over = Window { start: NOW * 1_000, end: NOW * 1_000 };
    *nodes.signer.window.lock().expect("not poisoned") = Some((over, Duration::from_secs(3_600)));
    nodes.clock.advance(Duration::from_secs(6 * 3_600 + 1));
    nodes.signer.fails.lock().expect("not poisoned").extend([Failure::new("no"), Failure::new("no")]);
    nodes.step(&mut node).await;
    assert_eq!(nodes.orders().len(), 2);
    // However late a window is, it is renewed before it ends.
    let late = Window { start: (NOW + 900 * DAY) * 1_000, end: (NOW + 901 * DAY) * 1_000 };
    *nodes.signer.window.lock().expect("not poisoned") = Some((late, Duration::from_secs(3_600)));
    nodes.clock.advance(Duration::from_secs(3_601));
    nodes.step(&mut node).await;
    assert!(node.report.all().remove(0).next_at < (NOW + 92 * DAY) * 1_000);
}

#[tokio::test]
async fn another_authority_is_asked_at_once_and_the_old_certificate_stays_meanwhile() {
    let nodes = Nodes::new();
    let mut node = nodes.node().await;
    let window = Window { start: (NOW + 60 * DAY) * 1_000, end: (NOW + 61 * DAY) * 1_000 };
    *nodes.signer.window.lock().expect("not poisoned") = Some((window, Duration::from_secs(3_600)));
    nodes.step(&mut node).await;
    let first = fingerprints(&node);
    nodes.orders();
    nodes.clock.advance(Duration::from_secs(5));
    let mut moved = nodes.node_of("https://other.example/dir").await;
    assert_eq!(fingerprints(&moved), first);
    nodes.step(&mut moved).await;
    // What it takes the place of is none of its own.
    assert_eq!(nodes.orders().iter().filter(|order| !order.2).count(), 2);
    assert_ne!(fingerprints(&moved), first);
    // One that is not there is not asked again before its time, nor is the former one asked for its word.
    nodes.fail("no", None);
    nodes.fail("no", None);
    let mut gone = nodes.node_of("https://gone.example/dir").await;
    nodes.clock.advance(Duration::from_secs(2 * 3_600));
    let due = nodes.step(&mut gone).await;
    assert!(due >= nodes.clock.unix_millis() + 60_000, "{due}");
    assert_eq!(fingerprints(&gone), fingerprints(&moved));
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_forgotten_in_the_end() {
    let nodes = Nodes::new();
    let mut node = nodes.node().await;
    let old = |key: &str, renew_at: u64| {
        let body =
            serde_json::json!({"directory": "", "renew_at": renew_at, "failures": 0, "not_before": 0}).to_string();
        let row = Row { kind: Kind::Certificate, key: key.to_owned(), revision: 1, owner: Owner::Api, body };
        Write::Put { row, expect: Expect::Absent }
    };
    let days_ago = |days: u64| (NOW - days * DAY) * 1_000;
    let rows = vec![old("gone.example", days_ago(181)), old("new.example", days_ago(179))];
    nodes.registry.keep(rows).await.expect("a registry");
    nodes.step(&mut node).await;
    let rows = nodes.registry.all_kept(Kind::Certificate).await.expect("rows");
    let keys: Vec<_> = rows.iter().map(|row| row.key.as_str()).collect();
    assert_eq!(keys, ["a.example", "b.example", "new.example"]);
}

#[tokio::test]
async fn no_more_wait_for_a_look_than_may() {
    /// Jobs that are never done.
    struct Stuck;
    impl Jobs for Stuck {
        fn submit(&self, _: Class, job: Job) -> Result<(), QueueFull> {
            std::mem::forget(job);
            Ok(())
        }
    }
    let nodes = Nodes::new();
    let hosts = HOSTS.map(str::to_owned).to_vec();
    let clock = Arc::clone(&nodes.clock) as Arc<dyn Clock>;
    let board = ChallengeStore::new(hosts, Arc::clone(&nodes.registry), Arc::new(Stuck), clock);
    let asked = Arc::new(Asked(board));
    for _ in 0..64 {
        let asked = Arc::clone(&asked);
        tokio::spawn(async move { asked.answer("a.example", "token").await });
    }
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    // The next one is told at once that nothing is known.
    assert_eq!(asked.answer("a.example", "token").await, None);
}

#[tokio::test]
async fn what_is_kept_is_sealed_and_what_cannot_be_opened_is_ordered_again() {
    let nodes = Nodes::new();
    let mut node = nodes.node().await;
    nodes.step(&mut node).await;
    nodes.orders();
    for row in nodes.registry.all_kept(Kind::Certificate).await.expect("rows") {
        assert!(!row.body.contains("CERTIFICATE") && !row.body.contains("PRIVATE"), "{}", row.body);
    }
    nodes.clock.advance(Duration::from_secs(5));
    let other_key = Nodes {
        registry: Arc::clone(&nodes.registry),
        master: Arc::new(MasterKey::from_bytes(&[8; 32])),
        clock: Arc::clone(&nodes.clock),
        signer: Arc::clone(&nodes.signer),
        stage: watch::Sender::new(Stage::Serving),
    };
    let mut stranger = other_key.node().await;
    assert!(fingerprints(&stranger).is_empty());
    other_key.step(&mut stranger).await;
    assert_eq!((other_key.orders().len(), fingerprints(&stranger).len()), (2, 2));
}

#[tokio::test]
async fn a_stop_ends_the_work_and_gives_the_lease_back() {
    let nodes = Nodes::new();
    let mut one = nodes.node().await;
    nodes.signer.holds.store(true, SeqCst);
    nodes.stage.send_replace(Stage::Draining);
    nodes.step(&mut one).await;
    nodes.stage.send_replace(Stage::Serving);
    nodes.signer.holds.store(false, SeqCst);
    // Shorter than the lease lasts, and than the wait after a failure.
    nodes.clock.advance(Duration::from_secs(5));
    let mut other = nodes.node().await;
    nodes.step(&mut other).await;
    assert_eq!(fingerprints(&other).len(), 2, "nothing had to lapse");
}

#[tokio::test]
async fn a_stop_in_an_order_is_no_failure_and_does_not_make_for_another_at_once() {
    let nodes = Nodes::new();
    let mut one = nodes.node().await;
    nodes.signer.holds.store(true, SeqCst);
    let (stage, mut seen) = (nodes.stage.clone(), nodes.stage.subscribe());
    let ordering = tokio::spawn(async move {
        one.renewer.step(&mut seen).await.expect("a registry");
        one
    });
    while nodes.signer.orders.lock().expect("not poisoned").is_empty() {
        tokio::task::yield_now().await;
    }
    stage.send_replace(Stage::Draining);
    let one = ordering.await.expect("no panic");
    assert!(one.report.all().iter().all(|told| told.failures == 0));
    stage.send_replace(Stage::Serving);
    nodes.signer.holds.store(false, SeqCst);
    nodes.orders();
    let mut next = nodes.node().await;
    nodes.step(&mut next).await;
    assert_eq!(nodes.orders().len(), 1, "the other host alone");
    nodes.clock.advance(Duration::from_secs(5));
    nodes.step(&mut next).await;
    assert_eq!(fingerprints(&next).len(), 2);
}

#[tokio::test]
async fn an_order_is_kept_before_it_begins_and_looked_for_meanwhile() {
    let nodes = Nodes::new();
    let (mut one, mut other) = (nodes.node().await, nodes.node().await);
    nodes.signer.holds.store(true, SeqCst);
    let mut seen = nodes.stage.subscribe();
    let ordering = tokio::spawn(async move { one.renewer.step(&mut seen).await });
    while nodes.signer.orders.lock().expect("not poisoned").is_empty() {
        tokio::task::yield_now().await;
    }
    // What another one is told is that nothing is due before a minute is over; it looks nevertheless.
    nodes.clock.advance(Duration::from_secs(1));
    nodes.step(&mut other).await;
    assert!(Asked(Arc::clone(&other.board)).may_be_pending());
    assert_eq!(other.report.all().remove(0).failures, 1);
    // The process dies. Nobody orders for that host before the wait is over.
    ordering.abort();
    nodes.signer.holds.store(false, SeqCst);
    nodes.clock.advance(Duration::from_secs(20));
    nodes.orders();
    nodes.step(&mut other).await;
    assert_eq!(nodes.orders().iter().filter(|order| order.0 == "a.example").count(), 0);
    nodes.clock.advance(Duration::from_secs(40));
    nodes.step(&mut other).await;
    assert_eq!(nodes.orders().iter().filter(|order| order.0 == "a.example").count(), 1);
    assert_eq!(other.report.all().remove(0).failures, 0);
}

#[tokio::test]
async fn what_is_due_as_soon_as_it_is_there_is_a_failure() {
    let nodes = Nodes::new();
    let mut node = nodes.node().await;
    let over = Window { start: (NOW - 2) * 1_000, end: (NOW - 1) * 1_000 };
    *nodes.signer.window.lock().expect("not poisoned") = Some((over, Duration::from_secs(3_600)));
    let of_a = |nodes: &Nodes| nodes.orders().iter().filter(|order| order.0 == "a.example").count();
    nodes.step(&mut node).await;
    assert_eq!((of_a(&nodes), fingerprints(&node).len()), (1, 2));
    for (failures, seconds) in [(1, 66), (2, 132), (3, 264)] {
        let told = node.report.all().remove(0);
        assert_eq!(told.failures, failures);
        assert!(told.last_error.is_some_and(|(_, detail)| detail.contains("at once")));
        nodes.clock.advance(Duration::from_secs(seconds / 2 - 5));
        nodes.step(&mut node).await;
        assert_eq!(of_a(&nodes), 0);
        nodes.clock.advance(Duration::from_secs(seconds / 2 + 5));
        nodes.step(&mut node).await;
        assert_eq!(of_a(&nodes), 1);
    }
}

#[tokio::test]
async fn a_clock_that_was_ahead_does_not_stop_the_ordering() {
    let nodes = Nodes::new();
    let mut node = nodes.node().await;
    nodes.clock.set(NOW + 900 * DAY);
    nodes.fail("no", None);
    nodes.fail("no", None);
    nodes.step(&mut node).await;
    nodes.clock.set(NOW);
    nodes.orders();
    nodes.step(&mut node).await;
    assert_eq!((nodes.orders().len(), fingerprints(&node).len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_order_ends_neither_the_renewal_nor_the_stop() {
    let nodes = Nodes::new();
    let node = nodes.node().await;
    nodes.signer.panics.store(true, SeqCst);
    let (report, tls) = (Arc::clone(&node.report), Arc::clone(&node.tls));
    let running = tokio::spawn(node.renewer.run(nodes.stage.subscribe()));
    while nodes.signer.panics.load(SeqCst) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // That host waits as after any failure; the other has its turn a minute later.
    while tls.shown().is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(report.all().remove(0).failures, 1);
    nodes.stage.send_replace(Stage::Draining);
    running.await.expect("it ends well");
}
