"""One kind of work, and what is shared by the samples that are taken of it."""

from collections.abc import Callable
from dataclasses import dataclass

from measure import load
from measure.processes import Watch
from peers.proxy import Plan


class WorkNotDone(Exception):
    """A proxy did not do what is to be measured."""


def expect(what, found, wanted):
    """Ends the sample unless the proxy did what it should."""
    if found != wanted:
        raise WorkNotDone(f"{what}: {found!r:.200} instead of {wanted!r:.200}")


def plain(peer):
    """Whether a peer is compared where nothing but forwarding is asked; one that only differs as a gateway is not."""
    return peer.plain


@dataclass
class Column:
    """One figure of a table: its key in the samples, its heading, and how it is written."""

    key: str
    heading: str
    digits: int = 1


CALLS = (
    Column("rate", "calls/s", 0),
    Column("cpu_us", "CPU µs per call"),
    Column("user_us", "user"),
    Column("kernel_us", "kernel"),
    Column("busy", "cores busy", 2),
)
LATENCIES = (
    Column("asked_rate", "at calls/s", 0),
    Column("kept", "kept", 2),
    Column("p50_us", "p50 µs", 0),
    Column("p99_us", "p99 µs", 0),
    Column("p999_us", "p99.9 µs", 0),
)


@dataclass
class Item:
    """A kind of work: `sample(peer, setting)` starts a proxy, proves it, measures, and returns figures by key."""

    name: str
    title: str
    sample: Callable
    columns: tuple = CALLS
    # The figure that is compared with nginx, and drawn; smaller is better.
    main: str = "cpu_us"
    # Which of the peers can do it.
    fits: Callable = lambda peer: True
    # Whether it is measured with more than one worker, too.
    scales: bool = False
    # Proves once for each peer what a sample cannot.
    prove: Callable | None = None
    # The generator it cannot do without.
    needs: str | None = "wrk"
    # Whom all are compared with; nobody, where each is compared with itself.
    reference: str | None = "nginx"


@dataclass
class Setting:
    """What the samples of a run have in common."""

    tools: object
    backend: object
    seconds: int
    workers: int
    # Cores of the proxy, and of the generator with the backend.
    cores: str
    generator: str
    foreign: float = 0.0
    tls: tuple = ()
    issuer: object = None
    tokens: int = 0

    def plan(self, **more):
        """A plan with one target, which an item can change."""
        return Plan(**{"targets": self.backend.targets(), "workers": self.workers, "cores": self.cores, **more})

    def measured(self, proxy, work):
        """Does some work between two looks at the clocks: what a call cost. `work` returns a load."""
        with Watch(proxy.pid) as watch:
            done = work()
        self.foreign = max(self.foreign, watch.foreign)
        each = 1e6 / done.calls
        return {
            "calls": done.calls,
            "rate": done.rate,
            "cpu_us": watch.cpu.both * each,
            "user_us": watch.cpu.user * each,
            "kernel_us": watch.cpu.kernel * each,
            "busy": watch.cpu.both / watch.wall,
        }

    def saturated(self, proxy, path="/small", headers=None, script=None, arguments=()):
        """As many calls as go through, after a second of warming up."""
        def run(seconds):
            return load.wrk(self.generator, proxy.url(path), seconds, headers, script, arguments)

        run(1)
        return self.measured(proxy, lambda: run(self.seconds))

    def with_latencies(self, proxy, found, path="/small", headers=None):
        """Adds what calls wait at half of the rate that was found to go through."""
        if not self.tools.oha:
            return found
        rate = found["rate"] / 2
        with Watch(proxy.pid) as watch:
            waited = load.latencies(self.tools, self.generator, proxy.url(path), self.seconds, rate, headers)
        self.foreign = max(self.foreign, watch.foreign)
        return {**found, **waited}
