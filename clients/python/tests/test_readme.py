"""Every block of code in the README is run, in order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from conftest import Gateway, load
from test_oauth import Server

if TYPE_CHECKING:
    from standin import StandIn

PACKAGE = Path(__file__).parents[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (PACKAGE / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_there_is_no_other_block() -> None:
    fences = re.findall(r"^```(\w*)$", (PACKAGE / "README.md").read_text(), re.MULTILINE)
    assert len(fences) == 2 * (len(blocks("python")) + len(blocks("sh")))
    assert set(fences) == {"python", "sh", ""}


@pytest.mark.gateway
def test_python(
    gateway: Gateway, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    oauth = Server(stand_in, client="shop", secret="s3cret")
    monkeypatch.chdir(tmp_path)
    pem = load("http-signatures.json")["keys"]["test-key-ed25519"]["private_pem"]
    Path("till.pem").write_text(pem)
    for name, value in (
        ("SECRET_KEY", gateway.secret_key),
        ("API_KEY", gateway.api_key),
        ("PASSWORD", gateway.password),
        ("CLIENT_SECRET", "s3cret"),
    ):
        monkeypatch.setenv(name, value)
    real = {
        "http://127.0.0.1:6500": gateway.url,
        "https://id.example.com": oauth.url,
        "https://api.example.com": oauth.url,
        "shop-7Qm2": gateway.access_key,
        '"ada"': json.dumps(gateway.username),
    }
    names: dict[str, Any] = {}
    shown = []
    for block in blocks("python"):
        code = block
        for written, there in real.items():
            code = code.replace(written, there)
        exec(compile(code, "README.md", "exec"), names)  # noqa: S102 (what is tested)
        shown.append(capsys.readouterr().out)
        for name in {"client", "http"} & set(names):
            names[name].close()
    names["tokens"].close()
    lines = [re.sub(r"\s+", " ", said).strip() for said in shown]
    assert [line.startswith("{'body': ") for line in lines] == [True] * 4 + [False, True, True] + [False] * 3
    assert "tea" in lines[0]
    assert "/7?full=1" in lines[5]
    assert "x-user-json" in lines[6]
    assert [lines[4], *lines[7:9]] == ["401", "200", "200"]
    assert re.fullmatch(r"431 949 431 Invalid Signature \S+", lines[9])


def test_shell(tmp_path: Path) -> None:
    """With a Python that has what building needs, and without an index of packages."""
    tools = os.environ.get("PORTCULLIS_TEST_TOOLS", sys.executable)
    found = subprocess.run([tools, "-c", "import pip, hatchling.build"], check=False, capture_output=True)  # noqa: S603
    if found.returncode != 0:
        pytest.skip("PORTCULLIS_TEST_TOOLS names no Python with pip and hatchling")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(f'#!/bin/sh\nexec "{tools}" "$@"\n')
    (tmp_path / "bin" / "python3").chmod(0o755)
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "python").symlink_to(PACKAGE)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    env.update(
        PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        PIP_NO_INDEX="1",
        PIP_NO_DEPS="1",
        PIP_NO_BUILD_ISOLATION="0",
        PIP_TARGET=str(tmp_path / "installed"),
        PIP_DISABLE_PIP_VERSION_CHECK="1",
    )
    for block in blocks("sh"):
        subprocess.run(["bash", "-euc", block], check=True, cwd=tmp_path, env=env, capture_output=True)  # noqa: S603, S607
    assert (tmp_path / "installed" / "portcullis_client" / "py.typed").exists()


def test_httpx_is_the_real_one() -> None:
    """The package has modules of the same names."""
    assert hasattr(httpx, "Client")
