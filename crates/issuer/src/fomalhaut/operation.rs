//! Which operation a call of `/auth/v1` or `/account/v1` is for, by the rest of its path. The two dialects have some of the
//! same names for other things.

use portcullis_core::dialect::fomalhaut::Form;

/// The two endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `/auth/v1`: who is not logged in.
    Auth,
    /// `/account/v1`: who is.
    Account,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// A user logs in.
    LogIn,
    /// A refresh token for another pair.
    Refresh,
    /// How long an access token is still good.
    Alive,
    /// The pair of the access token in the body ends, whoever asks.
    End,
    /// The user who asks logs out.
    LogOut,
    /// The user who asks gets another password.
    ChangePassword,
}

impl Operation {
    /// The operation at the rest of a path, where a slash may stand at its end.
    pub(super) fn at(part: Part, form: Form, rest: &str) -> Option<Self> {
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        match (part, form, rest) {
            (Part::Auth, _, "/login") => Some(Self::LogIn),
            (Part::Auth, Form::Fo, "/token/refresh") | (Part::Auth, Form::Api, "/token") => Some(Self::Refresh),
            (Part::Auth, Form::Fo, "/token/alive") => Some(Self::Alive),
            (Part::Auth, Form::Api, "/logout") => Some(Self::End),
            (Part::Account, Form::Fo, "/logout") => Some(Self::LogOut),
            (Part::Account, Form::Fo, "/password/change") => Some(Self::ChangePassword),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_has_its_own_paths() {
        use Form::{Api, Fo};
        use Part::{Account, Auth};
        for (part, rest, fo, api) in [
            (Auth, "/login", Some(Operation::LogIn), Some(Operation::LogIn)),
            (Auth, "/token/refresh", Some(Operation::Refresh), None),
            (Auth, "/token", None, Some(Operation::Refresh)),
            (Auth, "/token/alive", Some(Operation::Alive), None),
            (Auth, "/logout", None, Some(Operation::End)),
            (Account, "/logout", Some(Operation::LogOut), None),
            (Account, "/password/change", Some(Operation::ChangePassword), None),
            (Account, "/login", None, None),
            (Auth, "/password/change", None, None),
            (Auth, "", None, None),
            (Auth, "/Login", None, None),
            (Auth, "/login/x", None, None),
            (Auth, "/login//", None, None),
            (Auth, "/x/login", None, None),
        ] {
            for (form, expected) in [(Fo, fo), (Api, api)] {
                assert_eq!(Operation::at(part, form, rest), expected, "{form:?} {rest}");
                if !rest.ends_with('/') {
                    assert_eq!(Operation::at(part, form, &format!("{rest}/")), expected, "{form:?} {rest}/");
                }
            }
        }
    }
}
