//! What the tests of this crate share: everything a login needs over one registry in memory, and calls.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use http::{Method, Version};
use portcullis_core::audit::Actor;
use portcullis_core::body::Body;
use portcullis_core::call::{Call, Dialect, Peer, RawRequest, Request, RequestId};
use portcullis_core::canonical::{Host, Path};
use portcullis_core::directory::{Directory, KeyOwner};
use portcullis_core::jobs::{Class, Job, Jobs, QueueFull};
use portcullis_core::memory::{ManualClock, MemoryChanges, MemoryRegistry};
use portcullis_core::message::FieldMap;
use portcullis_core::model::{Client, Grant, Label, Owner};
use portcullis_core::ports::{AccessLog, Expect, Kind, Row, Write};
use portcullis_core::record::{OpenRecord, Record};
use portcullis_identity::login::LoginParts;
use portcullis_identity::{
    AccessTokens, Cost, DEFAULT_CLIENT, Lockout, LockoutSettings, Login, LoginSettings, MasterKey, PasswordLimits,
    Passwords, Sessions, SigningKeys, Users, hash_key,
};
use serde_json::json;

pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const CLIENT_KEY: &str = "key-of-the-shop";
pub(crate) const SERVICE_KEY: &str = "key-of-orders";

/// A control runtime that is the test's own. It notes what its jobs are for, and has no room for some.
#[derive(Default)]
pub(crate) struct Control {
    pub(crate) full: Option<Class>,
    pub(crate) seen: Mutex<Vec<Class>>,
}

impl Jobs for Control {
    fn submit(&self, class: Class, job: Job) -> Result<(), QueueFull> {
        if self.full.as_ref() == Some(&class) {
            return Err(QueueFull);
        }
        self.seen.lock().expect("not poisoned").push(class);
        tokio::spawn(job);
        Ok(())
    }
}

/// Keeps the records of calls.
#[derive(Default)]
pub(crate) struct Log(pub(crate) Mutex<Vec<Record>>);

impl AccessLog for Log {
    fn write(&self, record: &Record) {
        self.0.lock().expect("not poisoned").push(record.clone());
    }
}

/// Everything a login needs. The user `ada` has the password `s3cret`.
pub(crate) struct House {
    pub(crate) login: Arc<Login>,
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) tokens: Arc<AccessTokens>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) log: Arc<Log>,
    sessions: Arc<Sessions>,
}

impl House {
    /// With the clients `default` and `shop`, which has [`CLIENT_KEY`], and the service `orders`.
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_700_000_000));
        let registry = Arc::new(MemoryRegistry::default());
        let master = Arc::new(MasterKey::generate().0);
        let keys = SigningKeys::load_or_create(registry.as_ref(), &master, clock.as_ref()).await.expect("keys");
        let keys = Arc::new(keys);
        let limits = PasswordLimits {
            cost: Cost { memory_kib: 8, passes: 1, lanes: 1 },
            at_a_time: 2,
            queue: 16,
            per_address: 16,
        };
        let passwords = Arc::new(Passwords::new(limits).expect("fine limits"));
        let settings = LoginSettings::default();
        let sessions = Arc::new(Sessions::new(registry.clone(), clock.clone(), settings.session_ttl, 1 << 20));
        let writing = Arc::clone(&sessions);
        let changing = MemoryChanges::new(registry.clone(), clock.clone(), move |writes| {
            let writing = Arc::clone(&writing);
            async move { writing.write(writes).await }
        });
        let users =
            Users::new(registry.clone(), Arc::new(changing), passwords.clone(), sessions.clone(), clock.clone());
        let users = Arc::new(users);
        let actor = Actor::admin_token(Some(HERE));
        let ada = "ada".parse().expect("a label");
        users.create(&actor, ada, "s3cret".into(), json!({"id": 7})).await.expect("created");
        let tokens = Arc::new(AccessTokens::new(keys.clone(), "http://gate", clock.clone()));
        let directory = Arc::new(Directory::default());
        let parts = LoginParts {
            registry,
            users,
            passwords,
            lockout: Arc::new(Lockout::new(&LockoutSettings::default(), clock.clone())),
            tokens: tokens.clone(),
            sessions: sessions.clone(),
            master,
            directory: directory.clone(),
            clock,
        };
        let login = Arc::new(Login::new(parts, settings));
        let house = Self { login, keys, tokens, directory, log: Arc::default(), sessions };
        house.enable(DEFAULT_CLIENT, true).await;
        house.enable("shop", true).await;
        for (key, owner) in [
            (CLIENT_KEY, KeyOwner::Client("shop".parse().expect("a label"))),
            (SERVICE_KEY, KeyOwner::Service("orders".parse().expect("a name"))),
        ] {
            house.put(Kind::ApiKey, &hash_key(key).to_hex(), "{}".to_owned()).await;
            let mut entries = house.directory.copy();
            entries.set_key(hash_key(key), Some(owner));
            house.directory.publish(entries);
        }
        house
    }

    /// Makes a client or changes it.
    pub(crate) async fn enable(&self, client: &str, enabled: bool) {
        let value = Client { services: vec![Grant::All], enabled, ..Client::default() };
        self.put(Kind::Client, client, serde_json::to_string(&value).expect("JSON")).await;
        let name: Label = client.parse().expect("a label");
        let mut entries = self.directory.copy();
        entries.set_client(&name, Some(value));
        self.directory.publish(entries);
    }

    async fn put(&self, kind: Kind, key: &str, body: String) {
        let row = Row { kind, key: key.to_owned(), revision: 1, owner: Owner::Api, body };
        self.sessions.write(vec![Write::Put { row, expect: Expect::Any }]).await.expect("written");
    }

    /// A call from [`HERE`].
    pub(crate) fn call(&self, method: Method, path: &str, body: Body) -> Call {
        let path = Path::parse(path).expect("a path");
        let id = RequestId::from_random([1; 16]);
        let record = Record::begun(SystemTime::UNIX_EPOCH, id.clone(), HERE, method.clone(), path.shared());
        let socket = SocketAddr::from((HERE, 1));
        let host = Host::parse(b"gate").expect("a host");
        let (version, fields) = (Version::HTTP_11, FieldMap::new());
        Call::new(
            id,
            Peer { socket, client_ip: HERE, shared: false, scheme: "http", certificate: None },
            Request { method, path, query: None, host, version, fields, body },
            RawRequest { target: "/".parse().expect("a target"), removed: Vec::new() },
            Dialect::Http,
            OpenRecord::new(record, Instant::now(), self.log.clone()),
        )
    }

    /// The record of the last call that has ended.
    pub(crate) fn record(&self) -> Record {
        self.log.0.lock().expect("not poisoned").pop().expect("recorded")
    }
}

/// For how long access tokens are good here.
pub(crate) fn access_ttl() -> Duration {
    LoginSettings::default().access_ttl
}
