//! The bounded ways from a worker to the control runtime, one for each class of work.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_core::jobs::{Class, Job, Jobs, QueueFull};
use portcullis_core::model::Label;
use portcullis_core::network;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Jobs of a class that are under way or waiting at most. Passwords that wait for a core have a bound of their own, far below.
const LOGINS: usize = 1_024;
/// As many sessions as may be met at once.
const SESSIONS: usize = 1_024;
/// Each of them holds a connection to an Auth API, for some seconds at most.
const AUTH_API: usize = 256;
/// What one client has of these: a slow Auth API leaves three quarters to others.
const AUTH_API_OF_CLIENT: usize = AUTH_API / 4;
/// What one network has of these: whoever has an app makes its Auth API busy for others at no fewer than four addresses.
const AUTH_API_OF_NETWORK: usize = AUTH_API_OF_CLIENT / 4;
/// Registrations are made one after the other.
const REGISTRATIONS: usize = 256;
/// The questions of certificate authorities have a bound of their own, which is the same.
const CERTIFICATES: usize = 64;

/// Runs jobs on the control runtime.
pub(crate) struct ControlJobs {
    runtime: Handle,
    logins: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
    auth_api: Arc<Semaphore>,
    registrations: Arc<Semaphore>,
    certificates: Arc<Semaphore>,
    /// How many jobs of each client ask its Auth API; those that have none are not in it.
    of_clients: Arc<Mutex<HashMap<Label, Held>>>,
}

impl ControlJobs {
    /// Jobs on this runtime.
    pub(crate) fn on(runtime: Handle) -> Self {
        let room = |most| Arc::new(Semaphore::new(most));
        Self {
            runtime,
            logins: room(LOGINS),
            sessions: room(SESSIONS),
            auth_api: room(AUTH_API),
            registrations: room(REGISTRATIONS),
            certificates: room(CERTIFICATES),
            of_clients: Arc::default(),
        }
    }

    fn room(&self, class: &Class) -> Result<Place, QueueFull> {
        let room = match class {
            Class::Logins => &self.logins,
            Class::Sessions => &self.sessions,
            Class::AuthApi { .. } => &self.auth_api,
            Class::Registrations => &self.registrations,
            Class::Certificates => &self.certificates,
        };
        let permit = Arc::clone(room).try_acquire_owned().map_err(|_| QueueFull)?;
        let share = match class {
            Class::AuthApi { client, from } => {
                Some(ClientShare::take(&self.of_clients, client, *from).ok_or(QueueFull)?)
            }
            _ => None,
        };
        Ok(Place { _permit: permit, _share: share })
    }
}

impl Jobs for ControlJobs {
    fn submit(&self, class: Class, job: Job) -> Result<(), QueueFull> {
        let place = self.room(&class)?;
        self.runtime.spawn(async move {
            job.await;
            drop(place);
        });
        Ok(())
    }
}

/// The room that a job takes up until it is dropped.
struct Place {
    /// Goes first: whoever finds room among all finds it in the share too.
    _share: Option<ClientShare>,
    _permit: OwnedSemaphorePermit,
}

/// What the jobs of a client take up.
#[derive(Default)]
struct Held {
    all: usize,
    /// Of each network that has any.
    of_networks: HashMap<IpAddr, usize>,
}

/// What of the room of all a job takes up of its client's share.
struct ClientShare {
    of_clients: Arc<Mutex<HashMap<Label, Held>>>,
    client: Label,
    network: IpAddr,
}

impl ClientShare {
    fn take(of_clients: &Arc<Mutex<HashMap<Label, Held>>>, client: &Label, from: IpAddr) -> Option<Self> {
        let network = network::of(from);
        let mut all = of_clients.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = all.get(client).is_none_or(|held| {
            let of_network = held.of_networks.get(&network).copied().unwrap_or_default();
            held.all < AUTH_API_OF_CLIENT && of_network < AUTH_API_OF_NETWORK
        });
        has_room.then(|| {
            let held = all.entry(client.clone()).or_default();
            held.all += 1;
            *held.of_networks.entry(network).or_default() += 1;
            Self { of_clients: Arc::clone(of_clients), client: client.clone(), network }
        })
    }
}

