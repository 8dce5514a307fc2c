"""The gateway's address: no credential leaves for another origin."""

from __future__ import annotations

from urllib.parse import urlsplit

from .errors import ForeignOriginError

_PORTS = {"http": 80, "https": 443}


class GatewayAddress:
    """The origin (scheme, host, port) of the gateway. Raises ValueError for what is no such URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
            raise ValueError("the gateway's URL begins with http:// or https:// and a host")
        self._origin = (parts.scheme, _ascii(parts.hostname), parts.port or _PORTS[parts.scheme])
        self.url = f"{parts.scheme}://{parts.netloc}"

    def __repr__(self) -> str:
        return f"GatewayAddress({self.url!r})"

    def check(self, scheme: str, host: str, port: int | None) -> None:
        """Raises ForeignOriginError for a request to another origin."""
        if (scheme.lower(), _ascii(host.strip("[]")), port or _PORTS.get(scheme.lower(), 0)) != self._origin:
            raise ForeignOriginError(f"this request does not go to {self.url}: it gets no credentials")


def _ascii(host: str) -> str:
    """A host in the form that goes over the wire."""
    try:
        return host.lower().encode("idna").decode()
    except UnicodeError:
        return host.lower()
