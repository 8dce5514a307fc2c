//! `bearer`: an access token in `Authorization: Bearer …` (RFC 6750), of this gateway or of a declared issuer. In fomalhaut's
//! dialects it stands in a field of theirs or in the query, and may be an opaque one of this gateway.

mod query;
mod remembered;
mod settings;
mod shown;

use std::rc::Rc;
use std::sync::Arc;

use portcullis_core::call::{Call, Effects, UserFacts};
use portcullis_core::directory::{ClientEntry, KeyHash};
use portcullis_core::jobs::{self, Class};
use portcullis_core::message::names::AUTHORIZATION;
use portcullis_core::message::{self, FieldName, HasFields};
use portcullis_core::model::Problem;
use portcullis_core::ports::SessionId;
use portcullis_core::refusal::{Credential, Refusal};
use portcullis_identity::claims::MAX_TOKEN_BYTES;
use portcullis_identity::{AccessToken, LiveSession, StaticKeys, hash_all, opaque};
use serde_json::Value;

use self::remembered::{Foreign, Token};
use self::settings::{Settings, Subject, static_keys};
use self::shown::{PresentedToken, token_of};
use crate::credential::{Part, Verification, Verifier};
use crate::{Parts, PolicyContext, RouteEnd};

/// Where a token is shown.
static FIELD: FieldName = AUTHORIZATION;

/// The JSON schema of its settings.
pub fn schema() -> Value {
    crate::settings::schema::<Settings>()
}

/// Builds the credential.
pub fn build(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Arc<dyn Verifier>, Vec<Problem>> {
    Ok(Arc::new(Bearer::new(site, value)?))
}

/// Whom a token may be meant for: everybody here, any version of the service, this one, or what is declared.
fn audiences(end: RouteEnd<'_>, declared: &[String], issuer: &str) -> Vec<String> {
    let of_service = match end {
        RouteEnd::Service(id) => vec![id.name.to_string(), id.to_string()],
        RouteEnd::Builtin { .. } => Vec::new(),
    };
    std::iter::once(issuer.to_owned()).chain(of_service).chain(declared.iter().cloned()).collect()
}

struct Bearer {
    parts: Arc<Parts>,
    audiences: Vec<String>,
    keys: StaticKeys,
    /// Stands for the keys it trusts: what was verified with others is not remembered here.
    trusted: KeyHash,
    subject: Subject,
    forward_credentials: bool,
    query: bool,
}

impl Verifier for Bearer {
    fn is_shown(&self, call: &Call) -> bool {
        self.is_sent(call) || is_believed(call)
    }

    fn missing(&self, _: &Call) -> Refusal {
        Refusal::MissingCredential(Credential::Bearer)
    }

    fn verify<'c>(&'c self, call: &'c mut Call) -> Result<Verification<'c>, Refusal> {
        if is_believed(call) && !self.is_sent(call) {
            self.takes_users()?;
            believe(call);
            return Ok(Verification::Good);
        }
        let shown = PresentedToken::of(call, self.query)?;
        let now = self.parts.clock.unix_millis();
        // Elsewhere an opaque token is like any other that is nobody's.
        let opaque = call.dialect.fomalhaut().and_then(|_| opaque::session_shown(shown.as_str()));
        if let Some(id) = opaque {
            return self.own(call, AccessToken::Opaque, id, now);
        }
        let token = self.read(shown.as_str(), now / 1_000, call.effects().as_ref())?;
        let meant = token.audience_checked || self.audiences.iter().any(|audience| token.audiences.contains(audience));
        if !meant {
            return Err(invalid("a token for another audience"));
        }
        match &token.subject {
            remembered::Subject::Session(id) => self.own(call, AccessToken::Signed, *id, now),
            remembered::Subject::Foreign(foreign) => self.foreign(call, foreign),
        }
    }

    fn withhold(&self, call: &mut Call, part: Part) -> Result<(), Refusal> {
        let mut shown = call.request.fields().all(AUTHORIZATION);
        let first = shown.next();
        let stays = match part {
            // A token that was verified stood alone; one from the query has verified nothing that stands here.
            Part::LetIn => {
                let was_read = call.dialect.fomalhaut().is_none();
                self.forward_credentials && was_read && shown.next().is_none() && first.and_then(token_of).is_some()
            }
            Part::Passed => false,
            Part::Unasked => {
                // In whatever way it is written: a service that reads it more loosely would have it.
                let ours = |value: message::Value<'_>| {
                    let mut words =
                        value.as_bytes().split(|byte| !byte.is_ascii_alphanumeric() && !b"-_.".contains(byte));
                    words.any(|word| std::str::from_utf8(word).is_ok_and(|word| self.parts.tokens.is_ours(word)))
                };
                self.forward_credentials || !first.into_iter().chain(shown).any(ours)
            }
        };
        if first.is_some() && !stays {
            call.caller.consumed.take(&FIELD);
        }
        // In fomalhaut's dialects the parameter is the gateway's, whatever the route asks for.
        let is_read = part != Part::Unasked || call.dialect.fomalhaut().is_some();
        let doomed =
            |token: &[u8]| is_read || std::str::from_utf8(token).is_ok_and(|token| self.parts.tokens.is_ours(token));
        query::cut(call, doomed);
        Ok(())
    }
}

