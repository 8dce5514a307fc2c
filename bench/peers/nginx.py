"""nginx as a reverse proxy. The backend is an nginx too, with a configuration of its own."""

from .proxy import Proxy

MAIN = """
daemon off;
worker_processes {workers};
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
{modules}
events {{ worker_connections 15000; {events} }}
http {{
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  keepalive_requests 100000000; keepalive_timeout 600s;
  tcp_nodelay on; server_tokens off;
{http}
}}
"""


class Nginx(Proxy):
    """Plain nginx: no access log, connections to the targets kept alive."""

    name = "nginx"

    @classmethod
    def program(cls, tools):
        return tools.nginx

    def modules(self):
        """Modules that are loaded."""
        return ""

    def extra(self):
        """What stands in `http` besides."""
        return "  access_log off;"

    def in_location(self):
        """What stands in each location besides."""
        return ""

    def command(self):
        plan = self.plan
        tls = ""
        if plan.tls:
            certificate, key = plan.tls
            tls = f"ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;"
        upgrade = 'proxy_set_header Connection "";'
        if plan.websocket:
            upgrade = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; proxy_read_timeout 600s;'
        shared = f"proxy_pass http://targets; proxy_http_version 1.1; {upgrade} {self.in_location()}"
        lines = [self.extra(), "  map_hash_bucket_size 256; variables_hash_max_size 4096;", "  upstream targets {"]
        lines += [f"    server {host}:{port};" for host, port in plan.targets]
        lines += ["    keepalive 256; keepalive_requests 100000000; keepalive_timeout 600s;", "  }", "  server {"]
        lines += [f"    listen 127.0.0.1:{self.port} backlog=4096 {'ssl http2' if plan.tls else ''}; {tls}"]
        lines += [f"    location {prefix}/ {{ {shared} }}" for prefix in plan.prefixes]
        lines += ["  }"]
        text = MAIN.format(workers=plan.workers, directory=self.directory, modules=self.modules(), events="",
                           http="\n".join(lines))
        (self.directory / "nginx.conf").write_text(text)
        return [self.tools.nginx, "-p", str(self.directory), "-c", str(self.directory / "nginx.conf"), "-e",
                str(self.directory / "error.log")]
