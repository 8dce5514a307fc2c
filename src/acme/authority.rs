//! An order at the authority, from its beginning to the certificate (RFC 8555 section 7.1), and its word on renewals (RFC
//! 9773).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use portcullis_core::ports::{Clock, Outbound, Upkeep};
use portcullis_identity::MasterKey;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::account::{Accounts, NO_ACCOUNT};
use super::challenge_store::{ChallengeStore, Posting};
use super::transport::{Transport, is_problem, words};
use super::{CertificateRequest, ChallengeKind, Failure, Issued, Issuer, Settings, Window};

/// How long an order may take.
const ORDER: Duration = Duration::from_secs(300);
/// How an authority is asked whether it is done.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(300)).backoff(1.5).timeout(Duration::from_secs(120));

/// What it says of too many orders, where it may not say for how long.
const RATE_LIMITED: &str = "urn:ietf:params:acme:error:rateLimited";
/// How long it is left alone then.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(3_600);

/// A certificate authority.
pub(crate) struct Authority {
    accounts: Accounts,
    transport: Transport,
    board: Arc<ChallengeStore>,
    account: tokio::sync::Mutex<Option<Account>>,
}

impl Authority {
    /// The one the settings name. What it is to find goes onto the board.
    pub(crate) fn new(
        settings: Settings,
        registry: Arc<dyn Upkeep>,
        master: Arc<MasterKey>,
        clock: Arc<dyn Clock>,
        outbound: Arc<dyn Outbound>,
        board: Arc<ChallengeStore>,
    ) -> Self {
        let transport = Transport::new(outbound, clock);
        let accounts = Accounts { settings, registry, master, transport: transport.clone() };
        Self { accounts, transport, board, account: tokio::sync::Mutex::default() }
    }

    async fn account(&self) -> Result<Account, Failure> {
        let mut account = self.account.lock().await;
        if let Some(account) = &*account {
            return Ok(account.clone());
        }
        Ok(account.insert(self.accounts.open().await?).clone())
    }

    async fn order(&self, wanted: &CertificateRequest<'_>) -> Result<Issued, Failure> {
        let account = self.account().await?;
        let mut order = match self.begin(&account, wanted).await {
            // It may have forgotten us; then we begin again as somebody new.
            Err(error) if is_problem(&error, NO_ACCOUNT) => {
                *self.account.lock().await = None;
                self.accounts.forget().await?;
                let account = self.account().await?;
                self.begin(&account, wanted).await
            }
            begun => begun,
        }
        .map_err(|error| self.failure(&error))?;
        let postings = self.convince(&mut order, wanted).await;
        let outcome = match postings {
            Ok(postings) => {
                let ready = self.wait_until_ready(&mut order, wanted).await;
                for posting in postings {
                    posting.take_down().await;
                }
                ready
            }
            Err(failure) => Err(failure),
        };
        outcome?;
        self.finish(&mut order, wanted).await
    }

    /// A new order. An authority that does not like what it takes the place of gets one that takes the place of nothing.
    async fn begin(&self, account: &Account, wanted: &CertificateRequest<'_>) -> Result<Order, Error> {
        let identifiers = [Identifier::Dns(wanted.host.to_owned())];
        let replaced = wanted.replaces.and_then(|former| CertificateIdentifier::try_from(former).ok());
        if let Some(replaced) = replaced {
            match account.new_order(&NewOrder::new(&identifiers).replaces(replaced)).await {
                Err(error) if is_problem(&error, NO_ACCOUNT) || is_problem(&error, RATE_LIMITED) => return Err(error),
                Err(error) => {
                    tracing::debug!(host = wanted.host, error = words(&error), "an order that replaces was not taken");
                }
                order => return order,
            }
        }
        account.new_order(&NewOrder::new(&identifiers)).await
    }

