"""The compared figures as bars in an SVG: the median, and a whisker from the least to the most of the rounds."""

import statistics
from html import escape

WIDTH, LEFT, RIGHT, BAR, GAP, HEAD = 860, 210, 110, 18, 6, 44
OWN, OTHER, INK, FAINT = "#c2410c", "#64748b", "#0f172a", "#475569"


def plot(all_results):
    """The picture as text, in black on white so that it can be read on any page."""
    body, at = [], 16
    for results in all_results:
        group, at = _group(results, at)
        body += group
    style = (f"text{{font:13px sans-serif;fill:{INK}}}.heading{{font-weight:600}}.unit{{fill:{FAINT};font-size:12px}}"
             f".whisker{{stroke:{INK};stroke-width:1.3}}")
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{at}" viewBox="0 0 {WIDTH} {at}" role="img" '
            'aria-label="Portcullis and its peers">')
    ground = f'<rect width="{WIDTH}" height="{at}" fill="#ffffff"/>'
    return "\n".join([head, f"<style>{style}</style>", ground, *body, "</svg>", ""])


def _group(results, at):
    item = results.item
    rows = [(peer, results.values(peer, item.main)) for peer in results.samples]
    rows = [(peer, values) for peer, values in rows if values]
    if not rows:
        return [], at
    column = next((it for it in item.columns if it.key == item.main), item.columns[0])
    room = WIDTH - LEFT - RIGHT
    scale = room / max(max(values) for _, values in rows)
    workers = "" if results.workers == 1 else f", {results.workers} workers"
    lines = [f'<text class="heading" x="12" y="{at + 12}">{escape(item.title)}{workers}</text>',
             f'<text class="unit" x="12" y="{at + 29}">{escape(column.heading)}; less is better</text>']
    at += HEAD
    for peer, values in rows:
        median = statistics.median(values)
        colour = OWN if peer.startswith("portcullis") else OTHER
        middle, low, high = at + BAR / 2, LEFT + min(values) * scale, LEFT + max(values) * scale
        lines += [
            f'<text x="{LEFT - 8}" y="{at + 14}" text-anchor="end">{escape(peer)}</text>',
            f'<rect x="{LEFT}" y="{at}" width="{median * scale:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>',
            *(f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{at + 4}" y2="{at + BAR - 4}"/>' for x in (low, high)),
            f'<text x="{high + 8:.1f}" y="{at + 14}">{median:,.{column.digits}f}</text>',
        ]
        at += BAR + GAP
    return lines, at + 16
