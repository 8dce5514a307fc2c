"""The proxies that are compared, each with the plainest configuration that does the work."""

from .caddy import Caddy
from .envoy import Envoy, EnvoyWithoutMemory
from .haproxy import HAProxy, Splice
from .nginx import Nginx
from .nginx_lua import NginxLua, NginxLuaWithoutMemory
from .portcullis import Portcullis, PortcullisIssuing, PortcullisProfiled

# In this order they stand in tables; everything is compared with the first.
ALL = (Nginx, NginxLua, NginxLuaWithoutMemory, Portcullis, PortcullisProfiled, PortcullisIssuing, HAProxy, Envoy, EnvoyWithoutMemory, Caddy, Splice)
