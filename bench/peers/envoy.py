"""Envoy as a reverse proxy and, with its filters, as a gateway. Configured in JSON."""

import json

from .proxy import Proxy

TYPES = "type.googleapis.com/envoy.extensions"
CONNECTIONS = f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"


class Envoy(Proxy):
    """Envoy with as many workers as the plan has. As a gateway it remembers the tokens it has verified."""

    name = "envoy"
    gate = True
    remembers = True

    @classmethod
    def program(cls, tools):
        return tools.envoy

    def command(self):
        plan = self.plan
        routes = [{"match": {"prefix": f"{prefix}/"}, "route": {"cluster": "targets", "timeout": "0s"}} for prefix in plan.prefixes]
        host = {"name": "calls", "domains": ["*"], "routes": routes}
        filters = self._gate(host) if plan.gate else []
        filters.append({"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}})
        manager = {
            "@type": CONNECTIONS,
            "stat_prefix": "calls",
            "route_config": {"virtual_hosts": [host]},
            "http_filters": filters,
            "access_log": [self._log()] if plan.gate else [],
        }
        if plan.websocket:
            manager["upgrade_configs"] = [{"upgrade_type": "websocket"}]
        chain = {"filters": [{"name": "calls", "typed_config": manager}]}
        if plan.tls:
            chain["transport_socket"] = self._tls()
        listener = {"name": "calls", "address": _address("127.0.0.1", self.port), "filter_chains": [chain]}
        whole = {
            "node": {"id": "bench", "cluster": "bench"},
            "static_resources": {"listeners": [listener], "clusters": [self._targets()]},
        }
        path = self.directory / "envoy.json"
        path.write_text(json.dumps(whole))
        return [self.tools.envoy, "-c", str(path), "--concurrency", str(plan.workers), "--log-level", "error",
                "--disable-hot-restart", "--file-flush-interval-msec", "1000"]

    def _targets(self):
        points = [{"endpoint": {"address": _address(host, port)}} for host, port in self.plan.targets]
        high = {"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000}
        return {
            "name": "targets",
            "type": "STATIC",
            "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [high]},
            "load_assignment": {"cluster_name": "targets", "endpoints": [{"lb_endpoints": points}]},
        }

    def _tls(self):
        certificate, key = self.plan.tls
        pair = {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(key)}}
        versions = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
        common = {"tls_certificates": [pair], "alpn_protocols": ["h2", "http/1.1"], "tls_params": versions}
        kind = f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"
        return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": kind, "common_tls_context": common}}

    def _gate(self, host):
        """The filters that check what a gateway checks, in the order in which Portcullis does."""
        gate = self.plan.gate
        provider = {
            "issuer": gate.issuer,
            "audiences": [gate.audience],
            "local_jwks": {"inline_string": gate.jwks},
            "forward_payload_header": "x-user-json",
        }
        if self.remembers:
            provider["jwt_cache_config"] = {"jwt_cache_size": 100_000}
        tokens = {
            "@type": f"{TYPES}.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"issuer": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
        }
        keys = {
            "@type": f"{TYPES}.filters.http.api_key_auth.v3.ApiKeyAuth",
            "credentials": [{"key": gate.api_key, "client": "bench"}],
            "key_sources": [{"header": "x-api-key"}],
            "forwarding": {"header": "x-app-id", "hide_credentials": True},
        }
        bucket = {"max_tokens": gate.per_second, "tokens_per_fill": gate.per_second, "fill_interval": "1s"}
        always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
        host["rate_limits"] = [{"actions": [{"request_headers": {"header_name": "x-app-id", "descriptor_key": "client"}}]}]
        limit = {
            "@type": f"{TYPES}.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "limit",
            "filter_enabled": always,
            "filter_enforced": always,
            "token_bucket": {"max_tokens": 1_000_000_000, "tokens_per_fill": 1_000_000_000, "fill_interval": "1s"},
            "descriptors": [{"entries": [{"key": "client", "value": "bench"}], "token_bucket": bucket}],
        }
        named = (("jwt_authn", tokens), ("api_key_auth", keys), ("local_ratelimit", limit))
        return [{"name": f"envoy.filters.http.{name}", "typed_config": settings} for name, settings in named]

    def _log(self):
        fields = {
            "time": "%START_TIME%",
            "method": "%REQ(:METHOD)%",
            "path": "%REQ(:PATH)%",
            "status": "%RESPONSE_CODE%",
            "peer": "%DOWNSTREAM_REMOTE_ADDRESS%",
            "client": "%REQ(X-APP-ID)%",
            "duration_ms": "%DURATION%",
            "bytes_in": "%BYTES_RECEIVED%",
            "bytes_out": "%BYTES_SENT%",
            "target": "%UPSTREAM_HOST%",
            "request_id": "%REQ(X-REQUEST-ID)%",
            "reason": "%RESPONSE_CODE_DETAILS%",
        }
        kind = f"{TYPES}.access_loggers.file.v3.FileAccessLog"
        settings = {"@type": kind, "path": str(self.access_log()), "log_format": {"json_format": fields}}
        return {"name": "envoy.access_loggers.file", "typed_config": settings}


class EnvoyWithoutMemory(Envoy):
    """Envoy that verifies every token every time."""

    name = "envoy uncached"
    plain = False
    remembers = False


def _address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}
