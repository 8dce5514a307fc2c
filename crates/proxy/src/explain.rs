//! What would become of a request, told step by step: the very way of a call, walked by one that is only tried.
//! Nothing is sent, spent or recorded.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::Scheme;
use http::{Method, Request, Uri, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::body::{Body, BodyError};
use portcullis_core::call::{Call, RouteFacts, UserFacts};
use portcullis_core::directory::ClientEntry;
use portcullis_core::dry_run::{Destination, DryRun, Tried, TriedRoutes};
use portcullis_core::message::names::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, X_API_KEY};
use portcullis_core::message::{FieldMap, FieldName, FieldValue, Fields, HasFields};
use portcullis_core::model::Problem;
use portcullis_core::policy::Pipeline;
use portcullis_core::ports::AccessLog;
use portcullis_core::record::Record;
use portcullis_core::refusal::Refusal;
use portcullis_core::signature_report::SignatureReport;
use portcullis_routing::choose;
use portcullis_routing::live::RoutesOf;
use portcullis_routing::routes::{Leads, MatchReport, RouteQuery};
use portcullis_routing::snapshot::Publisher;

use crate::door::{self, Sender};
use crate::exchange;
use crate::node::Node;

/// Routes that are told about at most.
const MOST_ROUTES: usize = 50;

/// A request that is asked about.
#[derive(Debug)]
pub struct Question {
    /// The method.
    pub method: String,
    /// A path, or an absolute URL: its authority is the host, and with `https` the call comes over TLS. With `Host` among
    /// the fields an absolute URL is a target in absolute form.
    pub url: String,
    /// Header fields, in order.
    pub headers: Vec<(String, String)>,
    /// The body; if absent, one is announced where the fields say so.
    pub body: Option<Bytes>,
    /// What the client has signed, by its own account: the string to sign or the signature base.
    pub string_to_sign: Option<Bytes>,
    /// The address it comes from.
    pub from: IpAddr,
    /// Who is believed to call, as if an API key of it had been shown.
    pub client: Option<Arc<ClientEntry>>,
    /// Who is believed to call, as if a token of theirs had been shown.
    pub user: Option<UserFacts>,
    /// The client that token would have been issued to.
    pub token_client: Option<Arc<ClientEntry>>,
}

/// What would become of it.
#[derive(Debug)]
pub struct Explanation {
    /// The path as it is decided on.
    pub path: String,
    /// The method of the call whose route it took because it announces that call: it is a preflight.
    pub preflight_for: Option<Method>,
    /// The host it is for.
    pub host: String,
    /// `http` or `https`, as the caller sees it.
    pub scheme: &'static str,
    /// The address it counts as coming from.
    pub client_ip: IpAddr,
    /// The route that was chosen.
    pub route: Option<Arc<RouteFacts>>,
    /// All routes and what stands for or against each, nearest first. Empty where the request cannot be read.
    pub weighed: MatchReport,
    /// What each step said, up to the first that did not hand the call on.
    pub steps: Vec<Tried>,
    /// The steps behind it.
    pub not_reached: Vec<&'static str>,
    /// What was verified of its signature, if it shows one.
    pub signature: Option<SignatureReport>,
    /// How it ends.
    pub end: End,
    /// The status the caller would get from the gateway; none where somebody else decides on it.
    pub status: Option<u16>,
}

/// How a call would end.
#[derive(Debug)]
pub enum End {
    /// The gateway says no.
    Refused(Refusal),
    /// A policy answers, like a preflight.
    Answered,
    /// It comes to the end of its pipeline.
    Reached(Destination),
}

/// Explains requests on one node.
#[derive(Clone)]
pub struct Explainer {
    node: Arc<Node>,
    publisher: Publisher,
}

impl Explainer {
    /// For calls to this node, by what this publisher has published last.
    pub fn new(node: &Node, publisher: Publisher) -> Self {
        let node = Node { log: Arc::new(Nowhere), counters: Arc::default(), ..node.clone() };
        Self { node: Arc::new(node), publisher }
    }

    /// What would become of a request, or what makes the question no HTTP request.
    pub async fn explain(&self, question: Question) -> Result<Explanation, Vec<Problem>> {
        let (request, tls) = request(&question)?;
        let address = SocketAddr::new(question.from, 0);
        let sender = Sender { tls, ..Sender::at(address, self.node.trusts(question.from)) };
        let (head, body) = request.into_parts();
        let snapshot = self.publisher.latest();
        let (mut call, refusal) = door::enter(&self.node, &snapshot, sender, head, body);
        if let Some(client) = &question.client
            && says_nothing_of_it(&call)
        {
            call.claimed = Some(Arc::clone(client));
        }
        let routes = snapshot.clone().map(|snapshot| TriedRoutes(Arc::new(RoutesOf(snapshot))));
        let mut dry_run = DryRun::of(question.client, question.user, question.token_client);
        dry_run.routes = routes;
        dry_run.string_to_sign = question.string_to_sign;
        call.dry_run = Some(Box::new(dry_run));

        let was_read = refusal.is_none();
        let find = |wanted: &RouteQuery<'_>| Some(Leads::from(snapshot.as_ref()?.find(wanted)?));
        let announced = call.request.announced_method().filter(|_| was_read);
        let wanted = choose::wanted(&call.request, call.claimed_client(), announced.as_ref(), find);
        let preflight_for = announced.as_ref().filter(|_| wanted.announced).cloned();
        let weighed = match &snapshot {
            Some(snapshot) if was_read => snapshot.weigh(&wanted, MOST_ROUTES),
            _ => MatchReport::default(),
        };
        let pipeline = exchange::pipeline(&self.node, &mut call, refusal, find);
        let status = pipeline.run(&mut call).await.status().as_u16();
        let told = tell(call, &pipeline, weighed, status, if was_read { None } else { Some(question.url) });
        Ok(Explanation { preflight_for, ..told })
    }
}

