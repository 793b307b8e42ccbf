"""The Markdown of the tables that `tables.py` computes: mean ± spread over the seeds, last / selected / best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

Record = dict[str, Any]
NOT_RUN = "not run"
KEPT = "†"
"""Marks rows with a run that the last sitting took over from an older record."""
PURITY_OF = {
    "selected": "Of the snapshots that the guard selects, where the ablation above is of the last ones.",
    "last": "Of the last snapshots, as the ablation above.",
}
ABLATION_OF = {
    "last": "Last snapshots: what the training gives, whatever is selected.",
    "selected": "The snapshots that the guard selects.",
}
STEPS_OF_THE_ORDER = (
    "A step of the order is *up* where it is a gain in every seed, *down* where it is a loss in every seed, else "
    "*open*: the seeds differ by more."
)
PAPER_ORDER = ("self-training", "duplicate", "temporal", "spatial", "spatial+temporal", "stpl")


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(scores: list[float]) -> str:
    """Mean ± standard deviation, of one score the score alone."""
    if not scores:
        return NOT_RUN
    return f"{fmean(scores):.1f}" if len(scores) == 1 else f"{fmean(scores):.1f} ± {stdev(scores):.1f}"


def finished(row: Record) -> list[Record]:
    """The row's runs that are done."""
    return [run for run in row["runs"].values() if run is not None]


def scores(row: Record, which: str) -> list[float]:
    return [run[which]["score"] for run in finished(row)]


def seeds_note(done: int, wanted: int) -> str:
    """What to add to a number that not all seeds stand behind."""
    return f" ({done} of {wanted} seeds)" if done < wanted else ""


def unfinished(row: Record) -> str:
    """The note of one row: the seeds that it lacks, and KEPT where a run is from an older record."""
    kept = any(run.get("kept") for run in finished(row))
    return seeds_note(len(finished(row)), len(row["runs"])) + (f" {KEPT}" if kept else "")


def over_domains(results: Record, name: str, which: str = "selected") -> list[float]:
    """A row's mean over the domains, one for each seed that is finished on all of them."""
    rows = [content["rows"].get(name) for content in results["domains"].values()]
    runs = [{} if row is None else {seed: run for seed, run in row["runs"].items() if run is not None} for row in rows]
    seeds = [seed for seed in runs[0] if all(seed in of_domain for of_domain in runs)]
    return [fmean(of_domain[seed][which]["score"] for of_domain in runs) for seed in seeds]


def mean(row: Record | None, which: str = "selected") -> float | None:
    found = [] if row is None else scores(row, which)
    return fmean(found) if found else None


def trained(row: Record) -> bool:
    return any(run["snapshots"] for run in finished(row))


def cells(row: Record) -> list[str]:
    """Last, selected, best; one score three times is said once."""
    done = finished(row)
    if not done:
        return [NOT_RUN, "", ""]
    if not trained(row):
        return ["", spread(scores(row, "selected")) + unfinished(row), ""]
    texts = [spread(scores(row, which)) for which in ("last", "selected", "best")]
    return [*texts[:2], texts[2] + unfinished(row)]


def domain_table(results: Record, domain: str) -> str:
    """One domain in full: scores, the share of the distance to the oracle that is closed, time and memory."""
    rows = results["domains"][domain]["rows"]
    source, oracle = mean(rows.get("source")), mean(rows.get("oracle"))
    lines = [
        [name, *cells(row), gain(mean(row), source), closed(mean(row), source, oracle), *cost(row)]
        for name, row in rows.items()
    ]
    columns = ["", "last", "selected", "best", "against source", "closed", "minutes", "CPU minutes", "MiB"]
    return table(columns, lines)


def gain(score: float | None, source: float | None) -> str:
    return "" if score is None or source is None else f"{score - source:+.1f}"


def closed(score: float | None, source: float | None, oracle: float | None) -> str:
    """Share of the distance from the source model to the oracle; a score past the oracle says that it is no bound."""
    if score is None or source is None or oracle is None or oracle <= source:
        return ""
    if score > oracle:
        return "past it"
    return f"{100 * (score - source) / (oracle - source):.0f} %"


def cost(row: Record) -> list[str]:
    done = finished(row)
    if not done:
        return ["", "", ""]
    texts = []
    for key, unit, digits in (("seconds", 60, 1), ("cpu_seconds", 60, 1), ("peak_mebibytes", 1, 0)):
        known = [run[key] for run in done if run[key] is not None]
        texts.append(f"{fmean(known) / unit:.{digits}f}" if known else "")
    return texts


def means_over_domains(results: Record) -> str:
    """Every method over all domains: mean ± spread of the seeds that are finished on every one of them."""
    domains = results["domains"]
    names = list(next(iter(domains.values()))["rows"])
    lines = []
    for name in names:
        rows = [content["rows"].get(name) for content in domains.values()]
        wanted = max(len(row["runs"]) for row in rows if row is not None)
        found = {which: over_domains(results, name, which) for which in ("last", "selected", "best")}
        done = len(found["selected"])
        title = name + (seeds_note(done, wanted) if done else "")
        lines.append([title, *map(spread, found.values()), *map(_selected, rows)])
    columns = ["mean over domains", "last", "selected", "best", *(f"{domain}, selected" for domain in domains)]
    return table(columns, lines)


def in_full(results: Record) -> str:
    """Means over the domains, then every domain."""
    parts = [_introduction(results), means_over_domains(results)]
    parts += [f"**{domain}**\n\n{domain_table(results, domain)}" for domain in results["domains"]]
    return "\n\n".join([*parts, commits(results)])


