//! Who calls, as far as credentials have shown it, and what was shown for it.

use std::sync::Arc;

use crate::admitted_by::AdmittedBy;
use crate::directory::{ClientEntry, KeyHolder};
use crate::message::{FieldName, FieldValue};

/// The user behind a token, as backends are told.
#[derive(Debug, Clone)]
pub struct UserFacts {
    /// The user name.
    pub name: Arc<str>,
    /// base64 of the compact JSON of the user's information: `X-User-Json`.
    pub user_json: FieldValue,
}

/// A client of another issuer, as a verified token names it. None of this gateway's own has such a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignClient {
    /// Issuer and id, written `issuer#id`; two that differ in either have different names.
    pub name: Arc<str>,
    /// The same as `X-App-Id` carries it.
    pub app_id: FieldValue,
}

/// Who is calling, as far as credentials have shown it.
#[derive(Debug, Default)]
pub struct Caller {
    /// Who the API key, certificate or signature speaks for.
    pub key: Option<KeyHolder>,
    /// The client a verified token was issued to, where this gateway knows it.
    pub token_client: Option<Arc<ClientEntry>>,
    /// The client a verified token of a foreign issuer was issued to.
    pub foreign_client: Option<ForeignClient>,
    /// Issuer and `sub` of a verified token of a foreign issuer.
    pub token_subject: Option<Arc<str>>,
    /// The user a verified token speaks for.
    pub user: Option<UserFacts>,
    /// What stands for the caller as long as the call goes on.
    pub admitted_by: AdmittedBy,
    /// Which credentials were used up here and do not travel on.
    pub consumed: Consumed,
}

/// Fields with credentials that are meant for the gateway alone on this call, and do not travel on. Each kind of credential
/// names its own.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Consumed([Option<&'static FieldName>; MOST_CONSUMED]);

/// Fields that all kinds of credentials together name at most.
pub const MOST_CONSUMED: usize = 8;

impl Consumed {
    /// Keeps a field from travelling on.
    pub fn take(&mut self, name: &'static FieldName) {
        let place = self.0.iter_mut().find(|place| place.is_none_or(|taken| taken == name));
        debug_assert!(place.is_some(), "more fields than there are credentials");
        if let Some(place) = place {
            *place = Some(name);
        }
    }

    /// Lets a field travel on after all.
    pub fn spare(&mut self, name: &FieldName) {
        for place in self.0.iter_mut().filter(|place| place.is_some_and(|taken| taken == name)) {
            *place = None;
        }
    }

    /// The names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &'static FieldName> {
        self.0.into_iter().flatten()
    }
}

impl Caller {
    /// Notes whom a key, a certificate or a signature speaks for. False if another one speaks for somebody else.
    ///
    /// ```
    /// # use portcullis_core::call::{Caller, KeyHolder};
    /// let mut caller = Caller::default();
    /// assert!(caller.speaks_for(KeyHolder::Service("orders".into())));
    /// assert!(!caller.speaks_for(KeyHolder::Service("bills".into()))); // Two credentials, two callers: refused.
    /// ```
    pub fn speaks_for(&mut self, holder: KeyHolder) -> bool {
        let same = match (&self.key, &holder) {
            (None, _) => true,
            (Some(KeyHolder::Client(one)), KeyHolder::Client(other)) => one.name == other.name,
            (Some(KeyHolder::Service(one)), KeyHolder::Service(other)) => one == other,
            _ => false,
        };
        if same {
            self.key = Some(holder);
        }
        same
    }

    /// The client of another issuer that calls, where none of this gateway's own does.
    pub fn foreign(&self) -> Option<&ForeignClient> {
        if self.client().is_some() { None } else { self.foreign_client.as_ref() }
    }

    /// What stands for the calling client in the record.
    pub fn client_name(&self) -> Option<Arc<str>> {
        match self.client() {
            Some(client) => Some(client.name.shared()),
            None => self.foreign_client.as_ref().map(|client| Arc::clone(&client.name)),
        }
    }

    /// The client of this gateway that calls: that of the API key, else of the token.
    pub fn client(&self) -> Option<&Arc<ClientEntry>> {
        match &self.key {
            Some(KeyHolder::Client(client)) => Some(client),
            _ => self.token_client.as_ref(),
        }
    }
}
