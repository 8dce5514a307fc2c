"""Components of a message and the signature base (RFC 9421 sections 2 and 2.5), and Content-Digest (RFC 9530)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from .errors import VerificationError
from .message import Answer, Request
from .structured import InnerList, Item, Parameters, parse_dictionary, serialize

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_DIGESTS = {"sha-256": "sha256", "sha-512": "sha512"}
_FOLD = re.compile(r"[ \t]*\r?\n[ \t]+")
_MOST_PARAMETERS = 1000


def content_digest(body: bytes) -> str:
    """The value of Content-Digest for a body, with SHA-256."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def digest_matches(value: str, body: bytes) -> bool | None:
    """Whether every known digest in a Content-Digest is that of the body; None if none is known."""
    known = []
    for name, member in parse_dictionary(value).items():
        if name in _DIGESTS:
            digest = hashlib.new(_DIGESTS[name], body).digest()
            given = member.value if isinstance(member, Item) else None
            known.append(isinstance(given, bytes) and hmac.compare_digest(given, digest))
    return all(known) if known else None


def signature_base(covered: InnerList, message: Request | Answer, request: Request | None = None) -> bytes:
    """The bytes that are signed. `request` is the one that an answer is to. Raises VerificationError."""
    names: set[str] = set()
    lines = []
    for item in covered.items:
        name = serialize(item)
        if name in names:
            raise VerificationError(f"the component {name} stands twice")
        names.add(name)
        lines.append(f"{name}: {component(item, message, request)}")
    lines.append(f'"@signature-params": {serialize(covered)}')
    return "\n".join(lines).encode("latin-1")


def component(item: Item, message: Request | Answer, request: Request | None = None) -> str:
    """The value of a component. Raises VerificationError where it has none."""
    if not isinstance(item.value, str):
        raise VerificationError("a component is named by a string")
    name, parameters = item.value, dict(item.parameters)
    if parameters.pop("req", False):
        if request is None or not isinstance(message, Answer):
            raise VerificationError("'req' is for components of an answer to a known request")
        message = request
    value = (_derived if name.startswith("@") else _field)(name, parameters, message)
    if "\n" in value or "\r" in value:
        raise VerificationError(f"the component {name} has a line end")
    return value


def target_uri(request: Request) -> str:
    """The address of a request, its host and port normalised."""
    return f"{request.scheme}://{authority(request)}{request.target}"


def authority(request: Request) -> str:
    """Host and port of a request, in lower case and without a default port."""
    host, colon, port = request.host.lower().rpartition(":")
    is_default = colon and "]" not in port and port == _DEFAULT_PORTS.get(request.scheme)
    return host if is_default else request.host.lower()


def _derived(name: str, parameters: Parameters, message: Request | Answer) -> str:
    if isinstance(message, Answer):
        if name == "@status" and not parameters:
            return str(message.status)
        raise VerificationError(f"an answer has no {name}")
    path, _, query = message.target.partition("?")
    if name == "@query-param":
        return _query_parameter(parameters, query)
    values = {
        "@method": message.method,
        "@target-uri": target_uri(message),
        "@authority": authority(message),
        "@scheme": message.scheme,
        "@request-target": message.target,
        "@path": path or "/",
        "@query": f"?{query}",
    }
    if parameters or name not in values:
        raise VerificationError(f"a request has no {name}")
    return values[name]


def _query_parameter(parameters: Parameters, query: str) -> str:
    wanted = parameters.pop("name", None)
    if parameters or not isinstance(wanted, str):
        raise VerificationError("@query-param has a name, and nothing else")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise VerificationError("too many parameters in the query") from None
    found = [value for key, value in pairs if _form_encoded(key) == wanted]
    if len(found) != 1:
        raise VerificationError("@query-param names a parameter that does not stand once")
    return _form_encoded(found[0])


def _form_encoded(text: str) -> str:
    return quote(text, safe="*-._").replace("~", "%7E")


def _field(name: str, parameters: Parameters, message: Request | Answer) -> str:
    lines = [_FOLD.sub(" ", value.strip(" \t\r\n")) for found, value in _fields(message) if found.lower() == name]
    if not lines or name != name.lower():
        raise VerificationError(f"there is no field {name}")
    if parameters == {"bs": True}:
        return ", ".join(f":{base64.b64encode(line.encode('latin-1')).decode()}:" for line in lines)
    joined = ", ".join(lines)
    if set(parameters) == {"key"}:
        member = parse_dictionary(joined).get(str(parameters["key"]))
        if member is None:
            raise VerificationError(f"the field {name} has no such member")
        return serialize(member)
    if parameters:
        raise VerificationError(f"the field {name} is covered in a form that is not known here")
    return joined


def _fields(message: Request | Answer) -> Iterable[tuple[str, str]]:
    if isinstance(message, Request):
        yield "host", message.host
    yield from message.headers
