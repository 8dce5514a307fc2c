//! Retries and failover, the loop over the attempts of a call: pick a target → take a connection from its pool → send
//! → [`classify`] what has gone wrong. Whether a call is sent again, and to whom, is decided here, provided that its request
//! is there to be sent again. Settled where it was sent (`crate::http1`, `crate::http2`): it is idempotent and has no
//! body, or nobody has processed it.

use std::sync::Arc;
use std::time::Instant;

use http::Request;
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Response};
use portcullis_core::refusal::Refusal;

use crate::attempt::{Again, Class, Failed, Sent, classify};
use crate::balance::Tried;
use crate::caller_id::CallerId;
use crate::cluster::Members;
use crate::forward::{begin, no_tunnel, pass_back, settled};
use crate::freshness::{self, Freshness};
use crate::http1::Answered;
use crate::lend::lend;
use crate::member::Member;
use crate::settings::{Forwarding, Settings};

/// The most requests one target gets for one call. It gets another only if it has not answered the former.
const MOST_SENT: u8 = 3;

/// Forwards a call to one target after the other until there is an answer, and returns its head with its body still to come.
///
/// A call goes to another target if it could not be sent to the former. One that a target says it has not looked at goes to it
/// again, whatever it is, and then to another. One without a body that may be repeated goes once more to the same target over
/// a fresh connection if the reused one it was sent over died without a byte of an answer; so does one of which nothing was
/// written.
pub async fn forward(
    settings: &Settings,
    forwarding: &Forwarding,
    members: &Members,
    call: &mut Call,
) -> Result<Response, Refusal> {
    let mut attempts = Attempts::on(members);
    while let Some(member) = attempts.next() {
        let target = &member.backend;
        if call.upgrade.is_some() && !target.rooms.tunnels.has_room_for(CallerId::of(call)) {
            attempts.failed(member, no_tunnel());
            continue;
        }
        if attempts.sent_here == 0 {
            call.record.note(|record| record.target = Some(Arc::clone(target.url.authority())));
        }
        let key = if attempts.wants_http1 { &target.http1 } else { target.pool_of(call.upgrade.is_some()) };
        let failed = match lend(settings, target, key, attempts.wanted, CallerId::of(call)).await {
            Err(failed) => failed,
            Ok(lease) => {
                let again = attempts.sends();
                let sent = match begin(settings, forwarding, call, target, lease, again).await {
                    Ok(Answered::Response(response)) => Ok(response),
                    sent => settled(settings, sent, call, target).await,
                };
                attempts.note(call, &sent);
                match sent {
                    Ok(mut response) => {
                        answered(member);
                        pass_back(settings, &mut response);
                        return Ok(response);
                    }
                    Err(failed) => failed,
                }
            }
        };
        attempts.failed(member, failed);
    }
    Err(attempts.into_refusal())
}

/// Where the next attempt goes.
enum Next<'m> {
    /// To another target.
    Elsewhere,
    /// To this one.
    Here(&'m Member),
    /// There is none.
    Nowhere,
}

/// How far a call has got.
struct Attempts<'m> {
    members: &'m Members,
    tried: Tried,
    next: Next<'m>,
    /// Requests that were sent to the target.
    sent_here: u8,
    /// Whether one was begun on, so that the call is only there as a request.
    is_written: bool,
    /// Whether one may have been acted upon: there is no other target for the call then.
    may_have_acted: bool,
    /// Whether the target has asked for HTTP/1.1, which is kept to.
    wants_http1: bool,
    wanted: Freshness,
    /// When the first request was sent to the target.
    since: Option<Instant>,
    /// How the last attempt has failed, with the request that may be sent again. Apart: most calls have none.
    last: Option<Box<Failed>>,
}

impl<'m> Attempts<'m> {
    fn on(members: &'m Members) -> Self {
        Self {
            members,
            tried: Tried::default(),
            next: Next::Elsewhere,
            sent_here: 0,
            is_written: false,
            may_have_acted: false,
            wants_http1: false,
            wanted: Freshness::Any,
            since: None,
            last: None,
        }
    }