impl Bearer {
    fn new(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Self, Vec<Problem>> {
        let settings: Settings = crate::settings::read("bearer", value)?;
        let declared = value.and_then(|value| value.get("keys")).map(Value::to_string).unwrap_or_default();
        Ok(Self {
            parts: Arc::clone(site.parts),
            audiences: audiences(site.end, &site.service.audiences, &site.parts.issuer),
            keys: static_keys(settings.keys)?,
            trusted: hash_all([&site.parts.tokens.fingerprint().0, declared.as_bytes()]),
            subject: settings.subject,
            forward_credentials: settings.forward_credentials,
            query: settings.query,
        })
    }

    fn is_sent(&self, call: &Call) -> bool {
        PresentedToken::is_in(call, self.query)
    }

    fn takes_users(&self) -> Result<(), Refusal> {
        match self.subject {
            Subject::Client => {
                Err(Refusal::Forbidden { detail: "this service takes tokens of clients, not of users".into() })
            }
            _ => Ok(()),
        }
    }

    /// What a token says, from memory if it has been verified before.
    fn read(&self, token: &str, now: u64, effects: Option<&Effects>) -> Result<Rc<Token>, Refusal> {
        // What is too long is not worth its hash, and will be refused.
        let effects = effects.filter(|_| self.parts.token_memory > 0 && token.len() <= MAX_TOKEN_BYTES);
        let Some(effects) = effects else { return self.verified(token, now).map(Rc::new) };
        let hash = hash_all([&self.trusted.0, token.as_bytes()]);
        if let Some(known) = remembered::find(&hash, now) {
            return Ok(known);
        }
        let token = Rc::new(self.verified(token, now)?);
        remembered::remember(effects, self.parts.token_memory, hash, &token);
        Ok(token)
    }

    fn verified(&self, token: &str, now: u64) -> Result<Token, Refusal> {
        if self.parts.tokens.is_ours(token) {
            let claims = self.parts.tokens.verify(token);
            return claims.map(Token::own).map_err(|error| invalid(error.to_string()));
        }
        if self.keys.is_empty() {
            return Err(invalid("a token of an unknown issuer"));
        }
        self.keys.verify(token, now).map(Token::foreign).map_err(|error| invalid(error.to_string()))
    }

    fn own<'c>(
        &'c self,
        call: &'c mut Call,
        token: AccessToken,
        id: SessionId,
        now: u64,
    ) -> Result<Verification<'c>, Refusal> {
        self.takes_users()?;
        if let Some(session) = self.parts.sessions.cached_at(id, now) {
            speak_for(&self.parts, &session, token, now)?.to(call)?;
            return Ok(Verification::Good);
        }
        // A signed token was issued here. An opaque one may be anybody's guess, and the look-up is what it costs.
        let is_guess = token == AccessToken::Opaque && call.caller.client().is_none();
        if let Some(refusal) = is_guess.then(|| self.parts.strangers.turned_away(call)).flatten() {
            return Err(refusal);
        }
        Ok(Verification::Wait(Box::pin(async move {
            let sessions = Arc::clone(&self.parts.sessions);
            let fetched = jobs::run(&self.parts.jobs, Class::Sessions, async move { sessions.fetch(id).await }).await?;
            let session = fetched.map_err(Refusal::from)?.ok_or_else(|| invalid("the session has ended"))?;
            speak_for(&self.parts, &session, token, self.parts.clock.unix_millis())?.to(call)
        })))
    }

    fn foreign(&self, call: &mut Call, foreign: &Foreign) -> Result<Verification<'static>, Refusal> {
        match &foreign.user {
            Some(_) => self.takes_users()?,
            None if self.subject == Subject::User => {
                return Err(Refusal::Forbidden { detail: "this service takes tokens of users, not of clients".into() });
            }
            None => {}
        }
        call.caller.token_subject = Some(Arc::clone(&foreign.subject));
        call.caller.foreign_client.clone_from(&foreign.client);
        call.caller.user.clone_from(&foreign.user);
        // Nothing else stands behind it: a call that goes on for long goes on as long as the token.
        call.caller.admitted_by.until = Some(foreign.until);
        note(call);
        Ok(Verification::Good)
    }
}

