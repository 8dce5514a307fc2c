"""nginx with its module for Lua as a gateway: `gate.lua` checks credentials, nginx limits and logs."""

import json
import pathlib

from .nginx import Nginx

LOG = (
    '{"time":"$time_iso8601","method":"$request_method","path":"$uri","status":$status,"peer":"$remote_addr",'
    '"client":"$client","duration_s":$request_time,"bytes_in":$request_length,"bytes_out":$bytes_sent,'
    '"target":"$upstream_addr","request_id":"$request_id"}'
)


class NginxLua(Nginx):
    """It remembers the tokens it has verified, in memory its workers share."""

    name = "nginx+Lua"
    gate, plain = True, False
    remembers = True

    @classmethod
    def program(cls, tools):
        return tools.nginx and tools.lua

    def modules(self):
        return "".join(f"load_module {self.tools.lua}/{it};\n" for it in ("ndk_http_module.so", "ngx_http_lua_module.so"))

    def extra(self):
        gate = self.plan.gate
        if not gate:
            return super().extra()
        # The number of calls the limit lets pass at once after a rest is what it lets pass in a second.
        burst = max(0, gate.per_second - 1)
        settings = {
            "public_pem": gate.public_pem,
            "issuer": gate.issuer,
            "audience": gate.audience,
            "api_keys": {gate.api_key: "bench"},
        }
        if self.remembers:
            settings["memory"] = "tokens"
        path = self.directory / "gate.json"
        path.write_text(json.dumps(settings))
        return f"""
  lua_package_path '{pathlib.Path(__file__).parent}/?.lua;;';
  lua_shared_dict tokens 256m;
  init_by_lua_block {{
    local file = assert(io.open("{path}"))
    require("gate").set_up(require("cjson").decode(file:read("*a")))
    file:close()
  }}
  limit_req_zone $http_x_api_key zone=clients:10m rate={gate.per_second}r/s;
  limit_req_status 429;
  limit_req zone=clients {f'burst={burst} nodelay' if burst else ''};
  log_format json escape=json '{LOG}';
  access_log {self.access_log()} json buffer=64k flush=1s;"""

    def in_location(self):
        if not self.plan.gate:
            return ""
        fields = {"Authorization": '""', "X-API-Key": '""', "X-User-Json": "$user", "X-App-Id": "$client", "X-Request-Id": "$request_id"}
        told = " ".join(f"proxy_set_header {name} {value};" for name, value in fields.items())
        return f'set $user ""; set $client ""; access_by_lua_block {{ require("gate").check() }} {told}'


class NginxLuaWithoutMemory(NginxLua):
    """It verifies every token every time."""

    name = "nginx+Lua uncached"
    remembers = False