def in_brief(results: Record) -> str:
    """One line a variant: gain over the source model in the mean of the domains, then each domain's scores."""
    domains = results["domains"]
    names = list(next(iter(domains.values()))["rows"])
    sources = [mean(content["rows"].get("source")) for content in domains.values()]
    lines = []
    for name in names:
        rows = [content["rows"][name] for content in domains.values()]
        gains = [
            score - source
            for row, source in zip(rows, sources, strict=True)
            if (score := mean(row)) is not None and source is not None
        ]
        overall = f"{fmean(gains):+.1f}" if len(gains) == len(domains) else NOT_RUN
        lines.append([name, overall, *(" / ".join(filter(None, cells(row))) for row in rows)])
    columns = ["", "mean gain over source", *(f"{domain}: last / selected / best" for domain in domains)]
    return "\n\n".join(filter(None, [_introduction(results), table(columns, lines), commits(results)]))


def ablation(results: Record) -> str:
    """The paper's order beside the measured one, step by step, of the last snapshots and of the selected ones."""
    parts = [_introduction(results), STEPS_OF_THE_ORDER]
    for which, text in ABLATION_OF.items():
        lines = []
        for domain, content in results["domains"].items():
            rows = [content["rows"][name] for name in PAPER_ORDER]
            lines.append([domain, *(spread(scores(row, which)) for row in rows), steps_of_the_order(rows, which)])
        parts += [text, table(["", *PAPER_ORDER, "the paper's steps"], lines)]
    return "\n\n".join([*parts, commits(results)])


def steps_of_the_order(rows: list[Record], which: str) -> str:
    """Of the steps from each row to the next: how many go up in every seed, how many down in every seed, the rest."""
    up = down = steps = 0
    for before, after in pairwise(rows):
        seeds = [
            seed for seed, run in before["runs"].items() if run is not None and after["runs"].get(seed) is not None
        ]
        if not seeds:
            return NOT_RUN
        gains = [after["runs"][seed][which]["score"] - before["runs"][seed][which]["score"] for seed in seeds]
        steps += 1
        up += all(gain > 0 for gain in gains)
        down += all(gain < 0 for gain in gains)
    return f"{up} up, {down} down, {steps - up - down} open"


def purity(results: Record) -> str:
    """Neighbour purity, percent, by number of neighbours."""
    parts = []
    for domain, rows in results["domains"].items():
        lines = [[name, *(f"{curve[str(k)]['mean']:.1f}" for k in results["ks"])] for name, curve in rows.items()]
        parts.append(f"**{domain}**\n\n" + table(["k =", *map(str, results["ks"])], lines))
    text = (
        "Share of the k nearest neighbours in feature space (by cosine) that are of a pixel's own class, percent, over "
        f"{results['pixels']} pixels of each class in {results['frames']} labelled frames; means over the seeds. "
        f"{PURITY_OF[results.get('of', 'selected')]}"
    )
    return "\n\n".join([text, *parts])


def claims(results: Record) -> str:
    """Each claim beside its measurement."""
    verdicts = {True: "holds", False: "refuted", None: "open"}
    lines = [
        [entry["claim"], "guarantee" if entry["guarantee"] else "goal", verdicts[entry["holds"]], entry["measured"]]
        for entry in results["claims"]
    ]
    return table(["claim", "", "", "measured"], lines)


def commits(results: Record) -> str:
    """The commits that a table's runs were computed at, with the number of runs of each."""
    done = [run for _, row in _rows(results) for run in finished(row)]
    kept = [run for run in done if run.get("kept")]
    text = f"Runs by commit: {_by_commit(done)}." if done else ""
    if kept:
        text += f" {KEPT} {len(kept)} of them are from an older record, not found again by the last sitting: "
        text += f"{_by_commit(kept)}."
    return text


def seeds_run(results: Record) -> str:
    """The seeds that were run, and the rows that have others; rows without random numbers have one and do not count."""
    wanted = {str(seed) for seed in results["seeds"]}
    found: dict[str, set[int]] = {}
    for name, row in _rows(results):
        if wanted <= set(row["runs"]):
            found.setdefault(name, set()).update(int(seed) for seed, run in row["runs"].items() if run is not None)
    names: dict[tuple[int, ...], list[str]] = {}
    for name, seeds in found.items():
        if seeds:
            names.setdefault(tuple(sorted(seeds)), []).append(f"*{name}*")
    if not names:
        return ""
    usual = max(names, key=lambda seeds: len(names[seeds]))
    others = [f"of {', '.join(rows)}: {_listed(seeds)}" for seeds, rows in names.items() if seeds != usual]
    return "; ".join([f"Seed{'s' if len(usual) > 1 else ''} {_listed(usual)}", *others]) + "."


def _introduction(results: Record) -> str:
    """The table's text, its seeds, and how much of it was run."""
    runs = [run for _, row in _rows(results) for run in row["runs"].values()]
    done = sum(run is not None for run in runs)
    share = f"{done} of {len(runs)} runs are done." if done < len(runs) else ""
    return " ".join(filter(None, [results["text"], seeds_run(results), share]))


def _rows(results: Record) -> Iterator[tuple[str, Record]]:
    """Every row with its name, of one domain after the other."""
    for content in results["domains"].values():
        yield from content["rows"].items()


def _by_commit(runs: list[Record]) -> str:
    return ", ".join(f"{commit} ({count})" for commit, count in Counter(run["commit"] for run in runs).most_common())


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _selected(row: Record | None) -> str:
    if row is None or not finished(row):
        return NOT_RUN
    return spread(scores(row, "selected")) + unfinished(row)
