//! Request handlers: what answers a call of the gateway's own endpoints out of the registry, on the control runtime.
//!
//! A [`Handler`] is asked twice: on the worker that has the call, for what can be refused at once, before any of the body is
//! read; and as one job, with everything it needs. [`OnControl`] is the endpoint around it.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use http_body::Body as _;
use zeroize::Zeroizing;

use crate::body::{Body, Response};
use crate::call::{Call, UserFacts};
use crate::dialect::fomalhaut::Form;
use crate::directory::{ClientEntry, KeyHolder};
use crate::jobs::{self, Class, Jobs};
use crate::message::{FieldMap, FieldName, Fields, FieldsMut, HasFields};
use crate::model::Label;
use crate::policy::Endpoint;
use crate::refusal::Refusal;
use crate::request_id::RequestId;
use crate::session_id::SessionId;

/// Answers calls on the control runtime.
///
/// ```
/// use async_trait::async_trait;
/// use portcullis_core::handler::{Admitted, Asked, Handler, Reply};
/// use portcullis_core::jobs::Class;
/// use portcullis_core::refusal::Refusal;
///
/// /// Says what it was told.
/// struct Echo;
///
/// #[async_trait]
/// impl Handler for Echo {
///     type Seen = ();
///
///     fn admit(&self, _: &Asked) -> Result<Admitted<()>, Refusal> {
///         Ok(Admitted::Work { class: Class::Logins, body_limit: 1_024, seen: () })
///     }
///
///     async fn handle(&self, asked: Asked, (): ()) -> Result<Reply, Refusal> {
///         Ok(Reply::from(http::Response::new(asked.body.to_vec().into())))
///     }
/// }
/// ```
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// What is found out before the body is read.
    type Seen: Send + 'static;

    /// The methods it takes, as `Allow` lists them; a call with another one is refused with 405. With nothing, it takes
    /// every method, and says for itself what becomes of others.
    fn methods(&self) -> Option<&'static str> {
        Some("POST")
    }

    /// The header fields it reads. It is given no others.
    fn reads(&self) -> &'static [FieldName] {
        &[]
    }

    /// Looks at a call before its body is read, on the worker that has it: refuses it, answers it, or says what work it is.
    /// It must not wait.
    fn admit(&self, asked: &Asked) -> Result<Admitted<Self::Seen>, Refusal>;

    /// Answers the call, with its body.
    async fn handle(&self, asked: Asked, seen: Self::Seen) -> Result<Reply, Refusal>;
}

/// What becomes of a call that a handler has looked at.
pub enum Admitted<S> {
    /// It is answered like this.
    Answered(Reply),
    /// It is work for [`Handler::handle`].
    Work {
        /// What the work is for.
        class: Class,
        /// Bytes the body may have; more is refused with 413. With 0, nothing is read of it.
        body_limit: u64,
        /// What was found out.
        seen: S,
    },
}

/// A call as a handler sees it: no more of it than it needs, and nothing that the worker still holds.
pub struct Asked {
    /// Its id.
    pub id: RequestId,
    /// The method.
    pub method: Method,
    /// What of the path is left behind the endpoint's own, as it is decided on; `/`, if nothing is.
    pub rest: Box<str>,
    /// The query, without `?`, and without credentials that were read from it.
    pub query: Option<Bytes>,
    /// Those of the header fields that the handler reads.
    pub fields: FieldMap,
    /// The body; empty as long as it is not read.
    pub body: Zeroizing<Vec<u8>>,
    /// The address it came from.
    pub client_ip: IpAddr,
    /// Whether that looks like the address of a proxy which does not say whose the call is.
    pub shared: bool,
    /// Which of fomalhaut's dialects it is in.
    pub fomalhaut: Option<Form>,
    /// The client that calls: as credentials have shown it, or the one that the route is for where it asks for none.
    pub client: Option<Arc<ClientEntry>>,
    /// Whom an API key, a certificate or a signature speaks for.
    pub key: Option<KeyHolder>,
    /// The user a verified token speaks for.
    pub user: Option<UserFacts>,
    /// The session behind that token.
    pub session: Option<SessionId>,
    /// The client which that session was opened through; it need not be the one that calls.
    pub session_client: Option<Label>,
}

