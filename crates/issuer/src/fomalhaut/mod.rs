//! fomalhaut's login endpoints: `/auth/v1` and `/account/v1`, in both of its dialects. A login gives a pair of opaque tokens;
//! whether it is granted, the Auth API of the client says, or the users of the registry.
//!
//! Everything is done for the client that calls, as the pipeline has found it out: the tokens of another client are those of
//! nobody. What is said in this room's own shapes is an answer with the status 200, also where it is a no; what the dialects
//! have a code for is a refusal like anywhere else.

mod answers;
mod auth_api;
mod members;
mod operation;

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use portcullis_core::call::{ClientEntry, UserFacts};
use portcullis_core::dialect::fomalhaut::Form;
use portcullis_core::escapes;
use portcullis_core::handler::{Admitted, Asked, Handler, Reply};
use portcullis_core::jobs::Class;
use portcullis_core::message::FieldName;
use portcullis_core::message::names::CONTENT_TYPE;
use portcullis_core::model::{AuthUrl, Label};
use portcullis_core::ports::SessionId;
use portcullis_core::refusal::{Credential, Refusal};
use portcullis_identity::{Changed, Lifetimes, LoginOrigin, Pair, TokenPairs};
use zeroize::Zeroizing;

use auth_api::{Said, User};
use members::Members;
use operation::Operation;

pub use auth_api::AuthApi;
pub use operation::Part;

/// Bytes of a body: an Auth API's clients say more than a name and a password.
const MAX_BODY_BYTES: u64 = 64 << 10;

static READS: [FieldName; 1] = [CONTENT_TYPE];

/// One of the two endpoints.
pub struct Endpoint {
    part: Part,
    pairs: Arc<TokenPairs>,
    auth_api: AuthApi,
}

impl Endpoint {
    /// The endpoint over these pairs.
    pub fn new(part: Part, pairs: Arc<TokenPairs>, auth_api: AuthApi) -> Self {
        Self { part, pairs, auth_api }
    }
}

/// A call as far as it is known before its body is read.
pub struct Seen {
    form: Form,
    client: Arc<ClientEntry>,
    work: Work,
}

/// What is to be done.
enum Work {
    /// Ask an Auth API whether a user may log in.
    LogInThere(AuthUrl),
    /// Log a user of the registry in.
    LogInHere,
    Refresh,
    Alive,
    /// End the pair of the token in the body.
    End,
    /// End the session of the user who calls.
    LogOut(SessionId),
    /// Have an Auth API change the password of the user who calls.
    ChangeThere(AuthUrl, User, SessionId),
    /// Change the password of a user of the registry.
    ChangeHere(Label),
}

impl Work {
    fn of(operation: Operation, client: &ClientEntry, asked: &Asked) -> Result<Self, Refusal> {
        Ok(match operation {
            Operation::LogIn => {
                let declared = &client.client;
                match (by_sms(asked, b"login_type")?, &declared.login_auth_url, &declared.sms_login_auth_url) {
                    (false, Some(url), _) | (true, _, Some(url)) => Self::LogInThere(url.clone()),
                    (false, None, _) => Self::LogInHere,
                    (true, _, None) => return Err(Refusal::NoAuthApi),
                }
            }
            Operation::Refresh => Self::Refresh,
            Operation::Alive => Self::Alive,
            Operation::End => Self::End,
            Operation::LogOut => Self::LogOut(logged_in(client, asked)?.1),
            Operation::ChangePassword => Self::change(client, asked)?,
        })
    }

    fn change(client: &ClientEntry, asked: &Asked) -> Result<Self, Refusal> {
        let (user, session) = logged_in(client, asked)?;
        let declared = &client.client;
        let sms = by_sms(asked, b"change_type")?;
        let url = if sms { &declared.sms_change_password_url } else { &declared.change_password_url };
        // Users of the registry are nobody's whom the Auth API lets in, also where these are called the same.
        let name = Label::kept(&user.name).map_err(|_| Refusal::internal("the name of a user is no label"))?;
        let is_here = !name.is_of_another();
        let is_there = !is_here || declared.login_auth_url.is_none();
        match url {
            Some(url) if is_there => {
                let told = User { user_json: user.user_json.clone(), app_id: client.app_id.clone() };
                Ok(Self::ChangeThere(url.clone(), told, session))
            }
            _ if is_here && !sms => Ok(Self::ChangeHere(name)),
            _ => Err(Refusal::NoAuthApi),
        }
    }

