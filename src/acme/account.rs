//! The account at the authority: made once, kept sealed in the registry, the same for all nodes.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use instant_acme::{Account, AccountCredentials, Error, ExternalAccountKey, NewAccount};
use portcullis_core::ports::{Expect, Kind, Row, Upkeep, Write};
use portcullis_identity::MasterKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::row::put_over;
use super::transport::{Transport, is_problem, words};
use super::{Failure, Settings};

/// What an authority says of an account that it does not know.
pub(super) const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// An account as the registry keeps it.
#[derive(Serialize, Deserialize)]
struct StoredAccount {
    /// How its owner is reached, as the authority was told last.
    contact: Vec<String>,
    /// The credentials as JSON, sealed by the master key, in Base64.
    sealed: String,
}

/// Where accounts are kept.
pub(super) struct Accounts {
    pub(super) settings: Settings,
    pub(super) registry: Arc<dyn Upkeep>,
    pub(super) master: Arc<MasterKey>,
    pub(super) transport: Transport,
}

impl Accounts {
    /// The account that is kept, or a new one.
    pub(super) async fn open(&self) -> Result<Account, Failure> {
        let row = self.registry.kept(Kind::AcmeAccount, &self.settings.directory).await.map_err(unkept)?;
        let revision = row.as_ref().map(|row| row.revision);
        match row.as_ref().and_then(|row| self.unseal(row)) {
            Some((contact, credentials)) => self.restore(contact, credentials, revision).await,
            None => self.make(revision).await,
        }
    }

    /// Forgets the account, because the authority does not know it.
    pub(super) async fn forget(&self) -> Result<(), Failure> {
        tracing::warn!("the certificate authority does not know our ACME account any more; another one is made");
        let key = self.settings.directory.clone();
        self.registry
            .keep(vec![Write::Delete { kind: Kind::AcmeAccount, key, expect: Expect::Any }])
            .await
            .map_err(unkept)
    }

    async fn restore(
        &self,
        contact: Vec<String>,
        credentials: AccountCredentials,
        revision: Option<u64>,
    ) -> Result<Account, Failure> {
        let again = serde_json::to_vec(&credentials).map(Zeroizing::new).map_err(unwritable)?;
        let account = Account::builder_with_http(Box::new(self.transport.clone()));
        let account = account.from_credentials(credentials).await.map_err(|error| self.failure(&error))?;
        if contact != self.settings.contact {
            let contact: Vec<&str> = self.settings.contact.iter().map(String::as_str).collect();
            match account.update_contacts(&contact).await {
                Err(error) if is_problem(&error, NO_ACCOUNT) => {
                    self.forget().await?;
                    return self.make(None).await;
                }
                updated => updated.map_err(|error| self.failure(&error))?,
            }
            self.keep(&again, revision).await?;
        }
        Ok(account)
    }

    async fn make(&self, revision: Option<u64>) -> Result<Account, Failure> {
        let contact: Vec<&str> = self.settings.contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let binding = self.settings.binding.as_ref();
        let binding = binding.map(|binding| ExternalAccountKey::new(binding.id.clone(), &binding.key));
        let account = Account::builder_with_http(Box::new(self.transport.clone()));
        let made = account.create(&new, self.settings.directory.clone(), binding.as_ref()).await;
        let (account, credentials) = made.map_err(|error| self.failure(&error))?;
        let credentials = serde_json::to_vec(&credentials).map(Zeroizing::new).map_err(unwritable)?;
        self.keep(&credentials, revision).await?;
        tracing::info!(directory = %self.settings.directory, account = account.id(), "an ACME account was made");
        Ok(account)
    }

    async fn keep(&self, credentials: &[u8], over: Option<u64>) -> Result<(), Failure> {
        let sealed = self.master.seal(&self.purpose(), credentials).map_err(|error| Failure::new(error.to_string()))?;
        let stored = StoredAccount { contact: self.settings.contact.clone(), sealed: STANDARD.encode(sealed) };
        let row = (Kind::AcmeAccount, self.settings.directory.as_str());
        let kept = put_over(self.registry.as_ref(), row, over, &stored).await.map_err(unkept)?;
        kept.map(drop).ok_or_else(|| Failure::new("another node has changed the ACME account meanwhile"))
    }

