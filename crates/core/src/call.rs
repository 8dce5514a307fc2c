//! One request on its way through the gateway.

use std::any::Any;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use http::{Method, Uri, Version};

pub use crate::admitted_by::{AdmittedBy, SignedBy};
use crate::body::Body;
pub use crate::body::Response;
pub use crate::caller::{Caller, Consumed, ForeignClient, UserFacts};
use crate::canonical::{DecisionPath, Host, Path};
use crate::dialect::Refused;
pub use crate::dialect::{Dialect, fomalhaut};
pub use crate::digits::hex;
pub use crate::directory::{ClientEntry, KeyHolder, Moment};
use crate::dry_run::DryRun;
pub use crate::effects::Effects;
use crate::grpc::{Code, GrpcCall};
use crate::message::names::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use crate::message::{FieldMap, FieldName, FieldValue, Fields, FieldsMut, HasFields};
use crate::model::Label;
use crate::record::OpenRecord;
use crate::refusal::Refusal;
pub use crate::request_id::RequestId;
pub use crate::route_facts::{Matched, RouteFacts};

/// The other end of the connection a call came over.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address of the socket, or the one a trusted proxy has announced for the connection.
    pub socket: SocketAddr,
    /// The address the call came from; the socket's, unless a trusted proxy says otherwise.
    pub client_ip: IpAddr,
    /// Whether that looks like the address of a proxy which does not say, or is not believed about, whose the call is.
    pub shared: bool,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The certificate the other end of the connection has shown, if it was asked for one.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// A client certificate that has passed the handshake: who it is for, and which it is.
#[derive(Debug, Default)]
pub struct ClientCertificate {
    /// SHA-256 of its DER form, as 64 lower-case hex digits.
    pub fingerprint: Box<str>,
    /// The DNS names among its subject's alternative names, in lower case.
    pub dns_names: Vec<Box<str>>,
    /// The URIs among them, as they stand there.
    pub uris: Vec<Box<str>>,
    /// Whether it is not good any more.
    pub ended: AtomicBool,
}

impl ClientCertificate {
    /// Notes that it is not good any more: it has expired, or was taken back.
    pub fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Whether it is not good any more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }
}

/// A request in canonical form.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The canonical path.
    pub path: Path,
    /// The query, as sent, without `?`.
    pub query: Option<Bytes>,
    /// The host asked for.
    pub host: Host,
    /// The HTTP version it came in.
    pub version: Version,
    /// The header fields, without hop-by-hop fields and without identity fields from outside.
    pub fields: FieldMap,
    /// The body.
    pub body: Body,
}

impl Request {
    /// The method of the call that a browser announces with this request, if it is a preflight (the CORS protocol of the
    /// Fetch standard).
    pub fn announced_method(&self) -> Option<Method> {
        if self.method != Method::OPTIONS || !self.fields().has(ORIGIN) {
            return None;
        }
        let method = self.fields().only(ACCESS_CONTROL_REQUEST_METHOD).ok()??;
        Method::from_bytes(method.as_bytes()).ok()
    }
}

impl HasFields for Request {
    #[inline]
    fn fields(&self) -> Fields<'_> {
        self.fields.fields()
    }

    #[inline]
    fn fields_mut(&mut self) -> FieldsMut<'_> {
        self.fields.fields_mut()
    }
}

/// The request as it stood on the wire; for signatures alone.
#[derive(Debug)]
pub struct RawRequest {
    /// The request target.
    pub target: Uri,
    /// Fields that were removed on the way to canonical form.
    pub removed: Vec<(FieldName, FieldValue)>,
}

/// A wish to go on in another protocol over what has been the connection of a request (RFC 9110 section 7.8). If the
/// endpoint grants it with 101, what the caller sends from then on is a body, and so is what it is sent.
#[derive(Debug)]
pub struct Upgrade {
    /// The protocols that are wished for, as sent.
    pub protocols: FieldValue,
    /// What the caller sends after the switch.
    pub from_caller: Body,
}

/// Takes what a service says before its answer: what the caller may look for meanwhile (RFC 8297).
pub trait Hints: Send + Sync {
    /// Passes the fields of one `103 Early Hints` on to the caller.
    fn hint(&self, fields: Fields<'_>);
}

/// What of a call may go on for long before it is answered: the request's body.
pub trait Lasting: Send + Sync {
    /// The call has passed every policy, and its endpoint is about to answer it: who calls is known.
    fn let_in(&self, call: &Call);
}

type Note = Arc<dyn Any + Send + Sync>;

/// What one kind of policy notes on a call for its own steps further out and further in: one note of a type.
#[derive(Default)]
pub struct Notes {
    /// Most calls have one, which takes no list.
    first: Option<Note>,
    more: Vec<Note>,
}

impl Notes {
    /// The note of this type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.all().find_map(|note| note.downcast_ref())
    }

