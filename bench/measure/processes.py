"""What processes cost, as the kernel counts it: CPU time and memory of a process and everything below it."""

import os
import time
from dataclasses import dataclass

TICK = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count()


@dataclass
class Cpu:
    """Seconds of CPU: in the process's own code, and in the kernel on its behalf."""

    user: float
    kernel: float

    @property
    def both(self):
        return self.user + self.kernel

    def __sub__(self, other):
        return Cpu(self.user - other.user, self.kernel - other.kernel)


def _stat(pid):
    """The fields of `/proc/PID/stat` from the state on, or nothing if the process has gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def tree(root):
    """The ids of a process and of all that descend from it."""
    children = {}
    for name in os.listdir("/proc"):
        fields = _stat(name) if name.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def cpu(root):
    """CPU of a process and its descendants, those that have ended and been waited for too."""
    user = kernel = 0
    for pid in tree(root):
        fields = _stat(pid)
        if fields:
            user += int(fields[11]) + int(fields[13])
            kernel += int(fields[12]) + int(fields[14])
    return Cpu(user / TICK, kernel / TICK)


def memory(root):
    """Bytes of a process and its descendants: what they share with others is divided among those (PSS)."""
    total = 0
    for pid in tree(root):
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


def _machine():
    """Seconds of CPU the whole machine was busy, with what the hypervisor gave to others."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _wait, irq, softirq, steal = (int(it) for it in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK


class Watch:
    """Over a block: what the proxy was charged, how long it took, and what the machine did for strangers.

    All that belongs to the measurement descends from this process, so whatever else kept the machine busy is foreign.
    """

    def __init__(self, proxy):
        self.proxy = proxy

    def __enter__(self):
        self.before = cpu(self.proxy), cpu(os.getpid()), _machine(), time.perf_counter()
        return self

    def __exit__(self, *_):
        proxy, own, machine, start = self.before
        self.wall = time.perf_counter() - start
        self.cpu = cpu(self.proxy) - proxy
        strange = (_machine() - machine) - (cpu(os.getpid()) - own).both
        # The counters tick a hundred times a second, each for itself, so a little below nothing is nothing.
        self.foreign = max(0.0, strange) / (self.wall * CORES)
