"""The package as it is installed."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import portcullis_client

WHEEL = os.environ.get("PORTCULLIS_TEST_WHEEL")


@pytest.mark.skipif(WHEEL is None, reason="PORTCULLIS_TEST_WHEEL names no wheel")
def test_the_wheel() -> None:
    assert WHEEL is not None
    assert "site-packages" in Path(portcullis_client.__file__).parts
    with zipfile.ZipFile(WHEEL) as wheel:
        names = wheel.namelist()
        metadata = next(name for name in names if name.endswith("/METADATA"))
        said: Any = email.message_from_bytes(wheel.read(metadata))
        assert "portcullis_client/py.typed" in names
        assert any(name.endswith("/LICENSE") for name in names)
        assert all(name.startswith(("portcullis_client/", "portcullis_client-")) for name in names)
    assert said["Name"] == "portcullis-client"
    assert said["License-Expression"] == "Apache-2.0"
    needed = [need for need in said.get_all("Requires-Dist") if "extra ==" not in need]
    assert [re.match(r"[a-z]+", need).group() for need in needed] == ["cryptography"]  # type: ignore[union-attr]
    extras = said.get_all("Provides-Extra")
    assert sorted(extras) == ["httpx", "requests"]


def test_the_core_needs_no_http_client() -> None:
    script = "import sys; sys.modules.update(httpx=None, requests=None, urllib3=None, anyio=None); import portcullis_client"
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ})  # noqa: S603 (this Python)


def test_everything_public_is_there() -> None:
    for name in portcullis_client.__all__:
        assert getattr(portcullis_client, name).__doc__, name
