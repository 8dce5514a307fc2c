//! Names by DNS: the hosts file first, then the name servers, with the search domains of `/etc/resolv.conf`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::{Either, select};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use tokio::time::timeout;

use super::found::{Failure, Found};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// Who is asked where the file names nobody (resolv.conf(5)).
const THIS_MACHINE: &str = "\nnameserver 127.0.0.1\n";
/// The longest that one query waits for an answer. Over UDP it is sent more than once in that time.
const LONGEST_QUERY: Duration = Duration::from_secs(5);
/// The longest that all queries for one name take.
const LONGEST: Duration = Duration::from_secs(10);
/// How long the addresses of one family wait for those of the other, which a name server may be silent about.
const OTHER_FAMILY: Duration = Duration::from_millis(250);
/// How long what the hosts file says is used, unless it changes: it is looked at again then.
const HOSTS_LAST: Duration = Duration::from_secs(1);

/// Asks name servers.
#[derive(Debug)]
pub(super) struct Dns {
    /// Which; those of `/etc/resolv.conf`, if empty.
    servers: Vec<SocketAddr>,
    current: Mutex<Option<(Files, Arc<Client>)>>,
}

/// What the files are told by, when they are looked at again.
type Files = [Option<(SystemTime, u64)>; 2];

/// What the files say.
struct Client {
    resolver: TokioResolver,
    hosts: Hosts,
    search: Vec<Name>,
    ndots: usize,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("search", &self.search).field("ndots", &self.ndots).finish_non_exhaustive()
    }
}

impl Dns {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, current: Mutex::default() }
    }

    /// Asks for the addresses of a name, of both families.
    pub(super) async fn ask(&self, name: &str) -> Result<Found, Failure> {
        let client = self.client().map_err(|error| Failure::passing(error.to_string()))?;
        let name = Name::from_ascii(name).map_err(|error| Failure::lasting(error.to_string()))?;
        if let Some(found) = client.in_hosts(&name) {
            return Ok(found);
        }
        let asked = timeout(LONGEST, client.ask(&name)).await;
        asked.unwrap_or_else(|_| Err(Failure::passing("no answer in time".to_owned())))
    }

    /// What the files say now.
    fn client(&self) -> io::Result<Arc<Client>> {
        let files = [RESOLV_CONF, HOSTS].map(seen);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = current.as_ref().filter(|(of, _)| *of == files) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Client::read(&self.servers)?);
        *current = Some((files, Arc::clone(&client)));
        Ok(client)
    }
}

/// What `/etc/resolv.conf` says. A search domain that is none leaves the name servers as they are.
fn parse(text: &[u8]) -> io::Result<(ResolverConfig, ResolverOpts)> {
    // Without a name server, it is an error too.
    let parse =
        |text: &[u8]| parse_resolv_conf(text).or_else(|_| parse_resolv_conf([text, THIS_MACHINE.as_bytes()].concat()));
    parse(text).or_else(|error| {
        tracing::warn!("{RESOLV_CONF}: {error}; its search domains are not used");
        let is_search = |line: &&[u8]| line.starts_with(b"search") || line.starts_with(b"domain");
        let rest: Vec<_> = text.split(|byte| *byte == b'\n').filter(|line| !is_search(line)).collect();
        parse(&rest.join(&b'\n')).map_err(io::Error::other)
    })
}

