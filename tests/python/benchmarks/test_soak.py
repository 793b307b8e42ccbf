"""The soak in short, and that it sees what it looks for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import process_watch
import pytest
import soak_stream
from process_watch import MIB, Sample
from soak_frames import FORMATS, LAYOUTS, SIZES, Shot, frame

import stpl_rt


@pytest.fixture(scope="module")
def bundle(coarse_bundle):
    return stpl_rt.Bundle.open(coarse_bundle)


def make_stream(bundle, seed=0, **options):
    return soak_stream.SoakStream(bundle, {"threads": 1, "schedule": "fixed:3", **options}, seed, Counter())


def run(stream, ticks=600):
    for _ in range(ticks):
        stream.act()
    stream.quiet()


def test_twenty_seconds_go_well(root, tmp_path):
    out = tmp_path / "soak.json"
    command = [sys.executable, root / "benchmarks/soak.py", "--minutes", "0.33", "--json", out]
    done = subprocess.run(command, timeout=240, capture_output=True, text=True)
    results = json.loads(out.read_text())["results"]
    # Memory needs longer to settle than this lasts; all else holds from the first second.
    assert [f for f in results["failures"] if not f.startswith("memory")] == [], done.stderr
    assert len(results["threads"]) == len(results["open_files"]) == 1
    counts = results["counts"]
    assert counts["frames"] > 100 and counts["stretches played again"] > 0 and counts["held results"] > 0
    assert any(name.startswith("refused") for name in counts)


@pytest.mark.parametrize("size", SIZES[3:-1])
def test_every_kind_of_frame_is_one_that_push_takes(bundle, size):
    segmenter = stpl_rt.Segmenter(bundle, threads=1)
    for kind in set(FORMATS):
        for layout in set(LAYOUTS):
            shot = Shot(size, 3, kind, layout, damage=5, flow=7, timestamp=1.0)
            np.testing.assert_array_equal(frame(shot), frame(shot))
            assert segmenter.push(**shot.arguments()).labels.shape == shot.labels_shape()


class Faulty(stpl_rt.Segmenter):
    """A Segmenter whose results are passed through `spoil`."""

    spoil = staticmethod(lambda result: result)

    def push(self, *args, **options):
        return self.spoil(super().push(*args, **options))

    def collect(self):
        return self.spoil(super().collect())


def test_sound_streams_pass(bundle):
    stream = make_stream(bundle)
    run(stream)
    assert stream._counts["frames played again"] > 0


def test_a_result_that_is_written_to_is_seen(bundle, monkeypatch):
    kept = []

    def spoil(result):
        kept.append(result.labels)
        if len(kept) > 300:
            kept.pop(0)[...] ^= 1
        return result

    monkeypatch.setattr(Faulty, "spoil", staticmethod(spoil))
    monkeypatch.setattr(stpl_rt, "Segmenter", Faulty)
    with pytest.raises(soak_stream.WrongError, match="while it was held"):
        run(make_stream(bundle), 3000)


def test_labels_that_depend_on_more_than_the_frames_are_seen(bundle, monkeypatch):
    calls = iter(range(1 << 30))

    def spoil(result):
        if next(calls) % 50 == 49:
            result.labels[...] = 0
        return result

    monkeypatch.setattr(Faulty, "spoil", staticmethod(spoil))
    monkeypatch.setattr(stpl_rt, "Segmenter", Faulty)
    with pytest.raises(soak_stream.WrongError, match="played again"):
        run(make_stream(bundle), 3000)


def test_a_lost_result_is_seen(bundle, monkeypatch):
    monkeypatch.setattr(stpl_rt, "Segmenter", Faulty)
    stream = make_stream(bundle)
    stream._segmenter.push(soak_stream.GOOD)
    with pytest.raises(soak_stream.WrongError, match="expected result"):
        run(stream)


def test_what_should_be_refused_and_is_not_is_seen(bundle, monkeypatch):
    monkeypatch.setattr(soak_stream, "REFUSED", {"nothing wrong": ({"frame": soak_stream.GOOD}, stpl_rt.Error)})
    with pytest.raises(soak_stream.WrongError, match="was accepted"):
        run(make_stream(bundle))


def samples(used, rss=lambda _: 0, threads=lambda _: 9, files=lambda _: 5, count=40):
    return [Sample(10.0 * i, int(rss(i)), int(used(i)), threads(i), files(i)) for i in range(count)]


def test_growth_is_told_from_noise():
    noise = np.random.default_rng(0).normal(0, MIB / 2, 400)

    def steady(i):
        return 200 * MIB + noise[i]

    def leaking(i):
        return steady(i) + i * MIB / 50

    assert process_watch.faults(samples(steady, steady, count=400), 4 * MIB, 96 * MIB) == []
    assert "memory in use grew by" in process_watch.faults(samples(leaking, steady, count=400), 4 * MIB, 96 * MIB)[0]
    assert "memory occupied grew by" in process_watch.faults(samples(steady, leaking, count=400), 4 * MIB, 4 * MIB)[0]
    assert process_watch.faults(samples(lambda i: 200 * MIB - i * MIB), MIB, MIB) == []  # it may shrink


def test_threads_and_files_must_be_constant():
    def of(**values):
        return process_watch.faults(samples(lambda _: 0, **values), MIB, MIB)

    assert "threads" in of(threads=lambda i: 9 + i // 30)[0]
    assert "open files" in of(files=lambda i: 5 + (i == 39))[0]
    assert "at least 4 samples" in of(count=3)[0]


def test_a_sample_sees_what_the_process_holds(tmp_path):
    before = process_watch.sample(0.0)
    held = np.ones(64 * MIB, np.uint8)
    with (tmp_path / "file").open("w"):
        now = process_watch.sample(1.0)
    assert now.rss - before.rss > 60 * MIB and now.used - before.used > 60 * MIB and held.any()
    assert now.files == before.files + 1 and now.threads == before.threads
