"""Bodies of httpx's responses, whole and as they came."""

from __future__ import annotations

import httpx

from ..answers import Whole
from ..errors import VerificationError
from ..message import Answer


def answer_of(response: httpx.Response, raw: bytes) -> Answer:
    """The answer that a response is, with its body as it came."""
    fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw)
    return Answer(response.status_code, fields, raw)


def _begin_reading(response: httpx.Response, most_bytes: int) -> Whole | bytes:
    """A place for the body; or the body, if it has been read."""
    if response.is_stream_consumed or response.is_closed or hasattr(response, "_content"):
        if "content-encoding" in response.headers:
            raise VerificationError("an event hook has read the response before it was verified")
        return response.content
    return Whole(most_bytes)


def _announce(whole: Whole, response: httpx.Response) -> None:
    if response.request.method != "HEAD" and response.status_code != 304:
        whole.announce(response.headers.get("content-length"))


def read(response: httpx.Response, most_bytes: int) -> bytes:
    """The body as it came, before its Content-Encoding is undone."""
    whole, stream = _begin_reading(response, most_bytes), response.stream
    if isinstance(whole, bytes):
        return whole
    if not isinstance(stream, httpx.SyncByteStream):
        raise TypeError("an asynchronous response in a synchronous client")
    try:
        _announce(whole, response)
        for piece in stream:
            whole.add(piece)
    finally:
        stream.close()
    return whole.bytes()


def discard(response: httpx.Response) -> None:
    """Reads no more of a response: httpx would read it to its end, however far that is."""
    stream = response.stream
    if isinstance(stream, httpx.SyncByteStream):
        stream.close()
    response.stream = httpx.ByteStream(b"")


async def discard_async(response: httpx.Response) -> None:
    """The same in asyncio."""
    stream = response.stream
    if isinstance(stream, httpx.AsyncByteStream):
        await stream.aclose()
    response.stream = httpx.ByteStream(b"")


async def read_async(response: httpx.Response, most_bytes: int) -> bytes:
    """The same in asyncio."""
    whole, stream = _begin_reading(response, most_bytes), response.stream
    if isinstance(whole, bytes):
        return whole
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError("a synchronous response in an asynchronous client")
    try:
        _announce(whole, response)
        async for piece in stream:
            whole.add(piece)
    finally:
        await stream.aclose()
    return whole.bytes()
