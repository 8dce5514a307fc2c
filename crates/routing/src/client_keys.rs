//! Public keys of clients: what can be told of them when they are declared.

use portcullis_core::model::{Client, ClientKey, Problem};
use portcullis_policies::check_key;

/// What is wrong with a client's public keys, each with its place in the declaration of the client. Nothing of a key is in a
/// message.
pub fn check_keys(client: &Client) -> Vec<Problem> {
    let problems = ClientKey::problems(&client.keys);
    if !problems.is_empty() {
        return problems;
    }
    let unusable = client.keys.iter().enumerate().filter_map(|(at, key)| {
        let message = check_key(key).err()?;
        Some(Problem::new(format!("keys[{at}]"), message))
    });
    unusable.collect()
}