    /// Posts what the authority is to find, and tells it to look.
    async fn convince<'a>(
        &'a self,
        order: &mut Order,
        wanted: &CertificateRequest<'_>,
    ) -> Result<Vec<Posting<'a>>, Failure> {
        let mut postings = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.failure(&error))?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => return Err(Failure::new(format!("the authority's permission for this host is {other:?}"))),
            }
            let offered = authorization.challenge(match wanted.challenge {
                ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
                ChallengeKind::Http01 => ChallengeType::Http01,
            });
            let kind = wanted.challenge;
            let mut challenge =
                offered.ok_or_else(|| Failure::new(format!("the authority does not offer {}", kind.as_str())))?;
            let (token, answer) = (challenge.token.clone(), challenge.key_authorization());
            let with_certificate = kind == ChallengeKind::TlsAlpn01;
            let posting = self.board.post(wanted.host, &token, answer.as_str(), with_certificate).await;
            postings.push(posting.map_err(Failure::new)?);
            challenge.set_ready().await.map_err(|error| self.failure(&error))?;
        }
        Ok(postings)
    }

    async fn wait_until_ready(&self, order: &mut Order, wanted: &CertificateRequest<'_>) -> Result<(), Failure> {
        let failure = match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Invalid) => Failure::new("the authority was not convinced, and does not say why"),
            Ok(_) => return Ok(()),
            Err(error @ Error::Api(_)) => self.failure(&error),
            Err(error) => return Err(self.failure(&error)),
        };
        let reason = refused(order).await.map(|problem| words(&Error::Api(problem)));
        let detail = reason.unwrap_or(failure.detail);
        let detail = format!("{}: {detail}", wanted.challenge.as_str());
        Err(Failure { detail, retry_after: failure.retry_after })
    }

    async fn finish(&self, order: &mut Order, wanted: &CertificateRequest<'_>) -> Result<Issued, Failure> {
        let fault = |error: rcgen::Error| Failure::new(format!("a request could not be written: {error}"));
        let key = KeyPair::generate().map_err(fault)?;
        let mut params = CertificateParams::new([wanted.host.to_owned()]).map_err(fault)?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(fault)?;
        order.finalize_csr(request.der()).await.map_err(|error| self.failure(&error))?;
        let chain = order.poll_certificate(&PATIENCE).await.map_err(|error| self.failure(&error))?;
        Ok(Issued { chain, key: Zeroizing::new(key.serialize_der()) })
    }

    fn failure(&self, error: &Error) -> Failure {
        let failure = self.accounts.failure(error);
        let unsaid = failure.retry_after.is_none() && is_problem(error, RATE_LIMITED);
        Failure { retry_after: if unsaid { Some(RATE_LIMIT_WAIT) } else { failure.retry_after }, ..failure }
    }
}

/// Why the authority has refused what it was shown.
async fn refused(order: &mut Order) -> Option<instant_acme::Problem> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else { continue };
        let Ok(state) = authorization.refresh().await else { continue };
        if let Some(error) = state.challenges.iter().find_map(|challenge| challenge.error.clone()) {
            return Some(error);
        }
    }
    None
}

#[async_trait]
impl Issuer for Authority {
    async fn issue(&self, wanted: CertificateRequest<'_>) -> Result<Issued, Failure> {
        // What an earlier refusal has said is no answer to this order.
        self.transport.take_retry_after();
        let ordered = tokio::time::timeout(ORDER, Box::pin(self.order(&wanted))).await;
        let ordered =
            ordered.unwrap_or_else(|_| Err(Failure::new(format!("the order took longer than {} s", ORDER.as_secs()))));
        if ordered.is_err() {
            // The authority may have moved; the next one looks at its directory again.
            *self.account.lock().await = None;
        }
        ordered
    }

    async fn window(&self, certificate: &CertificateDer<'static>) -> Result<Option<(Window, Duration)>, Failure> {
        let Ok(identifier) = CertificateIdentifier::try_from(certificate) else { return Ok(None) };
        self.transport.take_retry_after();
        let account = self.account().await?;
        match account.renewal_info(&identifier).await {
            Ok((info, age)) => {
                let millis = |time: time::OffsetDateTime| {
                    u64::try_from(time.unix_timestamp()).unwrap_or(0).saturating_mul(1_000)
                };
                let window = info.suggested_window;
                Ok(Some((Window { start: millis(window.start), end: millis(window.end) }, age)))
            }
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(self.failure(&error)),
        }
    }
}
