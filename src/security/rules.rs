//! The table of rules. A new rule is a row here, its `look`, and a line in each of the two examples of the tests.

use super::finding::About::{Declarations, Enrolments, Files, Settings};
use super::finding::Rule;
use super::finding::Severity::{Critical, High, Low, Medium};
use super::{clients, files, policies, services, settings};

/// Writes one row on a few lines.
macro_rules! rules {
    ($( $severity:ident $about:ident $id:literal $look:path: $wrong:literal => $remedy:literal; )*) => {
        /// Every rule, in the order of the reference.
        pub(super) static RULES: &[Rule] = &[
            $( Rule {
                id: $id, severity: $severity, about: $about, wrong: $wrong, remedy: $remedy, look: $look,
            }, )*
        ];
    };
}

rules! {
    High Declarations "open-without-limit" services::open_without_limit:
        "anybody may call, as often as they like" =>
        "give it `throttle` or `rate_limit`, or ask for a credential in `require`";
    Medium Declarations "open-access" services::open:
        "anybody may call, without a credential" =>
        "name the credentials in `require`, if it is not meant for everybody";
    Medium Declarations "open-to-claims" services::open_to_claims:
        "anybody may call who says that they are the client, without a credential" =>
        "name the credentials in `require`, if it is meant for that client alone";
    Medium Declarations "optional-credential" services::optional_credentials:
        "an alternative asks for less than another one, which is then never needed" =>
        "take one of the two alternatives out of `require`";
    Medium Declarations "differing-ways" services::differing_ways:
        "two paths to one service have different requirements, so a caller that one refuses can use the other" =>
        "set `default_route: false` for the service, or give its ways the same `require`, filters, rules and limits";
    Low Declarations "no-limit" services::without_limit:
        "callers who are known may call as often as they like" =>
        "give it `rate_limit` by client or user, and `throttle` against guessing";
    Medium Declarations "evadable-limit" services::limits_of_the_callers_choice:
        "every limit counts by a header field or path, so whoever varies it is not held back" =>
        "add a limit by `address` alone, or, behind credentials, by `client` or `user`";
    Medium Declarations "look-alike-services" services::twins:
        "a service has a name that differs in case alone from another's, or from one of the gateway's own" =>
        "move its callers to another name, and delete it";
    Low Declarations "shadowed-service" services::shadowed:
        "a service registered itself under a path that a route has, so its calls go elsewhere" =>
        "let it register under another name, set `registration.prefix`, or take the route out if that is not meant";
    High Declarations "shared-target" services::shared_target:
        "a service registered itself at a target of a service with rules, and whoever calls it comes past those rules" =>
        "delete it, or adopt it and give it the same rules, and set `registration.allow_targets`";
    High Declarations "plain-http-public-target" services::plain_public_target:
        "calls travel to a public address in clear, with the user's information" =>
        "give the service TLS and an `https` target, or put it on a network of your own";
    Medium Declarations "plain-http-target" services::plain_target:
        "calls travel to another machine in clear, with the user's information" =>
        "give the service TLS and an `https` target, or make sure the network between is yours alone";
    Low Declarations "plain-http-redirect" services::plain_redirect:
        "callers are sent to a place without TLS" =>
        "redirect to `https://` or to a path";
    High Declarations "plain-http-auth-api" clients::plain_auth_api:
        "users' passwords travel to another machine in clear" =>
        "give the Auth API TLS and an `https` URL";
    Medium Declarations "wildcard-grant" clients::wildcard_grant:
        "the client may call every service, also those that will be made later" =>
        "name the services it needs";
    Medium Declarations "wide-default-client" clients::wide_default_client:
        "everybody who logs in without an API key may call every service that takes user tokens" =>
        "narrow the client `default` to the services that are meant for all users";
    Low Declarations "cors-any-origin" policies::cors_any_origin:
        "any web page may call from its visitors' browsers" =>
        "name the origins of your pages";
    Medium Declarations "cors-subdomains-with-credentials" policies::cors_subdomains_with_credentials:
        "any subdomain may act with its visitors' cookies, also one that was taken over" =>
        "name the origins one by one, or leave out `credentials`";
    Medium Declarations "cors-plain-origin" policies::cors_plain_origin:
        "a page that came in clear may call, and whoever is on its way can change that page" =>
        "name the origin with `https://`";
    Medium Declarations "token-in-query" policies::token_in_query:
        "tokens may stand in the query, where histories and logs of others keep them" =>
        "take `query` out of `bearer`, and let callers use `Authorization`";
    Low Declarations "forwarded-credentials" policies::forwarded_credentials:
        "the service gets the caller's token, and can call others with it" =>
        "take `forward_credentials` out of `bearer`, and let the service read `X-User-Json`";
    Medium Declarations "debug-signatures" policies::told_signatures:
        "whoever names a client learns from a refusal that there is one, and the string its signature was verified by" =>
        "take `debug_signatures` out of `signature` once the client is set up, and use `portcullis explain`";
    Low Declarations "foreign-key-without-audience" policies::key_without_audience:
        "tokens of another issuer count for whatever audience the service has" =>
        "give the key the `audience` that its issuer writes for this service";
    Medium Declarations "foreign-key-leeway" policies::key_with_leeway:
        "expired tokens of another issuer are taken for more than five minutes" =>
        "set the machines' clocks, and `leeway` to 60 or less";
    Low Declarations "short-rsa-key" policies::short_rsa_key:
        "an RSA key under 3072 bits is not meant for use past 2030" =>
        "let the issuer change to ES256 or to RSA with 3072 bits";
    Medium Declarations "credential-in-declarations" policies::credential_in_headers:
        "`headers` adds a credential, which everybody reads who reads the declarations" =>
        "let the service trust the gateway's address or its headers, and keep the credential elsewhere";
    Medium Declarations "method-override" policies::method_override:
        "the service may act on another method than the one that routes, rules and the log have seen" =>
        "take `method_override` out of `headers`, and let callers send the method they mean";
    Low Declarations "filter-of-everything" policies::filter_of_everything:
        "`ip_filter` allows all addresses, and so filters nothing" =>
        "name the networks that may call, or take the entry out";
    Medium Declarations "unlimited-body" policies::unlimited_body:
        "a body may be as large as the caller likes, or more than 1 GiB" =>
        "set `body_bytes` to what the service needs";
    Medium Enrolments "endless-enrolment" clients::endless_enrolment:
        "an enrolment token registers services for ever and any number of times" =>
        "delete it, and make one with `--ttl` or `--max-uses`";

    High Settings "clear-listener" settings::clear_listener:
        "the data plane can be reached from other machines, and nothing in front ends TLS" =>
        "listen on loopback behind a proxy that ends TLS and name it in `trusted_proxies`, or set `tls_listen`, with `http_redirect` or `listen = \"off\"`";
    Medium Settings "listener-beside-proxy" settings::listener_beside_proxy:
        "callers can come past the proxy, in clear" =>
        "listen on loopback or on the proxy's network, or set `proxy_protocol` to `required`";
    Critical Settings "trusts-everybody" settings::trusts_everybody:
        "every caller is believed to be a proxy, and chooses its own address" =>
        "name the addresses your proxies connect from";
    High Settings "trusts-public-network" settings::trusts_public_network:
        "a large public network is believed to be your proxies" =>
        "name the addresses your proxies connect from";
    Medium Settings "optional-proxy-protocol" settings::optional_proxy_protocol:
        "every machine of a large network can claim any client address through the PROXY protocol" =>
        "set `proxy_protocol` to `required`, or name the load balancers alone in `trusted_proxies`";
    High Settings "metadata-targets" settings::metadata_targets:
        "a service can be registered at the address where a cloud tells a machine its secrets" =>
        "name smaller networks in `allow_targets`";
    Medium Settings "no-public-url" settings::no_public_url:
        "tokens name an issuer that callers behind the proxy do not know" =>
        "set `public_url` to the URL apps use";
    Medium Settings "plain-public-url" settings::plain_public_url:
        "apps send passwords and tokens in clear" =>
        "end TLS in front, and set `public_url` to `https://…`";
    Medium Settings "long-access-token" settings::long_access_token:
        "a leaked access token stays valid for long at services that check only its signature" =>
        "set `tokens.access_ttl` to an hour or less; apps refresh";
    Medium Settings "long-refresh-token" settings::long_refresh_token:
        "a session that is forgotten stays open for long" =>
        "set it to 90 days or less";
    Medium Settings "long-session" settings::long_session:
        "a session that is refreshed again and again goes on for long, also on a lost device or with a stolen token that nobody noticed" =>
        "set `tokens.session_ttl` to 90 days or less";
    Low Settings "long-refresh-grace" settings::long_grace:
        "a stolen refresh token can be used beside its owner for more than a minute" =>
        "set it to what a lost answer needs, like 10 s";
    Medium Settings "slow-callers" settings::slow_callers:
        "callers who send slowly hold connections for long" =>
        "set `timeouts.first_byte`, `timeouts.head` and `timeouts.body_idle` to two minutes or less";
    Low Settings "slow-targets" settings::slow_targets:
        "a service that hangs holds its callers, and the gateway's connections, for long" =>
        "set `timeouts.connect` and `timeouts.upstream_first_byte` to what the slowest answer needs";
    Medium Settings "unlimited-body-of-node" settings::unlimited_body:
        "a body may be as large as the caller likes, or more than 1 GiB, where a service does not say otherwise" =>
        "set it to what most services need, and `request_limits` for the others";
    Low Settings "large-heads" settings::large_heads:
        "each connection may take up more than 1 MiB before anything is known of it" =>
        "set it to 64 KiB, or what your callers need";
    Medium Settings "one-peer-takes-all" settings::one_peer_takes_all:
        "one address can take all connections" =>
        "set it to a small part of `limits.connections`";
    Medium Settings "open-metrics" settings::open_metrics:
        "whoever reaches the admin listener reads which services there are, and how they are called" =>
        "set it to `token`, and give the scraper the metrics token";
    Medium Settings "records-lost" settings::no_log:
        "access log records are dropped or deleted early, and with them the traces of an attack" =>
        "leave `log.log_queue_bytes` and `log.access_log_keep` at their defaults or above";

    Critical Files "open-secret" files::open_secrets:
        "others on this machine can read or write a secret of the gateway" =>
        "`chmod 600` it; if it may have been read, make a new one";
    High Files "open-private-key" files::open_private_keys:
        "others on this machine can read or write the private key of a certificate" =>
        "`chmod 600` it, or `chmod 640` for a group that the gateway alone is in; if it may have been read, get a new certificate";
    Low Files "group-private-key" files::group_private_keys:
        "a group can read the private key of a certificate" =>
        "make sure that nobody else is in the group, or `chmod 600` it";
    High Files "writable-data-directory" files::writable_directory:
        "others on this machine can exchange the gateway's files" =>
        "`chmod 700` it";
    Medium Files "readable-records" files::readable_records:
        "others on this machine can read who called what, or the registry" =>
        "`chmod 700` the data directory";
    High Files "writable-settings" files::writable_settings:
        "others on this machine can change the settings" =>
        "`chmod 644` or less";
}
