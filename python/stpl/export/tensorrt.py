"""TensorRT plans of the networks of a bundle: built from its ONNX files, kept in the user's cache."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import onnx

import stpl_rt
from stpl.errors import UserError
from stpl.export.dynamic_batch import with_dynamic_batch
from stpl.export.half_tensors import with_half_tensors
from stpl.export.network_precision import precision_of
from stpl.export.plan_facts import BuildSettings, PlanIdentity, PlanTensor, fault_of, read_facts, write_plan
from stpl.export.tensorrt_library import PlanError, TensorRT

logger = logging.getLogger(__name__)

UNPORTABLE = ("GridSample",)
"""Operators that TensorRT is known to compute wrongly, or not at all, depending on its version."""


class BuildProgress(Protocol):
    """Is told how a build goes. Phases nest; ``step`` counts within one."""

    def start(self, phase: str, parent: str | None, steps: int) -> None: ...
    def step(self, phase: str, step: int) -> None: ...
    def finish(self, phase: str) -> None: ...


@dataclass(frozen=True)
class Plan:
    """A plan for one network of a bundle.

    Attributes:
        network: "segment", "fuse" or "update".
        file: the plan, its sidecar beside it.
        identity: what it was built for.
        built: whether it was built just now; False where it was found.
        reason: why a plan that was there was not used.
    """

    network: str
    file: Path
    identity: PlanIdentity
    built: bool
    reason: str | None = None


def default_folder() -> Path:
    """``$XDG_CACHE_HOME/stpl/plans``, or ``~/.cache/stpl/plans``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "stpl" / "plans"


def build_plans(
    bundle: Path,
    library: TensorRT,
    settings: BuildSettings | None = None,
    *,
    cache: Path | None = None,
    rebuild: bool = False,
    progress: BuildProgress | None = None,
    target: str | None = None,
) -> list[Plan]:
    """Plans of all networks of a bundle, from the cache where they are there and whole.

    Args:
        cache: folder of the plans; :func:`default_folder` where None.
        rebuild: build also what is there.
        target: name of what the plans run on; what the library would build for where None.

    Raises:
        UserError: settings that this TensorRT does not have, or no GPU where it needs one.
        PlanError: TensorRT does not build a network.
        stpl_rt.Error: not a bundle.
    """
    settings = settings or BuildSettings()
    check_settings(library, settings)
    opened = stpl_rt.Bundle.open(bundle)
    target = target or target_of(library, settings)
    networks = [network for network in (opened.segment, opened.fuse, opened.update) if network is not None]
    return [
        _find_or_build(network, library, settings, target, cache or default_folder(), rebuild, progress)
        for network in networks
    ]


def _find_or_build(
    network: stpl_rt.NetworkSpec,
    library: TensorRT,
    settings: BuildSettings,
    target: str,
    cache: Path,
    rebuild: bool,
    progress: BuildProgress | None,
) -> Plan:
    content = Path(network.file).read_bytes()
    if hashlib.sha256(content).hexdigest() != network.sha256:
        raise UserError(f"{network.file}: expected SHA-256 {network.sha256}; the file changed while it was read")
    model = onnx.load_model_from_string(content)
    identity = PlanIdentity(
        library=library.flavour,
        library_version=library.version,
        target=target,
        network=network.name,
        network_sha256=network.sha256,
        precision=precision_of(model),
        settings=settings,
    )
    folder = identity.folder(cache)
    file, reason = folder / identity.file_name, None
    if file.exists():
        reason = "asked for" if rebuild else fault_of(file, identity) or _wider_than_needed(file, model)
        if reason is None:
            return Plan(network.name, file, identity, built=False)
        logger.info("%s: built anew: %s", file.name, reason)
    plan, tensors = build_plan(model, library, settings, progress=progress)
    return Plan(network.name, write_plan(folder, identity, plan, tensors), identity, built=True, reason=reason)


