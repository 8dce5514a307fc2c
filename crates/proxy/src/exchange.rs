//! The life of one call: a request walks through its pipeline, its answer leaves, and its record is closed behind it.

use std::future::Future;
use std::sync::Arc;

use http::{Method, Request, StatusCode, Version};
use http_body::Body as _;
use portcullis_core::body::{Body, BodyError, Outcome};
use portcullis_core::call::{Call, Hints, Response, Upgrade};
use portcullis_core::message::names::{ALT_SVC, CONNECTION, CONTENT_LENGTH, STRICT_TRANSPORT_SECURITY, X_REQUEST_ID};
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_core::metrics::Slot;
use portcullis_core::policy::Pipeline;
use portcullis_core::refusal::Refusal;
use portcullis_routing::choose::{self, Chosen};
use portcullis_routing::refusing::refusing;
use portcullis_routing::routes::{Leads, RouteQuery};
use portcullis_routing::snapshot;
use portcullis_wire::clock;
use portcullis_wire::revocation::{self, Revocation};

use crate::challenges;
use crate::connection::{CallGuard, ConnectionState};
use crate::door::{self, OfWorker, Sender};
use crate::node::Node;
use crate::received::Received;
use crate::redirect;
use crate::stage;

/// What a connection has to say about the request that comes over it.
#[derive(Default)]
pub(crate) struct Terms {
    /// What its caller wishes to go on in.
    pub(crate) upgrade: Option<Upgrade>,
    /// What takes hints for the caller.
    pub(crate) hints: Option<Arc<dyn Hints>>,
    /// Whether the connection must end after the answer, where it is HTTP/1.1.
    pub(crate) closes: bool,
}

/// An answer on its way back, and what it is tied to where it may go on for long.
pub(crate) type Answered = (Response, Option<Arc<Revocation>>);

/// Walks one request through its pipeline and opens the way back, in every version of HTTP.
///
/// It enters at once, so that what waits is the walk alone and the request is nowhere a second time.
pub(crate) fn answer(
    node: &Arc<Node>,
    sender: Sender,
    watch: &Arc<ConnectionState>,
    request: Request<Body>,
    terms: Terms,
) -> impl Future<Output = Answered> {
    let over_tls = sender.tls;
    let mut walk = Walk::enter(node, sender, watch, request, terms);
    async move {
        let mut response = walk.pipeline.run(&mut walk.call).await;
        if walk.must_switch && response.status().is_success() {
            let private = "answered a wish for a WebSocket without one".into();
            response = refusing(Arc::default(), Refusal::UpstreamBroken { private }).run(&mut walk.call).await;
        }
        tell_of_tls(node, over_tls, &mut response);
        walk.leave(response)
    }
}

/// A call between the door and its answer.
struct Walk {
    call: Box<Call>,
    pipeline: Arc<Pipeline>,
    received: Received,
    under_way: CallGuard,
    /// Whether the connection must end after the answer, where it is HTTP/1.1.
    closes: bool,
    is_head: bool,
    /// Whether a success would tell the caller that there is a WebSocket.
    must_switch: bool,
}

impl Walk {
    fn enter(node: &Node, sender: Sender, watch: &Arc<ConnectionState>, request: Request<Body>, terms: Terms) -> Self {
        let Terms { upgrade, hints, mut closes } = terms;
        let under_way = watch.begin(clock::tick);
        let (head, body) = request.into_parts();
        let received = if upgrade.is_some() { Received::through_tunnel() } else { Received::new(&body) };
        let is_head = head.method == Method::HEAD;
        // RFC 8441 section 5.
        let must_switch = upgrade.is_some() && head.version >= Version::HTTP_2;
        let (mut call, refusal) = door::enter(node, &OfWorker, sender, head, received.count(body));
        if call.peer.certificate.as_ref().is_some_and(|certificate| certificate.has_ended()) {
            // This call is refused, and no other comes over its connection.
            closes = true;
            watch.drain();
        }
        call.upgrade = upgrade.map(|Upgrade { protocols, from_caller }| {
            Box::new(Upgrade { protocols, from_caller: received.count(from_caller) })
        });
        call.hints = hints;
        call.lasting = received.lasting();
        let closes = closes || refusal.as_ref().is_some_and(door::ends_connection);
        let pipeline = pipeline(node, &mut call, refusal, snapshot::find);
        let path = &call.request.path;
        let closes = closes || call.route.is_none() && (path.has_parameters() || path.has_encoded_slash());
        Self { call, pipeline, received, under_way, closes, is_head, must_switch }
    }
}

/// Tells browsers to come over TLS from now on, where it was TLS they came over (RFC 6797 section 7), and what else is
/// spoken there (RFC 7838).
fn tell_of_tls(node: &Node, over_tls: bool, response: &mut Response) {
    if let Some(policy) = node.strict_transport.as_ref().filter(|_| over_tls) {
        response.fields_mut().set(STRICT_TRANSPORT_SECURITY, policy.clone());
    }
    if let Some(alternative) = node.alternative.as_ref().filter(|_| over_tls) {
        response.fields_mut().set(ALT_SVC, alternative.clone());
    }
}

