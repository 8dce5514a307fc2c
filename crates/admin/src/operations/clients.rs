//! Clients: making one with its secret, changing what it may call, and taking it out with all that is its own.

use portcullis_core::directory::KeyOwner;
use portcullis_core::model::{AuthUrl, Client, ClientKey, Grant, Label, LeastHmac, Owner, Problem, TokenTtl};
use portcullis_core::secret::Secret;
use portcullis_identity::{DEFAULT_CLIENT, KeyKind, MasterKey, mint};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};

use super::{check_brought_key, client_secrets, routes, there};
use crate::bounds::MAX_GRANTS;
use crate::conditions::Conditions;
use crate::ids::handle;

const ACCESS_KEY_DIGITS: usize = 20;

/// A client to be made.
#[derive(Debug)]
pub struct NewClient {
    /// Its name.
    pub name: Label,
    /// What it may call.
    pub services: Vec<Grant>,
    /// The access key its operator gives it; a random one if absent.
    pub access_key: Option<String>,
    /// The secret its operator gives it; a minted one if absent.
    pub secret_key: Option<Secret>,
    /// Public keys that verify its signatures.
    pub keys: Vec<ClientKey>,
    /// The weakest HMAC of its signatures.
    pub least_algorithm: LeastHmac,
    /// How users log in through it.
    pub logins: LoginChange,
}

/// A change of how users log in through a client. What is absent stays; where nothing is given, it becomes the default.
#[derive(Debug, Clone, Default)]
pub struct LoginChange {
    /// The Auth API that is asked whether a user may log in.
    pub login_auth_url: Option<Option<AuthUrl>>,
    /// The same for logins by SMS.
    pub sms_login_auth_url: Option<Option<AuthUrl>>,
    /// The Auth API that changes passwords.
    pub change_password_url: Option<Option<AuthUrl>>,
    /// The same for changes by SMS.
    pub sms_change_password_url: Option<Option<AuthUrl>>,
    /// How long access tokens last.
    pub access_token_ttl: Option<Option<TokenTtl>>,
    /// How long refresh tokens last.
    pub refresh_token_ttl: Option<Option<TokenTtl>>,
    /// Whether a login ends the user's other sessions through the client.
    pub single_login: Option<bool>,
}

impl LoginChange {
    /// The client with the change.
    fn applied(&self, mut client: Client) -> Client {
        fn set<T: Clone>(field: &mut Option<T>, change: Option<&Option<T>>) {
            if let Some(value) = change {
                field.clone_from(value);
            }
        }
        set(&mut client.login_auth_url, self.login_auth_url.as_ref());
        set(&mut client.sms_login_auth_url, self.sms_login_auth_url.as_ref());
        set(&mut client.change_password_url, self.change_password_url.as_ref());
        set(&mut client.sms_change_password_url, self.sms_change_password_url.as_ref());
        set(&mut client.access_token_ttl, self.access_token_ttl.as_ref());
        set(&mut client.refresh_token_ttl, self.refresh_token_ttl.as_ref());
        client.single_login = self.single_login.unwrap_or(client.single_login);
        client
    }
}

/// What its operator is told once.
#[derive(Debug)]
pub struct Issued {
    /// The access key.
    pub access_key: String,
    /// The secret in clear.
    pub secret_key: Secret,
    /// The revision of the client.
    pub revision: u64,
}

/// A change of a client. What is absent stays.
#[derive(Debug)]
pub struct ClientChange {
    /// What it may call.
    pub services: Vec<Grant>,
    /// Whether it may call at all.
    pub enabled: Option<bool>,
    /// Public keys that verify its signatures.
    pub keys: Option<Vec<ClientKey>>,
    /// The weakest HMAC of its signatures.
    pub least_algorithm: Option<LeastHmac>,
    /// How users log in through it.
    pub logins: LoginChange,
}

/// A client after a change.
#[derive(Debug)]
pub struct Changed {
    /// The client.
    pub client: Client,
    /// Its revision.
    pub revision: u64,
    /// Who it belongs to.
    pub owner: Owner,
}

