//! Records as bytes: how they travel to the log's thread, and how the newest of them are kept.
//!
//! A record is a part of one size (its length in all, times, numbers, the lengths of its texts) and then its texts, one
//! behind the other. It needs no memory of its own and holds on to nothing that is shared.

use std::iter;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use portcullis_core::record::Record;

/// Bytes of the part that has one size.
const FIXED: usize = 4 + 4 + 2 + 12 + 4 * 8 + 16 + 4 * TEXTS;
const TEXTS: usize = 10;
/// Written as the length of a text that is not there.
const ABSENT: u32 = u32::MAX;
/// Bytes of a text that are kept. Callers choose some of them, and a record may not cost more than what it tells of.
pub(crate) const LONGEST_TEXT: usize = 1 << 10;
/// The texts, in the order in which they are packed.
const NAMES: [&str; TEXTS] =
    ["request_id", "method", "path", "service", "version", "client", "user", "refusal", "reason", "target"];

/// What the first record of a buffer gets room for at least.
const FIRST: usize = 1 << 10;

const IS_IPV6: u8 = 1;
const IS_BEFORE_1970: u8 = 2;
const HAS_UPSTREAM: u8 = 4;
const HAS_GRPC: u8 = 8;

/// Which texts of a record are not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut(u16);

impl Cut {
    /// Takes what is too long off a text, and remembers that.
    fn shorten<'a>(&mut self, place: usize, text: &'a str) -> &'a str {
        if text.len() <= LONGEST_TEXT {
            return text;
        }
        self.0 |= 1 << place;
        &text[..text.floor_char_boundary(LONGEST_TEXT)]
    }

    /// Whether all of them are whole.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The names of those that are not.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter_map(move |(place, name)| (self.0 & 1 << place != 0).then_some(name))
    }
}

/// What there is to be told of an ended call, borrowed from its [`Record`] or from the bytes that became of it.
///
/// No text has more than [`LONGEST_TEXT`] bytes; `cut` says which had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of `Record`")]
pub struct RecordView<'a> {
    pub time: SystemTime,
    pub request_id: &'a str,
    pub client_ip: IpAddr,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub service: Option<&'a str>,
    pub version: Option<&'a str>,
    pub client: Option<&'a str>,
    pub user: Option<&'a str>,
    /// In microseconds, as it is shown.
    pub duration: u64,
    /// In microseconds, as it is shown.
    pub upstream_duration: Option<u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub refusal: Option<&'a str>,
    pub reason: Option<&'a str>,
    pub grpc_status: Option<u8>,
    pub target: Option<&'a str>,
    pub cut: Cut,
}