impl Asked {
    /// What a handler that reads these fields is asked by a call. The body is still the call's.
    pub fn of(call: &Call, reads: &[FieldName]) -> Self {
        let mut fields = FieldMap::with_capacity(reads.len());
        for name in reads {
            call.request.fields().all(name).for_each(|value| fields.add(name, value.to_owned()));
        }
        let of_route = call.route.as_ref().and_then(|route| route.client.as_ref());
        let claimed = || call.claimed.as_ref().filter(|client| of_route == Some(&client.name));
        Self {
            id: call.id.clone(),
            method: call.request.method.clone(),
            rest: call.rest().as_str().into(),
            query: call.request.query.clone(),
            fields,
            body: Zeroizing::default(),
            client_ip: call.peer.client_ip,
            shared: call.peer.shared,
            fomalhaut: call.dialect.fomalhaut(),
            client: call.caller.client().or_else(claimed).cloned(),
            key: call.caller.key.clone(),
            user: call.caller.user.clone(),
            session: call.caller.admitted_by.session,
            session_client: call.caller.token_client.as_ref().map(|client| client.name.clone()),
        }
    }
}

impl HasFields for Asked {
    fn fields(&self) -> Fields<'_> {
        self.fields.fields()
    }

    fn fields_mut(&mut self) -> FieldsMut<'_> {
        self.fields.fields_mut()
    }
}

/// The answer to a call, and whom the record names for it.
pub struct Reply {
    /// The answer.
    pub response: http::Response<Bytes>,
    /// The user that the call was about, where it was about one.
    pub user: Option<Label>,
    /// The client it was made through, where that was found out.
    pub client: Option<Label>,
}

impl From<http::Response<Bytes>> for Reply {
    fn from(response: http::Response<Bytes>) -> Self {
        Self { response, user: None, client: None }
    }
}

impl Reply {
    /// The answer to this call, which is told whom it was about.
    fn to(self, call: &mut Call) -> Response {
        let Self { response, user, client } = self;
        call.record.note(|record| {
            record.user = user.map(|user| user.shared()).or(record.user.take());
            record.client = client.map(|client| client.shared()).or(record.client.take());
        });
        response.map(Body::full)
    }
}

/// The endpoint around a handler: it takes the handler's methods, reads the body within its bound, and has one job do the
/// rest.
pub struct OnControl<H> {
    handler: Arc<H>,
    jobs: Arc<dyn Jobs>,
}

impl<H: Handler> OnControl<H> {
    /// An endpoint whose handler runs behind these jobs.
    pub fn new(handler: H, jobs: Arc<dyn Jobs>) -> Self {
        Self { handler: Arc::new(handler), jobs }
    }
}

#[async_trait]
impl<H: Handler> Endpoint for OnControl<H> {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        if let Some(allow) = self.handler.methods() {
            takes(&call.request.method, allow)?;
        }
        let mut asked = Asked::of(call, self.handler.reads());
        let (class, body_limit, seen) = match self.handler.admit(&asked)? {
            Admitted::Answered(reply) => return Ok(reply.to(call)),
            Admitted::Work { class, body_limit, seen } => (class, body_limit, seen),
        };
        if body_limit > 0 {
            let mut body = call.take_body();
            // What is announced is kept in one place: a vector that grows leaves behind what it held.
            let announced = body.size_hint().lower().min(body_limit);
            asked.body.reserve(usize::try_from(announced).unwrap_or_default());
            let read = body.read_into(&mut asked.body, body_limit).await;
            read.map_err(|error| Refusal::of_body(&error))?;
        }
        let handler = Arc::clone(&self.handler);
        let handled = async move { handler.handle(asked, seen).await };
        Ok(jobs::run(&self.jobs, class, handled).await??.to(call))
    }
}

/// Refuses a method that is not among these, as `Allow` lists them.
pub fn takes(method: &Method, allow: &'static str) -> Result<(), Refusal> {
    let is_one = allow.split(", ").any(|allowed| allowed == method.as_str());
    if is_one { Ok(()) } else { Err(Refusal::MethodNotAllowed { allow }) }
}

#[cfg(test)]
mod tests;