    /// The same to be held.
    pub fn shared<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let note = self.all().find(|note| note.is::<T>())?;
        Arc::clone(note).downcast().ok()
    }

    fn all(&self) -> impl Iterator<Item = &Note> {
        self.first.iter().chain(&self.more)
    }

    /// Whether there are none.
    pub fn are_none(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }

    /// Takes the note of this type away; none if somebody else holds it too.
    pub fn take<T: Any + Send + Sync>(&mut self) -> Option<T> {
        let note = match self.first.take_if(|note| note.is::<T>()) {
            Some(note) => note,
            None => self.more.swap_remove(self.more.iter().position(|note| note.is::<T>())?),
        };
        note.downcast().ok().and_then(Arc::into_inner)
    }

    /// Notes this, in place of another note of its type.
    pub fn set<T: Any + Send + Sync>(&mut self, note: T) {
        self.share(Arc::new(note));
    }

    /// The same of what others hold too.
    pub fn share<T: Any + Send + Sync>(&mut self, note: Arc<T>) {
        if let Some(held) = self.first.iter_mut().chain(&mut self.more).find(|held| held.is::<T>()) {
            *held = note;
        } else if self.first.is_none() {
            self.first = Some(note);
        } else {
            self.more.push(note);
        }
    }
}

/// Where a call stood before an alternative was tried.
#[derive(Debug)]
pub struct Mark {
    is_replaced: bool,
}

/// The request that a call came with, where another has taken its place, and where it led.
struct Outer {
    request: Request,
    /// The fields that were taken away, where one of them was said anew inside.
    removed: Option<Vec<(FieldName, FieldValue)>>,
    matched: usize,
    matched_readings: Vec<usize>,
}

/// One request on its way: who sent it, what it says, where it goes, and what is recorded of it.
pub struct Call {
    /// Its id.
    pub id: RequestId,
    /// Where it came from.
    pub peer: Peer,
    /// What it says, in canonical form.
    pub request: Request,
    /// What stood on the wire.
    pub raw: RawRequest,
    /// How refusals are written.
    pub dialect: Dialect,
    /// Set where the caller wishes to go on in another protocol.
    pub upgrade: Option<Box<Upgrade>>,
    /// Set where it is a gRPC call.
    pub grpc: Option<Arc<GrpcCall>>,
    /// Set where the caller can be told something before its answer. Policies do not see it.
    pub hints: Option<Arc<dyn Hints>>,
    /// Told when the call has been let in, where its body is still to come. Policies do not see it.
    pub lasting: Option<Arc<dyn Lasting>>,
    /// The client that the call says it is of. It chooses among routes, and lets nobody in.
    pub claimed: Option<Arc<ClientEntry>>,
    /// From which moment of the directory that is known.
    pub claimed_at: Option<Moment>,
    /// The route that matched.
    pub route: Option<Arc<RouteFacts>>,
    /// How many bytes of the path that is decided on the route has matched.
    pub matched: usize,
    /// The same for each other reading of a path with parameters.
    pub matched_readings: Vec<usize>,
    /// Who is calling.
    pub caller: Caller,
    /// What is recorded.
    pub record: OpenRecord,
    /// Set where the call is only tried.
    pub dry_run: Option<Box<DryRun>>,
    /// The URL under which callers know the host that the call is for, where one is declared.
    pub public_url: Option<Arc<str>>,
    /// What policies note for themselves, forgotten with the caller ([`Call::restore`]).
    pub notes: Notes,
    /// What they have found out for good, whoever turns out to call: a signature is verified once.
    pub found: Notes,
    outer: Option<Box<Outer>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("id", &self.id).field("path", &self.request.path).finish_non_exhaustive()
    }
}

impl Call {
    /// A call that has just entered: not routed yet, and nobody known.
    #[inline]
    pub fn new(
        id: RequestId,
        peer: Peer,
        request: Request,
        raw: RawRequest,
        dialect: Dialect,
        record: OpenRecord,
    ) -> Self {
        Self {
            id,
            peer,
            request,
            raw,
            dialect,
            upgrade: None,
            grpc: None,
            hints: None,
            lasting: None,
            claimed: None,
            claimed_at: None,
            route: None,
            matched: 0,
            matched_readings: Vec::new(),
            caller: Caller::default(),
            record,
            dry_run: None,
            public_url: None,
            notes: Notes::default(),
            found: Notes::default(),
            outer: None,
        }
    }

    /// Leave to change what outlasts the call; none where it is only tried.
    #[inline]
    pub fn effects(&self) -> Option<Effects> {
        self.dry_run.is_none().then(Effects::granted)
    }

    /// Marks where the call stands before anything is found out about its caller.
    pub fn mark(&self) -> Mark {
        Mark { is_replaced: self.outer.is_some() }
    }

