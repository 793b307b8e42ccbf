"""Flow kept on disk: the same bits, whatever happens to the files."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

import stpl_rt
from stpl.data.batches import PreparedVideo
from stpl.data.flow import compute_flow
from stpl.data.flow_cache import FlowCache, default_folder, open_flow_cache
from stpl.data.specs import open_dataset

GIGABYTE = 10**9
DUSK = "synthstreet:?domain=dusk&seed=2&sequences=1&frames=3&size=48x64"
SPEC = stpl_rt.InputSpec(64, 48, mean=[0, 0, 0], std=[1, 1, 1])


def lumas(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    past = np.random.default_rng(seed).integers(0, 256, (48, 64), dtype=np.uint8)
    return np.roll(past, 2, axis=1), past


class Counted:
    """The runtime's flow, counting how often it is computed."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, present: np.ndarray, past: np.ndarray) -> np.ndarray:
        self.calls += present.shape == (48, 64)  # not the fingerprint's pictures
        return compute_flow(present, past)


def files(cache: FlowCache) -> list[Path]:
    return sorted(path for path in cache.folder.rglob("*") if path.is_file())


def test_second_time_the_flow_comes_from_disk_bit_for_bit(tmp_path: Path) -> None:
    computed = Counted()
    cache = FlowCache(tmp_path, GIGABYTE, computed)
    first, second = cache(*lumas()), cache(*lumas())
    assert computed.calls == 1 and len(files(cache)) == 1
    assert np.array_equal(first, second) and np.array_equal(second, stpl_rt.dis_flow(*lumas(), threads=1))
    assert second.dtype == np.float32 and second.flags.writeable


def test_video_through_the_cache_has_the_flow_of_video_without(tmp_path: Path) -> None:
    data = open_dataset(DUSK)
    plain = PreparedVideo(data, SPEC)
    for _ in range(2):  # filling it, then reading it
        cached = PreparedVideo(data, SPEC, flow=FlowCache(tmp_path, GIGABYTE, compute_flow))
        for index in (1, 2):
            assert bool((cached.flow(index) == plain.flow(index)).all())


def test_other_pictures_sizes_and_code_have_other_files(tmp_path: Path) -> None:
    cache = FlowCache(tmp_path, GIGABYTE, compute_flow)
    present, past = lumas()
    finer = FlowCache(tmp_path, GIGABYTE, stpl_rt.DisFlow(finest_scale=1, threads=1))
    paths = {
        cache.path(present, past),
        cache.path(past, present),
        cache.path(present, present),
        cache.path(present.reshape(64, 48), past.reshape(64, 48)),
        finer.path(present, past),
    }
    assert len(paths) == 5
    assert FlowCache(tmp_path, GIGABYTE, compute_flow).path(present, past) == cache.path(present, past)


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "foreign", "another size"])
def test_a_damaged_file_is_computed_anew_and_mended(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    computed = Counted()
    cache = FlowCache(tmp_path, GIGABYTE, computed)
    expected = cache(*lumas())
    path = cache.path(*lumas())
    content = bytearray(path.read_bytes())
    content = {
        "truncated": content[:-100],
        "empty": bytearray(),
        "flipped": content[:500] + bytes([content[500] ^ 1]) + content[501:],
        "foreign": bytearray(b"PK\x03\x04 not flow"),
        "another size": _file_of_another_size(tmp_path),
    }[damage]
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(cache(*lumas()), expected)
    assert computed.calls == 2 and str(path) in caplog.text
    assert np.array_equal(cache(*lumas()), expected) and computed.calls == 2


def _file_of_another_size(tmp_path: Path) -> bytes:
    """A whole file of the cache, but of other pictures."""
    present, past = (luma[:32, :32].copy() for luma in lumas())
    cache = FlowCache(tmp_path / "another", GIGABYTE, compute_flow)
    cache(present, past)
    return cache.path(present, past).read_bytes()


def test_the_files_used_least_recently_are_removed_beyond_the_limit(tmp_path: Path) -> None:
    cache = FlowCache(tmp_path, GIGABYTE, compute_flow)
    for seed in range(4):
        cache(*lumas(seed))
        os.utime(cache.path(*lumas(seed)), (1000 + seed, 1000 + seed))
    cache(*lumas(0))  # read: now the latest
    size = cache.path(*lumas(0)).stat().st_size
    FlowCache(tmp_path, 2 * size, compute_flow)
    kept = [seed for seed in range(4) if cache.path(*lumas(seed)).exists()]
    assert kept == [0, 3]


def test_what_a_killed_process_left_is_removed_after_a_while(tmp_path: Path) -> None:
    cache = FlowCache(tmp_path, GIGABYTE, compute_flow)
    cache(*lumas())
    path = cache.path(*lumas())
    old, new = (path.with_name(f".{path.name}.{number}.1.tmp") for number in (1, 2))
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.prune()
    assert not old.exists() and new.exists() and path.exists()


def test_a_folder_that_cannot_be_written_is_said_once_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FlowCache(tmp_path / "file", GIGABYTE, compute_flow)
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            assert cache(*lumas(seed)).shape == (48, 64, 2)
    assert caplog.text.count("cannot be written") == 1


def _fill(folder: Path) -> None:
    cache = FlowCache(folder, GIGABYTE, compute_flow)
    for _ in range(5):
        for seed in range(6):
            assert np.array_equal(cache(*lumas(seed)), compute_flow(*lumas(seed)))


def test_many_processes_may_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stpl.data.flow_cache"])
    workers = [context.Process(target=_fill, args=(tmp_path,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(list(tmp_path.rglob("*.flow"))) == 6 and not list(tmp_path.rglob("*.tmp"))


def test_settings_name_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert open_flow_cache("off", 1.0, compute_flow) is None
    automatic = open_flow_cache("auto", 1.0, compute_flow)
    assert automatic is not None and automatic.folder == tmp_path / "stpl" / "flow" and automatic.limit == GIGABYTE
    named = open_flow_cache(str(tmp_path / "mine"), 1.0, compute_flow)
    assert named is not None and named.folder == tmp_path / "mine"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path.home() / ".cache" / "stpl" / "flow"