/// What a call that has entered walks through: the pipeline of its route, or one that only refuses.
pub fn pipeline(
    node: &Node,
    call: &mut Call,
    refusal: Option<Refusal>,
    find: impl Fn(&RouteQuery<'_>) -> Option<Leads>,
) -> Arc<Pipeline> {
    if let Some(refusal) = refusal {
        return refusing(Arc::default(), refusal);
    }
    let chosen = chosen(node, call, find);
    challenges::before(node.challenges.as_ref(), call, chosen)
}

fn chosen(node: &Node, call: &mut Call, find: impl Fn(&RouteQuery<'_>) -> Option<Leads>) -> Arc<Pipeline> {
    if let Some(elsewhere) = redirect::in_clear(node.redirect.as_ref(), |host| node.is_known(host), call) {
        return elsewhere;
    }
    let chosen = choose::choose(&call.request, call.claimed_client(), find);
    if let Some(claims) = &node.claims
        && let Err(refusal) = claims.judge(call, chosen.as_ref().map(|chosen| &*chosen.pipeline.route))
    {
        return refusing(Arc::default(), refusal);
    }
    let Chosen { pipeline, matched, matched_readings } = match chosen {
        Ok(chosen) => chosen,
        Err(refusal) => return refusing(Arc::default(), refusal),
    };
    if let Some(service) = &pipeline.route.service {
        let (name, version) = (service.name.shared(), service.version.shared());
        // What is only tried is not counted, and knows no numbers but its own.
        let series = match call.dry_run {
            Some(_) => Slot::NONE,
            None => pipeline.series(|| node.counters.calls.series(&name, &version)),
        };
        call.record.note(|record| {
            record.service = Some(name);
            record.version = Some(version);
            record.series = series;
        });
    }
    (call.matched, call.matched_readings) = (matched, matched_readings);
    call.route = Some(Arc::clone(&pipeline.route));
    pipeline
}

impl Walk {
    /// The answer leaves: the record of the call goes with its body and is closed when that has ended.
    fn leave(self, mut response: Response) -> Answered {
        let Self { mut call, received, under_way, closes, is_head, .. } = self;
        // A body nobody has taken is not worth reading to its end after a refusal.
        let unread = !call.request.body.is_empty();
        let status = response.status();
        let mut headers = response.fields_mut();
        headers.set(X_REQUEST_ID, call.id.header());
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        let is_http1 = call.request.version < Version::HTTP_2;
        let is_last = under_way.is_to_be_last() || stage::is_draining();
        if is_http1 && !switches && (closes || unread || received.is_under_way() || is_last) {
            headers.set(CONNECTION, FieldValue::from_static("close"));
            under_way.is_last();
        }
        // There is no use for these any more while what is recorded waits for the end.
        (call.request.body, call.upgrade, call.hints) = (Body::empty(), None, None);
        call.raw.removed = Vec::new();
        // What streams may go on for long, whatever length it has: nobody who was sent away listens on.
        let streams = !is_head && response.body().is_stream();
        let revocation = received.revocation().or_else(|| if streams { Revocation::of(&call) } else { None });
        if let Some(revocation) = revocation.as_ref().filter(|_| is_http1) {
            revocation.ends(under_way.watch());
        }
        // What gRPC is sent knows by itself how to end.
        let tied = revocation.clone().filter(|_| streams && call.grpc.is_none());
        call.record.note(|record| {
            // The refusal of a gRPC call has written a status already, and stands in an answer with another.
            if record.status == 0 {
                record.status = status.as_u16();
            }
        });
        if is_head {
            // The length stays in the head; the bytes do not follow (RFC 9110 section 9.3.2).
            let length = response.body().size_hint().exact().filter(|length| *length > 0);
            if let Some(length) = length {
                response.fields_mut().set_if_absent(CONTENT_LENGTH, || FieldValue::from(length));
            }
        }
        let held = revocation.clone().filter(|_| streams);
        let response = response.map(|body| {
            let mut body = if is_head { Body::empty() } else { body };
            if let Some(tied) = tied {
                body = revocation::revocable(body, tied);
            }
            body.on_end(move |end| {
                let grpc = call.grpc.take();
                call.record.close(|record| {
                    record.bytes_in = received.bytes();
                    record.bytes_out = end.bytes;
                    let is_revoked = revocation.is_some_and(|revocation| revocation.is_revoked());
                    match &end.outcome {
                        Outcome::Complete => {}
                        // However it broke off: the service's side does too when the request's body is cut.
                        Outcome::Error(BodyError::Revoked) => record.refusal = Some("revoked"),
                        _ if is_revoked => record.refusal = Some("revoked"),
                        Outcome::Error(BodyError::Silent(limit) | BodyError::TimedOut(limit)) => {
                            record.refusal = Some("upstream_timeout");
                            record.reason = Some((*limit).into());
                        }
                        Outcome::Error(_) => record.refusal = Some("upstream_broken"),
                        Outcome::Stalled => record.refusal = Some("answer_not_taken"),
                        Outcome::Dropped => record.refusal = Some("client_closed_request"),
                    }
                    if let Some(grpc) = grpc {
                        grpc.tell(record);
                    }
                });
                drop(under_way);
            })
        });
        (response, held)
    }
}