def _wider_than_needed(plan: Path, model: onnx.ModelProto) -> str | None:
    """Of a whole plan that the runtime built, or an earlier version: it takes or gives float32 for nothing."""
    if precision_of(model) != "fp16":
        return None
    wanted = {value.name for value in _tensors_in_fp16(with_half_tensors(model))}
    wide = [tensor.name for tensor in read_facts(plan).tensors if tensor.name in wanted and tensor.type != "float16"]
    return f"expected {', '.join(wide)} in fp16, found float32" if wide else None


def _tensors_in_fp16(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    values = (*model.graph.input, *model.graph.output)
    return [value for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16]


def build_plan(
    model: onnx.ModelProto, library: TensorRT, settings: BuildSettings, *, progress: BuildProgress | None = None
) -> tuple[bytes, tuple[PlanTensor, ...]]:
    """The plan of a network of fixed shapes and a batch of 1, and its tensors.

    Raises:
        PlanError: TensorRT does not take the network, or fails.
        UserError: settings that this TensorRT does not have, or a network that takes no batch.
    """
    check_settings(library, settings)
    require_portable(model)
    if settings.batches != (1, 1, 1):
        model = with_dynamic_batch(model)
    model = with_half_tensors(model)
    trt = library.module
    log = _Log(trt)
    builder = trt.Builder(log.sink)
    # Up to version 10 types are free unless this says otherwise; later ones know nothing else.
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, log.sink)
    if not parser.parse(model.SerializeToString()):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        faults = "; ".join(f"{error.node_operator()} '{error.node_name()}': {error.desc()}" for error in errors)
        raise PlanError(f"{library} cannot read the network: {_one_line(faults) or log.text}")
    tensors = _tensors(trt, network)
    config = _configure(library, builder, network, settings)
    monitor = None
    if progress is not None:
        monitor = config.progress_monitor = _make_monitor(trt, progress)
    plan = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.interrupted:
        raise KeyboardInterrupt
    if plan is None:
        raise PlanError(f"{library} cannot build the network: {log.text}")
    return bytes(plan), tensors


def require_portable(model: onnx.ModelProto) -> None:
    """Raises PlanError for a network with an operator of :data:`UNPORTABLE`."""
    for node in model.graph.node:
        if node.op_type in UNPORTABLE:
            raise PlanError(
                f"expected a network without {node.op_type}, which TensorRT computes wrongly in some versions; found "
                f"'{node.name}': warp outside of the network"
            )


def check_settings(library: TensorRT, settings: BuildSettings) -> None:
    """Raises UserError for what this TensorRT does not have. Some setters would not: they ignore what they are told."""
    smallest, usual, largest = settings.batches
    if not 1 <= smallest <= usual <= largest:
        raise UserError(f"batch: expected 1 <= smallest <= usual <= largest; found {smallest},{usual},{largest}")
    trt = library.module
    if settings.dla_core is not None:
        cores = 0 if library.is_rtx else int(trt.Builder(_Log(trt).sink).num_DLA_cores)
        if settings.dla_core >= cores:
            if cores:
                raise UserError(f"DLA: expected a core below {cores}; found {settings.dla_core}")
            raise UserError(
                f"DLA: expected a Jetson with a deep-learning accelerator; {library} has none here: build without it"
            )
    if settings.compute_capabilities:
        if not library.is_rtx:
            raise UserError(f"compute capabilities: {library} builds for the GPU at hand; leave them out")
        _capabilities(library, settings)
    if settings.tactic_sources is not None:
        known = trt.TacticSource.__members__
        for name in settings.tactic_sources:
            if name not in known:
                raise UserError(f"tactic source: expected some of {', '.join(known)}; found '{name}'")


def target_of(library: TensorRT, settings: BuildSettings) -> str:
    """What plans run on, as a folder's name: "sm80-up", "sm86-sm89", or name and capability of the GPU at hand."""
    if library.is_rtx:
        names = [f"sm{text.replace('.', '')}" for text in settings.compute_capabilities]
        return "-".join(names) or "sm80-up"
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            f"{library} builds for the GPU at hand; found none: build on the device that shall run it, or take "
            "tensorrt_rtx, which needs no GPU to build"
        )
    major, minor = torch.cuda.get_device_capability()
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")
    return f"{name}-sm{major}{minor}"


