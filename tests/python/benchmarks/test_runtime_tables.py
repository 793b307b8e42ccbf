"""The runtime's tables from results that are made up: bars beside values, and what has no bar or was not measured."""

from __future__ import annotations

import make_tables
import pytest
import runtime_key_lag
import runtime_tables


def overhead_row(network_ms: float, ratio: float) -> dict:
    times = {"network_ms": network_ms, "push_ms": network_ms * ratio}
    ratios = {"ratio": ratio, "ratio_min": ratio - 0.01, "ratio_max": ratio + 0.01}
    return {"model": "compact", "input": "512x256", "threads": 1, **times, **ratios}


@pytest.mark.parametrize(
    ("network_ms", "ratio", "cells"),
    [
        (10.0, 1.04, "| ≤ 1.05 | met |"),
        (10.0, 1.08, "| ≤ 1.05 | not met |"),
        (4.9, 1.08, "| ≤ 1.1 | met |"),
        (4.9, 1.11, "| ≤ 1.1 | not met |"),
    ],
)
def test_fast_networks_have_a_wider_bar(network_ms, ratio, cells):
    text = runtime_tables.overhead({"precision": "f32", "rows": [overhead_row(network_ms, ratio)]})
    assert cells in text


def test_pipelines_are_summed_up_and_the_graph_has_no_bar():
    def other(ratio: float) -> dict:
        return {"ms": 10 * ratio, "agreement": 0.9999, "ratio": ratio, "ratio_min": ratio, "ratio_max": ratio}

    names = [*runtime_tables.TIMES_FASTER, "OpenVINO, all in its graph"]
    rows = [
        {"model": "compact", "input": "512x256", "threads": n, "push_ms": 10.0, "others": {x: other(r) for x in names}}
        for n, r in ((1, 2.5), (2, 1.4))
    ]
    text = runtime_tables.pipelines({"frame": "1280x720", "rows": rows})
    assert "| PyTorch | 1.40 to 2.50 | ≥ 5 | 0 of 2 |" in text
    assert "| ONNX Runtime, tuned | 1.40 to 2.50 | ≥ 2 | 1 of 2 |" in text
    assert "| OpenVINO, all in its graph | 14.0 | 1.40 (1.40 to 1.40) |  |  | 99.99 % |" in text


def test_what_fixed_5_loses_is_held_against_every():
    def row(schedule: str, mean: float, ages: dict[str, float]) -> dict:
        times = {"key_ms_p50": 5.0, "propagated_ms_p50": None, "propagated_ms_p99": None, "frames_per_second": 100.0}
        return {"schedule": schedule, "miou_mean": mean, "miou_by_age": ages, **times}

    rows = [row("every", 57.4, {"0": 57.4}), row("fixed:5", 56.9, {"0": 57.4, "4": 56.1})]
    text = runtime_tables.propagation({"data": "clip", "frames": 9, "frame_size": "8x8", "threads": 2, "rows": rows})
    assert "| in the mean over phases and frames | 0.50 | ≤ 0.6 | met |" in text
    assert "| on the fourth frame after the key | 1.30 | ≤ 1.2 | not met |" in text


def lagged(accuracy: list[dict]) -> str:
    shared = {"p50_ms": 5.0, "most_ms": 70.0, "over_a_frames_time": 0.0}
    rows = [{"key_lag": 0, "p99_ms": 66.0, **shared}, {"key_lag": 2, "p99_ms": 20.0, **shared}]
    setting = {"model": "net", "size": "8x8", "network_ms": 60.0, "threads": 2, "schedule": "fixed:6"}
    return runtime_tables.key_lag({**setting, "frames_per_second": 30, "rows": rows, "accuracy": accuracy})


def test_the_lag_alone_has_a_bar_and_stands_beside_its_price():
    prices = [("", "every", 0, 57.0), ("as many frames", "fixed:6", 0, 56.0), ("as many frames", "fixed:6", 2, 55.0)]
    keys = ("what", "schedule", "key_lag", "miou_mean")
    text = lagged([dict(zip(keys, price, strict=True)) for price in prices])
    assert "| 2 | 5.0 | 20.0 | ≤ 33 | met |" in text and "| 0 | 5.0 | 66.0 |  |  |" in text
    assert "| as many frames | fixed:6 | 2 | 55.00 | -2.00 |" in text
    assert "not measured" in lagged([])


@pytest.mark.parametrize(("rate", "expected"), [(30, (6, 2)), (15, (3, 1)), (10, (2, 1)), (5, (2, 1))])
def test_a_slower_clip_needs_fewer_frames_for_the_same_time(rate, expected):
    assert runtime_key_lag.same_time(6, 2, rate) == expected


def test_growth_beyond_linear_is_not_met_and_the_networks_is_not_ours():
    def row(part: str, exponent: float) -> dict:
        return {"what": "pixels", "sizes": [1, 4], "part": part, "costs": [1, 4], "unit": "ms", "exponent": exponent}

    rows = [row("key frame, sample", 1.04), row("key frame, flow", 1.2), row("key frame, network", 1.2)]
    lines = runtime_tables.growth({"model": "compact", "threads": 1, "rows": rows}).splitlines()[-3:]
    assert [line.split(" | ")[-2:] for line in lines] == [["≤ 1.05", "met |"], ["≤ 1.05", "not met |"], ["", " |"]]


def test_every_script_of_the_runtime_has_a_table(root):
    helpers = {"runtime_tables", "runtime_networks"}
    scripts = {path.stem for path in (root / "benchmarks").glob("runtime_*.py")} - helpers
    tables = {make_tables.RECORDED.get(name, name) for name in make_tables.TABLES}
    assert scripts == {name for name in tables if name.startswith("runtime_")}
    called = (root / "scripts" / "bench_runtime.sh").read_text()
    assert all(f"benchmarks/{name}.py" in called for name in scripts)


@pytest.mark.parametrize(
    ("disagreement", "speed", "cell"),
    [(0.04, 2.1, "| met |"), (0.06, 2.1, "| not met |"), (0.04, 1.9, "| not met |")],
)
def test_accel_mode_must_halve_the_disagreement_and_still_be_fast(disagreement, speed, cell):
    def row(mode: str, share: float, interval: int = 5) -> dict:
        return {
            "mode": mode, "interval": interval, "disagreement": share, "miou": None,
            "times_every": {"1": 2.5, "2": speed},
        }  # fmt: skip

    rows = [row("carried", 0.1), row("update", disagreement), row("carried", 0.2, 10), row("update", 0.01, 10)]
    clip = {
        "data": "street", "video": "drive", "frames": 3, "every_miou": None, "rows": rows,
        "kept": {"update": True, "fuse": False},
    }  # fmt: skip
    text = runtime_tables.accel({"clips": {"a": clip}})
    lines = [line for line in text.splitlines() if line.startswith("| `fixed")]
    assert cell in lines[1]
    assert not any("met" in lines[i] for i in (0, 2, 3))
    assert "dropped: fuse" in text
