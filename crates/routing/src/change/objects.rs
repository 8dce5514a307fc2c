//! Changes of objects that no view holds, by their rows: they wait in the same queue as changes of declarations, and share its
//! commits and its decisions again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use async_trait::async_trait;
use portcullis_core::audit::Actor;
use portcullis_core::ports::{ChangeError, Changing, Decide, Kind, Objects, Outcome, RegistryError, Row};
use tokio::sync::oneshot;

use super::follow::KINDS;
use super::{Change, Changes, Decided, Done, Request, View};

/// What an object goes by in the registry.
pub(super) type Address = (Kind, String);

/// The objects that changes of one commit are about: as they were read before the first is decided, and then as each leaves
/// them.
#[derive(Default)]
pub(super) struct Rows(HashMap<Address, Result<Option<Row>, RegistryError>>);

impl Rows {
    /// Reads these objects, each once. One that cannot be read fails those who ask for it alone.
    pub(super) async fn read(registry: &dyn Objects, addresses: Vec<Address>) -> Self {
        let mut rows = HashMap::new();
        for address in addresses {
            if let Entry::Vacant(place) = rows.entry(address) {
                let (kind, key) = place.key();
                let row = registry.get(*kind, key).await;
                place.insert(row);
            }
        }
        Self(rows)
    }

    /// An object as it stands now.
    pub(super) fn get(&self, address: &Address) -> Result<Option<&Row>, RegistryError> {
        self.0.get(address).map_or(Ok(None), |read| read.as_ref().map(Option::as_ref).map_err(Clone::clone))
    }

    /// Leaves an object as it is after a change.
    pub(super) fn set(&mut self, address: Address, row: Option<Row>) {
        self.0.insert(address, Ok(row));
    }
}

/// A change of one object that waits.
struct OfObject {
    address: Address,
    decide: Decide,
    done: oneshot::Sender<Result<Outcome, ChangeError>>,
}

impl Change for OfObject {
    fn about(&self) -> Option<&Address> {
        Some(&self.address)
    }

    fn decide(&mut self, _view: &View, row: Option<&Row>) -> Result<Decided, ChangeError> {
        Ok(Decided::Object(self.address.clone(), (self.decide)(row)?))
    }

    fn answer(self: Box<Self>, outcome: Result<Done, ChangeError>) {
        // Whoever asked may have gone.
        let _ = self.done.send(outcome.map(|Done { object, sessions, .. }| Outcome { object, sessions }));
    }
}

#[async_trait]
impl Changing for Changes {
    async fn change(&self, actor: &Actor, kind: Kind, key: &str, decide: Decide) -> Result<Outcome, ChangeError> {
        if KINDS.contains(&kind) {
            // What the view holds must be compiled, and would not be.
            let reason = format!("{} '{key}' does not change by its row", kind.as_str());
            return Err(RegistryError::Storage(reason).into());
        }
        let (done, result) = oneshot::channel();
        let change = Box::new(OfObject { address: (kind, key.to_owned()), decide, done });
        self.queue.send(Request { actor: actor.clone(), change }).await.map_err(|_| ChangeError::Stopping)?;
        result.await.map_err(|_| ChangeError::Stopping)?
    }
}
