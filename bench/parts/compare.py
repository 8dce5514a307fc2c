#!/usr/bin/env python3
"""Compares counted instructions of the parts of a call with those written down in instructions.txt beside this file.

    bench/parts/compare.py COUNTED           fails if a part needs more than a fifth more
    bench/parts/compare.py COUNTED --write   writes them down anew

COUNTED is what `cargo bench -p portcullis-bench --bench instructions -- --output-format=json` prints. Figures differ a
little between compilers and, where a hash table is asked, between runs; so less than a fifth says nothing.
"""

import argparse
import json
import pathlib
import sys

WRITTEN = pathlib.Path(__file__).with_name("instructions.txt")
MOST = 1.2


def counted(path):
    """Instructions by the name of the part."""
    parts = {}
    with open(path) as lines:
        for line in lines:
            bench = json.loads(line)
            metrics = bench["profiles"][0]["data"]["total"]["metrics"]
            parts[bench["id"]] = metrics["Ir"]["values"]["new"]
    return parts


def written():
    """The same as it was written down."""
    pairs = (line.split() for line in WRITTEN.read_text().splitlines() if not line.startswith("#"))
    return {name: int(count) for name, count in pairs}


def write(parts):
    lines = [f"{name} {count}\n" for name, count in parts.items()]
    WRITTEN.write_text("# Instructions of the parts of a call; `./check instructions write` makes this file.\n" + "".join(lines))


def compare(now, before):
    """A line for each part, and whether any needs too much."""
    bad = False
    for name in dict.fromkeys([*before, *now]):
        if name not in now or name not in before:
            where = "not counted" if name not in now else "not written down"
            print(f"{name:20} {where}")
            bad = True
            continue
        ratio = now[name] / before[name]
        note = "  TOO MANY" if ratio > MOST else "  fewer: write it down" if ratio < 1 / MOST else ""
        print(f"{name:20} {before[name]:8,} -> {now[name]:8,}  {ratio - 1:+.0%}{note}")
        bad |= ratio > MOST
    return bad


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("counted")
    arguments.add_argument("--write", action="store_true")
    given = arguments.parse_args()
    parts = counted(given.counted)
    if not parts:
        sys.exit("nothing was counted")
    if given.write:
        write(parts)
    elif compare(parts, written()):
        sys.exit("If the change is worth it, say so in its commit, with what `./check instructions write` has written.")


main()