    /// Forgets what was found out about the caller since a mark, and brings a request back that another has taken the place
    /// of. Whatever of its body has been read is there again.
    pub fn restore(&mut self, mark: &Mark) {
        self.forget_caller();
        self.notes = Notes::default();
        if !mark.is_replaced
            && let Some(outer) = self.outer.take()
        {
            let Outer { request, removed, matched, matched_readings } = *outer;
            if let Some(removed) = removed {
                self.raw.removed = removed;
            }
            self.take_place(request, matched, matched_readings);
        }
    }

    /// Forgets who calls, of a call that is refused.
    pub fn forget_caller(&mut self) {
        self.caller = Caller::default();
        self.record.note(|record| (record.client, record.user) = (None, None));
    }

    /// Puts a request in the place of the one that the call came with: everything behind decides on it, forwards and records
    /// it. The route stays the one that was chosen. `said`: a field that is said to the gateway alone, in place of one that
    /// the door has taken away.
    pub fn replace(&mut self, request: Request, said: Option<(FieldName, FieldValue)>, matched: Matched) {
        let Matched { matched, matched_readings, .. } = matched;
        let removed = said.is_some().then(|| self.raw.removed.clone());
        if let Some(said) = said {
            self.raw.removed.retain(|(name, _)| *name != said.0);
            self.raw.removed.push(said);
        }
        let before = (self.matched, std::mem::take(&mut self.matched_readings));
        let request = self.take_place(request, matched, matched_readings);
        let (matched, matched_readings) = before;
        let outer = Outer { request, removed: None, matched, matched_readings };
        let outer = self.outer.get_or_insert_with(|| Box::new(outer));
        outer.removed = outer.removed.take().or(removed);
    }

    fn take_place(&mut self, request: Request, matched: usize, matched_readings: Vec<usize>) -> Request {
        (self.matched, self.matched_readings) = (matched, matched_readings);
        let (method, path) = (request.method.clone(), request.path.shared());
        self.record.note(|record| (record.method, record.path) = (method, path));
        std::mem::replace(&mut self.request, request)
    }

    /// The name of the client that the call says it is of.
    #[inline]
    pub fn claimed_client(&self) -> Option<&Label> {
        self.claimed.as_ref().map(|client| &client.name)
    }

    /// What of the path is left behind what the route has matched, to be decided on.
    pub fn rest(&self) -> DecisionPath<'_> {
        self.request.path.decision().behind(self.matched)
    }

    /// The same for each other reading of a path with parameters: nothing, for nearly all calls. What decides by the rest
    /// of a path must come to one decision on all of them.
    pub fn other_rests(&self) -> impl Iterator<Item = DecisionPath<'_>> {
        let readings = self.request.path.readings().zip(&self.matched_readings);
        readings.map(|(reading, matched)| reading.behind(*matched))
    }

    /// What is left of the path as it is forwarded; empty or beginning with `/`.
    pub fn forwarded_rest(&self) -> &str {
        self.request.path.forwarded_behind(self.matched)
    }

    /// Takes the body out, leaving an empty one.
    pub fn take_body(&mut self) -> Body {
        std::mem::replace(&mut self.request.body, Body::empty())
    }

    /// Does this for a call that is only tried.
    pub(crate) fn tried<T>(&mut self, note: impl FnOnce(&mut DryRun) -> T) -> Option<T> {
        self.dry_run.as_mut().map(|dry_run| note(dry_run))
    }

    /// Writes a refusal for this caller and notes it in the record.
    pub(crate) fn refuse(&mut self, refusal: &Refusal) -> Response {
        self.tried(|dry_run| _ = dry_run.refusal.get_or_insert_with(|| refusal.clone()));
        self.record.note(|record| {
            record.refusal = Some(refusal.code());
            record.reason = refusal.private().map(Into::into);
        });
        if self.dialect.is_grpc() {
            let status = refusal.facts().status;
            self.record.note(|record| {
                record.status = status.as_u16();
                record.grpc_status = Some(Code::of(status) as u8);
            });
        }
        self.dialect.write(refusal, Refused { id: &self.id, time: self.record.time() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_note_of_a_type_and_it_can_be_shared() {
        let mut notes = Notes::default();
        assert!(notes.are_none() && notes.get::<u8>().is_none());
        let shared = Arc::new(1_u8);
        notes.share(Arc::clone(&shared));
        notes.set("two");
        notes.set(3_u64);
        notes.set(4_u64);
        assert_eq!((notes.get::<u8>(), notes.get::<&str>(), notes.get::<u64>()), (Some(&1), Some(&"two"), Some(&4)));
        assert!(notes.shared::<u8>().is_some_and(|note| Arc::ptr_eq(&note, &shared)));
        assert_eq!((notes.take::<u64>(), notes.take::<u64>()), (Some(4), None));
        assert_eq!(notes.take::<u8>(), None, "somebody else holds it");
        assert_eq!(notes.take::<&str>(), Some("two"));
        assert!(notes.are_none() && notes.get::<u8>().is_none());
    }
}
