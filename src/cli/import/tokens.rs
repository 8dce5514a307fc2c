//! Pairs of tokens that are good in fomalhaut, from Redis to the gateway: hashes and what is left of their time, never the tokens.

use std::collections::{BTreeMap, HashSet};

use aws_lc_rs::rand;
use portcullis_core::directory::KeyHash;
use portcullis_identity::opaque::{self, Use};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::cli::admin::{Admin, encode};
use crate::cli::failure::Failure;
use crate::cli::redis::{Redis, Reply};

/// Pairs in Redis.
const MOST: usize = 1_000_000;
/// Keys that Redis is asked for at a time.
const AT_ONCE: usize = 64;
/// Pairs, and bytes of them, that the gateway is sent at a time.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 1 << 20;

/// What became of pairs, by a word for it.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<String, u64>);

impl Told {
    fn count(&mut self, word: &str, more: u64) {
        *self.0.entry(word.to_owned()).or_default() += more;
    }

    pub(super) fn json(&self) -> Value {
        self.0.iter().map(|(word, count)| (word.clone(), Value::from(*count))).collect::<Map<_, _>>().into()
    }

    /// In one line, in the order of the words.
    pub(super) fn line(&self) -> String {
        let counts: Vec<_> = self.0.iter().map(|(word, count)| format!("{count} {}", word.replace('_', " "))).collect();
        if counts.is_empty() { "tokens: none".to_owned() } else { format!("tokens: {}", counts.join(", ")) }
    }
}

/// A value under `t:` or `r:`.
struct Stored {
    client: String,
    access: Zeroizing<String>,
    refresh: Zeroizing<String>,
    user_info: Value,
}

impl Stored {
    /// Reads a value that stands under this key without its prefix; why it is no pair, if it is none.
    fn read(
        bytes: Option<Vec<u8>>,
        use_for: Use,
        token: &str,
        clients: &BTreeMap<String, String>,
    ) -> Result<Self, &'static str> {
        let bytes = Zeroizing::new(bytes.ok_or("expired")?);
        let mut value: Value = serde_json::from_slice(&bytes).map_err(|_| "unreadable")?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(|text| Zeroizing::new(text.to_owned()));
        let (access, refresh) = text("access_token").zip(text("refresh_token")).ok_or("unreadable")?;
        let shown = if use_for == Use::Access { &access } else { &refresh };
        if shown.as_str() != token || !opaque::is_opaque(&access) || !opaque::is_opaque(&refresh) {
            return Err("unreadable");
        }
        let app_id = text("app_id").or_else(|| text("access_key")).ok_or("unreadable")?;
        let client = clients.get(app_id.as_str()).ok_or("of_unknown_clients")?.clone();
        let user_info = match value.get_mut("user_info").map(Value::take) {
            Some(Value::Object(members)) => Value::Object(members),
            None | Some(Value::Null) => json!({}),
            Some(_) => return Err("unreadable"),
        };
        Ok(Self { client, access, refresh, user_info })
    }
}

/// Whole seconds that are left of a key, of what PTTL says; none if it has no end.
fn seconds(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Integer(-1) => None,
        Reply::Integer(millis) => Some(u64::try_from(*millis).unwrap_or_default() / 1_000),
        _ => Some(0),
    }
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many pairs there are.
pub(super) async fn count(redis: &mut Redis) -> Result<usize, Failure> {
    Ok(redis.keys("r:*", MOST).await?.len())
}

/// Takes over every pair of these clients, given by their ids there with their names here.
pub(super) async fn take(
    redis: &mut Redis,
    clients: &BTreeMap<String, String>,
    admin: &Admin,
) -> Result<Told, Failure> {
    let mut taking = Taking { admin, told: Told::default(), batches: BTreeMap::new() };
    let mut seen = HashSet::new();
    let refreshing: Vec<String> = redis.keys("r:*", MOST).await?.into_iter().collect();
    for keys in refreshing.chunks(AT_ONCE) {
        let mut found = Vec::new();
        for (key, value, left) in values(redis, keys).await? {
            match Stored::read(value, Use::Refresh, &key[2..], clients) {
                Ok(stored) => found.push((stored, left)),
                Err(word) => taking.told.count(word, 1),
            }
        }
        let of_access: Vec<_> =
            found.iter().map(|(stored, _)| vec!["PTTL".to_owned(), format!("t:{}", stored.access.as_str())]).collect();
        let of_access = redis.ask_all(&of_access).await?;
        for ((stored, refresh_left), access_left) in found.into_iter().zip(of_access) {
            let (access, refresh) =
                (opaque::hash(Use::Access, &stored.access), opaque::hash(Use::Refresh, &stored.refresh));
            seen.insert(access.0);
            match (seconds(&access_left), refresh_left) {
                (Some(access_left), Some(refresh_left)) => {
                    taking.add(stored, [access, refresh], [access_left.min(refresh_left), refresh_left]).await?;
                }
                _ => taking.told.count("without_an_end", 1),
            }
        }
    }
    drop(refreshing);
    // Access tokens whose refresh token is over or gone: they are good to their end, and cannot be exchanged.
    let shown: Vec<String> = redis.keys("t:*", MOST).await?.into_iter().collect();
    let alone = |key: &String| !seen.contains(&opaque::hash(Use::Access, &key[2..]).0);
    let shown: Vec<String> = shown.into_iter().filter(alone).collect();
    for keys in shown.chunks(AT_ONCE) {
        for (key, value, left) in values(redis, keys).await? {
            match (Stored::read(value, Use::Access, &key[2..], clients), left) {
                (Ok(stored), Some(left)) => {
                    let mut nobodys = [0; 32];
                    rand::fill(&mut nobodys).map_err(|_| Failure::failed("this machine gives no random bytes"))?;
                    let access = opaque::hash(Use::Access, &stored.access);
                    taking.add(stored, [access, KeyHash(nobodys)], [left, left]).await?;
                }
                (Ok(_), None) => taking.told.count("without_an_end", 1),
                (Err(word), _) => taking.told.count(word, 1),
            }
        }
    }
    taking.end().await
}

