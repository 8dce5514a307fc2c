//! Numbers as columns hold them, and what the database says as the port's errors.

use portcullis_core::ports::RegistryError;

use super::{away, room};

#[expect(clippy::needless_pass_by_value, reason = "stands in `map_err`, which passes values")]
pub(crate) fn storage(error: sqlx::Error) -> RegistryError {
    match room::is_full(&error) {
        true => RegistryError::Full(error.to_string()),
        false if away::is_away(&error) => RegistryError::Unavailable(error.to_string()),
        false => RegistryError::Storage(error.to_string()),
    }
}

/// SQLite has signed integers only.
pub(crate) fn to_integer(number: u64) -> Result<i64, RegistryError> {
    i64::try_from(number).map_err(|_| RegistryError::Storage(format!("{number} is too great to be stored")))
}

pub(crate) fn to_unsigned(number: i64) -> Result<u64, RegistryError> {
    u64::try_from(number).map_err(|_| RegistryError::Storage("a stored number is negative".to_owned()))
}
