//! The names of header fields that the gateway knows: one place for all, in two groups, each in the order of the alphabet.

use http::header;

use super::FieldName;

macro_rules! standard {
    ($($name:ident $shown:literal)+) => {
        $(
            #[doc = concat!("`", $shown, "`.")]
            pub const $name: FieldName = FieldName::standard(header::$name);
        )+
    };
}

macro_rules! own {
    ($($(#[$doc:meta])+ $name:ident $written:literal)+) => {
        $(
            $(#[$doc])+
            pub const $name: FieldName = FieldName::from_static($written);
        )+
    };
}

standard! {
    ACCEPT "Accept"
    ACCEPT_ENCODING "Accept-Encoding"
    ACCESS_CONTROL_ALLOW_CREDENTIALS "Access-Control-Allow-Credentials"
    ACCESS_CONTROL_ALLOW_HEADERS "Access-Control-Allow-Headers"
    ACCESS_CONTROL_ALLOW_METHODS "Access-Control-Allow-Methods"
    ACCESS_CONTROL_ALLOW_ORIGIN "Access-Control-Allow-Origin"
    ACCESS_CONTROL_EXPOSE_HEADERS "Access-Control-Expose-Headers"
    ACCESS_CONTROL_MAX_AGE "Access-Control-Max-Age"
    ACCESS_CONTROL_REQUEST_HEADERS "Access-Control-Request-Headers"
    ACCESS_CONTROL_REQUEST_METHOD "Access-Control-Request-Method"
    ALLOW "Allow"
    ALT_SVC "Alt-Svc"
    AUTHORIZATION "Authorization"
    CACHE_CONTROL "Cache-Control"
    CONNECTION "Connection"
    CONTENT_ENCODING "Content-Encoding"
    CONTENT_LENGTH "Content-Length"
    CONTENT_TYPE "Content-Type"
    COOKIE "Cookie"
    DATE "Date"
    ETAG "ETag"
    EXPECT "Expect"
    HOST "Host"
    IF_NONE_MATCH "If-None-Match"
    LINK "Link"
    LOCATION "Location"
    ORIGIN "Origin"
    PROXY_AUTHENTICATE "Proxy-Authenticate"
    PROXY_AUTHORIZATION "Proxy-Authorization"
    RETRY_AFTER "Retry-After"
    SET_COOKIE "Set-Cookie"
    STRICT_TRANSPORT_SECURITY "Strict-Transport-Security"
    TE "TE"
    TRAILER "Trailer"
    TRANSFER_ENCODING "Transfer-Encoding"
    UPGRADE "Upgrade"
    VARY "Vary"
    VIA "Via"
    WWW_AUTHENTICATE "WWW-Authenticate"
}

own! {
    /// The digest of the content (RFC 9530).
    CONTENT_DIGEST "content-digest"
    /// Who brought the call, in one field (RFC 7239).
    FORWARDED "forwarded"
    /// How a call of gRPC ended, in words, percent-encoded.
    GRPC_MESSAGE "grpc-message"
    /// When a caller of gRPC that tries again by itself should do so, in milliseconds.
    GRPC_RETRY_PUSHBACK_MS "grpc-retry-pushback-ms"
    /// How a call of gRPC ended, as a number.
    GRPC_STATUS "grpc-status"
    /// How long a caller of gRPC waits.
    GRPC_TIMEOUT "grpc-timeout"
    /// How long a connection of HTTP/1.0 is kept.
    KEEP_ALIVE "keep-alive"
    /// What some write in place of `Connection`.
    PROXY_CONNECTION "proxy-connection"
    /// What is left of the limits of a call (draft-ietf-httpapi-ratelimit-headers).
    RATELIMIT "ratelimit"
    /// What the limits of a call admit.
    RATELIMIT_POLICY "ratelimit-policy"
    /// What answers the key (RFC 6455 section 11.3.3).
    SEC_WEBSOCKET_ACCEPT "sec-websocket-accept"
    /// What a caller who wishes for WebSocket has drawn (RFC 6455 section 11.3.1).
    SEC_WEBSOCKET_KEY "sec-websocket-key"
    /// The signatures of a message (RFC 9421).
    SIGNATURE "signature"
    /// What the signatures of a message cover, and when and with which key they were made (RFC 9421).
    SIGNATURE_INPUT "signature-input"
    /// The trace a call belongs to (W3C Trace Context).
    TRACEPARENT "traceparent"
    /// What others say beside it.
    TRACESTATE "tracestate"
    /// The client that calls, in fomalhaut's dialect `api`; for the gateway, and for the backend.
    X_API_ACCESS_KEY "x-api-access-key"
    /// A user's token in fomalhaut's dialect `api`.
    X_API_ACCESS_TOKEN "x-api-access-token"
    /// An API key, for the gateway alone.
    X_API_KEY "x-api-key"
    /// The signature of a message in fomalhaut's dialect `api`.
    X_API_SIGNATURE "x-api-signature"
    /// base64 of the JSON of the logged-in user, for backends of fomalhaut's dialect `api`.
    X_API_USER_JSON "x-api-user-json"
    /// The client that calls, for the backend.
    X_APP_ID "x-app-id"
    /// A token, as some send it in place of `Authorization`.
    X_AUTH_TOKEN "x-auth-token"
    /// A user's token in fomalhaut's dialect `fo`.
    X_FO_ACCESS_TOKEN "x-fo-access-token"
    /// The client that calls, in fomalhaut's dialect `fo`.
    X_FO_APP_ID "x-fo-app-id"
    /// The signature of a message in fomalhaut's dialect `fo`.
    X_FO_SIGNATURE "x-fo-signature"
    /// When a message was sent, in seconds, in fomalhaut's dialect `fo`.
    X_FO_TIMESTAMP "x-fo-timestamp"
    /// The addresses a call came through, a list.
    X_FORWARDED_FOR "x-forwarded-for"
    /// The host the call was for.
    X_FORWARDED_HOST "x-forwarded-host"
    /// The scheme the call came with.
    X_FORWARDED_PROTO "x-forwarded-proto"
    /// Says that a browser speaks gRPC-Web.
    X_GRPC_WEB "x-grpc-web"
    /// The stable code of a refusal over gRPC; in JSON it is the member `code`.
    X_PORTCULLIS_CODE "x-portcullis-code"
    /// The id of the call, for everybody.
    X_REQUEST_ID "x-request-id"
    /// base64 of the JSON of the logged-in user, for the backend.
    X_USER_JSON "x-user-json"
}
