//! Pairs that another gateway has issued, taken over with what is left of their time, so that nobody has to log in again.
//!
//! Only hashes come here ([`crate::opaque::hash`]). What was taken over is remembered beyond the time of its tokens there: a
//! pair that was refreshed, logged out or ended here since is not brought back by taking over the same again.

use std::time::Duration;

use portcullis_core::directory::KeyHash;
use portcullis_core::model::Label;
use portcullis_core::ports::ForeignPair;
use portcullis_core::refusal::Refusal;
use serde_json::Value;

use super::{LAST, TokenPairs, Untold, Whose};
use crate::login::{TRIES, changing, millis, unless_changed};

/// Pairs that are taken over at once, at most.
pub const MAX_IMPORTED_PAIRS: usize = 1_000;
/// For how long a pair is remembered beyond its time: clocks differ, and what was read may be under way for a while.
const BEYOND: Duration = Duration::from_secs(86_400);

/// A pair that another gateway has issued.
#[derive(Debug, Clone)]
pub struct ImportedPair {
    /// [`opaque::hash`](crate::opaque::hash) of the access token, for its use.
    pub access: KeyHash,
    /// The same of the refresh token.
    pub refresh: KeyHash,
    /// What backends are told of the user.
    pub user_info: Value,
    /// For how long the access token is still good; zero where it is over.
    pub access_ttl: Duration,
    /// For how long the refresh token is still good.
    pub refresh_ttl: Duration,
}

/// What became of pairs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Good here from now on.
    pub taken: u64,
    /// Taken over before, whatever became of them; or known here otherwise.
    pub known: u64,
    /// Over.
    pub expired: u64,
    /// Not taken, because they say more of their user than backends could be told.
    pub too_large: u64,
    /// Not taken, because they say of their user a number that cannot be kept as it is.
    pub inexact: u64,
}

impl TokenPairs {
    /// Takes over pairs of a client, up to [`MAX_IMPORTED_PAIRS`] at once. Nobody's sessions end by it, however many a user
    /// has then; the next login ends what is over the limit.
    pub async fn import(&self, client: &Label, pairs: Vec<ImportedPair>) -> Result<Imported, Refusal> {
        if pairs.len() > MAX_IMPORTED_PAIRS {
            let detail = format!("at most {MAX_IMPORTED_PAIRS} pairs of tokens are taken at once");
            return Err(Refusal::malformed("too_many_pairs", detail));
        }
        let now = self.parts.clock.unix_millis();
        let mut done = Imported::default();
        let mut taken = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let ImportedPair { access, refresh, user_info, access_ttl, refresh_ttl } = pair;
            if refresh_ttl.is_zero() {
                done.expired += 1;
                continue;
            }
            let whose = match Whose::foreign(client, &user_info, self.settings.sessions_per_user) {
                Ok(whose) => whose,
                Err(untold) => {
                    *match untold {
                        Untold::TooLarge => &mut done.too_large,
                        Untold::Inexact => &mut done.inexact,
                    } += 1;
                    continue;
                }
            };
            let session = self.session(client, whose, [access, refresh], [access_ttl, refresh_ttl], now, now);
            // By the time it has there, which may be longer than a session lasts here.
            let remembered_until = now.saturating_add(millis(refresh_ttl)).saturating_add(millis(BEYOND)).min(LAST);
            taken.push(ForeignPair { session, remembered_until });
        }
        for _ in 0..TRIES {
            let stored = self.parts.client(client).await?.ok_or(Refusal::DisabledClient)?;
            let written = self.parts.registry.import_pairs(taken.clone(), vec![stored.row]).await;
            if let Some(count) = unless_changed(written)? {
                done.taken = count;
                done.known = (taken.len() as u64).saturating_sub(count);
                return Ok(done);
            }
        }
        Err(changing())
    }
}
