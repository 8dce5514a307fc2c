//! Whether the public keys that a client declares can verify anything (key validation).

use portcullis_core::model::{Client, ClientKey, Problem};

/// What is wrong with a client's public keys, each with its place in the declaration of the client. Nothing of a key is in a
/// message.
pub fn check_keys(client: &Client) -> Vec<Problem> {
    ClientKey::problems(&client.keys)
}
