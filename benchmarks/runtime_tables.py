"""The Markdown of the runtime's tables: each measured value beside its bar, and "met" or "not met" computed of both."""

from __future__ import annotations

from typing import Any

from adaptation_tables import table
from bars import Bar, verdict

Record = dict[str, Any]

OVERHEAD, OVERHEAD_OF_FAST_NETWORKS = Bar(1.05), Bar(1.10)
FAST_NETWORK_MS = 5
TIMES_FASTER = {
    "PyTorch": Bar(5, at_least=True),
    "ONNX Runtime": Bar(2, at_least=True),
    "ONNX Runtime, tuned": Bar(2, at_least=True),
    "OpenVINO": Bar(1.5, at_least=True),
    "OpenVINO, tuned": Bar(1.5, at_least=True),
}
SAMPLE_MS = {"without flow": Bar(6), "with flow": Bar(8), "with flow, noise": Bar(8)}
FLOW_TIME, FLOW_ERROR = Bar(1), Bar(1)
LOST, LOST_ON_FOURTH = Bar(0.6), Bar(1.2)
PROPAGATED_MS = Bar(4)
GAIN_OF_FIXED_5 = Bar(3.5, at_least=True)
P99_OVER_P50 = Bar(1.2)
LAGGED_P99_MS = Bar(33)
REAL_TIME = Bar(30, at_least=True)
ACCEL_INTERVAL = 5
ACCEL_SHARE = Bar(0.5)
ACCEL_TIMES_EVERY = Bar(2, at_least=True)
EXPONENT = Bar(1.05)
"""1 is linear, and two measurements of the same are a few percent apart."""
BESIDE = ["bar", ""]
"""Columns of a verdict."""


def ranged(found: Record, form: str) -> str:
    """A ratio's median and, in brackets, the range of the rounds."""
    return f"{found['ratio']:{form}} ({found['ratio_min']:{form}} to {found['ratio_max']:{form}})"


def overhead(results: Record) -> str:
    lines = []
    for row in results["rows"]:
        bar = OVERHEAD_OF_FAST_NETWORKS if row["network_ms"] < FAST_NETWORK_MS else OVERHEAD
        times = [f"{row['network_ms']:.2f}", f"{row['push_ms']:.2f}"]
        where = [row["model"], row["input"], str(row["threads"])]
        lines.append([*where, *times, ranged(row, ".3f"), *verdict(row["ratio"], bar)])
    columns = ["network", "input = frame", "threads", "network alone, ms", "push, ms"]
    columns += ["ratio: median (range of rounds)", *BESIDE]
    text = f"`every`, no confidence, {results['precision']}, against OpenVINO alone with the same options."
    return f"{text}\n\n{table(columns, lines)}"


def pipelines(results: Record) -> str:
    lines, summary = [], []
    for row in results["rows"]:
        for name, other in row["others"].items():
            where = [row["model"], row["input"], str(row["threads"]), f"{row['push_ms']:.1f}"]
            cells = [name, f"{other['ms']:.1f}", ranged(other, ".2f")]
            same = f"{100 * other['agreement']:.2f} %"
            lines.append([*where, *cells, *verdict(other["ratio"], TIMES_FASTER.get(name)), same])
    for name, bar in TIMES_FASTER.items():
        ratios = [row["others"][name]["ratio"] for row in results["rows"]]
        met = sum(bar.met(ratio) for ratio in ratios)
        summary.append([name, f"{min(ratios):.2f} to {max(ratios):.2f}", str(bar), f"{met} of {len(ratios)}"])
    text = (
        f"A camera frame of {results['frame']}, f32: how many times faster push() is, medians (ranges of the rounds). "
        "*Tuned* keeps a running maximum over the classes instead of full-size logits; that OpenVINO does everything "
        "in its graph is not how its users write it, and has no bar. cv2.resize cannot upsample PIDNet's logits as "
        "they lie, corner on corner: that much of the labels differs."
    )
    columns = ["network", "input", "threads", "push, ms", "against", "ms", "times faster", *BESIDE, "same labels"]
    in_brief = table(["against", "times faster", "bar", "met"], summary)
    return f"{text}\n\n{in_brief}\n\n{table(columns, lines)}"


