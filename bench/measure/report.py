"""What came of the rounds, as tables in Markdown and as JSON. Figures are medians; ratios are medians of rounds."""

import statistics

BEGIN, END = "<!-- figures of bench/run begin -->", "<!-- figures of bench/run end -->"


def _written(values, digits):
    return f"{statistics.median(values):,.{digits}f}" if values else "–"


def _compared(ratios):
    if not ratios:
        return "–"
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}–{max(ratios):.2f}]"


def _range(values):
    return f"{min(values):.2f}–{max(values):.2f}" if values else "–"


def table(results):
    """One item: a row for each peer, the reference first."""
    item = results.item
    cores = "one worker on a core of its own" if results.workers == 1 else (
        f"{results.workers} workers, which share their cores with the generator and the backend")
    several = "" if results.workers == 1 else f", {results.workers} workers"
    lines = [f"### {item.name}: {item.title}{several}", "", f"Each proxy with {cores}.", ""]
    headings = ["", *(column.heading for column in item.columns), f"to {item.reference}" if item.reference else "least–most", "rounds"]
    lines += [_row(headings), _row(["---"] + ["---:"] * (len(headings) - 1))]
    for peer, samples in results.samples.items():
        figures = [_written(results.values(peer, column.key), column.digits) for column in item.columns]
        counted = sum(sample is not None for sample in samples)
        values = results.values(peer, item.main)
        compared = _compared(results.ratios(peer, item.main)) if item.reference else _range(values)
        lines.append(_row([peer, *figures, compared, f"{counted} of {len(samples)}"]))
    if results.noisy:
        lines += ["", f"{results.noisy} samples had too much foreign load and were taken again."]
    again = [f"{peer}, a load once more after {' '.join(why.split())[:200]}" for peer, why in results.repeated.items()]
    lines += [line for said in again for line in ("", said)]
    lines += [line for peer, why in results.failed.items() for line in ("", f"{peer}: {' '.join(why.split())[:300]}")]
    return "\n".join(lines)


def _row(cells):
    return f"| {' | '.join(cells)} |"


def put(path, text):
    """Writes the tables: in a page between the marks, where it has them, else as the whole file."""
    page = path.read_text() if path.exists() else ""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    path.write_text(f"{before}{begin}\n\n{text}\n{end}{after}" if begin and end else text)


def facts(machine, versions, missing, options):
    """What has to be known of a run to read its figures."""
    had = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        f"{machine['when']}, {machine['cores']} cores of {machine['processor']}, Linux {machine['kernel']}.",
        f"{options.rounds} rounds, {options.seconds} s each; samples with more than {options.foreign:.0f} % foreign load do not count.",
        f"{had}.",
    ]
    lines += [f"Left out: {name}: {' '.join(why.split())}." for name, why in missing.items()]
    return "\n".join(lines)


def as_json(all_results, machine, versions, missing):
    """Everything that was measured, each sample by itself."""
    items = []
    for results in all_results:
        item = results.item
        medians = {
            peer: {column.key: statistics.median(values) for column in item.columns if (values := results.values(peer, column.key))}
            for peer in results.samples
        }
        ratios = {peer: results.ratios(peer, item.main) for peer in results.samples}
        items.append({
            "name": item.name,
            "title": item.title,
            "workers": results.workers,
            "compared_with": item.reference,
            "compared_by": item.main,
            "medians": medians,
            "ratios": ratios,
            "samples": results.samples,
            "noisy": results.noisy,
            "repeated": results.repeated,
            "failed": results.failed,
        })
    return {"machine": machine, "versions": versions, "missing": missing, "items": items}
