//! Rows of objects that no view holds, as the changes of one commit read and leave them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use portcullis_core::ports::{Kind, Objects, RegistryError, Row};

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
