//! Sessions in memory.

use async_trait::async_trait;

use super::MemoryRegistry;
use crate::directory::KeyHash;
use crate::model::Label;
use crate::ports::{
    Beside, ForeignPair, RegistryError, Replace, Replaced, Rotate, Rotation, Row, Session, SessionId, Sessions,
    SessionsOf,
};

#[async_trait]
impl Sessions for MemoryRegistry {
    async fn open_session(
        &self,
        session: Session,
        beside: Beside,
        stands_on: Vec<Row>,
    ) -> Result<Vec<SessionId>, RegistryError> {
        let mut state = self.state()?;
        state.stand(&stands_on)?;
        let mut ended = Vec::new();
        if beside.alone {
            let same = |held: &Session| held.user == session.user && held.client == session.client;
            ended
                .extend(state.sessions.values().filter(|held| same(held) && held.id != session.id).map(|held| held.id));
        }
        let mut of_user: Vec<_> = state
            .sessions
            .values()
            .filter(|held| held.user == session.user && !ended.contains(&held.id))
            .map(|held| (held.created_at, held.id))
            .collect();
        of_user.sort_by_key(|(created_at, _)| *created_at);
        let over = (of_user.len() + 1).saturating_sub(beside.limit.max(1) as usize);
        ended.extend(of_user.into_iter().take(over).map(|(_, id)| id));
        if let (Some(most), Some(realm), true) = (beside.of_realm, session.user.realm(), ended.is_empty()) {
            let held = state.sessions.values().filter(|held| held.user.realm() == Some(realm)).count();
            if held >= most as usize {
                return Err(RegistryError::TooMany("sessions of users whom one client's Auth API lets in"));
            }
        }
        for id in &ended {
            state.sessions.remove(id);
        }
        state.sessions.insert(session.id, session);
        Ok(ended)
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, RegistryError> {
        Ok(self.state()?.sessions.get(&id).cloned())
    }

    async fn sessions(&self, user: &Label) -> Result<Vec<Session>, RegistryError> {
        let state = self.state()?;
        let mut found: Vec<_> = state.sessions.values().filter(|session| session.user == *user).cloned().collect();
        found.sort_by_key(|session| (session.created_at, session.id.0));
        Ok(found)
    }

    async fn rotate(&self, rotate: Rotate) -> Result<Rotation, RegistryError> {
        let mut state = self.state()?;
        let stands = state.stand(&rotate.stands_on);
        let held = state.sessions.get_mut(&rotate.id);
        let Some(session) = held.filter(|held| held.expires_at > rotate.now && !held.is_pair()) else {
            return Ok(Rotation::Gone);
        };
        if session.refresh == rotate.shown {
            stands?;
            session.user_info = rotate.user_info;
            session.predecessor = Some(rotate.shown);
            session.refresh = rotate.successor;
            session.rotated_at = rotate.now;
            session.expires_at = rotate.expires_at;
            return Ok(Rotation::Rotated(session.clone()));
        }
        let in_grace = rotate.now < session.rotated_at.saturating_add(rotate.grace);
        if session.predecessor == Some(rotate.shown) && session.refresh == rotate.successor && in_grace {
            stands?;
            return Ok(Rotation::Repeated(session.clone()));
        }
        state.sessions.remove(&rotate.id);
        Ok(Rotation::Reused)
    }

    async fn pair_by_refresh(&self, refresh: &KeyHash) -> Result<Option<Session>, RegistryError> {
        let state = self.state()?;
        let mut pairs = state.sessions.values().filter(|held| held.is_pair() && held.refresh == *refresh);
        Ok(pairs.next().cloned())
    }

    async fn replace_session(&self, replace: Replace) -> Result<Replaced, RegistryError> {
        let mut state = self.state()?;
        let is_good = |held: &Session| held.is_pair() && held.refresh == replace.shown && held.expires_at > replace.now;
        if !state.sessions.get(&replace.id).is_some_and(is_good) {
            return Ok(Replaced::Gone);
        }
        state.stand(&replace.stands_on)?;
        state.sessions.remove(&replace.id);
        state.sessions.insert(replace.successor.id, replace.successor);
        Ok(Replaced::Done)
    }

    async fn import_pairs(&self, pairs: Vec<ForeignPair>, stands_on: Vec<Row>) -> Result<u64, RegistryError> {
        let mut state = self.state()?;
        state.stand(&stands_on)?;
        let mut taken = 0;
        for ForeignPair { session, remembered_until } in pairs {
            let is_known = state.imported.contains_key(&session.id)
                || state.sessions.contains_key(&session.id)
                || state.sessions.values().any(|held| held.is_pair() && held.refresh == session.refresh);
            if !is_known {
                state.imported.insert(session.id, remembered_until);
                state.sessions.insert(session.id, session);
                taken += 1;
            }
        }
        Ok(taken)
    }

    async fn end_session(&self, id: SessionId) -> Result<bool, RegistryError> {
        Ok(self.state()?.sessions.remove(&id).is_some())
    }

    async fn prune_sessions(&self, now: u64, limit: u32) -> Result<Vec<SessionId>, RegistryError> {
        let mut state = self.state()?;
        let over = state.sessions.values().filter(|session| session.expires_at <= now).map(|session| session.id);
        let gone: Vec<_> = over.take(limit as usize).collect();
        for id in &gone {
            state.sessions.remove(id);
        }
        let forgotten: Vec<_> =
            state.imported.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).take(limit as usize).collect();
        for id in &forgotten {
            state.imported.remove(id);
        }
        Ok(gone)
    }

    async fn end_sessions(&self, of: SessionsOf) -> Result<Vec<SessionId>, RegistryError> {
        let mut state = self.state()?;
        let ended = state.sessions.values().filter(|session| of.includes(session)).map(|session| session.id).collect();
        state.sessions.retain(|_, session| !of.includes(session));
        Ok(ended)
    }
}
