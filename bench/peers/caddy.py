"""Caddy as a reverse proxy, configured in its own JSON."""

import json
import os

from .proxy import Proxy


class Caddy(Proxy):
    """Plain Caddy: no access log, connections to the targets kept alive."""

    name = "caddy"

    @classmethod
    def program(cls, tools):
        return tools.caddy

    def command(self):
        plan = self.plan
        forward = {
            "handler": "reverse_proxy",
            "upstreams": [{"dial": f"{host}:{port}"} for host, port in plan.targets],
            "transport": {"protocol": "http", "keep_alive": {"idle_timeout": "600s", "max_idle_conns_per_host": 256}},
        }
        if len(plan.targets) > 1:
            forward["load_balancing"] = {"selection_policy": {"policy": "round_robin"}}
        routes = [{"match": [{"path": [f"{prefix}/*"]}], "handle": [forward], "terminal": True} for prefix in plan.prefixes]
        server = {"listen": [f"127.0.0.1:{self.port}"], "automatic_https": {"disable": True}, "protocols": ["h1", "h2"],
                  "idle_timeout": "600s", "routes": routes}
        apps = {"http": {"servers": {"calls": server}}}
        if plan.tls:
            certificate, key = plan.tls
            server["tls_connection_policies"] = [{"fallback_sni": "localhost", "default_sni": "localhost"}]
            apps["tls"] = {"certificates": {"load_files": [{"certificate": str(certificate), "key": str(key)}]}}
        whole = {"admin": {"disabled": True}, "logging": {"logs": {"default": {"level": "ERROR"}}}, "apps": apps}
        path = self.directory / "caddy.json"
        path.write_text(json.dumps(whole))
        return [self.tools.caddy, "run", "--config", str(path)]

    def environment(self):
        home = str(self.directory)
        places = {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
        return {**os.environ, **places, "GOMAXPROCS": str(self.plan.workers)}
