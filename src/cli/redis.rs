//! Reading from Redis (RESP2): a few commands over one connection, with a bound on every reply.
//!
//! A client library is not worth its weight for five commands, and those there are hold whatever a server sends.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use portcullis_core::escapes::decoded;
use portcullis_core::secret::Secret;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::failure::Failure;
use super::output::printable;

/// For a connection, and for each reply.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a line of the protocol.
const LONGEST_LINE: u64 = 4_096;
/// Bytes of a value.
const LARGEST_VALUE: usize = 16 << 20;
/// Bytes of all replies between two calls of [`Redis::begin`].
const LARGEST: usize = 64 << 20;
/// Elements of a list.
const LONGEST_LIST: usize = 1 << 20;
/// Times the server is asked for more keys, and keys it is asked for at a time.
const SCANS: usize = 1_000_000;
const KEYS_AT_ONCE: &str = "1000";

/// Where Redis is, and who asks.
pub(super) struct Place {
    host: String,
    port: u16,
    user: Option<String>,
    password: Option<Secret>,
    database: u32,
}

impl Place {
    /// Reads `redis://[[user]:password@]host[:port][/database]`. What cannot be read is not repeated: there may be a password in it.
    pub(super) fn read(url: &str) -> Result<Self, Failure> {
        let bad = || Failure::Usage("expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]".to_owned());
        if url.starts_with("rediss://") {
            return Err(Failure::Usage("Redis is not spoken to over TLS; use a tunnel to its host".to_owned()));
        }
        let rest = url.strip_prefix("redis://").ok_or_else(bad)?;
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let text = |part: &str| String::from_utf8(decoded(part.as_bytes()).collect()).map_err(|_| bad());
        let (user, password) = match login.map(|login| login.split_once(':')) {
            None => (None, None),
            Some(None) => return Err(bad()),
            Some(Some((user, password))) => {
                (Some(text(user)?).filter(|user| !user.is_empty()), Some(Secret::from(text(password)?)))
            }
        };
        let (place, database) = rest.split_once('/').map_or((rest, ""), |(place, database)| (place, database));
        let database = if database.is_empty() { 0 } else { database.parse().map_err(|_| bad())? };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !place.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
            _ => (place, 6379),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
            return Err(bad());
        }
        Ok(Self { host, port, user, password, database })
    }

    /// The same, with a password from elsewhere where the URL has none.
    pub(super) fn or_password(self, password: Option<Secret>) -> Self {
        let password = self.password.or(password);
        Self { password, ..self }
    }

    /// Connects, and says who asks.
    pub(super) async fn connect(&self) -> Result<Redis, Failure> {
        let cannot = |reason: &dyn fmt::Display| Failure::failed(format!("cannot reach Redis at {self}: {reason}"));
        let connecting = timeout(PATIENCE, TcpStream::connect((self.host.as_str(), self.port))).await;
        let stream = connecting.map_err(|_| cannot(&"it does not answer"))?.map_err(|error| cannot(&error))?;
        let mut redis = Redis { place: self.to_string(), stream: BufStream::new(stream), left: LARGEST };
        if let Some(password) = &self.password {
            let words: Vec<&str> =
                ["AUTH"].into_iter().chain(self.user.as_deref()).chain([password.expose()]).collect();
            // What it answers could repeat the password.
            redis
                .ask(&words)
                .await
                .map_err(|_| cannot(&"it does not take the password"))?
                .ok("AUTH")
                .map_err(|_| Failure::failed(format!("Redis at {self} does not take the password")))?;
        }
        if self.database != 0 {
            redis
                .ask(&["SELECT", &self.database.to_string()])
                .await?
                .ok("SELECT")
                .map_err(|error| redis.said(&error))?;
        }
        Ok(redis)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A connection.
pub(super) struct Redis {
    place: String,
    stream: BufStream<TcpStream>,
    /// Bytes that may still come.
    left: usize,
}

/// What it answers.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// A status.
    Simple(String),
    /// A refusal.
    Error(String),
    /// A number.
    Integer(i64),
    /// A value; none where there is none.
    Bulk(Option<Vec<u8>>),
    /// A list.
    List(Vec<Reply>),
}

impl Reply {
    fn ok(self, command: &str) -> Result<Self, String> {
        match self {
            Self::Error(error) => Err(format!("{command}: {}", printable(&error))),
            reply => Ok(reply),
        }
    }

    /// The bytes of a value that is there.
    pub(super) fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bulk(bytes) => bytes,
            _ => None,
        }
    }
}

