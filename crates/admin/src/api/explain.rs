//! `/api/v1/explain`: what would become of a call, and why. Nothing is sent to a service, nothing spent or recorded.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use portcullis_core::call::UserFacts;
use portcullis_core::directory::ClientEntry;
use portcullis_core::dry_run::{Destination, StepOutcome, Tried};
use portcullis_core::model::{Label, Problem};
use portcullis_core::refusal::Refusal;
use portcullis_core::signature_report::{PartDifference, SignatureReport, SignedBody, SignedPart};
use portcullis_identity::DEFAULT_CLIENT;
use portcullis_identity::sessions::user_json_header;
use portcullis_proxy::explain::{End, Explanation as Explained, Question as Asked};
use portcullis_routing::routes::MatchOutcome;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::ApiError;
use crate::request::Json;
use crate::state::AdminState;

/// Bytes of a question: room for a body and a string to sign of 1 MiB each, as base64.
const MOST_BYTES: usize = 4 << 20;
/// Header fields of a question at most.
const MOST_HEADERS: usize = 256;

/// A request that is asked about.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The method.
    #[schema(example = "GET")]
    method: String,
    /// A path with its query, or an absolute URL, whose authority is the host. With `https` the call comes over TLS.
    #[schema(example = "/orders/v1/7")]
    url: String,
    /// Header fields in order, each a pair of name and value.
    #[serde(default)]
    #[schema(required = false)]
    headers: Vec<(String, String)>,
    /// The body in base64, which signatures are verified over. Without it, `Content-Length` announces one that never comes.
    body: Option<String>,
    /// What the client has signed, in base64: its string to sign, with the body behind it or without, or its signature base.
    /// It is compared with what the gateway verifies.
    string_to_sign: Option<String>,
    /// The name of a client: as if the call showed an API key or a certificate of it.
    client: Option<String>,
    /// The name of a user: as if the call showed a token of theirs.
    user: Option<String>,
    /// The address of the connection. `127.0.0.1`, if absent.
    #[schema(value_type = Option<String>)]
    from: Option<IpAddr>,
}

/// What would become of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explanation {
    /// The request as the gateway understands it.
    request: Canonical,
    /// The route that matches; none if there is none, or if the request cannot be read.
    route: Option<RouteChosen>,
    /// The other routes, nearest first, at most 50 with the one that matches.
    others: Vec<RouteNotChosen>,
    /// How many further routes there are.
    others_left_out: usize,
    /// What each policy says, in the order in which the call meets them.
    steps: Vec<PolicyVerdict>,
    /// What was verified of the signature; absent where the call has none, or its client is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<SignatureVerified>,
    /// How it ends.
    outcome: Outcome,
}

/// A request in canonical form. Routes, rules and limits see this path and no other: escapes of characters that a path may
/// have are decoded in it. The log and the service get the caller's spelling of these.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Canonical {
    scheme: &'static str,
    host: String,
    path: String,
    /// The method of the call whose route it takes, because it announces that call: it is a preflight.
    #[serde(skip_serializing_if = "Option::is_none")]
    preflight_for: Option<String>,
    /// The address the call counts as coming from.
    #[schema(value_type = String)]
    client_ip: IpAddr,
}

/// The route a call takes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteChosen {
    /// Its name; the default route of a service goes by its path.
    name: String,
    /// The service it leads to, as `name/version`; none for a built-in route and one that answers by itself.
    service: Option<String>,
    /// The client whose calls alone it takes; absent for those of everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
}

/// A route a call does not take.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteNotChosen {
    name: String,
    /// What stands against it.
    why_not: String,
}

/// What a policy says of a call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyVerdict {
    /// The kind of the policy.
    policy: &'static str,
    /// `passed`, `answered`, `refused` or `not_reached`.
    verdict: &'static str,
    /// The stable code of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// What only the operator reads about the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What was verified of a signature. It contains no secret and no expected signature, and in place of credentials among the
/// signed fields it has their length.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignatureVerified {
    /// `fo`, `api` or `rfc9421`.
    scheme: &'static str,
    /// `matches`, `differs`, `body_differs` from its `Content-Digest`, `no_signature`, or `not_verified` for want of a key, a
    /// body or a string. Whether it is refused for its time, or for what it does not cover, makes no difference here.
    verdict: &'static str,
    /// The client whose signature it says it is.
    client: String,
    /// The ids of the secrets and public keys it was verified with.
    keys: Vec<String>,
    /// The string to sign without the body, or the signature base.
    string_to_sign: String,
    /// The same, line by line.
    parts: Vec<SignedLine>,
    /// The body; absent if it was only announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<SignedContent>,
    /// The first difference of the client's own string, or of the body from its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<SignedDifference>,
    /// What is probably wrong, in sentences.
    hints: Vec<String>,
}

