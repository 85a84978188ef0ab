"""What the rounds say: least and median, ratios to the limit and to the best peer."""
import statistics

# What each load says, and each program that needs none. Anything else is named below the table.
USUAL = {"workload", "operations", "wall_seconds", "processor_seconds", "sleeps", "peak_bytes", "latency_ns", "verified_bytes",
         "bytes_each"}


def summary(workload, results):
    """Peer's name to its figures."""
    found = {}
    for name, rounds in results.items():
        figures = [workload.figure_of(result) for result in rounds]
        best = rounds[figures.index(min(figures))]
        found[name] = {
            "least": min(figures), "median": statistics.median(figures), "rounds": figures,
            "per_second": best["operations"] / best["wall_seconds"] if best.get("wall_seconds") else None,
            "latency_ns": {name: statistics.median(result["latency_ns"][name] for result in rounds)
                           for name in best.get("latency_ns", {})},
            "peak_bytes": max(result.get("peak_bytes", 0) for result in rounds),
            "more": {name: value for name, value in best.items() if name not in USUAL and name != workload.figure},
        }
    limit = found.get(workload.limit)
    best = best_peer(found)
    for figures in found.values():
        figures["to_limit"] = figures["least"] / limit["least"] if limit and limit["least"] else None
        figures["to_best"] = figures["least"] / found[best]["least"] if best and found[best]["least"] else None
    return found


def best_peer(found):
    """The name of the fastest program that is neither ours nor bare, or None."""
    names = [name for name in found if not name.startswith(("sluice", "bare"))]
    return min(names, key=lambda name: found[name]["least"], default=None)


def verdict(workload, found):
    """None, or the ratio that is wanted, the one found, and whether that is enough."""
    if workload.wanted is None or "sluice" not in found:
        return None
    ours = found["sluice"]["least"]
    if workload.against == "itself":
        ratio = ours
    elif workload.against in ("limit", "best"):
        ratio = found["sluice"]["to_" + workload.against]
    else:
        peer = found.get(workload.against)
        ratio = ours / peer["least"] if peer and peer["least"] else None
    return None if ratio is None else {"wanted": workload.wanted, "against": workload.against, "found": ratio,
                                       "met": ratio <= workload.wanted}


def number(value):
    """Three digits or more."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    for digits, least in ((0, 100), (1, 10), (2, 1)):
        if abs(value) >= least:
            return "{:,.{}f}".format(value, digits)
    return "%.3f" % value


def _ratio(value):
    return "-" if value is None else "%.3f" % value


def what(workload):
    """The figure in words, with its unit."""
    each = {"processor": "processor time of the server for an operation", "wall": "time of an operation"}
    return "%s, %s" % (each.get(workload.figure, workload.figure.replace("_", " ")), workload.unit)


def table(workload, found):
    """The lines of a table, for a terminal and for Markdown."""
    heads = ["program", "least", "median", "a second", "p50", "p99", "p99.9", "peak MiB", "to limit", "to best"]
    rows = []
    for name, figures in sorted(found.items(), key=lambda item: item[1]["least"]):
        latency = [number(figures["latency_ns"][part] / 1000) if part in figures["latency_ns"] else "-"
                   for part in ("p50", "p99", "p999")]
        rows.append([name, number(figures["least"]), number(figures["median"]),
                     "-" if figures["per_second"] is None else "{:,.0f}".format(figures["per_second"]), *latency,
                     number(figures["peak_bytes"] / 2**20), _ratio(figures["to_limit"]), _ratio(figures["to_best"])])
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]

    def line(cells):
        first, *others = ["%-*s" % (widths[0], cells[0])] + ["%*s" % (widths[i], cells[i])
                                                             for i in range(1, len(cells))]
        return "| " + " | ".join([first, *others]) + " |"

    lines = ["## %s: %s" % (workload.name, workload.title), "",
             "%s, least and median of the rounds; latencies in us" % what(workload), "",
             line(heads), "|" + "|".join(["---"] + ["--:"] * (len(heads) - 1)) + "|", *map(line, rows)]
    queue = found.get("bare_moodycamel")
    if queue and queue["least"] and "sluice" in found:
        lines += ["", "sluice to bare_moodycamel: %.3f" % (found["sluice"]["least"] / queue["least"])]
    for name, figures in found.items():
        if figures["more"]:
            lines += ["", "%s: %s" % (name, ", ".join("%s %s" % item for item in figures["more"].items()))]
    judged = verdict(workload, found)
    if judged:
        against = {"limit": " of the limit", "best": " of the best peer", "itself": " " + workload.unit}
        lines += ["", "wanted: at most %g%s; found %.3f: %s" % (
            judged["wanted"], against.get(judged["against"], " of " + judged["against"]), judged["found"],
            "met" if judged["met"] else "missed")]
    return lines
