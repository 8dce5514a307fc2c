"""HAProxy, as a proxy of calls and, in `mode tcp`, as one that only passes bytes on."""

from .proxy import Proxy

MAIN = """
global
  nbthread {workers}
  maxconn 15000
  no strict-limits
defaults
  mode {mode}
  maxconn 15000
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout tunnel 600s
{http}
frontend calls
  bind 127.0.0.1:{port} backlog 4096 {tls}
{rules}
backend targets
  balance roundrobin
{servers}
"""


class HAProxy(Proxy):
    """Plain HAProxy: no log, connections to the targets shared and kept alive, routes in a map by prefix."""

    name = "haproxy"

    @classmethod
    def program(cls, tools):
        return tools.haproxy

    def command(self):
        plan, tls = self.plan, ""
        if plan.tls:
            both = self.directory / "certificate.pem"
            both.write_text("".join(open(it).read() for it in plan.tls))
            tls = f"ssl crt {both} alpn h2,http/1.1"
        routes = self.directory / "routes.map"
        routes.write_text("".join(f"{prefix}/ targets\n" for prefix in plan.prefixes))
        self._write("http", tls, f"  use_backend %[path,map_beg({routes})]",
                    "  option http-keep-alive\n  http-reuse always")
        return [self.tools.haproxy, "-db", "-f", str(self.directory / "haproxy.cfg")]

    def _write(self, mode, tls, rules, http):
        pool = "pool-max-conn 256" if mode == "http" else ""
        servers = "\n".join(f"  server t{at} {host}:{port} {pool}" for at, (host, port) in enumerate(self.plan.targets))
        text = MAIN.format(workers=self.plan.workers, port=self.port, mode=mode, tls=tls, rules=rules, servers=servers, http=http)
        (self.directory / "haproxy.cfg").write_text(text)


class Splice(HAProxy):
    """The least a proxy on this machine can cost: bytes are copied between two connections, and nobody reads them."""

    name = "bare TCP"
    bare = True
    tls = many = False

    def command(self):
        self._write("tcp", "", "  default_backend targets", "")
        return [self.tools.haproxy, "-db", "-f", str(self.directory / "haproxy.cfg")]
