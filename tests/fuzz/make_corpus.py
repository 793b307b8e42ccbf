"""Writes the hand-made part of the fuzzers' corpus: inputs that get past the first checks of what they are for.

    python tests/fuzz/make_corpus.py tests/fuzz/corpus

Files named found-* are inputs that once failed; others were added by the fuzzers, each for code it alone reaches.
Neither is touched.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, COLUMNS, ROWS, CLASSES = 8, 4, 4, 2, 2


def manifest(**changes: Any) -> bytes:
    """A sound manifest whose network is what manifest_fuzzer.cpp writes beside it, with ``changes`` at its top."""
    document = {
        "schema_version": 1,
        "name": "seed",
        "classes": [{"name": f"c{i}", "color": [i, 0, 255]} for i in range(CLASSES)],
        "ignore_id": 255,
        "input": {
            "width": WIDTH,
            "height": HEIGHT,
            "color_order": "rgb",
            "mean": [123.675, 116.28, 103.53],
            "std": [58.395, 57.12, 57.375],
            "lut": None,
            "resize": "stretch",
            "filter": "bilinear",
        },
        "logits": {"width": COLUMNS, "height": ROWS, "align_corners": False},
        "networks": {
            "segment": {
                "file": "segment.onnx",
                "sha256": hashlib.sha256(b"network").hexdigest(),
                "inputs": [{"name": "image", "shape": [1, 3, HEIGHT, WIDTH], "type": "float32"}],
                "outputs": [{"name": "logits", "shape": [1, CLASSES, ROWS, COLUMNS], "type": "float32"}],
            }
        },
        **changes,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def manifests() -> dict[str, bytes]:
    """Sound ones of each kind, and ones that are wrong in a way of their own."""
    sound = json.loads(manifest())
    calibrated = {**sound["input"], "lut": [list(range(256))] * 3, "color_order": "bgr", "resize": "letterbox"}
    escaping = {"segment": {**sound["networks"]["segment"], "file": "../segment.onnx"}}
    other_hash = {"segment": {**sound["networks"]["segment"], "sha256": "0" * 64}}
    return {
        "sound": manifest(),
        "calibrated": manifest(input=calibrated),
        "adaptive": manifest(default_schedule="adaptive:0.4:30", provenance={"from": ["day", {"seed": 1}]}),
        "fixed": manifest(default_schedule="fixed:5", provenance=None),
        "newer": manifest(schema_version=2),
        "escaping-file": manifest(networks=escaping),
        "other-hash": manifest(networks=other_hash),
        "key-twice": b'{"schema_version":1,"name":"a","name":"b"}',
        "nested": b'{"provenance":' + b"[" * 70 + b"]" * 70 + b"}",
        "huge-numbers": b'{"schema_version":1,"ignore_id":1e999,"classes":18446744073709551616}',
        "empty": b"",
    }


def bundle(
    *, name: int = 0, entry: int = 0, content: bytes = b"network", sides: bytes = b"", classes: int = 3, hashed: int = 0
) -> bytes:
    """The draws of bundle_fuzzer.cpp in their order; a side of 0 to 5 is one that fits."""
    sides = sides.ljust(4, b"\0")
    drawn = bytes([name, entry, len(content)]) + content + sides + bytes([classes, 0])
    return drawn + bytes(4) + bytes([1, hashed]) + bytes(8)


def bundles() -> dict[str, bytes]:
    """Every name, every kind of entry, class counts at their bounds, another hash, sizes that do not fit."""
    seeds = {f"name-{i}": bundle(name=i) for i in range(11)}
    seeds |= {f"entry-{i}": bundle(entry=i) for i in range(1, 7)}
    seeds |= {f"sub-entry-{i}": bundle(name=1, entry=i) for i in range(1, 7)}
    seeds |= {f"classes-{i}": bundle(classes=i) for i in (0, 1, 255)}
    seeds["other-hash"] = bundle(hashed=5)
    seeds["huge-width"] = bundle(sides=bytes([6, *(0xFF,) * 8, 0, 0, 0]))
    return seeds


def varint(value: int) -> bytes:
    """A number as protocol buffers write it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    """A field that holds a number."""
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    """A field that holds bytes, text or a message."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def onnx_files() -> dict[str, bytes]:
    """Models whose one tensor lies in each of the places a tensor can, in the file or outside of it."""
    inside = message(8, b"w") + number(1, 1) + number(2, 1) + message(9, b"\0\0\x80?")
    outside = message(8, b"w") + number(2, 1) + message(13, message(1, b"location") + message(2, b"w.bin"))
    marked = message(8, b"w") + number(14, 1)
    attribute = message(5, outside)
    node = message(4, b"Constant") + message(5, attribute)
    seeds = {
        "inside": message(7, message(5, inside)),
        "initializer": message(7, message(5, outside)),
        "marked": message(7, message(5, marked)),
        "sparse-values": message(7, message(15, message(1, outside))),
        "sparse-indices": message(7, message(15, message(2, outside))),
        "sparse-attribute": message(7, message(1, message(5, message(23, message(1, outside))))),
        "attribute": message(7, message(1, node)),
        "attributes": message(7, message(1, message(5, message(10, inside) + message(10, outside)))),
        "function": message(25, message(7, node)),
        "header": number(1, 8) + message(2, b"seed") + message(7, message(5, inside)) + message(8, number(2, 17)),
        "cut-short": message(7, message(5, outside))[:-3],
        "group": b"\xa3\x06\xa4\x06" + message(7, message(5, outside)),
        "function-attribute": message(25, message(11, attribute)),
        "endless-varint": b"\x38" + b"\xff" * 12,
        "fixed-width": b"\x39" + bytes(8) + b"\x3d" + bytes(4),
    }
    nested = inside
    for _ in range(60):
        nested = message(1, message(5, message(6, nested)))  # node, attribute, graph
    seeds["nested"] = message(7, nested)
    return seeds


def frames() -> dict[str, bytes]:
    """The draws of frame_fuzzer.cpp in their order: every format dense, padded, upwards, its planes apart or not."""
    pixels = bytes(range(7, 250, 9))
    seeds = {}
    for form, name in enumerate(("rgb", "bgr", "gray", "nv12", "i420")):
        for layout, strides in {"dense": (0,), "padded": (4, 0), "upwards": (4, 1)}.items():
            planes = (0, 0) if layout == "dense" else (1, 1)
            shape = bytes([0, form, form % 4, 6, 4, *strides, *strides, *planes])
            resampled = bytes([1, 11, 9, form & 1, form >> 1 & 1, form & 1, form >> 2, 0, 12, 10])
            unchanged = bytes([0, 0, 0, 0, 0, 1])
            seeds[f"{name}-{layout}"] = shape + resampled + pixels
            seeds[f"{name}-{layout}-same-size"] = shape + unchanged + pixels
    seeds["any-description"] = bytes([3, 1, 3, 0, 0, 0]) + (640).to_bytes(4, "little") * 2 + bytes(16)
    return seeds


def videos() -> dict[str, bytes]:
    """Two frames of 3x2 of every layout that is read, and headers that are refused."""
    chroma = {"420": 4, "420jpeg": 4, "420mpeg2": 4, "420paldv": 4, "422": 8, "444": 12, "mono": 0}
    seeds = {}
    for name, chroma_bytes in chroma.items():
        frame = b"FRAME\n" + bytes(range(40, 46)) + bytes(range(90, 90 + chroma_bytes))
        seeds[name] = b"YUV4MPEG2 W3 H2 F25:1 Ip A1:1 C" + name.encode() + b"\n" + frame * 2
    sound = seeds["420"]
    seeds |= {
        "full-range": sound.replace(b" C420", b" C420 XCOLORRANGE=FULL"),
        "no-chroma-named": sound.replace(b" C420", b""),
        "ten-bit": sound.replace(b"C420", b"C420p10"),
        "frame-with-words": sound.replace(b"FRAME", b"FRAME Ip XNOTE"),
        "cut-short": sound[:-2],
        "no-size": b"YUV4MPEG2 F25:1\n",
        "other-data": b"RIFF\0\0\0\0AVI LIST\n",
    }
    return seeds


def main() -> None:
    """Writes all seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    targets = {"manifest": manifests, "bundle": bundles, "onnx_file": onnx_files, "frame": frames, "y4m": videos}
    for target, seeds in targets.items():
        folder = out / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds().items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