    /// The target of the next attempt, if there is to be one.
    fn next(&mut self) -> Option<&'m Member> {
        match self.next {
            Next::Nowhere => None,
            Next::Here(member) => Some(member),
            Next::Elsewhere => {
                (self.sent_here, self.wants_http1, self.wanted, self.since) = (0, false, Freshness::Any, None);
                self.members.pick(&mut self.tried)
            }
        }
    }

    /// The request is about to be sent: one that is to be sent again, or else the call's own.
    fn sends(&mut self) -> Option<Box<Request<Body>>> {
        self.sent_here += 1;
        self.is_written = true;
        self.since.get_or_insert_with(Instant::now);
        self.last.as_mut().and_then(|last| last.request.take())
    }

    /// Notes in the record of a call how long the target has taken.
    fn note(&self, call: &mut Call, sent: &Result<Response, Failed>) {
        if !matches!(sent, Err(Failed { class: Class::Internal, .. })) {
            call.record.note(|record| record.upstream_duration = self.since.map(|since| since.elapsed()));
        }
    }

    /// An attempt on a target has failed: whether there is another one, and where.
    fn failed(&mut self, member: &'m Member, mut failed: Failed) {
        let outcome = classify(&failed);
        if outcome.is_targets_fault && member.state.has_failed() == 1 {
            tracing::debug!(url = %member.backend.url, reason = %failed.reason, "calls to a target begin to fail");
        }
        // Where nothing was sent this time, what was to be sent is still there.
        failed.request = failed.request.or_else(|| self.last.take().and_then(|last| last.request));
        let is_there = failed.request.is_some() || !self.is_written;
        let has_room = self.sent_here < MOST_SENT;
        self.wants_http1 |= failed.class == Class::WantsHttp1;
        self.wanted = Freshness::Any;
        self.next = match outcome.again {
            _ if !is_there => Next::Nowhere,
            Again::Here if has_room => Next::Here(member),
            Again::Afresh if has_room && !self.may_have_acted => {
                (self.may_have_acted, self.wanted) = (true, freshness::now());
                Next::Here(member)
            }
            _ if self.may_have_acted => Next::Nowhere,
            Again::Elsewhere | Again::Here => Next::Elsewhere,
            // The target has said before that it has not looked at the call; now it cannot be sent to it again.
            Again::Never if failed.sent == Sent::Nothing && self.sent_here > 0 => Next::Elsewhere,
            Again::Afresh | Again::Never => Next::Nowhere,
        };
        self.last = Some(Box::new(failed));
    }

    /// How the call is refused: by what went wrong last.
    fn into_refusal(self) -> Refusal {
        let Some(mut last) = self.last else { return Refusal::NoTarget };
        if self.may_have_acted && last.class == Class::Unreachable {
            last.class = Class::Broken;
        }
        last.into_refusal()
    }
}

