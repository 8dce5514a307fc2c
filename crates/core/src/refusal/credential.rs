//! What a caller proves itself with, and the challenge (`WWW-Authenticate`) of each where it did not.

/// What a caller did not show, or showed wrongly. One per `WWW-Authenticate` challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer,
    /// `X-API-Key: …`.
    ApiKey,
    /// A certificate in the TLS handshake.
    ClientCertificate,
    /// A user name with its password, or a refresh token, in a body.
    Login,
    /// A registration or enrolment token in `Authorization`.
    Enrolment,
    /// A signature over the request: of one of fomalhaut's dialects, or HTTP message signatures (RFC 9421).
    Signature,
}

impl Credential {
    pub(super) fn missing(self) -> &'static str {
        match self {
            Self::Bearer => "this service wants an access token in 'Authorization: Bearer …'",
            Self::ApiKey => "this service wants a key in 'X-API-Key'",
            Self::ClientCertificate => "this service wants a client certificate over TLS",
            Self::Login => "a user name and a password are needed",
            Self::Enrolment => "registering wants an enrolment token in 'Authorization: Bearer …'",
            Self::Signature => "this service requires a signed request",
        }
    }

    pub(super) fn invalid(self) -> &'static str {
        match self {
            Self::Bearer => "the access token is not valid here, has expired, or was revoked",
            Self::ApiKey => "the API key is not known",
            Self::ClientCertificate => "the client certificate is not known here",
            Self::Login => "the user name, password or token is wrong",
            Self::Enrolment => "the enrolment token is not known, has expired, is used up, or is not for this name",
            Self::Signature => "the signature does not match the request, or the client's secret is another one",
        }
    }

    pub(super) fn challenge(self, invalid: bool) -> &'static str {
        match (self, invalid) {
            (Self::Bearer, false) => "Bearer realm=\"portcullis\"",
            (Self::Bearer, true) => "Bearer realm=\"portcullis\", error=\"invalid_token\"",
            (Self::ApiKey, _) => "ApiKey realm=\"portcullis\", header=\"X-API-Key\"",
            (Self::ClientCertificate, _) => "ClientCertificate realm=\"portcullis\"",
            (Self::Login, _) => "Login realm=\"portcullis\"",
            (Self::Enrolment, _) => "Bearer realm=\"portcullis registration\"",
            (Self::Signature, _) => "Signature realm=\"portcullis\"",
        }
    }
}