/// A line of what is signed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedLine {
    /// `method`, `target`, the name of a field, or the identifier of a component.
    name: String,
    value: String,
}

/// The body that is signed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedContent {
    /// Its length.
    bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    sha256: String,
}

/// Where two strings to sign differ first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedDifference {
    /// The name of the line, `body`, or `end`.
    part: String,
    /// What the gateway has there; none if it has no such line.
    gateway: Option<String>,
    /// What the client has there; none if it has no such line there.
    client: Option<String>,
    /// The byte of the body from which on they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

/// How a call ends.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Outcome {
    /// `refused`, `answered` by a policy or as the route declares, `forwarded` to a target, or `handled` by an endpoint
    /// of the gateway, which answers by what the body says.
    kind: &'static str,
    /// The status the caller gets, where the gateway decides on it.
    status: Option<u16>,
    /// The stable code of the refusal.
    code: Option<&'static str>,
    /// What the caller reads about the refusal.
    detail: Option<String>,
    /// What only the operator reads about the refusal.
    reason: Option<String>,
    /// Seconds after which the caller may try again.
    retry_after: Option<u64>,
    /// Where the answer points to.
    location: Option<String>,
    /// The base URL of the target that would be chosen.
    target: Option<String>,
    /// The URL the target would be asked for.
    url: Option<String>,
    /// The `Host` it would see.
    host: Option<String>,
}

/// Explains a call: which route it takes and why not the others, what each policy says, and where it would go. Nothing
/// is sent to a service; limits are read, not taken from.
#[utoipa::path(post, path = "/api/v1/explain", tag = "node", operation_id = "explain",
    request_body = Question,
    responses((status = 200, description = "What would become of it.", body = Explanation),
        (status = 422, description = "The question is no HTTP request, or names nobody that is known.")))]
pub(crate) async fn explain(
    State(state): State<Arc<AdminState>>,
    Json(question): Json<Question, MOST_BYTES>,
) -> Result<Body<Explanation>, ApiError> {
    let mut problems = Vec::new();
    if question.headers.len() > MOST_HEADERS {
        problems.push(Problem::new("headers", format!("at most {MOST_HEADERS}")));
    }
    let client =
        question.client.and_then(|name| by_name(&state, "client", &name).map_err(|found| problems.push(found)).ok());
    let user = match &question.user {
        Some(name) => user(&state, name).await?.map_err(|found| problems.push(found)).ok(),
        None => None,
    };
    // A login without an API key belongs to the built-in client.
    let token_client = match (&user, &client) {
        (Some(_), None) => by_name(&state, "user", DEFAULT_CLIENT).map_err(|found| problems.push(found)).ok(),
        (_, client) => client.clone(),
    };
    let body = decoded("body", question.body, &mut problems);
    let string_to_sign = decoded("string_to_sign", question.string_to_sign, &mut problems);
    if !problems.is_empty() {
        return Err(ApiError::invalid(problems));
    }
    let asked = Asked {
        method: question.method,
        url: question.url,
        headers: question.headers,
        body,
        string_to_sign,
        from: question.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        client,
        user,
        token_client,
    };
    Ok(Body(state.explainer.explain(asked).await.map_err(ApiError::invalid)?.into()))
}

/// Bytes that stand in a question as base64.
fn decoded(field: &str, text: Option<String>, problems: &mut Vec<Problem>) -> Option<Bytes> {
    let bytes = STANDARD.decode(text?);
    bytes.map(Bytes::from).map_err(|_| problems.push(Problem::new(field, "expected base64"))).ok()
}

fn by_name(state: &AdminState, field: &str, name: &str) -> Result<Arc<ClientEntry>, Problem> {
    let view = state.changes.view();
    let unknown = || Problem::new(field, format!("there is no client '{name}'"));
    let name: Label = name.parse().map_err(|_| unknown())?;
    let stored = view.client(&name).ok_or_else(unknown)?;
    if !stored.value.enabled {
        return Err(Problem::new(
            field,
            format!("the client '{name}' is disabled: its keys and tokens are refused with 401"),
        ));
    }
    Ok(Arc::new(ClientEntry::new(name, stored.value.clone())))
}

