"""Structured fields: what is written is read again, and nothing else is read."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis_client import VerificationError
from portcullis_client.structured import (
    InnerList,
    Item,
    Token,
    parse_dictionary,
    parse_item,
    serialize,
    serialize_dictionary,
)

keys = st.from_regex(r"\A[a-z*][a-z0-9_\-.*]{0,8}\Z")
bare = st.one_of(
    st.integers(-999_999_999_999_999, 999_999_999_999_999),
    st.decimals(-999_999, 999_999, places=3),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=10),
    st.from_regex(r"\A[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]{0,8}\Z").map(Token),
    st.binary(max_size=10),
    st.booleans(),
)
parameters = st.dictionaries(keys, bare, max_size=3)
items = st.builds(Item, bare, parameters)
members = st.one_of(
    items, st.builds(lambda many, more: InnerList(tuple(many), more), st.lists(items, max_size=3), parameters)
)


@given(st.dictionaries(keys, members, max_size=4))
def test_dictionaries(said: dict[str, Item | InnerList]) -> None:
    assert parse_dictionary(serialize_dictionary(said)) == said


@given(items)
def test_items(item: Item) -> None:
    found = parse_item(serialize(item))
    assert found == item
    assert type(found.value) is type(item.value)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_dictionary(text)
    except VerificationError:
        return
    assert parse_dictionary(serialize_dictionary(found)) == found


@pytest.mark.parametrize(
    "text",
    ["a=1,", "a=1,,b=2", "a=1, a=2", "A=1", "a=(1 2", "a=(1)x", "a=(1,2)", 'a="x', 'a="é"', "a=:A:", "a=?2", "a=1;b=1;b=2",
     "a=1 b=2", "=1", "a=", "a=-", "a=1.", "a=1234567890123456", "a=:AA==", "a;=1", "a=(1\t2)"],
)  # fmt: skip
def test_what_is_no_dictionary(text: str) -> None:
    with pytest.raises(VerificationError):
        parse_dictionary(text)


def test_forms() -> None:
    assert serialize(Item(Decimal("1.500"), {"a": True, "b": False})) == "1.5;a;b=?0"
    assert serialize(Item('a "b" \\')) == '"a \\"b\\" \\\\"'
    with pytest.raises(ValueError, match="ASCII"):
        serialize(Item("é"))