def sampling(results: Record) -> str:
    lines = []
    for row in results["rows"]:
        bar = SAMPLE_MS.get(row["case"]) if row["threads"] == 1 else None
        share = row.get("undecided")
        cells = [row["case"], "" if share is None else f"{100 * share:.0f} %", str(row["threads"])]
        cells += [f"{row['ms']:.2f}", *verdict(row["ms"], bar)]
        lines.append([*cells, f"{row['pytorch_ms']:.1f}", ranged(row, ".1f"), f"{100 * row['agreement']:.3f} %"])
    text = (
        f"{results['classes']} classes, {results['logits']} to {results['labels']}: the stage of push() alone; of "
        "noise, the worst case, with the packing of the logits. *Undecided*: where the four logits around a pixel have "
        "not the same largest class."
    )
    columns = ["", "undecided", "threads", "ms", *BESIDE, "PyTorch's calls, ms", "times faster", "same labels"]
    return f"{text}\n\n{table(columns, lines)}"


def flow(results: Record) -> str:
    settings = {"streams": "as streams search (finest_scale 1)", "ultrafast": "as ultrafast does (finest_scale 2)"}
    parts = []
    for size, measured in results["sizes"].items():
        errors = []
        for motion, e in measured["end_point_error"].items():
            for key, name in settings.items():
                ratio = e[key] / e["opencv"] if e["opencv"] else None
                cells = ["", *verdict(None, None)] if ratio is None else [f"{ratio:.2f}", *verdict(ratio, FLOW_ERROR)]
                errors.append([motion, name, f"{e[key]:.3f}", f"{e['opencv']:.3f}", *cells])
        columns = ["motion", "ours", "", "OpenCV", "ratio", *BESIDE]
        parts.append(f"**End-point error, {size}, pixels**\n\n" + table(columns, errors))
    times = []
    for size, measured in results["sizes"].items():
        for threads, t in measured["timings"].items():
            for key, name in settings.items():
                cells = [size, threads, name, f"{t[key]['ms']:.2f}", f"{t['opencv']['ms']:.2f}"]
                verdicts = verdict(t[key]["ratio"], FLOW_TIME if threads == "1" else None)
                times.append([*cells, f"{t[key]['ratio']:.2f}", *verdicts])
    columns = ["size", "threads", "ours", "", "OpenCV", "ratio", *BESIDE]
    parts.append("**Time, ms, medians**\n\n" + table(columns, times))
    return f"Against OpenCV {results['settings']['opencv']}, preset ultrafast.\n\n" + "\n\n".join(parts)


def propagation(results: Record) -> str:
    rows, base = results["rows"], results["rows"][0]["miou_mean"]
    lines, losses = [], []
    for row in rows:
        ages = ", ".join(f"{value:.1f}" for value in row["miou_by_age"].values())
        propagated = ["", ""]
        if row["propagated_ms_p50"] is not None:
            propagated = [f"{row['propagated_ms_p50']:.2f}", f"{row['propagated_ms_p99']:.2f}"]
        loss = f"{row['miou_mean'] - base:+.2f}"
        speed = f"{row['frames_per_second']:.0f}"
        lines.append(
            [row["schedule"], f"{row['miou_mean']:.2f}", loss, ages, speed, f"{row['key_ms_p50']:.2f}", *propagated]
        )
        if row["schedule"] == "fixed:5":
            lost = {"in the mean over phases and frames": (base - row["miou_mean"], LOST)}
            lost["on the fourth frame after the key"] = (base - row["miou_by_age"]["4"], LOST_ON_FOURTH)
            losses = [[name, f"{value:.2f}", *verdict(value, bar)] for name, (value, bar) in lost.items()]
    columns = ["schedule", "mIoU, all phases", "against every", "by distance from the key", "frames/s"]
    columns += ["key ms p50", "propagated ms p50", "p99"]
    text = (
        f"{results['data']}, {results['frames']} frames of {results['frame_size']}, {results['threads']} threads, f32."
    )
    lost_table = table(["mIoU that fixed:5 loses against every", "", *BESIDE], losses)
    return f"{text}\n\n{table(columns, lines)}\n\n{lost_table}"