impl<'a> RecordView<'a> {
    /// What is shown of a record.
    pub fn of(record: &'a Record) -> Self {
        let mut cut = Cut::default();
        let [request_id, method, path] = [record.request_id.as_str(), record.method.as_str(), &*record.path];
        let mut place = 0;
        let mut always = |text: &'a str| {
            place += 1;
            cut.shorten(place - 1, text)
        };
        let [request_id, method, path] = [always(request_id), always(method), always(path)];
        let mut maybe = |text: Option<&'a str>| {
            place += 1;
            text.map(|text| cut.shorten(place - 1, text))
        };
        Self {
            time: record.time,
            request_id,
            client_ip: record.client_ip,
            method,
            path,
            status: record.status,
            // In the order of their names.
            service: maybe(record.service.as_deref()),
            version: maybe(record.version.as_deref()),
            client: maybe(record.client.as_deref()),
            user: maybe(record.user.as_deref()),
            duration: micros(record.duration),
            upstream_duration: record.upstream_duration.map(micros),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            refusal: maybe(record.refusal),
            reason: maybe(record.reason.as_deref()),
            grpc_status: record.grpc_status,
            target: maybe(record.target.as_deref()),
            cut,
        }
    }

    /// Reads what [`Packing::write`] wrote.
    pub(crate) fn unpack(record: &'a [u8]) -> Option<Self> {
        let (fixed, texts) = record.split_first_chunk::<FIXED>()?;
        let mut fixed = Fields(fixed);
        let mut texts = std::str::from_utf8(texts).ok()?;
        let _size: [u8; 4] = fixed.next()?;
        let [flags, grpc_status] = fixed.next()?;
        let has = |flag: u8| flags & flag != 0;
        let status = u16::from_le_bytes(fixed.next()?);
        let cut = Cut(u16::from_le_bytes(fixed.next()?));
        let seconds = Duration::from_secs(u64::from_le_bytes(fixed.next()?));
        let since = seconds.checked_add(Duration::from_nanos(u32::from_le_bytes(fixed.next()?).into()))?;
        let epoch = SystemTime::UNIX_EPOCH;
        let time = if has(IS_BEFORE_1970) { epoch.checked_sub(since)? } else { epoch.checked_add(since)? };
        let mut number = || Some(u64::from_le_bytes(fixed.next()?));
        let [duration, upstream, bytes_in, bytes_out] = [number()?, number()?, number()?, number()?];
        let address: [u8; 16] = fixed.next()?;
        let client_ip = match address.first_chunk::<4>() {
            Some(short) if !has(IS_IPV6) => IpAddr::from(*short),
            _ => IpAddr::from(address),
        };
        let mut text = || {
            let length = u32::from_le_bytes(fixed.next()?);
            if length == ABSENT {
                return Some(None);
            }
            let (text, rest) = texts.split_at_checked(length as usize)?;
            texts = rest;
            Some(Some(text))
        };
        Some(Self {
            time,
            request_id: text()??,
            client_ip,
            method: text()??,
            path: text()??,
            status,
            service: text()?,
            version: text()?,
            client: text()?,
            user: text()?,
            duration,
            upstream_duration: has(HAS_UPSTREAM).then_some(upstream),
            bytes_in,
            bytes_out,
            refusal: text()?,
            reason: text()?,
            grpc_status: has(HAS_GRPC).then_some(grpc_status),
            target: text()?,
            cut,
        })
    }

    /// In the order in which they are packed, which is that of the fields.
    fn texts(&self) -> [Option<&'a str>; TEXTS] {
        [
            Some(self.request_id),
            Some(self.method),
            Some(self.path),
            self.service,
            self.version,
            self.client,
            self.user,
            self.refusal,
            self.reason,
            self.target,
        ]
    }
}

/// A record that is about to be packed.
pub(crate) struct Packing<'a> {
    shown: RecordView<'a>,
    texts: [Option<&'a str>; TEXTS],
    size: usize,
}

impl<'a> Packing<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        let shown = RecordView::of(record);
        let texts = shown.texts();
        let size = FIXED + texts.iter().flatten().map(|text| text.len()).sum::<usize>();
        Self { shown, texts, size }
    }

    /// How many bytes it will be.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Appends it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let RecordView { time, client_ip, status, upstream_duration, grpc_status, cut, .. } = self.shown;
        let epoch = SystemTime::UNIX_EPOCH;
        let (since, mut flags) = match time.duration_since(epoch) {
            Ok(since) => (since, 0),
            Err(before) => (before.duration(), IS_BEFORE_1970),
        };
        let mut address = [0; 16];
        match client_ip {
            IpAddr::V4(short) => address[..4].copy_from_slice(&short.octets()),
            IpAddr::V6(long) => {
                flags |= IS_IPV6;
                address = long.octets();
            }
        }
        flags |= if upstream_duration.is_some() { HAS_UPSTREAM } else { 0 };
        flags |= if grpc_status.is_some() { HAS_GRPC } else { 0 };
        let mut fixed = Places { bytes: [0; FIXED], at: 0 };
        fixed.put(number(self.size).to_le_bytes());
        fixed.put([flags, grpc_status.unwrap_or_default()]);
        fixed.put(status.to_le_bytes());
        fixed.put(cut.0.to_le_bytes());
        fixed.put(since.as_secs().to_le_bytes());
        fixed.put(since.subsec_nanos().to_le_bytes());
        for number in [self.shown.duration, upstream_duration.unwrap_or_default()] {
            fixed.put(number.to_le_bytes());
        }
        for number in [self.shown.bytes_in, self.shown.bytes_out] {
            fixed.put(number.to_le_bytes());
        }
        fixed.put(address);
        for text in &self.texts {
            fixed.put(text.map_or(ABSENT, |text| number(text.len())).to_le_bytes());
        }
        out.extend_from_slice(&fixed.bytes);
        for text in self.texts.iter().flatten() {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Makes room for a record of this size in a buffer, which grows as vectors do, but beyond `most` bytes only for one that
/// does not fit into them.
pub(crate) fn make_room(buffer: &mut Vec<u8>, size: usize, most: usize) {
    let needed = buffer.len() + size;
    if needed > buffer.capacity() {
        let larger = (buffer.capacity() * 2).max(FIRST).min(most).max(needed);
        buffer.reserve_exact(larger - buffer.len());
    }
}

/// The packed records in these bytes, one by one, each still packed.
pub(crate) fn each(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let size = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
        let (record, rest) = bytes.split_at_checked(size.max(FIXED))?;
        bytes = rest;
        Some(record)
    })
}

