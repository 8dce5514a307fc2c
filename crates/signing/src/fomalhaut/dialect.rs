//! The two dialects of the protocol: names of header fields, algorithms, and what else differs on the wire.

use std::time::Duration;

/// One of the two dialects. Names of header fields are in lower case.
///
/// Clients of the `fo` dialect look for response fields by the prefix `X-Fo`, in this case: send them in title case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Fields named `X-Fo-…`; HMAC-SHA1 or HMAC-SHA256; URL-safe base64.
    Fo,
    /// Fields named `X-Api-…`; HMAC-SHA256 over a SHA-1; standard base64.
    Api,
}

impl Dialect {
    /// Both dialects.
    pub const ALL: [Self; 2] = [Self::Fo, Self::Api];

    const fn choose(self, fo: &'static str, api: &'static str) -> &'static str {
        match self {
            Self::Fo => fo,
            Self::Api => api,
        }
    }

    /// How the names of signed fields begin. For `fo` the prefix has no dash, so `X-Forwarded-For` is signed too.
    pub const fn prefix(self) -> &'static str {
        self.choose("x-fo", "x-api-")
    }

    /// The field with the time of signing, in whole seconds since 1970.
    pub const fn timestamp(self) -> &'static str {
        self.choose("x-fo-timestamp", "x-api-timestamp")
    }

    /// The field with the nonce: a text that the client uses once.
    pub const fn nonce(self) -> &'static str {
        self.choose("x-fo-nonce", "x-api-nonce")
    }

    /// The field that names the client.
    pub const fn client_id(self) -> &'static str {
        self.choose("x-fo-app-id", "x-api-access-key")
    }

    /// The field with the signature. It is the only field with the prefix that is not signed.
    pub const fn signature(self) -> &'static str {
        self.choose("x-fo-signature", "x-api-signature")
    }

    /// The field that says whether the payload is sealed: `aes`, or `raw` where it is not.
    pub const fn encrypt_type(self) -> &'static str {
        self.choose("x-fo-encrypt-type", "x-api-encrypt-type")
    }

    /// The field with the sealed header fields of a request: a JSON object.
    pub const fn encrypted_headers(self) -> &'static str {
        self.choose("x-fo-encrypted-headers", "x-api-encrypted-headers")
    }

    /// The field with the sealed target of a request.
    pub const fn encrypted_uri(self) -> &'static str {
        self.choose("x-fo-encrypted-uri", "x-api-encrypted-uri")
    }

    /// The field with the user's access token.
    pub const fn access_token(self) -> &'static str {
        self.choose("x-fo-access-token", "x-api-access-token")
    }

    /// The request field that asks for a signed response; [`Dialect::asks_for_signature`] reads it.
    pub const fn sign_response(self) -> &'static str {
        self.choose("x-fo-sign-response", "x-api-require-response-signature")
    }

    /// Whether a request asks for a signed response, by the value of [`Dialect::sign_response`]. In `fo` the value must
    /// be exactly `1`; in `api` the field must be there, whatever it holds.
    pub fn asks_for_signature(self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Fo => value == Some(b"1"),
            Self::Api => value.is_some(),
        }
    }

    /// How far a timestamp may be from the clock, in either direction, unless the gateway is told otherwise.
    pub const fn window(self) -> Duration {
        match self {
            Self::Fo => Duration::from_secs(600),
            Self::Api => Duration::from_secs(3_600),
        }
    }

    /// Plaintext is padded to a multiple of so many bytes before it is sealed.
    pub const fn padding_block(self) -> usize {
        match self {
            Self::Fo => 16,
            Self::Api => 32,
        }
    }

    /// The algorithm that clients of this dialect use unless they are told otherwise.
    pub const fn default_algorithm(self) -> Algorithm {
        match self {
            Self::Fo => Algorithm::HmacSha1,
            Self::Api => Algorithm::HmacSha256OfSha1,
        }
    }
}

/// How a signature is computed. Each algorithm belongs to one dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC-SHA1 of the string to sign, in the `fo` dialect.
    HmacSha1,
    /// HMAC-SHA256 of the string to sign, in the `fo` dialect.
    HmacSha256,
    /// HMAC-SHA256 of the SHA-1 of the string to sign, written as lower-case hex; in the `api` dialect. Two strings with
    /// the same SHA-1 have the same signature: it is as weak as SHA-1 against clients who can choose what is signed.
    HmacSha256OfSha1,
}

impl Algorithm {
    /// Every algorithm of both dialects.
    pub const ALL: [Self; 3] = [Self::HmacSha1, Self::HmacSha256, Self::HmacSha256OfSha1];

    /// The dialect that the algorithm belongs to.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::HmacSha1 | Self::HmacSha256 => Dialect::Fo,
            Self::HmacSha256OfSha1 => Dialect::Api,
        }
    }

    /// The length of the MAC in bytes.
    pub const fn mac_len(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 | Self::HmacSha256OfSha1 => 32,
        }
    }

    /// The length of the signature's text in bytes.
    pub const fn text_len(self) -> usize {
        match self {
            Self::HmacSha1 => 27,
            Self::HmacSha256 => 43,
            Self::HmacSha256OfSha1 => 44,
        }
    }
}