/// A target has answered.
fn answered(member: &Member) {
    let failures = member.state.has_answered();
    if failures > 0 {
        tracing::debug!(url = %member.backend.url, failures, "a target answers again");
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::cluster::Clusters;
    use crate::testing::{backend, service};

    /// How an attempt fails.
    #[derive(Debug, Clone, Copy)]
    enum Fails {
        /// There is no connection.
        Lending(fn() -> Class),
        /// The request was sent; whether it is there to be sent again.
        Sent(fn() -> Class, Sent, bool),
    }

    use Fails::{Lending, Sent as After};

    const UNREACHABLE: Fails = Lending(|| Class::Unreachable);
    const NO_TLS: Fails = Lending(|| Class::Tls);
    const BUSY: Fails = Lending(|| Class::Busy);
    const FORBIDDEN: Fails = Lending(|| Class::Forbidden);
    /// An HTTP/1.1 connection that was used before has died: under a call that may be repeated, and under another.
    const DIED: Fails = After(|| Class::NoAnswer, Sent::Maybe, true);
    const DIED_FOR_GOOD: Fails = After(|| Class::NoAnswer, Sent::Maybe, false);
    const UNWRITTEN: Fails = After(|| Class::NoAnswer, Sent::Nothing, true);
    /// An HTTP/2 stream was refused, could not be opened, or was refused with part of its body gone.
    const REFUSED: Fails = After(|| Class::Broken, Sent::NotProcessed, true);
    const UNOPENED: Fails = After(|| Class::Broken, Sent::Nothing, true);
    const WANTS_HTTP1: Fails = After(|| Class::WantsHttp1, Sent::NotProcessed, true);
    const REFUSED_IN_PART: Fails = After(|| Class::Broken, Sent::Maybe, false);
    const TLS_ENDED: Fails = After(|| Class::Tls, Sent::NotProcessed, false);
    const BROKEN: Fails = After(|| Class::Broken, Sent::Maybe, false);
    const TIMED_OUT: Fails = After(|| Class::TimedOut, Sent::Maybe, false);
    const CALLER: Fails = After(|| Class::Caller(portcullis_core::body::BodyError::Idle), Sent::Maybe, false);
    const INTERNAL: Fails = After(|| Class::Internal, Sent::Nothing, false);

    /// Where the attempts of a call to four targets go that fail like this, until one succeeds when there are no more: small
    /// letters where nothing was sent. Behind `!` stands how the call was refused.
    fn walk(fails: &[Fails]) -> String {
        let clusters = Clusters::default();
        let urls = ["http://a", "http://b", "http://c", "http://d"];
        let members = clusters.of(&service("orders/v1")).members(urls.map(|url| (backend(url), 1)));
        let mut attempts = Attempts::on(&members);
        let (mut told, mut fails) = (String::new(), fails.iter());
        // Until one was begun on, the request is the call's own.
        let mut is_calls_own = true;
        while let Some(member) = attempts.next() {
            let letter = member.backend.url.authority().to_string();
            let wants = if attempts.wanted == Freshness::Any { "" } else { "'" };
            let version = if attempts.wants_http1 { "1" } else { "" };
            let Some(fails) = fails.next() else {
                _ = write!(told, "{}{wants}{version}", letter.to_uppercase());
                assert!(is_calls_own || attempts.sends().is_some(), "it is sent whole");
                return told;
            };
            let failed = match fails {
                Lending(class) => {
                    _ = write!(told, "{letter}{wants}{version}");
                    Failed::new(class(), Sent::Nothing, "")
                }
                After(class, sent, is_there) => {
                    _ = write!(told, "{}{wants}{version}", letter.to_uppercase());
                    assert_eq!(
                        attempts.sends().is_some(),
                        !is_calls_own,
                        "the first is the call's own, others are kept"
                    );
                    is_calls_own = false;
                    let request = is_there.then(|| Box::new(Request::new(Body::empty())));
                    Failed { request, ..Failed::new(class(), *sent, "") }
                }
            };
            attempts.failed(member, failed);
        }
        assert!(fails.next().is_none(), "there are no more attempts: {told}");
        format!("{told}!{}", attempts.into_refusal().code())
    }

    #[test]
    fn a_call_that_cannot_be_sent_goes_to_others() {
        assert_eq!(walk(&[]), "A");
        assert_eq!(walk(&[UNREACHABLE]), "aB");
        assert_eq!(walk(&[UNREACHABLE, NO_TLS]), "abC");
        assert_eq!(walk(&[NO_TLS, NO_TLS, UNREACHABLE]), "abc!upstream_unreachable");
        assert_eq!(walk(&[UNREACHABLE, UNREACHABLE, NO_TLS]), "abc!upstream_tls");
        assert_eq!(walk(&[BUSY]), "a!upstream_busy");
        assert_eq!(walk(&[UNREACHABLE, BUSY]), "ab!upstream_busy");
        assert_eq!(walk(&[FORBIDDEN]), "a!upstream_address_refused");
    }

    #[test]
    fn a_call_nobody_has_looked_at_goes_to_the_same_target_and_then_to_others() {
        for refused in [REFUSED, UNOPENED] {
            assert_eq!(walk(&[refused]), "AA");
            assert_eq!(walk(&[refused, refused, refused]), "AAAB");
            assert_eq!(walk(&[refused; 9]), "AAABBBCCC!upstream_broken");
            for lending in [UNREACHABLE, NO_TLS, BUSY, FORBIDDEN] {
                assert_eq!(walk(&[refused, lending]), "AaB");
            }
            assert_eq!(walk(&[refused, refused, refused, BUSY]), "AAAb!upstream_busy");
            assert_eq!(walk(&[UNREACHABLE, refused]), "aBB");
            assert_eq!(walk(&[refused, DIED]), "AAA'");
        }
        assert_eq!(walk(&[WANTS_HTTP1]), "AA1");
        assert_eq!(walk(&[WANTS_HTTP1, REFUSED]), "AA1A1", "it is kept to");
        assert_eq!(walk(&[WANTS_HTTP1, UNREACHABLE]), "Aa1B", "by that target");
    }

    #[test]
    fn a_call_that_may_have_been_acted_upon_goes_to_no_other_target() {
        for died in [DIED, UNWRITTEN] {
            assert_eq!(walk(&[died]), "AA'");
            assert_eq!(walk(&[died, died]), "AA'!upstream_broken", "once");
            assert_eq!(walk(&[died, REFUSED]), "AA'A");
            assert_eq!(walk(&[died, REFUSED, REFUSED]), "AA'A!upstream_broken");
            assert_eq!(walk(&[died, UNREACHABLE]), "Aa'!upstream_broken", "it was there");
            assert_eq!(walk(&[died, BUSY]), "Aa'!upstream_busy");
            assert_eq!(walk(&[died, NO_TLS]), "Aa'!upstream_tls");
            assert_eq!(walk(&[REFUSED, REFUSED, died]), "AAA!upstream_broken");
        }
        for (last, code) in [
            (DIED_FOR_GOOD, "upstream_broken"),
            (REFUSED_IN_PART, "upstream_broken"),
            (BROKEN, "upstream_broken"),
            (TLS_ENDED, "upstream_tls"),
            (TIMED_OUT, "upstream_timeout"),
            (CALLER, "request_timeout"),
            (INTERNAL, "internal"),
        ] {
            assert_eq!(walk(&[last]), format!("A!{code}"));
            assert_eq!(walk(&[REFUSED, last]), format!("AA!{code}"));
            assert_eq!(walk(&[DIED, last]), format!("AA'!{code}"));
        }
    }

    #[test]
    fn a_service_without_targets_says_so() {
        let clusters = Clusters::default();
        let members = clusters.of(&service("orders/v1")).members([]);
        let mut attempts = Attempts::on(&members);
        assert!(attempts.next().is_none());
        assert_eq!(attempts.into_refusal().code(), "no_target");
    }

    #[test]
    fn a_target_is_blamed_for_what_is_its_fault() {
        for (fails, failures) in [
            (UNREACHABLE, 1),
            (NO_TLS, 1),
            (TLS_ENDED, 1),
            (TIMED_OUT, 1),
            (BROKEN, 1),
            (DIED_FOR_GOOD, 1),
            (DIED, 0),
            (UNWRITTEN, 0),
            (REFUSED, 0),
            (WANTS_HTTP1, 0),
            (BUSY, 0),
            (FORBIDDEN, 0),
            (CALLER, 0),
            (INTERNAL, 0),
        ] {
            let clusters = Clusters::default();
            let members = clusters.of(&service("orders/v1")).members([(backend("http://a"), 1)]);
            let mut attempts = Attempts::on(&members);
            let member = attempts.next().expect("a target");
            let failed = match fails {
                Lending(class) => Failed::new(class(), Sent::Nothing, ""),
                After(class, sent, is_there) => {
                    let request = is_there.then(|| Box::new(Request::new(Body::empty())));
                    Failed { request, ..Failed::new(class(), sent, "") }
                }
            };
            attempts.failed(member, failed);
            assert_eq!(member.state.failures(), failures, "{fails:?}");
            answered(member);
            assert_eq!(member.state.failures(), 0);
        }
    }

    #[test]
    fn a_call_carries_little() {
        fn size<F>(
            _: impl FnOnce(&'static Settings, &'static Forwarding, &'static Members, &'static mut Call) -> F,
        ) -> usize {
            size_of::<F>()
        }
        // Every call has this, and copies it. What few calls need is boxed.
        assert!(size(forward) <= 640, "{}", size(forward));
    }
}
