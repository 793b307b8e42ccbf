"""What a data set holds and what it lacks, for whoever has to complete it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stpl.data import cityscapes_seq, synthia_seq, viper
from stpl.data.dataset import VideoDataset
from stpl.data.flow_files import read_flow
from stpl.data.folder import FolderDataset
from stpl.data.numbered_frames import NumberedFrame, NumberedVideo
from stpl.data.specs import open_dataset, open_parsed, parse_spec
from stpl.errors import UserError

EXAMPLES = 3
"""So many names are shown of what is missing."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        what: its name.
        complete: None where it is optional, or only said.
        detail: what was found.
        missing: names of what is not there, all of them.
        remedy: what to do about it.
    """

    what: str
    complete: bool | None
    detail: str
    missing: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def examples(self) -> str:
        """The first missing names; empty where nothing is missing."""
        return ", ".join(self.missing[:EXAMPLES]) + (", …" if len(self.missing) > EXAMPLES else "")


@dataclass(frozen=True)
class _Folder:
    path: Path
    holds: str
    remedy: str


def inspect(spec: str) -> list[Finding]:
    """Looks for everything that training and evaluation need of a data set.

    Raises:
        UserError: the spec itself is wrong, or the data cannot be opened for a reason that no finding names.
    """
    parsed = parse_spec(spec)
    if parsed is None or parsed[0] not in ("cityscapes-seq", "viper", "synthia-seq"):
        return _of_any(open_dataset(spec))
    name, root, query = parsed
    optional = {"flow", "context"}  # both refuse incomplete data, which is what is looked for here
    folders = _folders(name, Path(root).expanduser(), query.get("split", "val"))
    findings = [_look_for(folder) for folder in folders]
    try:
        data = open_parsed(name, root, {key: value for key, value in query.items() if key not in optional})
    except UserError:
        if all(finding.complete for finding in findings):
            raise
        return findings
    assert isinstance(data, NumberedVideo)
    flow = Path(query["flow"]).expanduser() if "flow" in query else None
    return [*findings, *_of_benchmark(data), _flow(data, flow), *_sample(data)]


def _folders(name: str, root: Path, split: str) -> list[_Folder]:
    if name == "cityscapes-seq":
        site = "from cityscapes-dataset.com"
        return [
            _Folder(root / cityscapes_seq.IMAGES / split, "frames", f"leftImg8bit_sequence_trainvaltest.zip {site}"),
            _Folder(root / cityscapes_seq.LABELS / split, "labels", f"gtFine_trainvaltest.zip {site}"),
        ]
    if name == "viper":
        site = "training split, sequences 001-077, from playing-for-benchmarks.org"
        return [
            _Folder(root / viper.IMAGES, "frames", f"images as JPEG, {site}"),
            _Folder(root / viper.LABELS, "labels", f"semantic class labels, {site}"),
        ]
    site = f"of SYNTHIA-{synthia_seq.SEQUENCE} from synthia-dataset.net, the files of one camera"
    return [
        _Folder(root / synthia_seq.SEQUENCE / "rgb", "frames", f"pictures {site}"),
        _Folder(root / synthia_seq.SEQUENCE / "label", "labels", f"semantic labels {site}"),
    ]


def _look_for(folder: _Folder) -> Finding:
    there = folder.path.is_dir()
    detail = f"{folder.path}" if there else f"expected a folder at {folder.path}, found nothing there"
    return Finding(f"folder of {folder.holds}", there, detail, remedy="" if there else f"put there: {folder.remedy}")


def _of_benchmark(data: NumberedVideo) -> list[Finding]:
    frames = [data.numbered(index) for index in range(len(data))]
    labelled = [frames[index] for index in data.labelled()]
    orphans = tuple(label.name for label in data.listing.labels_without_frame)
    found = f"{len(frames)} in {len(data.sequences)} runs of consecutive numbers"
    return [
        Finding(
            "frames", not orphans, found, orphans, "labels without a frame: complete the frames" if orphans else ""
        ),
        _labels(data, labelled),
        _predecessors(data, frames, labelled),
    ]


def _labels(data: NumberedVideo, labelled: Sequence[NumberedFrame]) -> Finding:
    parts = Counter(data.part(frame) for frame in labelled)
    expected = sum(data.published.values())
    missing = tuple(f"{part} {parts[part]} of {count}" for part, count in data.published.items() if parts[part] < count)
    remedy = "the published list has more: results are not comparable until they are there" if missing else ""
    return Finding("labels", not missing, f"{len(labelled)} of {expected} in the published list", missing, remedy)


def _predecessors(data: NumberedVideo, frames: Sequence[NumberedFrame], labelled: Sequence[NumberedFrame]) -> Finding:
    there = {(frame.recording, frame.number) for frame in frames}
    missing = tuple(
        data.image_name(frame.recording, frame.number - 1)
        for frame in labelled
        if (frame.recording, frame.number - 1) not in there
    )
    detail = f"{len(labelled) - len(missing)} of {len(labelled)} labelled frames have theirs"
    remedy = "put them beside the others: adaptation and evaluation need them" if missing else ""
    return Finding("frames t-1", not missing, detail, missing, remedy)


def _flow(data: NumberedVideo, folder: Path | None) -> Finding:
    if folder is None:
        return Finding("stored flow", None, "not asked for (flow=DIR): flow is computed")
    if not folder.is_dir():
        return Finding(
            "stored flow", False, f"expected a folder at {folder}, found nothing there", (), "or leave out flow"
        )
    indices = [index for index in data.labelled() if data.previous(index) is not None]
    frames = [data.numbered(index) for index in indices]
    names = {frame: data.flow_name(frame) for frame in frames}
    missing = tuple(name for name in names.values() if not (folder / name).is_file())
    detail = f"{len(names) - len(missing)} of {len(names)} files in {folder}"
    remedy = "complete them, or leave out flow to have it computed" if missing else ""
    readable = next((frame for frame, name in names.items() if (folder / name).is_file()), None)
    if readable is not None:
        try:
            size = read_flow(folder / names[readable], data.aspect(readable)).shape
        except UserError as error:
            return Finding("stored flow", False, str(error), missing, remedy)
        detail += f", the first {size[1]}x{size[0]}"
    return Finding("stored flow", bool(names) and not missing, detail, missing, remedy)


def _of_any(data: VideoDataset) -> list[Finding]:
    rate = f", {data.fps:g} frames/s" if data.fps else ""
    labelled = data.labelled()
    shortfalls = tuple(data.shortfalls) if isinstance(data, FolderDataset) else ()
    pairs = sum(data.previous(index) is not None for index in range(len(data)))
    return [
        Finding("frames", not shortfalls, f"{len(data)} in {len(data.sequences)} sequences{rate}", shortfalls),
        Finding(
            "frames t-1",
            pairs > 0,
            f"{pairs} of {len(data)} frames have theirs",
            remedy="" if pairs else "adaptation needs consecutive frames of a video",
        ),
        Finding(
            "labels", None, f"{len(labelled)} of {len(data)} frames", remedy="" if labelled else "not needed to adapt"
        ),
        *_sample(data),
    ]


def _sample(data: VideoDataset) -> list[Finding]:
    """The first frame and the first label, read."""
    labelled = data.labelled()
    classes = ", ".join(data.classes.names) if data.classes is not None else "none"
    try:
        index = labelled[0] if labelled else 0
        height, width = data.frame(index).shape[:2]
        data.label(index)
    except UserError as error:
        return [Finding("first files", False, str(error))]
    read = "frame and label" if labelled else "frame"
    return [Finding("first files", True, f"{read} can be read, {width}x{height}"), Finding("classes", None, classes)]
