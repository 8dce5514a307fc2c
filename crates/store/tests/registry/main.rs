//! The registry port: what every registry must do, run on the one in memory and on the one over SQLite, and
//! what only a file can do (survive, be shared, be broken).

mod answering;
mod audit;
mod conformance;
mod durability;
mod following;
mod grouping;
mod opening;
mod pairs;
mod pairs_raced;
mod random;
mod room;

use std::path::Path;

use aws_lc_rs::hmac;
use portcullis_core::audit::Link;
use portcullis_core::directory::KeyHash;
use portcullis_core::model::Owner;
use portcullis_core::ports::{Expect, Kind, Row, Session, SessionId, Write};
use portcullis_store::SqliteRegistry;

async fn open(directory: &Path) -> SqliteRegistry {
    open_with(directory, link()).await
}

async fn open_with(directory: &Path, link: Link) -> SqliteRegistry {
    SqliteRegistry::open(&directory.join("registry.db"), link).await.expect("opens")
}

/// Chains the audit trail under a key that is not in the file.
fn link() -> Link {
    Link::new(mac)
}

fn mac(bytes: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"kept elsewhere");
    let mut mac = [0; 32];
    mac.copy_from_slice(hmac::sign(&key, bytes).as_ref());
    mac
}

fn row(kind: Kind, key: &str, revision: u64) -> Row {
    Row { kind, key: key.to_owned(), revision, owner: Owner::Api, body: format!("{{\"revision\":{revision}}}") }
}

fn put(kind: Kind, key: &str, revision: u64, expect: Expect) -> Write {
    Write::Put { row: row(kind, key, revision), expect }
}

fn hash(byte: u8) -> KeyHash {
    KeyHash([byte; 32])
}

fn session(id: u8, user: &str, client: &str, created_at: u64) -> Session {
    Session {
        id: SessionId([id; 16]),
        user: user.parse().expect("a label"),
        client: client.parse().expect("a label"),
        user_info: format!("{{\"name\":\"{user}\"}}").into(),
        created_at,
        expires_at: created_at + 1_000,
        refresh: hash(id),
        predecessor: None,
        rotated_at: created_at,
        access_until: None,
    }
}

/// A pair of opaque tokens: the access token is good for half the time of the refresh token.
fn pair(id: u8, user: &str, client: &str, created_at: u64) -> Session {
    Session { access_until: Some(created_at + 500), ..session(id, user, client, created_at) }
}
