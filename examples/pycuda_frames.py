"""Segment frames that PyCUDA holds in a GPU's memory; the labels stay there too.

    python examples/pycuda_frames.py street.bundle drive.mp4 --schedule fixed:5

Needs a build of stpl_rt for NVIDIA GPUs and PyCUDA. Prints how much of each frame the most common class covers, as
counted on the GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

import stpl_rt
import stpl_rt.video


def segment(segmenter: stpl_rt.Segmenter, frames: Iterable[Any]) -> Iterator[stpl_rt.DeviceArray]:
    """Labels of frames that have ``__cuda_array_interface__``; nothing is copied, and nobody waits."""
    for frame in frames:
        labels = segmenter(frame).device_labels
        assert labels is not None, "the Segmenter was made with device_labels=True"
        yield labels


def count_classes(labels: stpl_rt.DeviceArray, classes: int) -> list[int]:
    """Pixels of each class, counted by PyCUDA over the labels where they lie."""
    from pycuda import gpuarray

    labels.wait()  # PyCUDA's own stream knows nothing of ours
    address, _ = labels.__cuda_array_interface__["data"]
    view = gpuarray.GPUArray(labels.shape, labels.dtype, gpudata=address, base=labels)
    return [int(gpuarray.sum(view == class_id, dtype="int32").get()) for class_id in range(classes)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="a bundle of stpl-adapt export")
    parser.add_argument("video", help="a video file")
    parser.add_argument("--schedule", default=None, help="every, fixed:K or adaptive; the bundle's own by default")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--precision", default="f16")
    arguments = parser.parse_args()

    import pycuda.autoprimaryctx  # noqa: F401  # the context that CUDA's runtime uses, and stpl_rt with it
    from pycuda import gpuarray

    segmenter = stpl_rt.Segmenter(
        arguments.bundle,
        device=arguments.device,
        schedule=arguments.schedule,
        precision=arguments.precision,
        device_labels=True,
    )
    names = [entry.name for entry in segmenter.bundle.classes]
    frames = map(gpuarray.to_gpu, stpl_rt.video.read_frames(arguments.video))
    for index, labels in enumerate(segment(segmenter, frames)):
        pixels = count_classes(labels, len(names))
        most = max(range(len(names)), key=pixels.__getitem__)
        print(f"{index:6d}  {names[most]} {pixels[most] / sum(pixels):.0%}")


if __name__ == "__main__":
    main()
