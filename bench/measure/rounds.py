"""Rounds in which the peers take turns, so that a noisy machine is noisy for all of them alike."""

import http.client
import subprocess
import sys
from dataclasses import dataclass, field

from measure.load import LoadFailed
from peers.proxy import NotStarted
from work.item import WorkNotDone

# How often a sample is taken again that the machine did too much beside.
ATTEMPTS = 4
FAILURES = (LoadFailed, NotStarted, WorkNotDone, OSError, http.client.HTTPException, subprocess.SubprocessError)


@dataclass
class Results:
    """What came of an item: for each peer a sample a round, or None for one that does not count."""

    item: object
    workers: int
    samples: dict = field(default_factory=dict)
    noisy: int = 0
    # Why a peer was left out, or a round of it; and why a load was put on again that had gone wrong.
    failed: dict = field(default_factory=dict)
    repeated: dict = field(default_factory=dict)

    def values(self, peer, key):
        """What is known of a figure, a value a round that counts."""
        return [sample[key] for sample in self.samples.get(peer, []) if sample and sample.get(key) is not None]

    def ratios(self, peer, key):
        """The figure in terms of the reference's of the same round."""
        pairs = zip(self.samples.get(peer, []), self.samples.get(self.item.reference, []), strict=False)
        both = [(one[key], other[key]) for one, other in pairs if one and other and one.get(key) and other.get(key)]
        return [one / other for one, other in both]


def take(item, peers, setting, rounds, most_foreign):
    """Takes so many rounds of an item. Each round begins with another peer."""
    results = Results(item, setting.workers)
    peers = [peer for peer in peers if _proven(item, peer, setting, results)]
    for peer in peers:
        results.samples[peer.name] = []
    for number in range(rounds):
        turn = number % len(peers) if peers else 0
        for peer in peers[turn:] + peers[:turn]:
            sample = _sample(item, peer, setting, most_foreign, results)
            results.samples[peer.name].append(sample)
            shown = f"{sample[item.main]:.2f}" if sample else "does not count"
            print(f"  {item.name}, round {number + 1}, {peer.name}: {shown}", file=sys.stderr, flush=True)
    return results


def _proven(item, peer, setting, results):
    try:
        if item.prove:
            item.prove(peer, setting)
        return True
    except FAILURES as failure:
        results.failed[peer.name] = f"{type(failure).__name__}: {failure}"
        print(f"  {item.name}: {peer.name} is left out: {failure}", file=sys.stderr, flush=True)
        return False


def _sample(item, peer, setting, most_foreign, results):
    """One sample, taken again while the machine is busy with something else; None if it stays so, or fails.

    A load that goes wrong is put on again too, and told. Work that is not done is not asked for again.
    """
    for attempt in range(ATTEMPTS):
        setting.foreign = 0.0
        try:
            sample = item.sample(peer, setting)
        except LoadFailed as failure:
            said = results.failed if attempt + 1 == ATTEMPTS else results.repeated
            said[peer.name] = f"{type(failure).__name__}: {failure}"
            print(f"  {item.name}: {peer.name}, attempt {attempt + 1}: {failure}", file=sys.stderr, flush=True)
            continue
        except FAILURES as failure:
            results.failed[peer.name] = f"{type(failure).__name__}: {failure}"
            print(f"  {item.name}: {peer.name} fails: {failure}", file=sys.stderr, flush=True)
            return None
        if setting.foreign <= most_foreign:
            return {**sample, "foreign": setting.foreign}
        results.noisy += 1
        print(f"  {item.name}, {peer.name}: {setting.foreign:.0%} foreign load, again", file=sys.stderr, flush=True)
    return None
