"""What may happen to a process while frames are under way: Ctrl-C, fork, other threads, the end of the interpreter."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import stpl_rt

Pixels = npt.NDArray[np.uint8]

PRELUDE = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in a shell's background inherits none
import numpy as np, stpl_rt
frame = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), dtype=np.uint8)
segmenter = stpl_rt.Segmenter(sys.argv[1], threads=2, queue=2)
segmenter(frame)
late = stpl_rt.Segmenter(segmenter.bundle, threads=1, schedule="fixed:3", key_lag=2)
begun = threading.Event()

def interrupt_soon(seconds):
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()
"""


def run(script: str, bundle: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own; one that hangs fails by its time."""
    command = [sys.executable, "-c", PRELUDE + script, str(bundle)]
    return subprocess.run(command, timeout=60, capture_output=True, text=True)


# --- the end of the interpreter, while a thread that nobody waits for is at work ---

LOOPS = {
    "push": "segmenter(frame)",
    "queue": "segmenter.submit(frame), segmenter.collect()",
    "full queue": "segmenter.submit(frame)",
    "stream": "list(segmenter.stream([frame] * 3))",
    "late network": "late(frame)",
    "another segmenter": "stpl_rt.Segmenter(sys.argv[1], threads=1)",
    "flow": "stpl_rt.dis_flow(frame[..., 0], frame[..., 1])",
    "sampling": "stpl_rt.sample_argmax(np.zeros((19, 256, 512), np.float32), (1024, 2048))",
    "bundle": "stpl_rt.Bundle.open(sys.argv[1])",
}


@pytest.mark.parametrize("loop", LOOPS)
def test_the_interpreter_may_end_while_a_thread_is_at_work(loop: str, test_bundle: Path) -> None:
    script = f"""
def work():
    while True:
        begun.set()
        {LOOPS[loop]}

threading.Thread(target=work, daemon=True).start()
begun.wait()
time.sleep(0.1)
"""
    for _ in range(2):
        done = run(script, test_bundle)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("call", ["segmenter(frame)", "stpl_rt.luma(frame, segmenter.bundle.input, size=(32, 64))"])
def test_at_the_end_other_threads_rest_and_the_main_thread_does_not(call: str, test_bundle: Path) -> None:
    """What goes with the process must not go under a thread that uses it: what ends the interpreter waits for it."""
    script = f"""
import atexit
calls = 0

def work():
    global calls
    while True:
        {call}
        calls += 1
        begun.set()

def count():  # registered before stpl_rt was imported, and so called after stpl_rt's own
    before = calls
    time.sleep(0.3)
    print(calls - before <= 1, segmenter(frame).frame_index > 0, flush=True)

threading.Thread(target=work, daemon=True).start()
begun.wait()
"""
    early = "import atexit; atexit.register(lambda: count())\n"
    command = [sys.executable, "-c", early + PRELUDE + script, str(test_bundle)]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")


def test_what_was_submitted_is_done_before_the_interpreter_ends(test_bundle: Path) -> None:
    """Frames stay uncollected, and something keeps the Segmenter alive that nobody takes apart."""
    script = """
import ctypes
ctypes.pythonapi.Py_IncRef(ctypes.py_object(segmenter))
ctypes.pythonapi.Py_IncRef(ctypes.py_object(late))
late(frame)
segmenter.submit(frame)
segmenter.submit(frame)
"""
    for _ in range(4):
        done = run(script, test_bundle)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- Ctrl-C ---


def test_a_push_that_is_interrupted_leaves_the_stream_whole(test_bundle: Path) -> None:
    script = """
interrupt_soon(0.2)
pushed = 1
try:
    while True:
        segmenter(frame)
        pushed += 1
except KeyboardInterrupt:
    pass
# The push in hand ended before the interrupt was raised; an interrupt between two found none.
result = segmenter(frame)
assert result.frame_index in (pushed, pushed + 1), (result.frame_index, pushed)
fresh = stpl_rt.Segmenter(sys.argv[1], threads=2)
expected = [fresh(frame) for _ in range(result.frame_index + 1)][-1]
assert np.array_equal(result.labels, expected.labels) and result.age == expected.age
print("whole")
"""
    done = run(script, test_bundle)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


def test_a_wait_for_a_full_queue_can_be_interrupted(test_bundle: Path) -> None:
    script = """
segmenter.submit(frame)
segmenter.submit(frame)
interrupt_soon(0.3)
try:
    segmenter.submit(frame)
except KeyboardInterrupt:
    assert segmenter.pending == 2
    assert [segmenter.collect().frame_index for _ in range(2)] == [1, 2]
    print("interrupted")
"""
    done = run(script, test_bundle)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_a_stream_that_is_interrupted_can_go_on(test_bundle: Path) -> None:
    script = """
def forever():
    while True:
        yield frame

interrupt_soon(0.3)
seen = 0
try:
    for result in segmenter.stream(forever()):
        seen = result.frame_index
except KeyboardInterrupt:
    pass
import gc; gc.collect()
assert segmenter.pending == 0
assert segmenter(frame).frame_index > seen > 0
print("going on")
"""
    done = run(script, test_bundle)
    assert (done.returncode, done.stdout) == (0, "going on\n"), done.stderr


# --- fork ---


def test_a_child_that_is_forked_inside_a_stream_can_leave_it(test_bundle: Path) -> None:
    script = """
results = segmenter.stream([frame] * 6)
next(results)
child = os.fork()
if child == 0:
    results.close()
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert [r.frame_index for r in results] == [2, 3, 4, 5, 6]
print("whole")
"""
    done = run(script, test_bundle)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


def test_a_child_ends_whose_parent_had_a_thread_at_work(test_bundle: Path) -> None:
    script = """
def work():
    while True:
        segmenter(frame)
        begun.set()

threading.Thread(target=work, daemon=True).start()
for _ in range(8):
    begun.wait()
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print("ended")
"""
    done = run(script, test_bundle)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


# --- threads ---


def test_other_threads_run_while_a_segmenter_that_goes_waits_for_its_frame(test_bundle: Path) -> None:
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="every", threads=1, confidence=True)
    segmenter.submit(np.broadcast_to(np.uint8(7), (8192, 8192)))
    rests: list[float] = []
    over = threading.Event()

    def tick() -> None:
        last = time.monotonic()
        while not over.is_set():
            time.sleep(0.001)
            rests.append(time.monotonic() - last)
            last += rests[-1]

    ticker = threading.Thread(target=tick)
    ticker.start()
    begin = time.monotonic()
    del segmenter
    waited = time.monotonic() - begin
    over.set()
    ticker.join()
    assert waited > 0.05  # else this says nothing
    assert max(rests) < waited / 2


def test_one_thread_may_submit_while_another_collects(test_bundle: Path, moving_picture: Pixels) -> None:
    prompt = stpl_rt.Segmenter(test_bundle, threads=1)
    expected = [prompt(frame).labels for frame in moving_picture] * 5
    segmenter = stpl_rt.Segmenter(test_bundle, threads=1, queue=2)
    found: list[stpl_rt.Result] = []

    def collect() -> None:
        while len(found) < 30:
            if segmenter.pending:
                found.append(segmenter.collect())

    collector = threading.Thread(target=collect)
    collector.start()
    for _ in range(5):
        for frame in moving_picture:
            segmenter.submit(frame)
    collector.join(timeout=60)
    assert [r.frame_index for r in found] == list(range(30))
    # fixed:3 and six frames: each round begins with a key frame
    for result, labels in zip(found, expected, strict=True):
        np.testing.assert_array_equal(result.labels, labels)


def test_many_threads_on_one_segmenter_get_errors_or_whole_results(test_bundle: Path, moving_picture: Pixels) -> None:
    """Every call, from four threads at once: each answers, or says in_use, and the stream counts what was accepted."""
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="fixed:3", threads=1, queue=2)
    frame = moving_picture[0]
    accepted: list[int] = []
    refused: set[str] = set()
    wrong: list[str] = []

    def call(seed: int) -> None:
        choices = np.random.default_rng(seed)
        for _ in range(150):
            try:
                match choices.integers(5):
                    case 0:
                        accepted.append(segmenter(frame).frame_index)
                    case 1:
                        if segmenter.pending == 0:
                            segmenter.submit(frame)
                    case 2:
                        accepted.append(segmenter.collect().frame_index)
                    case 3:
                        segmenter.reset()
                    case _:
                        wrong.extend(["logits"] * (not np.isfinite(segmenter.logits()).all()))
            except stpl_rt.Error as error:
                refused.add(error.code)
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=call, args=(seed,), daemon=True) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    while segmenter.pending:
        accepted.append(segmenter.collect().frame_index)
    assert not wrong
    # Of no frame there are two results, and none is lost.
    assert sorted(accepted) == list(range(len(accepted)))
    assert refused <= {"in_use", "invalid_argument"}  # the latter: nothing to collect, no frame yet
    assert segmenter(frame).frame_index == len(accepted)