/// Keys with their values and whole seconds left.
async fn values(redis: &mut Redis, keys: &[String]) -> Result<Vec<(String, Option<Vec<u8>>, Option<u64>)>, Failure> {
    redis.begin();
    let words = |word: &str, key: &String| vec![word.to_owned(), key.clone()];
    let commands: Vec<_> = keys.iter().flat_map(|key| [words("GET", key), words("PTTL", key)]).collect();
    let mut replies = redis.ask_all(&commands).await?.into_iter();
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let (Some(value), Some(left)) = (replies.next(), replies.next()) else { break };
        found.push((key.clone(), value.bytes(), seconds(&left)));
    }
    Ok(found)
}

/// Pairs on their way to the gateway.
struct Taking<'a> {
    admin: &'a Admin,
    told: Told,
    /// By client, with their bytes.
    batches: BTreeMap<String, (Vec<Value>, usize)>,
}

impl Taking<'_> {
    async fn add(
        &mut self,
        stored: Stored,
        [access, refresh]: [KeyHash; 2],
        [access_ttl, refresh_ttl]: [u64; 2],
    ) -> Result<(), Failure> {
        let pair = json!({
            "access": hex(&access.0), "refresh": hex(&refresh.0), "user_info": stored.user_info, "access_ttl": access_ttl,
            "refresh_ttl": refresh_ttl,
        });
        let length = pair.to_string().len() + 1;
        if length > BATCH_BYTES {
            self.told.count("too_large", 1);
            return Ok(());
        }
        let (pairs, bytes) = self.batches.entry(stored.client.clone()).or_default();
        if pairs.len() == BATCH || *bytes + length > BATCH_BYTES {
            *bytes = 0;
            let full = std::mem::take(pairs);
            self.send(&stored.client, full).await?;
        }
        let (pairs, bytes) = self.batches.entry(stored.client).or_default();
        pairs.push(pair);
        *bytes += length;
        Ok(())
    }

    async fn send(&mut self, client: &str, pairs: Vec<Value>) -> Result<(), Failure> {
        let path = format!("/clients/{}/tokens", encode(client));
        let done = self.admin.post(&path, &json!({"tokens": pairs})).await.map_err(|failure| {
            let so_far = self.told.line();
            Failure::failed(format!("{failure}; so far, of the {so_far}. Run it again to go on"))
        })?;
        for word in ["taken", "known", "expired", "too_large", "inexact"] {
            self.told.count(word, done.body[word].as_u64().unwrap_or_default());
        }
        Ok(())
    }

    async fn end(mut self) -> Result<Told, Failure> {
        for (client, (pairs, _)) in std::mem::take(&mut self.batches) {
            self.send(&client, pairs).await?;
        }
        Ok(self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const REFRESH: &str = "rrrrrrrrrrrrrrrrrrrrrrrrrrr";

    fn read(value: &Value, use_for: Use, token: &str) -> Result<Stored, &'static str> {
        let clients = BTreeMap::from([("k".to_owned(), "shop".to_owned())]);
        Stored::read(Some(value.to_string().into_bytes()), use_for, token, &clients)
    }

    #[test]
    fn a_value_is_a_pair_in_both_forms() {
        for id in ["app_id", "access_key"] {
            let value = json!({id: "k", "user_info": {"id": 7}, "access_token": ACCESS, "refresh_token": REFRESH});
            let stored = read(&value, Use::Refresh, REFRESH).expect("a pair");
            assert_eq!((stored.client.as_str(), &stored.user_info), ("shop", &json!({"id": 7})));
            assert!(read(&value, Use::Access, ACCESS).is_ok());
            assert_eq!(read(&value, Use::Access, REFRESH).err(), Some("unreadable"), "it stands under another token");
        }
        let value = json!({"app_id": "other", "access_token": ACCESS, "refresh_token": REFRESH});
        assert_eq!(read(&value, Use::Refresh, REFRESH).err(), Some("of_unknown_clients"));
        for bad in [
            json!(1),
            json!({"app_id": "k", "access_token": ACCESS}),
            json!({"app_id": "k", "access_token": "short", "refresh_token": REFRESH}),
            json!({"app_id": "k", "access_token": ACCESS, "refresh_token": REFRESH, "user_info": [1]}),
        ] {
            assert_eq!(read(&bad, Use::Refresh, REFRESH).err(), Some("unreadable"), "{bad}");
        }
    }

    #[test]
    fn what_is_left_is_in_whole_seconds() {
        let read = |left| seconds(&Reply::Integer(left));
        assert_eq!([read(-2), read(-1), read(0), read(999), read(1_500)], [Some(0), None, Some(0), Some(0), Some(1)]);
        assert_eq!(seconds(&Reply::Error("no".to_owned())), Some(0));
    }
}
