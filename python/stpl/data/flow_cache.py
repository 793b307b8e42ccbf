"""Optical flow kept on disk between runs.

Off by default, by measurement (one core, the file still in the system's memory): at 240x320 computing a frame's flow
takes 0.29 ms and finding, reading and checking it 0.26 ms; at 512x1024 3 to 7 ms against 1.9 ms, beside tens of
milliseconds to decode the frame. It pays where many runs share a large video and the cores are few.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import threading
import time
import zlib
from pathlib import Path

import numpy as np

from stpl.data.dataset import Flow
from stpl.data.flow import ComputeFlow, Luma

logger = logging.getLogger(__name__)

_SUFFIX = ".flow"
_CHECKSUM_BYTES = 4
_PRUNE_EVERY = 256  # writes between two looks at the cache's size
_ABANDONED_SECONDS = 3600.0  # a temporary file this old belongs to a process that was killed


def default_folder() -> Path:
    """``$XDG_CACHE_HOME/stpl/flow``, or ``~/.cache/stpl/flow``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "stpl" / "flow"


def open_flow_cache(setting: str, gigabytes: float, compute: ComputeFlow) -> FlowCache | None:
    """The cache of what ``compute`` finds that ``flow_cache`` means in the configuration: off, auto or a folder."""
    if setting == "off":
        return None
    return FlowCache(
        default_folder() if setting == "auto" else Path(setting).expanduser(), int(gigabytes * 1e9), compute
    )


class FlowCache:
    """Files of float32 flow, bit for bit what computing it again would give.

    A file is named by a digest of what its flow follows from: the luma of both frames, their size, and a fingerprint
    of the flow's code. So nothing in it can be out of date, and several data sets, processes and machines may share
    one folder. Files are written under a temporary name, then renamed; each ends with a checksum, and one that is
    damaged is computed anew. A folder that cannot be written is said once and then does without. It can be deleted at
    any time.

    Args:
        folder: made where it is missing.
        limit: bytes; beyond it the files used least recently are removed.
        compute: flow (H, W, 2) of luma t (H, W) into luma t-1, on a miss; called from several threads.
    """

    def __init__(self, folder: Path, limit: int, compute: ComputeFlow) -> None:
        self.folder = folder
        self.limit = limit
        self._compute = compute
        self._fingerprint = _fingerprint(compute)
        self._writes = 0
        self._usable = True
        self._lock = threading.Lock()
        self.prune()

    def __call__(self, present: Luma, past: Luma) -> Flow:
        """The flow of ``present`` into ``past``, (H, W) uint8 each, as (H, W, 2) float32."""
        path = self.path(present, past)
        flow = _read(path, present.shape)
        if flow is None:
            flow = self._compute(present, past)
            self._write(path, flow)
        return flow

    def path(self, present: Luma, past: Luma) -> Path:
        """Where the flow of this pair lies, or would lie."""
        digest = hashlib.sha256(self._fingerprint)
        for luma in (present, past):
            digest.update(repr(luma.shape).encode())
            digest.update(luma.tobytes())
        name = digest.hexdigest()[:40]
        return self.folder / name[:2] / (name + _SUFFIX)

    def prune(self) -> None:
        """Removes what killed processes left, then the files used least recently, down to the limit."""
        for path in self.folder.glob(f"??/.*{_SUFFIX}.*.tmp"):
            if _age(path) > _ABANDONED_SECONDS:
                _remove(path)
        files = []
        for path in self.folder.glob(f"??/*{_SUFFIX}"):
            try:
                status = path.stat()
            except OSError:  # another process was faster
                continue
            files.append((status.st_mtime_ns, status.st_size, path))
        surplus = sum(size for _, size, _ in files) - self.limit
        for _, size, path in sorted(files):
            if surplus <= 0:
                return
            _remove(path)
            surplus -= size

    def _write(self, path: Path, flow: Flow) -> None:
        if not self._usable:
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(_packed(flow))
            temporary.replace(path)
        except OSError as error:
            self._usable = False
            logger.warning("flow cache %s cannot be written (%s): flow is computed anew", self.folder, error.strerror)
            return
        finally:
            _remove(temporary)
        with self._lock:
            self._writes += 1
            due = self._writes % _PRUNE_EVERY == 0
        if due:
            self.prune()


def _packed(flow: Flow) -> bytes:
    """A .npy file followed by the CRC-32 of all before it."""
    file = io.BytesIO()
    np.save(file, flow, allow_pickle=False)
    content = file.getvalue()
    return content + zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "little")


def _read(path: Path, shape: tuple[int, ...]) -> Flow | None:
    """The flow in a file; None where there is none, or none that is whole and of this size."""
    try:
        content = path.read_bytes()
        body = memoryview(content)[:-_CHECKSUM_BYTES]
        if zlib.crc32(body) != int.from_bytes(content[-_CHECKSUM_BYTES:], "little"):
            raise ValueError("its checksum is wrong")
        flow = np.load(io.BytesIO(body), allow_pickle=False)
        if flow.shape != (*shape, 2) or flow.dtype != np.float32:
            raise ValueError(f"it holds {flow.dtype} {flow.shape}")
        os.utime(path)  # used just now: the last to be removed
        return np.asarray(flow, dtype=np.float32)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, AttributeError) as error:
        logger.warning("flow cache: %s is damaged (%s): computed anew", path, error)
        return None


def _age(path: Path) -> float:
    """Seconds since the file was written; 0 where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.debug("cannot remove %s: %s", path, error)


def _fingerprint(compute: ComputeFlow) -> bytes:
    """Digest of the flow of a fixed pair of pictures: changes with the code and with its settings."""
    rows, columns = np.mgrid[0:96, 0:128]
    texture = (rows * 7 + columns * 13 + (rows * columns) // 5 + (rows // 8 + columns // 8) % 2 * 90) % 256
    present = texture.astype(np.uint8)
    past = np.roll(present, (2, 3), axis=(0, 1))
    return hashlib.sha256(compute(present, past).tobytes()).digest()
