"""The bars of scripts/gpu_check.sh, from a made-up report."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NAME = "segformer-b1-2048x1024-f16"


@pytest.fixture
def gpu_bars(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_bars", root / "scripts" / "gpu_bars.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_bars", module)  # where dataclasses looks for it
    spec.loader.exec_module(module)
    return module


def frames(key: float, mean: float | None = None, enqueue: float = 20) -> dict[str, Any]:
    """A row as stpl_rt_cuda_pipeline writes it."""
    frame = {"key": {"p50_us": key}, "mean of a round": {"p50_us": key if mean is None else mean}}
    return {"frame": frame, "enqueue": {"p50_us": enqueue}}


def rows_of_a_network(alone: float) -> dict[str, Any]:
    return {
        "network alone": {"p50_us": 1.3 * alone},
        "network alone, in a graph": {"p50_us": alone},
        "network alone, in a graph, again": {"p50_us": 1.02 * alone},
        "every, GPU to GPU": frames(1.2 * alone),
        "every, host to host": {"frame": frames(1.3 * alone)["frame"]},
        "fixed:5, GPU to GPU": frames(1.2 * alone, mean=0.3 * alone, enqueue=60),
    }


def report(alone: float = 5000) -> dict[str, Any]:
    single = {"single call": {"p50_us": 25.0}, "mean of a batch": {"p50_us": 20.0}}
    slow = {"single call": {"p50_us": 35.0}, "mean of a batch": {"p50_us": 20.0}}
    sampled = {"plain": single, "with flow of up to 8 pixels, 2048x1024": slow}
    kernels = {
        "sample + argmax, 19 classes, 512x256 to 2048x1024, f16": sampled,
        "flow at 1024x512, finest level 1": {
            "flow": slow,
            "pyramid + flow, in a graph": {"single call": {"p50_us": 400}},
        },
    }
    users = {"PyTorch": {"ms": 9.0}, "torch.compile": {"ms": 6.0}}
    return {
        "steps": {
            "kernels": {"status": "failed", "reason": "exit status 1\nmore", "results": kernels},
            "pipeline": {
                "status": "done",
                "results": {"2048x1024": {"every, GPU to GPU": frames(70, enqueue=50.0004)}},
            },
            "pipeline of networks": {"status": "skipped", "reason": "no TensorRT"},
            "pipeline of inductor": {
                "status": "done",
                "results": {
                    "packages": {NAME: {"seconds_to_compile": 40}},
                    NAME: {"2048x1024": rows_of_a_network(alone)},
                },
            },
            "training step": {
                "status": "failed",
                "reason": "not done after 130 s",
                "results": {
                    "results": {"networks": {"segformer-b5": {"ratio": 1.9}, "accel": {"failed": "out of memory"}}}
                },
            },
            "pipelines of users": {
                "status": "done",
                "results": {"results": {"rows": {"segformer-b1 2048x1024": {"missing": {}, "resident": users}}}},
            },
        }
    }


def of(rows: dict[str, Any], start: str, end: str = "") -> dict[str, Any]:
    (row,) = (row for name, row in rows.items() if name.startswith(start) and name.endswith(end))
    found: dict[str, Any] = row
    return found


def test_each_bar_is_held_against_what_was_measured(gpu_bars: ModuleType) -> None:
    rows = gpu_bars.bars(report())
    resident = of(rows, NAME, "network, GPU to GPU")
    assert resident == {"unit": "times", "bar": 1.10, "sense": "at most", "figure": 1.2, "met": False}
    assert of(rows, NAME, "host to host") == {
        "unit": "times",
        "bar": 1.25,
        "sense": "at most",
        "figure": 1.3,
        "met": False,
    }
    assert of(rows, NAME, "again / before") == {"unit": "times", "figure": 1.02}
    assert of(rows, NAME, "a frame, every, GPU to GPU")["met"] is True
    assert (of(rows, NAME, "a frame, fixed:5, GPU to GPU")["figure"], of(rows, NAME, "fixed:5, GPU to GPU")["met"]) == (
        60,
        False,
    )
    # Rounding is for readers: it meets no bar.
    without = of(rows, "enqueue of a frame without a network", "every, GPU to GPU")
    assert (without["figure"], without["met"]) == (50, False)
    faster = of(rows, "fixed:5 / every")
    assert (faster["figure"], faster["bar"], faster["sense"], faster["met"]) == (4, 3, "at least", True)
    assert of(rows, "sample + argmax", "without flow")["met"] is True
    assert of(rows, "sample + argmax", ", with flow") == {
        **of(rows, "sample + argmax", ", with flow"),
        "figure": 35,
        "met": False,
    }
    assert of(rows, "DIS flow", "streams search it")["figure"] == 400
    assert of(rows, "STPL step", "segformer-b5") == {
        "unit": "times",
        "bar": 2,
        "sense": "at most",
        "figure": 1.9,
        "met": True,
    }


def test_a_short_network_has_a_bar_of_its_own(gpu_bars: ModuleType) -> None:
    assert of(gpu_bars.bars(report(alone=900)), NAME, "network, GPU to GPU") == {
        **{"unit": "times", "bar": 1.25, "sense": "at most", "figure": 1.2, "met": True}
    }


def test_what_was_not_measured_says_why(gpu_bars: ModuleType) -> None:
    rows = gpu_bars.bars(report())
    missing = of(rows, "DIS flow", "to level 2")
    assert missing["not measured"] == (
        "'flow at 1024x512, finest level 2' is not in the step 'kernels' (failed: exit status 1)"
    )
    assert "met" not in missing and missing["bar"] == 500
    assert "'ratio' is not in" in of(rows, "STPL step", "accel")["not measured"]
    nothing = gpu_bars.bars({"steps": {}})
    assert len(nothing) >= 10 and all("not measured" in row for row in nothing.values())
    assert "step 'pipeline of inductor' not run" in of(nothing, "fixed:5 / every")["not measured"]
    skipped = {"status": "skipped", "reason": "it was not built\nmore"}
    rows = gpu_bars.bars({"steps": {"kernels": skipped}})
    assert of(rows, "DIS flow", "to level 2")["not measured"] == "step 'kernels' skipped: it was not built"
    # A graph that could not be recorded leaves its reason in the place of a time.
    made = report()
    made["steps"]["pipeline of inductor"]["results"][NAME]["2048x1024"]["network alone, in a graph"] = {"reason": "no"}
    assert "'p50_us' is not in" in of(gpu_bars.bars(made), NAME, "network, GPU to GPU")["not measured"]


def test_users_pipelines_are_compared_across_processes_where_push_did_not_run(gpu_bars: ModuleType) -> None:
    row = of(gpu_bars.bars(report()), "segformer-b1 2048x1024: torch.compile")
    assert row["figure"] == 1.0 and "met" not in row and "two processes" in row["note"]
    made = report()
    resident = made["steps"]["pipelines of users"]["results"]["results"]["rows"]["segformer-b1 2048x1024"]["resident"]
    resident |= {"push": {"ms": 3.0}, "fixed:5": {"ms": 0.8}}
    rows = gpu_bars.bars(made)
    beside = of(rows, "segformer-b1 2048x1024: torch.compile", "push()")
    assert beside == {"unit": "times", "figure": 2.0}
    # And fixed:5 is judged by them where no program timed it.
    del made["steps"]["pipeline of inductor"]
    assert of(gpu_bars.bars(made), "fixed:5 / every")["figure"] == 3.75


def test_the_table_has_a_line_for_each_bar(gpu_bars: ModuleType) -> None:
    rows = gpu_bars.bars(report())
    lines = gpu_bars.table(rows).splitlines()
    assert len(lines) == len(rows)
    assert any("1.2 times  (at most 1.1)  NOT MET" in line for line in lines)
    assert any("not measured: " in line for line in lines) and any("two processes" in line for line in lines)


def test_the_page_names_the_bars(root: Path, gpu_bars: ModuleType) -> None:
    page = (root / "docs" / "gpu.md").read_text()
    resident = (
        f"at most {gpu_bars.RESIDENT:.2f} times; {gpu_bars.RESIDENT_SHORT} where the network takes less than 1 ms"
    )
    others = f"{gpu_bars.OVER_HOST} times", f"{gpu_bars.SAMPLING_US} us", f"{gpu_bars.FLOW_US} us"
    expected = [resident, *(f"at most {bar}" for bar in others)]
    expected += [f"at least {gpu_bars.SPEED_UP} times", f"at most {gpu_bars.ENQUEUE_US} us", "at most twice"]
    table = page[page.index("against these bars") :]
    rows = [row.split(" | ")[1].removesuffix(" |") for row in table.splitlines() if row.startswith("| ")]
    assert rows[1:] == expected
    assert (gpu_bars.TRAINING_STEP, gpu_bars.SHORT_US) == (2, 1000)


def test_the_steps_that_the_bars_ask_for_are_those_of_the_check(root: Path, gpu_bars: ModuleType) -> None:
    check = (root / "scripts" / "gpu_check.py").read_text()
    for name in (gpu_bars.KERNELS, gpu_bars.USERS, *gpu_bars.NETWORKS, "pipeline", "training step"):
        assert f'    "{name}": lambda' in check


def test_the_programs_give_their_rows_the_names_that_the_bars_ask_for(root: Path, gpu_bars: ModuleType) -> None:
    kernels, pipeline = ((root / "benchmarks" / f"cuda_{name}.cpp").read_text() for name in ("kernels", "pipeline"))
    assert "for (const Size size : {kOutput, Size{1024, 512}})" in kernels
    for which, size in (("with flow", "2048x1024"), ("with flow of half the size", "1024x512")):
        sampled = gpu_bars.SAMPLED[which]
        assert sampled.endswith(size) and f'"{sampled.removesuffix(size)}" + bench::name_of(' in kernels
    for name in (gpu_bars.SAMPLING, gpu_bars.SAMPLED["without flow"], "pyramid + flow, in a graph", "single call"):
        assert f'"{name}"' in kernels
    assert '"flow at 1024x512, finest level " + ' in kernels
    for name in (gpu_bars.ALONE, f"{gpu_bars.ALONE}, again", "frame", "key", "mean of a round", "enqueue", "p50_us"):
        assert f'"{name}"' in pipeline
    for row in (gpu_bars.EVERY, gpu_bars.FIXED, "every, host to host"):
        schedule, _, rest = row.partition(",")
        assert f'"{schedule}"' in pipeline and f'schedule + ",{rest}"' in pipeline