/// Whether a call leaves it to a key, which it does not show itself, whom it claims to be of.
fn says_nothing_of_it(call: &Call) -> bool {
    let claims_by_key = call.dialect.fomalhaut().is_none() && call.request.announced_method().is_none();
    claims_by_key && !call.request.fields().has(X_API_KEY)
}

fn tell(
    mut call: Box<Call>,
    pipeline: &Pipeline,
    weighed: MatchReport,
    status: u16,
    unread: Option<String>,
) -> Explanation {
    let DryRun { steps, refusal, destination, .. } = *call.dry_run.take().unwrap_or_default();
    let not_reached = pipeline.steps().skip(steps.len()).collect();
    let (end, status) = match (refusal, destination) {
        (Some(refusal), _) => (End::Refused(refusal), Some(status)),
        (None, Some(destination)) => {
            let status = match &destination {
                Destination::Answer { status, .. } => Some(*status),
                _ => None,
            };
            (End::Reached(destination), status)
        }
        (None, None) => (End::Answered, Some(status)),
    };
    Explanation {
        path: unread.unwrap_or_else(|| call.request.path.decision().as_str().to_owned()),
        preflight_for: None,
        host: call.request.host.as_str().to_owned(),
        scheme: call.peer.scheme,
        client_ip: call.peer.client_ip,
        route: call.route.take(),
        weighed,
        steps,
        not_reached,
        signature: call.found.take(),
        end,
        status,
    }
}

/// The question as a request, as it would have come off the wire, and whether that was over TLS.
fn request(question: &Question) -> Result<(Request<Body>, bool), Vec<Problem>> {
    let mut problems = Vec::new();
    let method = Method::from_bytes(question.method.as_bytes());
    let method = method.map_err(|_| problems.push(Problem::new("method", "expected a method, like GET"))).ok();
    let uri = question.url.parse::<Uri>().ok().filter(|uri| uri.path_and_query().is_some());
    let scheme = uri.as_ref().and_then(Uri::scheme);
    let names_host = question.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(HOST.as_str()));
    if scheme.is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) && !names_host || uri.is_none()
    {
        problems.push(Problem::new("url", "expected a path like '/orders/v1/7?full=1', or an absolute URL"));
    }
    let mut headers = FieldMap::new();
    for (position, (name, value)) in question.headers.iter().enumerate() {
        match (FieldName::from_bytes(name.as_bytes()), FieldValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(value)) => headers.add(name, value),
            _ => problems.push(Problem::new(format!("headers[{position}]"), "expected the name and value of a field")),
        }
    }
    let (Some(method), Some(uri), true) = (method, uri, problems.is_empty()) else { return Err(problems) };
    if !names_host {
        let host = uri.authority().map_or("localhost", |authority| authority.as_str());
        let host = FieldValue::of(host).map_err(|_| vec![Problem::new("url", "expected a host that is text")])?;
        headers.set(HOST, host);
    }
    let body = match &question.body {
        Some(bytes) => sent(bytes, &mut headers).map_err(|problem| vec![problem])?,
        None => announced(headers.fields()),
    };
    let tls = uri.scheme() == Some(&Scheme::HTTPS);
    // A client that is given a URL sends its path; the authority goes into Host. Where that is given too, the URL
    // stands as a target in absolute form (RFC 9112 section 3.2.2).
    let uri = if names_host { uri } else { uri.path_and_query().cloned().map(Uri::from).unwrap_or_default() };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    request.fields_mut().replace(headers);
    Ok((request, tls))
}

/// A body that is here. Its length is said, as by any client.
fn sent(bytes: &Bytes, headers: &mut FieldMap) -> Result<Body, Problem> {
    let length = headers.fields().get(CONTENT_LENGTH).map(|value| value.text().and_then(|text| text.parse().ok()));
    match length {
        Some(length) if length != Some(bytes.len()) => {
            return Err(Problem::new(
                "body",
                format!("has {} bytes, and 'Content-Length' says otherwise", bytes.len()),
            ));
        }
        None if !bytes.is_empty() && !headers.fields().has(TRANSFER_ENCODING) => {
            headers.set(CONTENT_LENGTH, FieldValue::from(bytes.len() as u64));
        }
        _ => {}
    }
    Ok(Body::full(bytes.clone()))
}

/// A body as long as the fields say. Nobody can read it.
fn announced(headers: Fields<'_>) -> Body {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.text()?.parse::<u64>().ok());
    match (headers.has(TRANSFER_ENCODING), length) {
        (true, _) => Body::stream(Announced(None)),
        (false, Some(length)) if length > 0 => Body::stream(Announced(Some(length))),
        _ => Body::empty(),
    }
}

/// A body that is announced and never comes.
struct Announced(Option<u64>);

impl HttpBody for Announced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(Some(Err(BodyError::Broken("it was only announced".into()))))
    }

    fn size_hint(&self) -> SizeHint {
        self.0.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Where the records of calls go that never were.
struct Nowhere;

impl AccessLog for Nowhere {
    fn write(&self, _: &Record) {}
}
