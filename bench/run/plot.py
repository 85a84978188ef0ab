"""Draws the figures of a workload as an SVG, without a library: a bar for each program, a mark at the median."""
import os
from xml.sax.saxutils import escape

import report
from places import PLOTS, ROOT

WIDTH, ROW, LABEL, RIGHT, TOP, BOTTOM = 720, 26, 130, 90, 58, 30
OURS, LIMIT, PEER, INK, FAINT = "#1f6feb", "#8c959f", "#bf8700", "#24292f", "#d0d7de"


def _colour(name):
    return OURS if name.startswith("sluice") else LIMIT if name.startswith("bare") else PEER


def _text(x, y, text, size=13, anchor="start", weight="normal", colour=INK):
    return '<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s" font-weight="%s" fill="%s">%s</text>' % (
        x, y, size, anchor, weight, colour, escape(text))


def svg(workload, found):
    """The drawing as text. A bar is the least of the rounds, in the unit of the workload; shorter is better."""
    rows = sorted(found.items(), key=lambda item: item[1]["least"])
    most = max(max(figures["least"], figures["median"]) for _, figures in rows) or 1
    height = TOP + ROW * len(rows) + BOTTOM
    scale = (WIDTH - LABEL - RIGHT) / most
    lines = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" '
             'font-family="Helvetica, Arial, sans-serif">' % (WIDTH, height, WIDTH, height),
             '<rect width="%d" height="%d" fill="#ffffff"/>' % (WIDTH, height),
             _text(12, 24, "%s: %s" % (workload.name, workload.title), 15, weight="bold"),
             _text(12, 43, "%s, least of the rounds; the mark is the median" % report.what(workload), 12, colour="#57606a")]
    for i, (name, figures) in enumerate(rows):
        y = TOP + ROW * i
        bar = figures["least"] * scale
        lines.append(_text(LABEL - 8, y + 17, name, anchor="end", weight="bold" if name.startswith("sluice") else "normal"))
        lines.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>' % (LABEL, y + 4, bar, ROW - 8, _colour(name)))
        mark = LABEL + figures["median"] * scale
        lines.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-width="2"/>' % (
            mark, mark, y + 2, y + ROW - 2, INK))
        lines.append(_text(max(mark, LABEL + bar) + 6, y + 17, report.number(figures["least"])))
    limit = found.get(workload.limit)
    if limit:
        x = LABEL + limit["least"] * scale
        lines.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-dasharray="4 3"/>' % (
            x, x, TOP, height - BOTTOM, FAINT))
        lines.append(_text(x, height - 12, "the limit", 11, "middle", colour="#57606a"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def write(workload, found):
    """Writes the drawing beside the pages, and returns its path."""
    folder = os.path.join(ROOT, PLOTS)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(PLOTS, workload.name.replace("/", "-") + ".svg")
    with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
        file.write(svg(workload, found))
    return path