fn seen(path: &str) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl Client {
    fn read(servers: &[SocketAddr]) -> io::Result<Self> {
        let text = std::fs::read(RESOLV_CONF).unwrap_or_default();
        let (config, mut options) = parse(&text)?;
        let (domain, search, system) = config.into_parts();
        let search = if search.is_empty() { domain.into_iter().collect() } else { search };
        let servers = if servers.is_empty() { system } else { servers.iter().copied().map(server).collect() };
        options.timeout = options.timeout.clamp(Duration::from_secs(1), LONGEST_QUERY);
        // What is remembered, is remembered by the table; what is asked again, is asked again over UDP.
        options.cache_size = 0;
        options.attempts = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let ndots = options.ndots;
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(io::Error::other)?;
        let mut hosts = Hosts::default();
        if let Ok(file) = std::fs::File::open(HOSTS) {
            hosts.read_hosts_conf(file)?;
        }
        Ok(Self { resolver, hosts, search, ndots })
    }

    /// The addresses that the hosts file has, of whichever family.
    fn in_hosts(&self, name: &Name) -> Option<Found> {
        let of = |family| self.hosts.lookup_static_host(&Query::query(name.clone(), family));
        let lookups = [RecordType::AAAA, RecordType::A].map(of);
        let records = lookups.iter().flatten().flat_map(|lookup| lookup.answers());
        let addresses: Vec<IpAddr> = records.filter_map(|record| record.data.ip_addr()).collect();
        (!addresses.is_empty()).then_some(Found { addresses, lasts: HOSTS_LAST })
    }

    /// The names that are asked for, one after the other (resolv.conf(5), `search` and `ndots`).
    fn candidates(&self, name: &Name) -> Vec<Name> {
        let mut whole = name.clone();
        whole.set_fqdn(true);
        if name.is_fqdn() {
            return vec![whole];
        }
        let of_domains = self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
        // `search .` says nothing that would not be asked anyway.
        let mut names: Vec<_> = of_domains.filter(|found| *found != whole).collect();
        let is_whole_first = usize::from(name.num_labels()) > self.ndots;
        names.insert(if is_whole_first { 0 } else { names.len() }, whole);
        names
    }

    async fn ask(&self, name: &Name) -> Result<Found, Failure> {
        let mut failed = None;
        for candidate in self.candidates(name) {
            match self.ask_both(&candidate).await {
                Ok(found) if !found.addresses.is_empty() => return Ok(found),
                Ok(_) => {}
                // A server that answers so of one domain may know another one.
                Err(error @ NetError::Dns(DnsError::ResponseCode(_))) => failed = Some(error),
                // Whether there is such a name is not known then, and none of another domain stands in for it.
                Err(error) => return Err(Failure::passing(error.to_string())),
            }
        }
        Err(failed.map_or_else(
            || Failure::lasting("there is no such name, or it has no address".to_owned()),
            |error| Failure::passing(error.to_string()),
        ))
    }

    /// Asks for both families at once. Where neither has an address, it is an error if one of them is.
    async fn ask_both(&self, name: &Name) -> Result<Found, NetError> {
        let six = pin!(self.ask_one(name, RecordType::AAAA));
        let four = pin!(self.ask_one(name, RecordType::A));
        let (first, second) = match select(six, four).await {
            Either::Left((first, rest)) => (first, Either::Left(rest)),
            Either::Right((first, rest)) => (first, Either::Right(rest)),
        };
        let has_some = |found: &Result<Found, NetError>| found.as_ref().is_ok_and(|found| !found.addresses.is_empty());
        if !has_some(&first) {
            let second = second.await;
            return if has_some(&second) || first.is_ok() { second } else { first };
        }
        match timeout(OTHER_FAMILY, second).await {
            Ok(Ok(second)) if !second.addresses.is_empty() => first.map(|mut found| {
                found.addresses.extend(second.addresses);
                found.lasts = found.lasts.min(second.lasts);
                found
            }),
            _ => first,
        }
    }

    /// Asks for one family. That there is no address is no error.
    async fn ask_one(&self, name: &Name, family: RecordType) -> Result<Found, NetError> {
        match self.resolver.lookup(name.clone(), family).await {
            Ok(lookup) => {
                let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
                Ok(Found { addresses, lasts: lookup.valid_until().saturating_duration_since(Instant::now()) })
            }
            Err(error) if error.is_no_records_found() => Ok(Found { addresses: Vec::new(), lasts: Duration::ZERO }),
            Err(error) => Err(error),
        }
    }
}

/// A name server at an address with its port.
fn server(address: SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a machine with these files asks for.
    fn client(search: &[&str], ndots: usize, hosts: &str) -> Client {
        let mut client = Client::read(&["127.0.0.1:53".parse().expect("an address")]).expect("readable");
        client.search = search.iter().map(|domain| Name::from_ascii(domain).expect("a name")).collect();
        client.ndots = ndots;
        client.hosts = Hosts::default();
        client.hosts.read_hosts_conf(hosts.as_bytes()).expect("readable");
        client
    }

    #[tokio::test]
    async fn search_domains_are_asked_as_resolv_conf_says() {
        let client = client(&["a.test.", "b.test."], 2, "");
        for (name, asked) in [
            ("db", &["db.a.test.", "db.b.test.", "db."][..]),
            ("db.c", &["db.c.a.test.", "db.c.b.test.", "db.c."]),
            ("db.c.d", &["db.c.d.", "db.c.d.a.test.", "db.c.d.b.test."]),
            ("db.", &["db."]),
            ("my_db.", &["my_db."]),
        ] {
            let candidates = client.candidates(&Name::from_ascii(name).expect("a name"));
            assert_eq!(candidates.iter().map(ToString::to_string).collect::<Vec<_>>(), asked, "{name}");
        }
        let client = self::client(&["."], 1, "");
        assert_eq!(client.candidates(&Name::from_ascii("db").expect("a name")).len(), 1);
    }

    #[test]
    fn what_is_wrong_in_resolv_conf_costs_no_name_servers() {
        let read = |text: &str| {
            let (_, search, servers) = parse(text.as_bytes()).expect("readable").0.into_parts();
            let servers = servers.iter().map(|server| server.ip.to_string()).collect::<Vec<_>>();
            (search.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), servers.join(" "))
        };
        let is = |search: &str, servers: &str| (search.to_owned(), servers.to_owned());
        assert_eq!(
            read("search a.test b.test\nnameserver 10.0.0.1\nnameserver ::1\n"),
            is("a.test b.test", "10.0.0.1 ::1")
        );
        assert_eq!(read(""), is("", "127.0.0.1"));
        assert_eq!(read("what is this\noptions such:1\nnameserver 10.0.0.1"), is("", "10.0.0.1"));
        let too_long = "a".repeat(64);
        assert_eq!(read(&format!("nameserver 10.0.0.1\nsearch {too_long}.test\n")), is("", "10.0.0.1"));
        assert_eq!(read(&format!("search {too_long}.test")), is("", "127.0.0.1"));
    }

    #[tokio::test]
    async fn the_hosts_file_is_enough_of_an_answer() {
        let client = client(&[], 1, "10.0.0.1 db db.test\n10.0.0.2 db\n::2 db # second\nfd00::1 six\n");
        let of = |name| client.in_hosts(&Name::from_ascii(name).expect("a name")).map(|found| found.addresses);
        let all = |addresses: &[&str]| Some(addresses.iter().map(|text| text.parse().expect("an IP")).collect());
        assert_eq!(of("db"), all(&["::2", "10.0.0.1", "10.0.0.2"]));
        assert_eq!(of("DB.test"), all(&["10.0.0.1"]));
        assert_eq!(of("six."), all(&["fd00::1"]));
        assert_eq!(of("other"), None);
    }
}