/// When the call of the first of these packed records ended: microseconds from 1970, by its own account.
pub(crate) fn ended(bytes: &[u8]) -> i64 {
    let read = || {
        let mut fixed = Fields(bytes.first_chunk::<FIXED>()?);
        let [_, _, _, _, flags, _, _, _, _, _] = fixed.next()?;
        let seconds = u64::from_le_bytes(fixed.next()?).saturating_mul(1_000_000);
        let arrived = seconds.saturating_add(u64::from(u32::from_le_bytes(fixed.next()?) / 1_000));
        let arrived = i64::try_from(arrived).unwrap_or(i64::MAX);
        let arrived = if flags & IS_BEFORE_1970 == 0 { arrived } else { -arrived };
        Some(arrived.saturating_add_unsigned(u64::from_le_bytes(fixed.next()?)))
    };
    read().unwrap_or_default()
}

/// Places of the fixed part that are filled one after the other.
struct Places {
    bytes: [u8; FIXED],
    at: usize,
}

impl Places {
    #[inline]
    fn put<const N: usize>(&mut self, value: [u8; N]) {
        self.bytes[self.at..self.at + N].copy_from_slice(&value);
        self.at += N;
    }
}

/// The fixed part, read from its beginning.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    #[inline]
    fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*value)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Of a length, which fits because every text is short enough.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use http::Method;
    use portcullis_core::call::RequestId;
    use portcullis_core::message::FieldValue;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn packed(record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        let packing = Packing::of(record);
        packing.write(&mut out);
        assert_eq!(out.len(), packing.size());
        out
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z/]{0,12}", any::<String>(), "\\PC{300,400}"]
    }

    fn time() -> impl Strategy<Value = SystemTime> {
        let since = (0..1_u64 << 62, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos));
        let epoch = SystemTime::UNIX_EPOCH;
        (any::<bool>(), since).prop_map(move |(before, since)| if before { epoch - since } else { epoch + since })
    }

    prop_compose! {
        fn any_record()(
            times in (time(), any::<u64>(), option::of(any::<u64>())),
            always in ("[!-~]{1,128}", any::<IpAddr>(), "[A-Za-z]{1,20}", text()),
            numbers in (any::<u16>(), any::<u64>(), any::<u64>(), option::of(any::<u8>())),
            texts in prop::array::uniform6(option::of(text())),
            refusal in option::of(prop_oneof![Just("no_route"), Just("client_closed_request")]),
        ) -> Record {
            let shared = |at: usize| texts[at].as_deref().map(Into::into);
            Record {
                time: times.0,
                request_id: RequestId::from_header(FieldValue::of(&always.0).expect("a value").value()).expect("an id"),
                client_ip: always.1,
                method: Method::from_bytes(always.2.as_bytes()).expect("a method"),
                path: always.3.as_str().into(),
                status: numbers.0,
                service: shared(0),
                version: shared(1),
                client: shared(2),
                user: shared(3),
                duration: Duration::from_micros(times.1),
                upstream_duration: times.2.map(Duration::from_micros),
                bytes_in: numbers.1,
                bytes_out: numbers.2,
                refusal,
                reason: texts[4].as_deref().map(Into::into),
                grpc_status: numbers.3,
                target: shared(5),
                series: Default::default(),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_back_field_by_field(records in prop::collection::vec(any_record(), 1..5)) {
            let mut bytes = Vec::new();
            for record in &records {
                Packing::of(record).write(&mut bytes);
            }
            let found: Vec<_> = each(&bytes).collect();
            prop_assert_eq!(found.len(), records.len());
            for (found, record) in found.into_iter().zip(&records) {
                let shown = RecordView::unpack(found).expect("is whole");
                prop_assert_eq!(shown.time, record.time);
                prop_assert_eq!(shown.request_id, record.request_id.as_str());
                prop_assert_eq!(shown.client_ip, record.client_ip);
                prop_assert_eq!(shown.method, record.method.as_str());
                prop_assert_eq!(shown.path, &*record.path);
                prop_assert_eq!(shown.status, record.status);
                prop_assert_eq!(shown.service, record.service.as_deref());
                prop_assert_eq!(shown.version, record.version.as_deref());
                prop_assert_eq!(shown.client, record.client.as_deref());
                prop_assert_eq!(shown.user, record.user.as_deref());
                prop_assert_eq!(Duration::from_micros(shown.duration), record.duration);
                prop_assert_eq!(shown.upstream_duration.map(Duration::from_micros), record.upstream_duration);
                prop_assert_eq!(shown.bytes_in, record.bytes_in);
                prop_assert_eq!(shown.bytes_out, record.bytes_out);
                prop_assert_eq!(shown.refusal, record.refusal);
                prop_assert_eq!(shown.reason, record.reason.as_deref());
                prop_assert_eq!(shown.grpc_status, record.grpc_status);
                prop_assert_eq!(shown.target, record.target.as_deref());
                prop_assert_eq!(shown, RecordView::of(record));
            }
        }

        #[test]
        fn whatever_the_bytes_are_reading_them_comes_to_an_end(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            record in any_record(),
            cut in any::<prop::sample::Index>(),
        ) {
            let read = |bytes: &[u8]| each(bytes).filter_map(RecordView::unpack).count();
            read(&bytes);
            read(&[&[0; FIXED], bytes.as_slice()].concat());
            let whole = packed(&record);
            prop_assert_eq!(read(&whole), 1);
            prop_assert_eq!(read(&whole[..cut.index(whole.len())]), 0);
        }
    }

    /// A record in which this text alone is long.
    fn with(name: &str, long: &str) -> Record {
        let mut record = crate::line::tests::record(SystemTime::UNIX_EPOCH);
        let shared = || Some(long.into());
        match name {
            "method" => record.method = Method::from_bytes(long.as_bytes()).expect("a method"),
            "path" => record.path = long.into(),
            "service" => record.service = shared(),
            "version" => record.version = shared(),
            "client" => record.client = shared(),
            "user" => record.user = shared(),
            "refusal" => record.refusal = Some(long.to_owned().leak()),
            "reason" => record.reason = Some(long.into()),
            "target" => record.target = shared(),
            _ => panic!("an id has at most 128 characters"),
        }
        record
    }

    #[test]
    fn a_long_text_is_cut_and_said_to_be_whichever_it_is() {
        for name in NAMES.into_iter().skip(1) {
            for (length, is_cut) in [(LONGEST_TEXT, false), (LONGEST_TEXT + 1, true), (16 << 10, true)] {
                let record = with(name, &"x".repeat(length));
                let bytes = packed(&record);
                assert!(bytes.len() < LONGEST_TEXT + 512, "{name}: {}", bytes.len());
                let shown = RecordView::unpack(&bytes).expect("is whole");
                assert_eq!(shown, RecordView::of(&record), "{name}");
                let place = NAMES.iter().position(|other| *other == name).expect("one of them");
                assert_eq!(shown.texts()[place].map(str::len), Some(length.min(LONGEST_TEXT)), "{name}");
                let cut: Vec<_> = shown.cut.names().collect();
                assert_eq!(cut, if is_cut { vec![name] } else { vec![] });
            }
        }
    }

    #[test]
    fn a_text_is_cut_between_two_characters() {
        let record = with("path", &format!("a{}", "é".repeat(LONGEST_TEXT)));
        let bytes = packed(&record);
        let shown = RecordView::unpack(&bytes).expect("is whole");
        assert_eq!(shown.path.len(), LONGEST_TEXT - 1);
        assert_eq!(shown.target, Some("10.0.0.7:8080"), "what comes behind it is in its place");
    }
}
