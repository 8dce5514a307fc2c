//! Whom a call claims to be of, before anything is verified. A claim chooses among routes; it lets nobody in.
//!
//! In fomalhaut's dialects every call claims a client, and what that client may call is told in fomalhaut's order: whether
//! there is such a client, whether it is enabled, whether the path has an endpoint and a version, whether the client has
//! that endpoint.

use std::sync::Arc;

use portcullis_core::call::fomalhaut::Form;
use portcullis_core::call::{Call, ClientEntry, KeyHolder, RouteFacts};
use portcullis_core::directory::Directory;
use portcullis_core::message::HasFields;
use portcullis_core::message::names::{SIGNATURE_INPUT, X_API_KEY};
use portcullis_core::refusal::Refusal;
use portcullis_identity::hash_key;

use crate::signature;
use crate::signed::{Said, said};
use crate::strangers::Strangers;

/// The client that a call in the dialect `fo` is of when it names none.
const PUBLIC: &str = "public";
/// Bytes of a key that is looked up.
const LONGEST_KEY: usize = 512;
/// Bytes of a segment that is repeated to the caller.
const LONGEST_SEGMENT: usize = 64;

/// Reads claims, and judges those of fomalhaut's dialects.
pub struct Claims {
    directory: Arc<Directory>,
    strangers: Arc<Strangers>,
}

impl Claims {
    /// Claims of the clients in this directory. Those that are none are counted.
    pub fn new(directory: Arc<Directory>, strangers: Arc<Strangers>) -> Self {
        Self { directory, strangers }
    }

    /// Notes the client that a call claims to be of: in fomalhaut's dialects by its id, else by an API key or by the key of a
    /// signature, where there are routes of clients to choose from. A bearer token claims nothing: it would have to be
    /// verified first.
    pub fn note(&self, call: &mut Call, has_choice: bool) {
        // What is read behind this moment is not older.
        let now = self.directory.moment();
        call.claimed = self.read(call, has_choice);
        call.claimed_at = Some(now);
    }

    fn read(&self, call: &Call, has_choice: bool) -> Option<Arc<ClientEntry>> {
        if call.request.announced_method().is_some() {
            // Browsers say nothing of who calls when they ask whether they may.
            return None;
        }
        match call.dialect.fomalhaut() {
            Some(form) => {
                let name = form.client_field();
                let id = match said(call, name) {
                    Said::Once(id) => id.text(),
                    Said::Never if form == Form::Fo => Some(PUBLIC),
                    Said::Never | Said::Often => None,
                };
                self.directory.read(|entries| entries.by_access_key(id?).cloned())
            }
            None if !has_choice => None,
            None => self.by_key(call).or_else(|| self.by_signature(call)),
        }
    }

    fn by_key(&self, call: &Call) -> Option<Arc<ClientEntry>> {
        let key = call.request.fields().only(X_API_KEY).ok()??.text().filter(|key| key.len() <= LONGEST_KEY)?;
        let hash = hash_key(key);
        match self.directory.read(|entries| entries.holder(&hash))? {
            KeyHolder::Client(client) => Some(client),
            KeyHolder::Service(_) => None,
        }
    }

    fn by_signature(&self, call: &Call) -> Option<Arc<ClientEntry>> {
        call.request.fields().has(SIGNATURE_INPUT).then(|| signature::claimed(&self.directory, call)).flatten()
    }

    /// Whether a call may take the route that was found for it, or none: what fomalhaut tells before it verifies anything.
    ///
    /// Where a route takes the calls of everybody the claim has decided nothing, and nothing is told about it: known or not,
    /// the call goes on, and its credentials say the rest. An endpoint of the gateway that clients must be granted is none of
    /// these in fomalhaut's dialects.
    pub fn judge(&self, call: &Call, found: Result<&RouteFacts, &Refusal>) -> Result<(), Refusal> {
        let as_found = || found.map(drop).map_err(Clone::clone);
        let in_dialect = call.dialect.fomalhaut().is_some();
        // Browsers say nothing of who calls when they ask whether they may: what answers them stands on the route.
        let is_claimed = || in_dialect && call.request.announced_method().is_none();
        let is_free = found.is_ok_and(|route| route.client.is_none() && (route.grant.is_none() || !is_claimed()));
        if is_free || found.is_err_and(|refusal| *refusal != Refusal::NoRoute) {
            return as_found();
        }
        let judged = match &call.claimed {
            _ if !in_dialect => match found {
                Err(_) if !call.request.fields().has(SIGNATURE_INPUT) => return as_found(),
                Ok(route) if route.is_disabled => Err(Refusal::RouteDisabled),
                found => found.map(drop).map_err(Clone::clone),
            },
            None => Err(Refusal::UnknownClient),
            Some(client) if !client.client.enabled => Err(Refusal::DisabledClient),
            Some(_) if path(call).bytes().filter(|byte| *byte == b'/').count() < 3 => {
                let detail = "the path has an endpoint, a version and a slash behind it, like '/orders/v1/'";
                Err(Refusal::malformed("short_path", detail))
            }
            Some(client) => match found {
                Ok(route) if !is_granted(route, client) => Err(Refusal::NoEndpoint { endpoint: endpoint(path(call)) }),
                Err(_) => Err(Refusal::NoEndpoint { endpoint: endpoint(path(call)) }),
                Ok(route) if route.is_disabled => Err(Refusal::RouteDisabled),
                Ok(_) => Ok(()),
            },
        };
        judged.map_err(|refusal| self.strangers.failed(call, refusal))
    }
}

/// Whether a client has the endpoint that a route leads to: by its grants, or by a route of its own.
fn is_granted(route: &RouteFacts, client: &ClientEntry) -> bool {
    let is_own = route.client.as_ref() == Some(&client.name);
    is_own || route.grant.as_ref().is_none_or(|grant| client.client.may_call(grant))
}

/// The path that is decided on.
fn path(call: &Call) -> &str {
    call.request.path.decision().as_str()
}

/// Endpoint and version of a path, as far as they look like names.
fn endpoint(path: &str) -> Box<str> {
    let is_name = |segment: &&str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        segment.len() <= LONGEST_SEGMENT && segment.bytes().all(is_plain)
    };
    let mut segments = path.split('/').skip(1).take(2).map(|segment| Some(segment).filter(is_name).unwrap_or("?"));
    format!("{}/{}", segments.next().unwrap_or("?"), segments.next().unwrap_or("?")).into()
}

#[cfg(test)]
mod tests;