    fn class(&self, client: &ClientEntry, asked: &Asked) -> Class {
        match self {
            Self::LogInThere(_) | Self::ChangeThere(..) => {
                Class::AuthApi { client: client.name.clone(), from: asked.client_ip }
            }
            _ => Class::Logins,
        }
    }

    fn body_limit(&self) -> u64 {
        if matches!(self, Self::LogOut(_)) { 0 } else { MAX_BODY_BYTES }
    }
}

/// The user who calls, and the session, which is one through the client that calls.
fn logged_in<'a>(client: &ClientEntry, asked: &'a Asked) -> Result<(&'a UserFacts, SessionId), Refusal> {
    let user = asked.user.as_ref().ok_or(Refusal::MissingCredential(Credential::Bearer))?;
    let detail = "the token is one of another issuer, who alone ends it";
    let session = asked.session.ok_or(Refusal::Forbidden { detail: detail.into() })?;
    if asked.session_client.as_ref() != Some(&client.name) {
        return Err(Refusal::invalid(Credential::Bearer, "a token of another client than the one that calls"));
    }
    Ok((user, session))
}

/// Whether a parameter of the query says `sms`. One that says several things is refused.
fn by_sms(asked: &Asked, name: &[u8]) -> Result<bool, Refusal> {
    let query = asked.query.as_deref().unwrap_or_default();
    let mut values = query.split(|byte| *byte == b'&').filter_map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let is_it = escapes::decoded(halves.next().unwrap_or_default()).eq(name.iter().copied());
        is_it.then(|| escapes::decoded(halves.next().unwrap_or_default()).eq(b"sms".iter().copied()))
    });
    let first = values.next().unwrap_or(false);
    if values.any(|other| other != first) {
        let detail = "a parameter of the query stands there twice and says different things";
        return Err(Refusal::malformed("several_values", detail));
    }
    Ok(first)
}

#[async_trait]
impl Handler for Endpoint {
    type Seen = Seen;