def schedules(results: Record) -> str:
    parts = []
    for clip in results["clips"].values():
        lines = [
            [
                row["schedule"] + (", flow_check" if row["flow_check"] else ""),
                f"{1 / row['key_rate']:.1f}",
                f"{100 * row['disagreement']:.2f} %",
                f"{100 * row['fixed_at_that_rate']:.2f} %",
                "met" if row["disagreement"] < row["fixed_at_that_rate"] else "not met",
            ]
            for row in clip["adaptive"]
        ]
        varied = ", speed changing between 1 and 4" if clip["varied"] else ""
        columns = ["schedule", "frames to a key", "disagrees with every on", "fixed at that rate", "less than fixed"]
        parts.append(f"**{clip['data']}{varied}, {clip['frames']} frames**\n\n{table(columns, lines)}")
    return "Share of the pixels, over all frames and phases.\n\n" + "\n\n".join(parts)


def latency(results: Record) -> str:
    propagated = "propagated, fixed:5"
    lines, wanted = [], []
    for row in results["rows"]:
        for kinds, bar in ((row["types"], P99_OVER_P50), (row.get("beside", {}), None)):
            for kind, found in kinds.items():
                numbers = [str(found["frames"]), f"{found['p50_ms']:.2f}", f"{found['p99_ms']:.2f}"]
                even = found["p99_over_p50"]
                lines.append([row["model"], kind, *numbers, f"{even:.2f}", *verdict(even, bar)])
        frame = row["types"][propagated]["p50_ms"]
        wanted.append([f"{row['model']}: a propagated frame, p50", f"{frame:.2f} ms", *verdict(frame, PROPAGATED_MS)])
        # Of a network that takes little, propagation cannot save much: the bar is SegFormer-B0's.
        least = GAIN_OF_FIXED_5 if row["model"] == "segformer-b0" else None
        gain = f"{ranged(row['gain'], '.2f')} times"
        wanted.append([f"{row['model']}: fixed:5 against every, frames/s", gain, *verdict(row["gain"]["ratio"], least)])
    text = f"Input and frames {results['size']}, {results['threads']} threads, f32."
    if all("beside" in row for row in results["rows"]):
        text += (
            " Without a bar, in the same turns: OpenVINO alone, and hashing in registers of the same length on each "
            "thread, which is how evenly this machine computes at all."
        )
    types = table(["network", "frames", "number", "p50, ms", "p99, ms", "p99 / p50", *BESIDE], lines)
    return f"{text}\n\n{table(['', 'measured', *BESIDE], wanted)}\n\n{types}"


def key_lag(results: Record) -> str:
    lines = []
    for row in results["rows"]:
        lag = row["key_lag"]
        cells = [f"{row['p50_ms']:.1f}", f"{row['p99_ms']:.1f}"]
        cells += verdict(row["p99_ms"], LAGGED_P99_MS if lag else None)
        lines.append([str(lag), *cells, f"{row['most_ms']:.1f}", f"{100 * row['over_a_frames_time']:.1f} %"])
    text = (
        f"{results['model']} at {results['size']}, {results['network_ms']:.0f} ms alone on {results['threads']} "
        f"threads, `{results['schedule']}`, {results['frames_per_second']} frames/s by the clock."
    )
    columns = ["key_lag", "push p50, ms", "p99, ms", *BESIDE, "longest, ms", "over a frame's time"]
    return f"{text}\n\n{table(columns, lines)}\n\n{_price_of_the_lag(results['accuracy'])}"