    fn unseal(&self, row: &Row) -> Option<(Vec<String>, AccountCredentials)> {
        let stored: StoredAccount = serde_json::from_str(&row.body).ok()?;
        let sealed = STANDARD.decode(&stored.sealed).ok()?;
        let opened = self.master.open(&self.purpose(), &sealed).ok();
        let credentials = opened.and_then(|opened| serde_json::from_slice(&opened).ok());
        if credentials.is_none() {
            tracing::error!(directory = %row.key, "the ACME account that is kept cannot be opened; another one is made");
        }
        Some((stored.contact, credentials?))
    }

    /// Binds what is sealed to its row.
    fn purpose(&self) -> String {
        format!("acme_account/{}", self.settings.directory)
    }

    pub(super) fn failure(&self, error: &Error) -> Failure {
        Failure { detail: words(error), retry_after: self.transport.take_retry_after() }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "stands in `map_err`, which passes values")]
fn unkept(error: portcullis_core::ports::RegistryError) -> Failure {
    Failure::new(error.to_string())
}

fn unwritable(_: serde_json::Error) -> Failure {
    Failure::new("an ACME account could not be written")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use bytes::Bytes;
    use http::{Request, Response};
    use portcullis_core::memory::{ManualClock, MemoryOutbound, MemoryRegistry};

    use super::*;
    use crate::acme::ChallengeKind;

    const DIRECTORY: &str = "https://ca.example/dir";

    #[tokio::test]
    async fn one_that_is_not_known_any_more_is_replaced_even_if_its_contact_is_to_change() {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let outbound = MemoryOutbound::answering(move |request: Request<Bytes>| {
            let answer = Response::builder().header("Replay-Nonce", "nonce");
            let (answer, body) = match request.uri().path() {
                "/dir" => {
                    let names = ["newNonce", "newAccount", "newOrder", "revokeCert", "keyChange"];
                    let urls = names.map(|name| (name, format!("https://ca.example/{name}")));
                    (answer, serde_json::json!(std::collections::BTreeMap::from(urls)))
                }
                "/newAccount" => {
                    let id = format!("https://ca.example/account/{}", counted.fetch_add(1, SeqCst) + 1);
                    (answer.status(201).header("Location", id), serde_json::json!({"status": "valid"}))
                }
                path if path.starts_with("/account/") => (answer.status(400), serde_json::json!({"type": NO_ACCOUNT})),
                _ => (answer, serde_json::Value::Null),
            };
            Ok(answer.body(body.to_string().into()).expect("an answer"))
        });
        let transport = Transport::new(Arc::new(outbound), Arc::new(ManualClock::at(0)));
        let registry: Arc<dyn Upkeep> = Arc::new(MemoryRegistry::default());
        let accounts = |contact: &str| Accounts {
            settings: Settings {
                hosts: vec!["a.example".to_owned()],
                directory: DIRECTORY.to_owned(),
                contact: vec![contact.to_owned()],
                challenges: vec![ChallengeKind::Http01],
                ca: None,
                binding: None,
            },
            registry: Arc::clone(&registry),
            master: Arc::new(MasterKey::from_bytes(&[7; 32])),
            transport: transport.clone(),
        };
        let id = async |contact: &str| accounts(contact).open().await.map(|account| account.id().to_owned());
        assert_eq!(id("mailto:a@a.example").await.expect("made"), "https://ca.example/account/1");
        assert_eq!(id("mailto:a@a.example").await.expect("kept"), "https://ca.example/account/1");
        assert_eq!(id("mailto:b@a.example").await.expect("another"), "https://ca.example/account/2");
        assert_eq!(id("mailto:b@a.example").await.expect("kept"), "https://ca.example/account/2");
        assert_eq!(made.load(SeqCst), 2);
    }
}