    fn methods(&self) -> Option<&'static str> {
        None
    }

    fn reads(&self) -> &'static [FieldName] {
        &READS
    }

    fn admit(&self, asked: &Asked) -> Result<Admitted<Seen>, Refusal> {
        // Whoever signs as RFC 9421 has it gets what `fo` has.
        let form = asked.fomalhaut.unwrap_or(Form::Fo);
        let Some(operation) = Operation::at(self.part, form, &asked.rest) else {
            return Ok(Admitted::Answered(answers::not_found()));
        };
        if asked.method != Method::POST {
            return Ok(Admitted::Answered(answers::method_not_allowed()));
        }
        let client = asked.client.clone().ok_or(Refusal::MissingCredential(Credential::Signature))?;
        let work = Work::of(operation, &client, asked)?;
        let (class, body_limit) = (work.class(&client, asked), work.body_limit());
        Ok(Admitted::Work { class, body_limit, seen: Seen { form, client, work } })
    }

    async fn handle(&self, mut asked: Asked, Seen { form, client, work }: Seen) -> Result<Reply, Refusal> {
        let from = LoginOrigin { address: asked.client_ip, shared: asked.shared };
        let (pairs, name, lifetimes) = (&self.pairs, &client.name, lifetimes(&client));
        match work {
            Work::LogInThere(url) => {
                let guess = pairs.admit_elsewhere(name, from)?;
                match self.auth_api.ask(&url, std::mem::take(&mut asked.body), None).await? {
                    Said::Yes(user_info) => {
                        guess.succeeded();
                        answers::logged_in(form, &pairs.open_for(name, lifetimes, &user_info).await?)
                    }
                    Said::No(message) => {
                        guess.failed();
                        answers::failed(form, message.as_deref().unwrap_or(answers::LOGIN_FAILED))
                    }
                }
            }
            Work::LogInHere => {
                let Some((user, password)) = Members::of(&asked).login() else {
                    return answers::failed(form, answers::INVALID_DATA);
                };
                match pairs.log_in(from, name, lifetimes, user.expose(), password).await {
                    Ok(pair) => answers::logged_in(form, &pair),
                    Err(Refusal::InvalidCredential { credential: Credential::Login, .. }) => {
                        answers::failed(form, answers::LOGIN_FAILED)
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            Work::Refresh => {
                let Some(token) = Members::of(&asked).refresh_token() else {
                    return answers::failed(form, answers::INVALID_DATA);
                };
                let pair: Option<Pair> = pairs.refresh(name, lifetimes, token.expose()).await?;
                match pair {
                    Some(pair) => answers::refreshed(form, client.app_id.text().unwrap_or_default(), &pair),
                    None => answers::failed(form, answers::INVALID_REFRESH_TOKEN),
                }
            }
            Work::Alive => {
                let Some(token) = Members::of(&asked).access_token() else {
                    return answers::failed(form, answers::INVALID_DATA);
                };
                let left = pairs.remaining(name, token.expose()).await?;
                answers::remaining(form, left.map(|left| left.as_millis()))
            }
            Work::End => {
                let Some(token) = Members::of(&asked).access_token() else {
                    return answers::failed(form, answers::INVALID_DATA);
                };
                pairs.end_by_access(name, token.expose()).await?;
                answers::done(form, answers::LOGGED_OUT)
            }
            Work::LogOut(session) => {
                pairs.end(session).await?;
                answers::done(form, answers::LOGGED_OUT)
            }
            Work::ChangeThere(url, user, session) => {
                let guess = pairs.admit_elsewhere(name, from)?;
                let body: Zeroizing<Vec<u8>> = std::mem::take(&mut asked.body);
                match self.auth_api.ask(&url, body, Some(user)).await? {
                    Said::Yes(_) => {
                        guess.succeeded();
                        pairs.end(session).await?;
                        answers::done(form, answers::CHANGED)
                    }
                    Said::No(message) => {
                        guess.failed();
                        answers::failed(form, message.as_deref().unwrap_or(answers::CHANGE_FAILED))
                    }
                }
            }
            Work::ChangeHere(user) => {
                let Some((old, new)) = Members::of(&asked).passwords() else {
                    return answers::failed(form, answers::INVALID_DATA);
                };
                match pairs.change_password(from, &user, old, new).await? {
                    Changed::Done => answers::done(form, answers::CHANGED),
                    Changed::Wrong => answers::failed(form, answers::CHANGE_FAILED),
                    Changed::Unfit(reason) => answers::failed(form, reason),
                }
            }
        }
    }
}

/// For how long tokens of a client are good.
fn lifetimes(client: &ClientEntry) -> Lifetimes {
    let declared = &client.client;
    Lifetimes { access: declared.access_ttl(), refresh: declared.refresh_ttl(), alone: declared.single_login }
}

#[cfg(test)]
mod tests {
    use portcullis_core::body::Body;
    use portcullis_core::message::FieldValue;

    use super::*;
    use crate::testing::House;

    #[tokio::test]
    async fn the_token_of_another_client_is_nobodys_in_every_dialect() {
        let house = House::new().await;
        let entry = |name: &str| {
            let name: Label = name.parse().expect("a label");
            house.directory.read(|entries| entries.client(&name).cloned()).expect("known")
        };
        let (shop, other) = (entry("shop"), entry("default"));
        for (token_client, expected) in
            [(Some(&shop), None), (Some(&other), Some("invalid_credential")), (None, Some("invalid_credential"))]
        {
            let mut call = house.call(Method::POST, "/account/v1/logout", Body::empty());
            let user_json = FieldValue::from_static("e30=");
            call.caller.user = Some(UserFacts { name: "ada".into(), user_json });
            call.caller.admitted_by.session = Some(SessionId([7; 16]));
            call.caller.token_client = token_client.cloned();
            let asked = Asked::of(&call, &READS);
            for operation in [Operation::LogOut, Operation::ChangePassword] {
                let refused = Work::of(operation, &shop, &asked).err();
                assert_eq!(refused.map(|refusal| refusal.code()), expected, "{operation:?}");
            }
        }
    }
}
