"""Structured fields (RFC 9651) as far as HTTP message signatures need them: dictionaries, inner lists, parameters."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from decimal import Decimal

from .errors import VerificationError


class Token(str):
    """A token, in contrast to a string."""

    __slots__ = ()


Bare = int | Decimal | str | Token | bytes | bool
Parameters = dict[str, Bare]

_MOST = 1024
_KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,3})?")
_STRING = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_BYTES = re.compile(r":([A-Za-z0-9+/]*={0,2}):")


@dataclass(frozen=True)
class Item:
    """A value with its parameters."""

    value: Bare
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class InnerList:
    """A list of items in parentheses, with its parameters."""

    items: tuple[Item, ...]
    parameters: Parameters = field(default_factory=dict)


Member = Item | InnerList


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def wrong(self) -> VerificationError:
        return VerificationError(f"a structured field that cannot be read at position {self.at}")

    def take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise self.wrong()
        self.at = found.end()
        return found

    def skip(self, chars: str) -> int:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in chars:
            self.at += 1
        return self.at - start

    def next_is(self, char: str) -> bool:
        return self.text.startswith(char, self.at)

    def accept(self, char: str) -> bool:
        if self.next_is(char):
            self.at += 1
            return True
        return False

    def dictionary(self) -> dict[str, Member]:
        members: dict[str, Member] = {}
        self.skip(" ")
        while self.at < len(self.text):
            key = self.take(_KEY).group()
            if key in members or len(members) >= _MOST:
                raise self.wrong()
            members[key] = self.member() if self.accept("=") else Item(True, self.parameters())
            self.skip(" \t")
            if self.at == len(self.text):
                break
            if not self.accept(","):
                raise self.wrong()
            self.skip(" \t")
            if self.at == len(self.text):
                raise self.wrong()
        return members

    def member(self) -> Member:
        if not self.accept("("):
            return self.item()
        items: list[Item] = []
        while True:
            gap = self.skip(" ")
            if self.accept(")"):
                return InnerList(tuple(items), self.parameters())
            if (items and not gap) or len(items) >= _MOST:
                raise self.wrong()
            items.append(self.item())

    def item(self) -> Item:
        return Item(self.bare(), self.parameters())

    def parameters(self) -> Parameters:
        found: Parameters = {}
        while self.accept(";"):
            self.skip(" ")
            key = self.take(_KEY).group()
            if key in found:
                raise self.wrong()
            found[key] = self.bare() if self.accept("=") else True
        return found

    def bare(self) -> Bare:
        first = self.text[self.at : self.at + 1]
        if first == '"':
            return re.sub(r"\\(.)", r"\1", self.take(_STRING).group(1))
        if first == ":":
            try:
                return base64.b64decode(self.take(_BYTES).group(1), validate=True)
            except binascii.Error:
                raise self.wrong() from None
        if first == "?":
            return self.take(re.compile(r"\?([01])")).group(1) == "1"
        if first == "-" or first.isdigit():
            number = self.take(_NUMBER).group()
            return Decimal(number) if "." in number else int(number)
        return Token(self.take(_TOKEN).group())


def parse_dictionary(text: str) -> dict[str, Member]:
    """Reads a dictionary, strictly: no key stands twice. Raises VerificationError."""
    if not text.isascii():
        raise VerificationError("a structured field that is not ASCII")
    return _Reader(text).dictionary()


def parse_item(text: str) -> Item:
    """Reads a single item. Raises VerificationError."""
    reader = _Reader(text)
    item = reader.item()
    if reader.at != len(text):
        raise reader.wrong()
    return item


def serialize(member: Member) -> str:
    """Writes a member of a dictionary."""
    if isinstance(member, InnerList):
        return f"({' '.join(map(serialize, member.items))}){_serialize_parameters(member.parameters)}"
    return _serialize_bare(member.value) + _serialize_parameters(member.parameters)


def serialize_dictionary(members: dict[str, Member]) -> str:
    """Writes a dictionary."""
    return ", ".join(
        key + _serialize_parameters(member.parameters)
        if isinstance(member, Item) and member.value is True
        else f"{key}={serialize(member)}"
        for key, member in members.items()
    )


def _serialize_parameters(parameters: Parameters) -> str:
    return "".join(f";{key}" if value is True else f";{key}={_serialize_bare(value)}" for key, value in parameters.items())


def _serialize_bare(value: Bare) -> str:
    if isinstance(value, bool):
        return "?1" if value else "?0"
    if isinstance(value, bytes):
        return f":{base64.b64encode(value).decode()}:"
    if isinstance(value, Decimal):
        text = f"{value:f}".rstrip("0")
        return text + "0" if text.endswith(".") else text
    if isinstance(value, int | Token):
        return str(value)
    if not all(" " <= char <= "~" for char in value):
        raise ValueError("a string of a structured field is printable ASCII")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