def _price_of_the_lag(rows: list[Record]) -> str:
    if not rows:
        return "The mIoU that it costs: not measured."
    every = next(row["miou_mean"] for row in rows if row["schedule"] == "every")
    lines = [
        [
            row["what"],
            row["schedule"],
            str(row["key_lag"]),
            f"{row['miou_mean']:.2f}",
            f"{row['miou_mean'] - every:+.2f}",
        ]
        for row in rows
    ]
    text = "The price in mIoU, by a trained compact network on a labelled clip, all phases."
    return f"{text}\n\n{table(['', 'schedule', 'key_lag', 'mIoU', 'against every'], lines)}"


def real_time(results: Record) -> str:
    lines = []
    for row in results["rows"]:
        bar = REAL_TIME if row["schedule"].startswith("adaptive") else None
        speed = [f"{row['frames_per_second']:.1f}", *verdict(row["frames_per_second"], bar)]
        keys = f"{1 / row['key_rate']:.1f}"
        lines.append([row["schedule"], *speed, keys, f"{row['miou']:.2f}", f"{100 * row['disagreement']:.2f} %"])
    text = (
        f"{results['model']} at {results['size']}, {results['frames']} frames enlarged to that size, "
        f"{results['threads']} threads, f32."
    )
    columns = ["schedule", "frames/s", *BESIDE, "frames to a key", "mIoU", "disagrees with every on"]
    return f"{text}\n\n{table(columns, lines)}"


def accel(results: Record) -> str:
    return "\n\n".join(_accel_of_clip(clip) for clip in results["clips"].values())


def _accel_of_clip(clip: Record) -> str:
    carried = {row["interval"]: row["disagreement"] for row in clip["rows"] if row["mode"] == "carried"}
    lines = []
    for row in clip["rows"]:
        share = row["disagreement"] / carried[row["interval"]]
        judged = row["interval"] == ACCEL_INTERVAL and row["mode"] == "update"
        speeds = row["times_every"]
        met = [verdict(share, ACCEL_SHARE)[1], *(verdict(speed, ACCEL_TIMES_EVERY)[1] for speed in speeds.values())]
        lines.append(
            [
                f"`fixed:{row['interval']}`, {row['mode']}",
                f"{100 * row['disagreement']:.2f} %",
                f"{share:.2f}",
                " / ".join(f"{speed:.2f}" for speed in speeds.values()),
                "-" if row["miou"] is None else f"{row['miou']:.2f}",
                ("met" if set(met) == {"met"} else "not met") if judged else "",
            ]
        )
    threads = " / ".join(clip["rows"][0]["times_every"])
    every = "" if clip["every_miou"] is None else f" `every` has {clip['every_miou']:.2f} mIoU."
    dropped = [name for name, kept in clip["kept"].items() if not kept]
    left = f" Did not help on held-out frames and was dropped: {', '.join(dropped)}." if dropped else ""
    text = f"**{clip['data']}, {clip['frames']} frames; trained on {clip['video']}**\n\n{every.strip()}{left}".strip()
    columns = [
        "schedule and mode",
        "disagrees with every on",
        "of carried alone",
        f"times every's frames/s, {threads} threads",
        "mIoU",
        f"{ACCEL_SHARE} at {ACCEL_TIMES_EVERY} times",
    ]
    return f"{text}\n\n{table(columns, lines)}"


def growth(results: Record) -> str:
    lines = []
    for row in results["rows"]:
        small, large = row["costs"]
        factor = f"{row['sizes'][1] / row['sizes'][0]:.1f}"
        # The network's own growth is its engine's.
        bar = None if row["part"].endswith("network") else EXPONENT
        numbers = [f"{small:.2f}", f"{large:.2f}", row["unit"], f"{large / small:.1f}", f"{row['exponent']:.2f}"]
        lines.append([row["what"], factor, row["part"], *numbers, *verdict(row["exponent"], bar)])
    text = f"{results['model']}, {results['threads']} thread, f32; an exponent of 1 is linear."
    columns = ["growing", "times", "cost of", "from", "to", "", "times as much", "exponent", *BESIDE]
    return f"{text}\n\n{table(columns, lines)}"