impl Redis {
    /// Takes new bytes into account from here on.
    pub(super) fn begin(&mut self) {
        self.left = LARGEST;
    }

    /// The keys of a pattern, so many at most.
    pub(super) async fn keys(&mut self, pattern: &str, most: usize) -> Result<BTreeSet<String>, Failure> {
        let (mut found, mut cursor) = (BTreeSet::new(), "0".to_owned());
        for _ in 0..SCANS {
            self.begin();
            let reply = self.ask(&["SCAN", &cursor, "MATCH", pattern, "COUNT", KEYS_AT_ONCE]).await?;
            let reply = reply.ok("SCAN").map_err(|error| self.said(&error))?;
            let (next, keys) = match reply {
                Reply::List(parts) => match <[Reply; 2]>::try_from(parts) {
                    Ok([next, Reply::List(keys)]) => (next.bytes(), keys),
                    _ => return Err(self.said("SCAN: this is no answer")),
                },
                _ => return Err(self.said("SCAN: this is no answer")),
            };
            for key in keys {
                // A key that is no text is none of fomalhaut's.
                found.extend(key.bytes().and_then(|key| String::from_utf8(key).ok()));
            }
            if found.len() > most {
                return Err(self.said(&format!("there are more than {most} keys '{pattern}'")));
            }
            cursor = next.and_then(|next| String::from_utf8(next).ok()).ok_or_else(|| self.said("SCAN: no cursor"))?;
            if cursor == "0" {
                return Ok(found);
            }
        }
        Err(self.said("SCAN does not end"))
    }

    /// Sends commands and reads a reply to each.
    pub(super) async fn ask_all(&mut self, commands: &[Vec<String>]) -> Result<Vec<Reply>, Failure> {
        let mut bytes = Vec::new();
        for command in commands {
            write_command(&mut bytes, command);
        }
        self.send(&bytes).await?;
        let mut replies = Vec::with_capacity(commands.len());
        for _ in commands {
            replies.push(self.reply().await?);
        }
        Ok(replies)
    }

    async fn ask(&mut self, command: &[&str]) -> Result<Reply, Failure> {
        let mut bytes = Vec::new();
        write_command(&mut bytes, command);
        self.send(&bytes).await?;
        self.reply().await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let stream = &mut self.stream;
        let sending = timeout(PATIENCE, async {
            stream.write_all(bytes).await?;
            stream.flush().await
        });
        match sending.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.said(&error.to_string())),
            Err(_) => Err(self.said("it takes nothing")),
        }
    }

    async fn reply(&mut self) -> Result<Reply, Failure> {
        let reading = timeout(PATIENCE, read(&mut self.stream, &mut self.left, 0)).await;
        reading.map_err(|_| self.said("it does not answer"))?.map_err(|error| self.said(&error))
    }

    fn said(&self, what: &str) -> Failure {
        Failure::failed(format!("Redis at {}: {what}", self.place))
    }
}

fn write_command(bytes: &mut Vec<u8>, words: &[impl AsRef<str>]) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

/// Reads a reply; `left` are the bytes that may still come.
async fn read<S>(stream: &mut S, left: &mut usize, depth: usize) -> Result<Reply, String>
where
    S: tokio::io::AsyncBufRead + Unpin + Send,
{
    let line = line(stream, left).await?;
    let Some((kind, rest)) = line.split_at_checked(1) else { return Err("this is no reply".to_owned()) };
    let number = || rest.parse::<i64>().map_err(|_| "this is no number".to_owned());
    let length = |most: usize| {
        match number()? {
            -1 => Ok(None),
            number => {
                usize::try_from(number).ok().filter(|length| *length <= most).map(Some).ok_or("a reply is too large")
            }
        }
        .map_err(str::to_owned)
    };
    match kind {
        "+" => Ok(Reply::Simple(rest.to_owned())),
        "-" => Ok(Reply::Error(rest.chars().take(200).collect())),
        ":" => number().map(Reply::Integer),
        "$" => {
            let Some(length) = length(LARGEST_VALUE)? else { return Ok(Reply::Bulk(None)) };
            spend(left, length)?;
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes).await.map_err(|error| error.to_string())?;
            if !bytes.ends_with(b"\r\n") {
                return Err("this is no reply".to_owned());
            }
            bytes.truncate(length);
            Ok(Reply::Bulk(Some(bytes)))
        }
        "*" if depth < 2 => {
            let Some(length) = length(LONGEST_LIST)? else { return Ok(Reply::List(Vec::new())) };
            let mut items = Vec::new();
            for _ in 0..length {
                items.push(Box::pin(read(stream, left, depth + 1)).await?);
            }
            Ok(Reply::List(items))
        }
        _ => Err("this is no reply".to_owned()),
    }
}