/// Notes in the record who calls: the user, and the client of the API key before that of the token.
fn note(call: &mut Call) {
    let Call { caller, record, .. } = call;
    record.note(|record| {
        record.user = caller.user.as_ref().map(|user| Arc::clone(&user.name));
        record.client = caller.client_name().or(record.client.take());
    });
}

/// What a living session says of the caller.
struct Spoken {
    session: SessionId,
    user: UserFacts,
    client: Arc<ClientEntry>,
    /// When an opaque token ends, in Unix seconds.
    until: Option<u64>,
}

impl Spoken {
    fn to(self, call: &mut Call) -> Result<(), Refusal> {
        let Self { session, user, client, until } = self;
        if call.dialect.fomalhaut().is_some() && call.claimed_client() != Some(&client.name) {
            return Err(invalid("a token of another client than the one the call claims to be of"));
        }
        call.caller.admitted_by.session = Some(session);
        call.caller.admitted_by.client = Some(client.name.clone());
        call.caller.admitted_by.until = until;
        call.caller.user = Some(user);
        call.caller.token_client = Some(client);
        note(call);
        Ok(())
    }
}

/// What a session says to a call that shows an access token of this sort at this time, in Unix milliseconds.
fn speak_for(parts: &Parts, session: &LiveSession, token: AccessToken, now: u64) -> Result<Spoken, Refusal> {
    if !session.is_shown_by(token, now) {
        return Err(invalid("the access token is over, or is not one of this sort of session"));
    }
    let client = parts.directory.read(|entries| entries.client(&session.client).cloned());
    let client = client.ok_or_else(|| invalid("the client of the session is gone or disabled"))?;
    let user = UserFacts { name: Arc::clone(&session.user), user_json: session.user_json.clone() };
    let until = session.access_until.map(|until| until / 1_000);
    Ok(Spoken { session: session.id, user, client, until })
}

/// Whether a call that is only tried is believed to come from a user.
fn is_believed(call: &Call) -> bool {
    call.dry_run.as_ref().is_some_and(|dry_run| dry_run.user.is_some())
}

/// Takes the user of a tried call for its caller, through the client it is believed to come from.
fn believe(call: &mut Call) {
    let dry_run = call.dry_run.as_ref();
    call.caller.token_client = dry_run.and_then(|dry_run| dry_run.token_client.clone());
    call.caller.user = dry_run.and_then(|dry_run| dry_run.user.clone());
}

fn invalid(private: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::invalid(Credential::Bearer, private)
}

/// How many tokens this thread remembers.
#[cfg(test)]
pub(crate) fn remembered_tokens() -> usize {
    remembered::count()
}

#[cfg(test)]
mod tests;
