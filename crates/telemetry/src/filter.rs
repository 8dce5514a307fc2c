//! Which records a search wants.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::packed::RecordView;

/// Why a filter cannot be read.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum FilterError {
    /// There is no filter of this name.
    #[error("there is no filter '{0}'; there are service, status, client, user, path and since")]
    Unknown(String),
    /// Not a name or `name/version`.
    #[error("service is a name like 'orders' or a name and a version like 'orders/v1'")]
    Service,
    /// Neither a status nor a class of them.
    #[error("status is a number like 404 or a class like '4xx'")]
    Status,
    /// Neither RFC 3339 nor Unix seconds.
    #[error("since is a time like '2026-01-31T12:00:00Z' or seconds since 1970")]
    Since,
}

/// A service in every version, or in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceMatch {
    /// Its name.
    pub name: String,
    /// Its version; every one if absent.
    pub version: Option<String>,
}

impl FromStr for ServiceMatch {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let (name, version) = match text.split_once('/') {
            None => (text, None),
            Some((name, version)) => (name, Some(version)),
        };
        if name.is_empty() || version.is_some_and(|version| version.is_empty() || version.contains('/')) {
            return Err(FilterError::Service);
        }
        Ok(Self { name: name.to_owned(), version: version.map(str::to_owned) })
    }
}

/// One status, or a class of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusMatch {
    /// This very status.
    Exact(u16),
    /// Those that begin with this digit, written `4xx`.
    Class(u16),
}

impl FromStr for StatusMatch {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let number = |digits: &str| {
            let fine = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|_| fine)
        };
        if let Some(digit) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            return number(digit).filter(|class| (1..=9).contains(class)).map(Self::Class).ok_or(FilterError::Status);
        }
        number(text).filter(|status| (100..=999).contains(status)).map(Self::Exact).ok_or(FilterError::Status)
    }
}

/// What a record must fulfil, all of it; an empty filter takes every record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The service that was called.
    pub service: Option<ServiceMatch>,
    /// The status of the answer.
    pub status: Option<StatusMatch>,
    /// The client that called, by name.
    pub client: Option<String>,
    /// The user that called, by user name.
    pub user: Option<String>,
    /// What the canonical path begins with.
    pub path: Option<String>,
    /// The earliest arrival.
    pub since: Option<SystemTime>,
}

impl Filter {
    /// Sets one condition by its name as the admin API and the command line write it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), FilterError> {
        match name {
            "service" => self.service = Some(value.parse()?),
            "status" => self.status = Some(value.parse()?),
            "client" => self.client = Some(value.to_owned()),
            "user" => self.user = Some(value.to_owned()),
            "path" => self.path = Some(value.to_owned()),
            "since" => self.since = Some(moment(value)?),
            other => return Err(FilterError::Unknown(other.to_owned())),
        }
        Ok(())
    }

    /// Whether it takes the record.
    pub fn takes(&self, record: &RecordView<'_>) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| match wanted {
            None => true,
            Some(wanted) => found == Some(wanted),
        };
        let service = self
            .service
            .as_ref()
            .is_none_or(|wanted| record.service == Some(&wanted.name) && same(&wanted.version, record.version));
        let status = match self.status {
            None => true,
            Some(StatusMatch::Exact(status)) => record.status == status,
            Some(StatusMatch::Class(class)) => record.status / 100 == class,
        };
        service
            && status
            && same(&self.client, record.client)
            && same(&self.user, record.user)
            && self.path.as_ref().is_none_or(|prefix| record.path.starts_with(prefix.as_str()))
            && self.since.is_none_or(|since| record.time >= since)
    }
}

/// RFC 3339, or seconds since 1970 with an optional fraction.
fn moment(text: &str) -> Result<SystemTime, FilterError> {
    let since = if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        let seconds = text.parse::<f64>().map_err(|_| FilterError::Since)?;
        Duration::try_from_secs_f64(seconds).map_err(|_| FilterError::Since)?
    } else {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| FilterError::Since)?;
        // What is before 1970 is before every call.
        Duration::try_from(moment - OffsetDateTime::UNIX_EPOCH).unwrap_or_default()
    };
    SystemTime::UNIX_EPOCH.checked_add(since).ok_or(FilterError::Since)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Filter, FilterError> {
        let mut filter = Filter::default();
        filter.set(name, value).map(|()| filter)
    }

    #[test]
    fn filters_are_read_strictly() {
        for (name, value, error) in [
            ("service", "", FilterError::Service),
            ("service", "/v1", FilterError::Service),
            ("service", "orders/", FilterError::Service),
            ("service", "a/b/c", FilterError::Service),
            ("status", "", FilterError::Status),
            ("status", "99", FilterError::Status),
            ("status", "+404", FilterError::Status),
            ("status", "1000", FilterError::Status),
            ("status", "xx", FilterError::Status),
            ("status", "0xx", FilterError::Status),
            ("status", "44xx", FilterError::Status),
            ("since", "", FilterError::Since),
            ("since", "yesterday", FilterError::Since),
            ("since", "-1", FilterError::Since),
            ("since", "1.2.3", FilterError::Since),
            ("since", "99999999999999999999999", FilterError::Since),
            ("since", "2026-01-31", FilterError::Since),
            ("colour", "red", FilterError::Unknown("colour".to_owned())),
        ] {
            assert_eq!(read(name, value), Err(error), "{name}={value}");
        }
    }

    #[test]
    fn a_moment_is_a_date_or_a_number() {
        let at = |millis| Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
        for (text, millis) in [
            ("0", 0),
            ("1769860800", 1_769_860_800_000),
            ("1769860800.5", 1_769_860_800_500),
            ("2026-01-31T12:00:00Z", 1_769_860_800_000),
            ("2026-01-31T13:00:00.250+01:00", 1_769_860_800_250),
            ("1969-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(read("since", text).map(|filter| filter.since), Ok(at(millis)), "{text}");
        }
    }

    #[test]
    fn fuzz_filters() {
        let seeds = [
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00.123456789+01:00",
            "1769860800.5",
            "0",
            "1960-01-01T00:00:00Z",
            "4xx",
            "404",
            "orders/v1",
            "9999-12-31T23:59:60Z",
        ];
        crate::fuzzing::run("filters", &seeds, |input| {
            let Ok(text) = std::str::from_utf8(input) else { return None };
            let answers = ["service", "status", "since", "path"].map(|name| read(name, text).is_ok());
            if let Ok(time) = moment(text) {
                // What is told in another form is the same moment, and whole numbers are seconds.
                let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("not before 1970");
                let whole = text.parse::<u64>().ok().filter(|seconds| *seconds < 1 << 53);
                assert!(whole.is_none_or(|seconds| since == Duration::from_secs(seconds)), "{text}");
                let again = OffsetDateTime::from_unix_timestamp_nanos(i128::try_from(since.as_nanos()).unwrap_or(0));
                if let Some(written) = again.ok().and_then(|again| again.format(&Rfc3339).ok()) {
                    assert_eq!(moment(&written), Ok(time), "{written}");
                }
            }
            if let Ok(StatusMatch::Exact(status)) = text.parse() {
                assert!((100..=999).contains(&status));
            }
            Some((answers, text.len().min(30)))
        });
    }
}