async fn line<S>(stream: &mut S, left: &mut usize) -> Result<String, String>
where
    S: tokio::io::AsyncBufRead + Unpin + Send,
{
    let mut bytes = Vec::new();
    let mut limited = stream.take(LONGEST_LINE);
    limited.read_until(b'\n', &mut bytes).await.map_err(|error| error.to_string())?;
    spend(left, bytes.len())?;
    let text = bytes.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    text.map(str::to_owned).ok_or_else(|| if bytes.is_empty() { "it hung up" } else { "this is no reply" }.to_owned())
}

fn spend(left: &mut usize, bytes: usize) -> Result<(), String> {
    *left = left.checked_sub(bytes).ok_or_else(|| format!("it sends more than {LARGEST} bytes"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Reply, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (mut bytes, mut left) = (bytes, LARGEST);
        runtime.block_on(read(&mut bytes, &mut left, 0))
    }

    #[test]
    fn replies_are_read_within_bounds() {
        let bulk = |text: &str| Reply::Bulk(Some(text.as_bytes().to_vec()));
        for (bytes, want) in [
            ("+OK\r\n", Reply::Simple("OK".to_owned())),
            ("-ERR no\r\n", Reply::Error("ERR no".to_owned())),
            (":-2\r\n", Reply::Integer(-2)),
            ("$-1\r\n", Reply::Bulk(None)),
            ("$4\r\na\r\nb\r\n", bulk("a\r\nb")),
            ("*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n", Reply::List(vec![bulk("0"), Reply::List(vec![bulk("k")])])),
            ("*-1\r\n", Reply::List(Vec::new())),
        ] {
            assert_eq!(read_all(bytes.as_bytes()), Ok(want), "{bytes:?}");
        }
        let long = format!("+{}\r\n", "x".repeat(5_000));
        for bad in [
            "",
            "+OK",
            "+OK\n",
            "?\r\n",
            "\r\n",
            "$5\r\nab\r\n",
            "$1\r\nabc",
            "$99999999999\r\n",
            "$-2\r\n",
            ":x\r\n",
            "*1\r\n*1\r\n*1\r\n+a\r\n",
            "*99999999\r\n",
            "\u{e9}\r\n",
            &long,
        ] {
            assert!(read_all(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let (mut bytes, mut left) = (&b"$9\r\n123456789\r\n"[..], 8);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert!(runtime.block_on(read(&mut bytes, &mut left, 0)).is_err(), "more than may come");
    }

    #[test]
    fn fuzz_redis_replies() {
        crate::fuzzing::run(
            "redis_replies",
            &["+OK\r\n", "*2\r\n$1\r\n0\r\n*1\r\n:1\r\n", "-ERR\r\n$-1\r\n"],
            |input| match read_all(input) {
                Ok(reply) => format!("{reply:?}").len().min(60),
                Err(error) => 100 + error.len(),
            },
        );
    }

    #[test]
    fn a_place_is_read_and_never_repeated() {
        let read = |url: &str| {
            Place::read(url).map(|place| {
                let password = place.password.as_ref().map(|password| password.expose().to_owned());
                (place.to_string(), place.user.clone(), password, place.database)
            })
        };
        let place = |text: &str, user: Option<&str>, password: Option<&str>, database| {
            (text.to_owned(), user.map(str::to_owned), password.map(str::to_owned), database)
        };
        for (url, want) in [
            ("redis://h", place("h:6379", None, None, 0)),
            ("redis://h:1/2", place("h:1", None, None, 2)),
            ("redis://:p%40@h", place("h:6379", None, Some("p@"), 0)),
            ("redis://u:p@q@[::1]:7/", place("::1:7", Some("u"), Some("p@q"), 0)),
        ] {
            assert_eq!(read(url).ok(), Some(want), "{url}");
        }
        for bad in [
            "h",
            "rediss://sesame@h",
            "redis://sesame@h",
            "redis://:sesame@h:x",
            "redis://:sesame@",
            "redis://:sesame@h/x",
        ] {
            let Err(Failure::Usage(told)) = read(bad) else { panic!("{bad}") };
            assert!(!told.contains("sesame"), "{told}");
        }
    }
}