async fn user(state: &AdminState, name: &str) -> Result<Result<UserFacts, Problem>, ApiError> {
    let unknown = || Problem::new("user", format!("there is no user '{name}'"));
    let Ok(label) = name.parse::<Label>() else { return Ok(Err(unknown())) };
    let Some(user) = state.users.get(&label).await? else { return Ok(Err(unknown())) };
    if !user.enabled {
        return Ok(Err(Problem::new(
            "user",
            format!("the user '{name}' is disabled: their tokens are refused with 401"),
        )));
    }
    Ok(Ok(UserFacts { name: label.shared(), user_json: user_json_header(&user.user_info.to_string()) }))
}

impl From<Explained> for Explanation {
    fn from(told: Explained) -> Self {
        let others = told.weighed.routes.into_iter().filter_map(|(name, weight)| {
            let why_not = match weight {
                MatchOutcome::Chosen => return None,
                MatchOutcome::Outranked(reason) => format!("it matches, but {reason}"),
                MatchOutcome::Condition(reason)
                | MatchOutcome::Client(reason)
                | MatchOutcome::Host(reason)
                | MatchOutcome::Path(reason) => reason,
            };
            Some(RouteNotChosen { name: name.to_string(), why_not })
        });
        let reached = told.steps.into_iter().map(PolicyVerdict::from);
        let not_reached = told.not_reached.into_iter().map(|policy| PolicyVerdict::of(policy, "not_reached"));
        Self {
            request: Canonical {
                scheme: told.scheme,
                host: told.host,
                path: told.path,
                preflight_for: told.preflight_for.map(|method| method.to_string()),
                client_ip: told.client_ip,
            },
            route: told.route.map(|route| RouteChosen {
                name: route.name.to_string(),
                service: route.service.as_ref().map(ToString::to_string),
                client: route.client.as_ref().map(ToString::to_string),
            }),
            others: others.collect(),
            others_left_out: told.weighed.left_out,
            steps: reached.chain(not_reached).collect(),
            signature: told.signature.map(SignatureVerified::from),
            outcome: Outcome { status: told.status, ..told.end.into() },
        }
    }
}

impl From<SignatureReport> for SignatureVerified {
    fn from(report: SignatureReport) -> Self {
        let line = |SignedPart { name, value }| SignedLine { name, value };
        let difference =
            |PartDifference { part, gateway, client, offset }| SignedDifference { part, gateway, client, offset };
        Self {
            scheme: report.scheme,
            verdict: report.verdict.word(),
            client: report.client.to_string(),
            keys: report.keys.iter().map(ToString::to_string).collect(),
            string_to_sign: report.string_to_sign,
            parts: report.parts.into_iter().map(line).collect(),
            body: report.body.map(|SignedBody { bytes, sha256 }| SignedContent { bytes, sha256 }),
            difference: report.difference.map(difference),
            hints: report.hints,
        }
    }
}

impl PolicyVerdict {
    fn of(policy: &'static str, verdict: &'static str) -> Self {
        Self { policy, verdict, code: None, reason: None }
    }
}

impl From<Tried> for PolicyVerdict {
    fn from(Tried { name, verdict }: Tried) -> Self {
        match verdict {
            StepOutcome::Passed => Self::of(name, "passed"),
            StepOutcome::Answered(_) => Self::of(name, "answered"),
            StepOutcome::Refused(refusal) => {
                Self { code: Some(refusal.code()), reason: reason(&refusal), ..Self::of(name, "refused") }
            }
        }
    }
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        match end {
            End::Refused(refusal) => {
                let facts = refusal.facts();
                Self {
                    kind: "refused",
                    code: Some(facts.code),
                    detail: Some(facts.detail.to_string()),
                    reason: reason(&refusal),
                    retry_after: facts.retry_after,
                    ..Self::default()
                }
            }
            End::Answered => Self { kind: "answered", ..Self::default() },
            End::Reached(Destination::Gateway) => Self { kind: "handled", ..Self::default() },
            End::Reached(Destination::Answer { location, .. }) => {
                Self { kind: "answered", location, ..Self::default() }
            }
            End::Reached(Destination::Target { target, url, host }) => {
                Self { kind: "forwarded", target: Some(target), url: Some(url), host: Some(host), ..Self::default() }
            }
        }
    }
}

fn reason(refusal: &Refusal) -> Option<String> {
    refusal.private().map(str::to_owned)
}