/// Makes a client. Its secret is kept sealed and returned this once.
pub async fn create(changes: &Changes, master: &MasterKey, now: u64, new: NewClient) -> Result<Issued, ChangeError> {
    check_grants(&new.services)?;
    if let Some(access_key) = &new.access_key {
        check_brought_key("access_key", access_key)?;
    }
    if let Some(secret_key) = &new.secret_key {
        client_secrets::check_brought("secret_key", secret_key)?;
    }
    let access_key = new.access_key.unwrap_or_else(fresh_access_key);
    let secret_key = new.secret_key.unwrap_or_else(|| mint(KeyKind::ClientSecret));
    let secret = client_secrets::first(master, now, &new.name, &secret_key)?;
    let client = new.logins.applied(Client {
        services: new.services,
        access_key: Some(access_key.clone()),
        keys: new.keys,
        least_algorithm: new.least_algorithm,
        ..Client::default()
    });
    let decide = move |view: &View| {
        if view.client(&new.name).is_some() || new.name.as_str() == DEFAULT_CLIENT {
            return Err(ChangeError::Conflict(format!("client '{}' already exists", new.name)));
        }
        let taken = client.access_key.as_deref().is_some_and(|access_key| {
            // A client without an access key goes by its name, and only the built-in one has none.
            access_key == DEFAULT_CLIENT || view.client_with_access_key(access_key).is_some()
        });
        if taken {
            return Err(ChangeError::Conflict("the access key belongs to a client already".into()));
        }
        let edits = vec![Edit::Client(new.name.clone(), Some(client.clone())), secret.clone()];
        Ok((Transaction { owner: Owner::Api, edits }, ()))
    };
    let (committed, ()) = changes.submit(decide).await?;
    Ok(Issued { access_key, secret_key, revision: committed.revision() })
}

/// Changes a client that is there.
pub async fn change(
    changes: &Changes,
    name: Label,
    change: ClientChange,
    conditions: Conditions,
) -> Result<Changed, ChangeError> {
    check_grants(&change.services)?;
    let (committed, (client, owner)) = changes
        .submit(move |view| {
            let stored = there(view.client(&name), &conditions, || format!("client '{name}'"))?;
            let client = change.logins.applied(Client {
                services: change.services.clone(),
                enabled: change.enabled.unwrap_or(stored.value.enabled),
                keys: change.keys.clone().unwrap_or_else(|| stored.value.keys.clone()),
                least_algorithm: change.least_algorithm.unwrap_or(stored.value.least_algorithm),
                ..stored.value.clone()
            });
            Ok((Transaction::one(Edit::Client(name.clone(), Some(client.clone()))), (client, stored.owner)))
        })
        .await?;
    Ok(Changed { client, revision: committed.revision(), owner })
}

/// Takes a client out, with its keys, its secrets and the sessions opened through it. One that has routes stays.
pub async fn delete(changes: &Changes, name: Label, conditions: Conditions) -> Result<(), ChangeError> {
    let decide = move |view: &View| {
        if name.as_str() == DEFAULT_CLIENT {
            return Err(ChangeError::Conflict("the built-in client can be changed, but not deleted".into()));
        }
        there(view.client(&name), &conditions, || format!("client '{name}'"))?;
        routes::none_left(view.routes_of(&name))?;
        let own = KeyOwner::Client(name.clone());
        let keys = view.keys_of(&own).map(|(hash, _)| Edit::ApiKey(*hash, None));
        let secrets = view.secrets(&name).map(|(id, _)| Edit::ClientSecret(name.clone(), id.to_owned(), None));
        let mut edits: Vec<_> = keys.chain(secrets).collect();
        edits.push(Edit::Client(name.clone(), None));
        Ok((Transaction { owner: Owner::Api, edits }, ()))
    };
    changes.submit(decide).await.map(drop)
}

/// A random access key.
pub(super) fn fresh_access_key() -> String {
    handle(ACCESS_KEY_DIGITS)
}

fn check_grants(grants: &[Grant]) -> Result<(), ChangeError> {
    if grants.len() <= MAX_GRANTS {
        return Ok(());
    }
    let message = format!("expected at most {MAX_GRANTS} services, found {}", grants.len());
    Err(ChangeError::Invalid(vec![Problem::new("services", message)]))
}
