"""What is known of a TensorRT plan: the JSON beside it, and whether a plan is the one that is asked for."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FORMAT: Final = "stpl-plan-1"
PLAN_SUFFIX = ".plan"
SIDECAR_SUFFIX = ".json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlanTensor(_Strict):
    """A tensor of a plan.

    Attributes:
        shape: -1 where the batch may vary.
        type: as NumPy calls it.
    """

    name: str
    mode: Literal["input", "output"]
    shape: tuple[int, ...]
    type: str


class BuildSettings(_Strict):
    """What a plan is built for and how.

    Attributes:
        batches: smallest, usual and largest number of frames in one run; all the same for a fixed batch.
        compute_capabilities: as "8.9", of the GPUs it shall run on; none: the GPU at hand, or for TensorRT for RTX
            every GPU from 8.0 on.
        workspace_mib: limit of the memory that layers may use while they run; TensorRT's own where None.
        optimization_level: 0 (fast build) to 5 (fast plan); TensorRT's own where None.
        max_tactics: how many ways to run a layer are timed; TensorRT's own where None.
        tactic_sources: names of TensorRT's sources of such ways; its own choice where None.
        tf32: whether float32 layers may round their factors to 10 bits.
        dla_core: of a Jetson; layers that it cannot run go to the GPU.
    """

    batches: tuple[int, int, int] = (1, 1, 1)
    compute_capabilities: tuple[str, ...] = ()
    workspace_mib: int | None = Field(None, ge=1)
    optimization_level: int | None = Field(None, ge=0, le=5)
    max_tactics: int | None = Field(None, ge=1)
    tactic_sources: tuple[str, ...] | None = None
    tf32: bool = False
    dla_core: int | None = Field(None, ge=0)


class PlanIdentity(_Strict):
    """What a plan must be to be used: where any of it differs, it is another plan.

    Attributes:
        library: flavour of TensorRT.
        library_version: plans are not carried from one version to another.
        target: the GPU, or the compute capabilities, that it runs on.
        network: "segment", "fuse" or "update".
        network_sha256: of the ONNX file that it was built from.
        precision: of the network as the file stores it.
    """

    library: str
    library_version: str
    target: str
    network: str
    network_sha256: str
    precision: str
    settings: BuildSettings

    def folder(self, root: Path) -> Path:
        """The plans of one GPU and one TensorRT."""
        return root / self.target / f"{self.library}-{self.library_version}"

    @property
    def file_name(self) -> str:
        """Names network, content, precision and settings, so that different plans never share a file."""
        settings = hashlib.sha256(self.settings.model_dump_json().encode()).hexdigest()[:8]
        return f"{self.network}-{self.network_sha256[:16]}-{self.precision}-{settings}{PLAN_SUFFIX}"


class PlanFacts(_Strict):
    """The sidecar of a plan."""

    format: Literal["stpl-plan-1"] = FORMAT
    identity: PlanIdentity
    tensors: tuple[PlanTensor, ...]
    plan_bytes: int
    plan_sha256: str


def sidecar_of(plan: Path) -> Path:
    """``x.plan.json`` of ``x.plan``."""
    return plan.with_name(plan.name + SIDECAR_SUFFIX)


def write_plan(folder: Path, identity: PlanIdentity, plan: bytes, tensors: tuple[PlanTensor, ...]) -> Path:
    """Writes a plan and its sidecar; each is whole or not there.

    The sidecar goes last and carries the plan's hash: a process that is killed between the two leaves a plan that
    does not fit its sidecar, which is built again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = PlanFacts(
        identity=identity, tensors=tensors, plan_bytes=len(plan), plan_sha256=hashlib.sha256(plan).hexdigest()
    )
    file = folder / identity.file_name
    _write_whole(file, plan)
    _write_whole(sidecar_of(file), (facts.model_dump_json(indent=2) + "\n").encode())
    return file


def fault_of(plan: Path, expected: PlanIdentity | None = None) -> str | None:
    """Why a plan cannot be used; None where it can.

    Args:
        plan: the file; its sidecar lies beside it.
        expected: what it must be; only whether it is whole is asked where None.
    """
    for file in (sidecar_of(plan), plan):
        if (danger := _danger_of(file)) is not None:
            return danger
    try:
        facts = read_facts(plan)
    except ValueError as error:
        return str(error)
    if expected is not None and (difference := _difference(expected, facts.identity)) is not None:
        return difference
    try:
        size = plan.stat().st_size
        if size != facts.plan_bytes:
            return f"expected {facts.plan_bytes} bytes, found {size}: the file is cut off or another one"
        digest = _digest(plan)
    except OSError as error:
        return f"the plan cannot be read: {error.strerror}"
    if digest != facts.plan_sha256:
        return f"expected SHA-256 {facts.plan_sha256}, found {digest}: the file is damaged or another one"
    return None


def read_facts(plan: Path) -> PlanFacts:
    """What the sidecar says. Raises ValueError, one line, where there is none or it is none of ours."""
    sidecar = sidecar_of(plan)
    try:
        document = json.loads(sidecar.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"expected what it is in {sidecar.name}; found none ({error.strerror})") from None
    except ValueError:
        raise ValueError(f"{sidecar.name}: expected JSON, found something else") from None
    found = document.get("format") if isinstance(document, Mapping) else None
    if found != FORMAT:
        raise ValueError(f"{sidecar.name}: expected format {FORMAT}, found {found!r}")
    try:
        return PlanFacts.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{sidecar.name}: {place}: {first['msg']}") from None


def _danger_of(file: Path) -> str | None:
    """Why a file may be another's: a plan is code. What is not there is for the reader to say."""
    try:
        status = file.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return f"{file.name}: expected a regular file, found a link or something else"
    if status.st_uid not in (os.geteuid(), 0) or status.st_mode & stat.S_IWOTH:
        found = f"one of user {status.st_uid} that others may"
        return f"{file.name}: expected a file that nobody else may write, found {found}"
    return None


def _difference(expected: PlanIdentity, found: PlanIdentity) -> str | None:
    """The first field in which two plans differ, in words."""
    wanted, there = (_flat(identity.model_dump()) for identity in (expected, found))
    for name, value in wanted.items():
        if there[name] != value:
            return f"{name}: expected {_shown(value)}, found {_shown(there[name])}"
    return None


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in document.items() if key != "settings"}, **document["settings"]}


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write_whole(file: Path, content: bytes) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        temporary.touch(mode=0o600, exist_ok=False)  # a plan is code: nobody else's to write, whatever the umask
        temporary.write_bytes(content)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
