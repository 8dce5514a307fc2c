"""What the tests run against.

Most need nothing. Those marked `gateway` call a real one, which `cargo nextest run --test main python_client` starts and
names in the environment; by hand, set the variables of `GATEWAY_VARIABLES`.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from standin import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("quick", max_examples=50, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

VECTORS = Path(os.environ.get("PORTCULLIS_TEST_VECTORS", Path(__file__).parents[3] / "spec" / "vectors"))

GATEWAY_VARIABLES = {
    "PORTCULLIS_TEST_GATEWAY": "URL of a gateway whose service orders/v1 is that of tests/main/python_client.rs",
    "PORTCULLIS_TEST_ACCESS_KEY": "access key of a client that may call it, with the public keys of spec/vectors",
    "PORTCULLIS_TEST_SECRET_KEY": "its secret",
    "PORTCULLIS_TEST_API_KEY": "its API key",
    "PORTCULLIS_TEST_USERNAME": "a user's name",
    "PORTCULLIS_TEST_PASSWORD": "the user's password",
}


@dataclass(frozen=True)
class Gateway:
    """A running gateway, and who may call it."""

    url: str
    access_key: str
    secret_key: str
    api_key: str
    username: str
    password: str


@pytest.fixture(scope="session")
def gateway() -> Gateway:
    missing = [name for name in GATEWAY_VARIABLES if not os.environ.get(name)]
    if missing:
        listed = "".join(f"\n  {name}: {GATEWAY_VARIABLES[name]}" for name in missing)
        pytest.skip(f"needs a gateway; set{listed}\nor run: cargo nextest run --test main python_client")
    url, access_key, secret_key, api_key, username, password = (os.environ[name] for name in GATEWAY_VARIABLES)
    return Gateway(url, access_key, secret_key, api_key, username, password)


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


@pytest.fixture(scope="session")
def fomalhaut() -> Any:
    return load("fomalhaut.json")


@pytest.fixture(scope="session")
def signatures() -> Any:
    return load("http-signatures.json")


def serving() -> Iterator[StandIn]:
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A small server that answers as a test says. It is no gateway."""
    yield from serving()


@pytest.fixture
def other_stand_in() -> Iterator[StandIn]:
    """Another one, of another origin."""
    yield from serving()