impl Drop for ClientShare {
    fn drop(&mut self) {
        let mut all = self.of_clients.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(mut entry) = all.entry(self.client.clone()) else { return };
        let held = entry.get_mut();
        held.all -= 1;
        if let Entry::Occupied(mut of_network) = held.of_networks.entry(self.network) {
            *of_network.get_mut() -= 1;
            if *of_network.get() == 0 {
                of_network.remove();
            }
        }
        if held.all == 0 {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    /// A runtime, its jobs, and the gate that they wait at.
    struct Bench {
        runtime: tokio::runtime::Runtime,
        jobs: ControlJobs,
        open: watch::Sender<bool>,
    }

    impl Bench {
        fn new() -> Self {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            let jobs = ControlJobs::on(runtime.handle().clone());
            Self { runtime, jobs, open: watch::Sender::new(false) }
        }

        /// How many jobs of a class are taken on, of so many that wait for the gate.
        fn wait(&self, class: &Class, count: usize) -> usize {
            let submit = |_: &usize| {
                let mut gate = self.open.subscribe();
                let job = async move {
                    gate.wait_for(|open| *open).await.expect("opened");
                };
                self.jobs.submit(class.clone(), Box::pin(job)).is_ok()
            };
            (0..count).filter(submit).count()
        }

        /// Opens the gate, and waits until a class is empty.
        fn empty(&self, room: &Arc<Semaphore>, most: usize) {
            self.open.send_replace(true);
            let all = u32::try_from(most).expect("a small number");
            drop(self.runtime.block_on(room.acquire_many(all)).expect("not closed"));
        }
    }

    /// A question to the Auth API of a client, from an address.
    fn asked(name: &str, from: &str) -> Class {
        Class::AuthApi { client: name.parse().expect("a label"), from: from.parse().expect("an address") }
    }

    fn client(name: &str) -> Class {
        asked(name, "192.0.2.1")
    }

    /// How many questions to a client's Auth API are taken on from more networks than have room.
    fn wait_everywhere(bench: &Bench, name: &str) -> usize {
        let of = |network: u8| bench.wait(&asked(name, &format!("192.0.2.{network}")), AUTH_API);
        (0..8).map(of).sum()
    }

    #[test]
    fn a_full_class_says_so_leaves_the_others_alone_and_has_room_again() {
        for (class, most) in [
            (Class::Logins, LOGINS),
            (Class::Sessions, SESSIONS),
            (Class::Registrations, REGISTRATIONS),
            (Class::Certificates, CERTIFICATES),
        ] {
            let bench = Bench::new();
            assert_eq!(bench.wait(&class, most + 1), most, "{class:?}");
            let others = [Class::Logins, Class::Sessions, Class::Registrations, Class::Certificates, client("shop")];
            for other in others.iter().filter(|other| **other != class) {
                assert_eq!(bench.wait(other, 1), 1, "{other:?} beside {class:?}");
            }
            let room = match class {
                Class::Logins => &bench.jobs.logins,
                Class::Sessions => &bench.jobs.sessions,
                Class::Registrations => &bench.jobs.registrations,
                _ => &bench.jobs.certificates,
            };
            bench.empty(room, most);
            assert_eq!(bench.wait(&class, 1), 1, "{class:?} has room again");
        }
    }

    #[test]
    fn a_client_whose_auth_api_is_slow_leaves_room_to_others() {
        let bench = Bench::new();
        assert_eq!(wait_everywhere(&bench, "slow"), AUTH_API_OF_CLIENT);
        let others = ["a", "b", "c"].map(|name| wait_everywhere(&bench, name));
        assert_eq!(others, [AUTH_API_OF_CLIENT; 3]);
        assert_eq!((bench.wait(&client("d"), 1), bench.wait(&Class::Sessions, 1)), (0, 1));
        bench.empty(&bench.jobs.auth_api, AUTH_API);
        assert!(bench.jobs.of_clients.lock().expect("not poisoned").is_empty(), "nobody is remembered");
        assert_eq!(bench.wait(&client("slow"), 1), 1);
    }

    #[test]
    fn a_network_that_asks_a_slow_auth_api_leaves_room_to_other_callers_of_its_client() {
        let bench = Bench::new();
        // Whoever has one address of a /64 has all of them, and an IPv4 address is the same in either form.
        for (first, neighbour, other) in
            [("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")]
        {
            assert_eq!(bench.wait(&asked("slow", first), AUTH_API), AUTH_API_OF_NETWORK, "{first}");
            assert_eq!(bench.wait(&asked("slow", neighbour), 1), 0, "{neighbour}");
            assert_eq!(bench.wait(&asked("slow", other), 1), 1, "{other}");
            assert_eq!(bench.wait(&asked("another", first), 1), 1, "{first} through another client");
        }
        bench.empty(&bench.jobs.auth_api, AUTH_API);
        assert!(bench.jobs.of_clients.lock().expect("not poisoned").is_empty(), "nobody is remembered");
        assert_eq!(bench.wait(&asked("slow", "192.0.2.1"), 1), 1, "there is room again");
    }
}
