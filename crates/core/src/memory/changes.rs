//! Changes of objects, each made by whoever asks for it: without a queue, and without a commit that several share.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

use crate::audit::Actor;
use crate::ports::{
    ChangeError, Changing, Clock, Commit, DECISIONS, Decide, Kind, Objects, Outcome, RegistryError, Write,
};

type Committed = Pin<Box<dyn Future<Output = Result<Commit, RegistryError>> + Send>>;

/// Changes of the objects of a registry.
pub struct MemoryChanges {
    registry: Arc<dyn Objects>,
    clock: Arc<dyn Clock>,
    commit: Box<dyn Fn(Vec<Write>) -> Committed + Send + Sync>,
}

impl MemoryChanges {
    /// Changes that are committed through this, so that whoever remembers something of the objects hears of it.
    pub fn new<F>(
        registry: Arc<dyn Objects>,
        clock: Arc<dyn Clock>,
        commit: impl Fn(Vec<Write>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Commit, RegistryError>> + Send + 'static,
    {
        Self { registry, clock, commit: Box::new(move |writes| Box::pin(commit(writes))) }
    }
}

#[async_trait]
impl Changing for MemoryChanges {
    async fn change(&self, actor: &Actor, kind: Kind, key: &str, decide: Decide) -> Result<Outcome, ChangeError> {
        for _ in 0..DECISIONS {
            let row = self.registry.get(kind, key).await?;
            let decision = decide(row.as_ref())?;
            let (writes, object) = decision.writes((kind, key), row, actor, self.clock.unix_millis());
            match (self.commit)(writes).await {
                Ok(done) => return Ok(Outcome { object, sessions: done.ended.len() }),
                Err(RegistryError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ChangeError::Contended)
    }
}
