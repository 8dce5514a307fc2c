//! How many sessions those have together who are known to one client alone, and whether there is room for another.
//!
//! Counting is a walk along an index, too long for every login where there are a million. So each realm is counted once, and
//! from then on it is remembered what comes and goes; what cannot be told from that is counted again. Nobody who logs in and
//! out makes the writer count.

use std::collections::HashMap;

use portcullis_core::model::Label;
use portcullis_core::ports::{RegistryError, SessionsOf, Write};
use sqlx::sqlite::SqliteConnection;

use super::column::storage;

/// Realms that are remembered.
const MOST: usize = 1_024;

/// What the writer remembers of its counts.
#[derive(Debug, Default)]
pub(crate) struct Realms {
    /// By realm and bound.
    room: HashMap<(String, u32), Room>,
}

/// The room that a realm has.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// How many sessions more there may be.
    left: u32,
    /// Whether there may be more room than that, because sessions have ended of which nothing is told.
    may_be_more: bool,
}

impl Realms {
    /// Takes a place for one more session in a realm that has so many at most.
    pub(super) async fn admit(
        &mut self,
        connection: &mut SqliteConnection,
        realm: &str,
        most: u32,
    ) -> Result<(), RegistryError> {
        let key = (realm.to_owned(), most);
        let known = self.room.get(&key).copied().filter(|room| room.left > 0 || !room.may_be_more);
        let room = match known {
            Some(room) => room,
            None => {
                let left = most.saturating_sub(count(connection, realm, most).await?);
                Room { left, may_be_more: false }
            }
        };
        if self.room.len() >= MOST && !self.room.contains_key(&key) {
            self.room.clear();
        }
        self.room.insert(key, Room { left: room.left.saturating_sub(1), ..room });
        if room.left == 0 {
            return Err(RegistryError::TooMany("sessions of users whom one client's Auth API lets in"));
        }
        Ok(())
    }

    /// So many sessions of a user have ended.
    pub(super) fn left(&mut self, user: &str, sessions: usize) {
        let Some(realm) = Label::kept(user).ok().and_then(|user| user.realm().map(str::to_owned)) else { return };
        let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
        for ((_, most), room) in self.room.iter_mut().filter(|((of, _), _)| *of == realm) {
            room.left = room.left.saturating_add(sessions).min(*most);
        }
    }

    /// Some may have ended of which nothing is told: where no room is left it is counted again, once.
    pub(super) fn may_have_shrunk(&mut self) {
        self.room.values_mut().for_each(|room| room.may_be_more = true);
    }

    /// Others may have come than those it has admitted, or what it has seen is undone.
    pub(super) fn forget(&mut self) {
        self.room.clear();
    }
}

/// Whether a write ends sessions of those whom a client alone knows. Operators do that.
pub(super) fn ends_some(write: &Write) -> bool {
    match write {
        Write::EndSessions(SessionsOf::Client(_)) => true,
        Write::EndSessions(SessionsOf::User(user) | SessionsOf::One(user, _)) => user.is_of_another(),
        _ => false,
    }
}

/// The sessions of a realm, up to `most`.
async fn count(connection: &mut SqliteConnection, realm: &str, most: u32) -> Result<u32, RegistryError> {
    // What begins with the realm and `/`, behind which `0` comes.
    let statement = "SELECT count(*) FROM (SELECT 1 FROM sessions WHERE user >= ? AND user < ? LIMIT ?)";
    let held: i64 = sqlx::query_scalar(statement)
        .bind(format!("{realm}/"))
        .bind(format!("{realm}0"))
        .bind(i64::from(most))
        .fetch_one(connection)
        .await
        .map_err(storage)?;
    Ok(u32::try_from(held).unwrap_or(most))
}
