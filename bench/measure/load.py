"""The load generators: what they are asked for, and what they say."""

import json
import re
import resource
import subprocess
from dataclasses import dataclass

CONNECTIONS = 64
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


class LoadFailed(Exception):
    """Answers were wrong or missing, so that what was measured is not what was meant."""


@dataclass
class Load:
    """Calls that were answered, and in how many seconds."""

    calls: int
    seconds: float

    @property
    def rate(self):
        return self.calls / self.seconds


def _said(cores, command, seconds):
    done = subprocess.run(["taskset", "-c", cores, *command], capture_output=True, text=True, timeout=seconds * 3 + 60)
    if done.returncode != 0:
        raise LoadFailed(f"{command[0]}: {done.stdout[-600:]}{done.stderr[-600:]}")
    return done.stdout


def _headers(headers):
    return [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]


def wrk(cores, url, seconds, headers=None, script=None, arguments=()):
    """As many calls as 64 connections can make. A script has the last word about the requests."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--timeout", "10", *_headers(headers or {})]
    command += ["-s", script] if script else []
    said = _said(cores, [*command, url, "--", *arguments], seconds)
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: .*", said)
    if wrong:
        raise LoadFailed(f"wrk on {url}: {wrong[0]}")
    calls, took, unit = re.search(r"(\d+) requests in ([\d.]+)([a-z]+)", said).groups()
    if calls == "0":
        raise LoadFailed(f"wrk on {url}: no answer")
    return Load(int(calls), float(took) * UNITS[unit])


def h2load(cores, url, seconds):
    """As many calls as 64 streams can make, 16 on each of four connections, over TLS."""
    said = _said(cores, ["h2load", "-t1", "-c4", "-m16", "-D", str(seconds), "--warm-up-time", "0", url], seconds)
    if "Application protocol: h2" not in said:
        raise LoadFailed(f"h2load on {url}: not HTTP/2: {said[-400:]}")
    done = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed", said)
    calls, good, failed = (int(it) for it in done.groups())
    if calls == 0 or failed or good != calls:
        raise LoadFailed(f"h2load on {url}: {done[0]}")
    return Load(calls, float(seconds))


def latencies(tools, cores, url, seconds, rate, headers=None):
    """Percentiles in microseconds at a fixed rate, counted from when each call was due, not from when it was sent."""
    asked = ["--no-tui", "-z", f"{seconds}s", "-q", str(max(1, int(rate))), "-c", str(CONNECTIONS)]
    command = [tools.oha, *asked, "--latency-correction", "--disable-color", "--output-format", "json"]
    said = json.loads(_said(cores, [*command, *_headers(headers or {}), url], seconds))
    codes = said["statusCodeDistribution"]
    if set(codes) != {"200"}:
        raise LoadFailed(f"oha on {url}: answers {codes}, {said['errorDistribution']}")
    percentiles = said["latencyPercentiles"]
    found = {name: percentiles[key] * 1e6 for name, key in (("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9"))}
    return {**found, "asked_rate": rate, "kept": said["summary"]["requestsPerSec"] / rate}


def raise_file_limit():
    """Ten thousand idle connections want a descriptor each, here and in the proxy. Returns the limit that is had."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