def _capabilities(library: TensorRT, settings: BuildSettings) -> list[Any]:
    known = library.module.ComputeCapability.__members__
    found = []
    for text in settings.compute_capabilities:
        name = f"SM{text.replace('.', '')}"
        if name not in known or not re.fullmatch(r"\d{1,2}\.\d", text):
            named = [f"{key[2:-1]}.{key[-1]}" for key in known if key.startswith("SM")]
            raise UserError(
                f"compute capability: expected some of {', '.join(named)}; found '{text}', which {library} cannot be "
                "told to build for: leave it out for a plan that is for every GPU from 8.0 on"
            )
        found.append(known[name])
    return found


def _configure(library: TensorRT, builder: Any, network: Any, settings: BuildSettings) -> Any:
    trt = library.module
    config = builder.create_builder_config()
    if settings.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib << 20)
    if settings.optimization_level is not None:
        config.builder_optimization_level = settings.optimization_level
    if settings.max_tactics is not None:
        config.max_num_tactics = settings.max_tactics
    if settings.tactic_sources is not None:
        sources = sum(1 << int(getattr(trt.TacticSource, name)) for name in settings.tactic_sources)
        _require(config.set_tactic_sources(sources), f"{library}: these tactic sources")
    if not settings.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if settings.dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = settings.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if settings.compute_capabilities:
        # A refusal that is not asked about here ends as "bad optional access" in the build.
        capabilities = _capabilities(library, settings)
        config.num_compute_capabilities = len(capabilities)
        for index, capability in enumerate(capabilities):
            _require(config.set_compute_capability(capability, index), f"{library}: compute capability {capability}")
    if settings.batches != (1, 1, 1):
        _add_profile(builder, network, config, settings.batches)
    return config


def _add_profile(builder: Any, network: Any, config: Any, batches: Sequence[int]) -> None:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        sides = tuple(tensor.shape)[1:]
        profile.set_shape(tensor.name, *((batch, *sides) for batch in batches))
    if config.add_optimization_profile(profile) < 0:
        raise PlanError(f"TensorRT refuses the batches {batches}")


def _tensors(trt: Any, network: Any) -> tuple[PlanTensor, ...]:
    inputs = [(network.get_input(index), "input") for index in range(network.num_inputs)]
    outputs = [(network.get_output(index), "output") for index in range(network.num_outputs)]
    return tuple(
        PlanTensor.model_validate(
            {
                "name": tensor.name,
                "mode": mode,
                "shape": [int(side) for side in tensor.shape],
                "type": str(trt.nptype(tensor.dtype).__name__),
            }
        )
        for tensor, mode in (*inputs, *outputs)
    )


def _require(accepted: bool, what: str) -> None:
    if not accepted:
        raise PlanError(f"{what}: refused")


class _Log:
    """TensorRT's messages: into ours, the errors kept for the exception."""

    def __init__(self, trt: Any) -> None:
        self._errors: list[str] = []
        errors, severity = self._errors, trt.ILogger.Severity

        class Sink(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, level: Any, message: str) -> None:
                text = _one_line(message)
                if level in (severity.ERROR, severity.INTERNAL_ERROR):
                    errors.append(text)
                # Also its errors: without a driver it reports one for what it then does without.
                logger.debug("TensorRT: %s", text)

        self.sink = Sink()

    @property
    def text(self) -> str:
        """The errors so far. Those of a missing driver come first and are never why a build fails."""
        errors = [error for error in self._errors if "CUDA driver version" not in error] or self._errors
        return "; ".join(dict.fromkeys(errors)) or "it does not say why"


def _make_monitor(trt: Any, progress: BuildProgress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Ctrl-C ends the build at its next step."""

        interrupted = False

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def _tell(self, tell: Callable[[], None]) -> None:
            try:
                tell()
            except KeyboardInterrupt:  # an exception may not leave through TensorRT
                self.interrupted = True

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._tell(lambda: progress.start(phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(lambda: progress.step(phase_name, step))
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._tell(lambda: progress.finish(phase_name))

    return Monitor()


def _one_line(text: str) -> str:
    return " ".join(text.split())
