"""Models from wherever they are: folders of `transformers`, the hub's cache, raw weights, the user's own code."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from stpl.data.class_map import ClassOption, match_classes, read_classes
from stpl.data.classes import ClassSet
from stpl.errors import UserError
from stpl.models import CompactNet, build_model
from stpl.models.merged import MergedClasses
from stpl.train.checkpoint import Checkpoint, InputConfig, load_checkpoint, save_checkpoint
from stpl.train.open_model import open_model

TINY = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 3, 4]}
NAMES = {0: "road", 1: "car", 2: "unicorn"}
THREE = ClassOption(ClassSet(("a", "b", "c"), ((1, 0, 0), (2, 0, 0), (3, 0, 0))))


@pytest.fixture(scope="module")
def reference() -> SegformerForSemanticSegmentation:
    torch.manual_seed(2)
    config = SegformerConfig(**TINY, decoder_hidden_size=16, id2label=NAMES, label2id={n: i for i, n in NAMES.items()})
    network = SegformerForSemanticSegmentation(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.fixture
def folder(reference: SegformerForSemanticSegmentation, tmp_path: Path) -> Path:
    """As `transformers` itself writes it."""
    reference.save_pretrained(tmp_path / "model")
    preprocessor = {"size": {"height": 64, "width": 96}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.25]}
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return tmp_path / "model"


def assert_same_logits(checkpoint: Checkpoint, reference: SegformerForSemanticSegmentation) -> None:
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(checkpoint.build()(images), reference(images).logits, rtol=0, atol=1e-5)


def test_a_folder_of_transformers(folder: Path, reference: SegformerForSemanticSegmentation, tmp_path: Path) -> None:
    checkpoint = open_model(folder)
    assert checkpoint.classes.names == ("road", "car", "unicorn")
    assert checkpoint.classes.colors[:2] == ((128, 64, 128), (0, 0, 142))
    assert (checkpoint.input.height, checkpoint.input.width) == (64, 96)
    assert checkpoint.input.mean == pytest.approx((127.5, 102.0, 76.5))
    assert checkpoint.input.std == pytest.approx((51.0, 51.0, 63.75))
    assert_same_logits(checkpoint, reference)
    save_checkpoint(checkpoint, tmp_path / "ours.safetensors")  # its sizes are in our own file, too
    assert_same_logits(load_checkpoint(tmp_path / "ours.safetensors"), reference)


def test_older_folders_hold_a_pickle_of_tensors(folder: Path, reference: SegformerForSemanticSegmentation) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(reference.state_dict(), folder / "pytorch_model.bin")
    (folder / "preprocessor_config.json").unlink()
    checkpoint = open_model(folder)
    assert (checkpoint.input.height, checkpoint.input.width) == (512, 1024)
    assert checkpoint.input.mean == pytest.approx((123.675, 116.28, 103.53))
    assert_same_logits(checkpoint, reference)


class Payload:
    """Would write a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.path), "w"))


def test_a_pickle_that_would_run_code_does_not(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Payload(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="not unpickled"):
        open_model(folder)
    assert not (tmp_path / "ran").exists()


def change(file: Path, **entries: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def test_broken_folders_are_said(folder: Path) -> None:
    change(folder / "config.json", id2label={"0": "road", "1": "road", "2": "x"})
    with pytest.raises(UserError, match="id2label: expected every class name once"):
        open_model(folder)
    change(folder / "config.json", id2label={"0": "road"})
    with pytest.raises(UserError, match="of another architecture"):
        open_model(folder).build()
    change(folder / "config.json", model_type="mask2former")
    with pytest.raises(UserError, match="found 'mask2former'"):
        open_model(folder)
    change(folder / "preprocessor_config.json", size="large")
    change(folder / "config.json", model_type="segformer")
    with pytest.raises(UserError, match=r"preprocessor_config.json: expected a preprocessor"):
        open_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="found neither"):
        open_model(folder)


def test_the_hubs_cache_is_used_without_a_network(
    folder: Path, reference: SegformerForSemanticSegmentation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "hub"
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / "models--town--tiny-segformer"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    (repository / "snapshots").mkdir()
    folder.rename(repository / "snapshots" / revision)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    checkpoint = open_model("hf:town/tiny-segformer")
    assert checkpoint.origin == "hf:town/tiny-segformer"
    assert_same_logits(checkpoint, reference)
    assert_same_logits(open_model(f"hf:town/tiny-segformer@{revision}"), reference)
    with pytest.raises(UserError, match="hf:town/other: not in the local cache, and the hub cannot be reached"):
        open_model("hf:town/other")
    with pytest.raises(UserError, match=r"expected hf:ORGANISATION/NAME"):
        open_model("hf:a b/c/d")
    with pytest.raises(UserError, match="says itself which network it is"):
        open_model("hf:town/tiny-segformer", arch="segformer-b0")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_raw_weights_need_a_network_and_classes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"raw{suffix}"
    model = CompactNet(3)
    (save_file if suffix == ".safetensors" else torch.save)(model.state_dict(), path)
    checkpoint = open_model(path, arch="compact", classes=THREE, size=(32, 48))
    assert checkpoint.classes is THREE.names
    assert (checkpoint.input.height, checkpoint.input.width) == (32, 48)
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(checkpoint.build()(images), model.eval()(images))
    with pytest.raises(UserError, match="--classes"):
        open_model(path, arch="compact")
    with pytest.raises(UserError, match="of another architecture: 'pidnet-s'"):
        open_model(path, arch="pidnet-s", classes=THREE).build()
    with pytest.raises(UserError, match="shape"):
        open_model(path, arch="compact", classes=read_classes("cityscapes-19")).build()
    if suffix == ".pth":
        with pytest.raises(UserError, match="--arch"):
            open_model(path, classes=THREE)


def test_published_weights_come_with_their_input(tmp_path: Path) -> None:
    weights = {f"module.model.{name}": t for name, t in build_model("pidnet-s", 19).state_dict().items()}
    torch.save({**weights, "module.model.seghead_p.conv1.weight": torch.zeros(1)}, tmp_path / "pidnet.pt")
    checkpoint = open_model(tmp_path / "pidnet.pt", arch="pidnet-s", classes=read_classes("cityscapes-19"))
    checkpoint.build()
    assert (checkpoint.input.height, checkpoint.input.width) == (1024, 2048)
    assert checkpoint.input.color_order == "rgb"


def test_the_benchmarks_network_takes_bgr(tmp_path: Path) -> None:
    weights = build_model("accel_deeplabv2", 15).state_dict()
    old = {name: t for name, t in weights.items() if not name.endswith("num_batches_tracked")}  # before PyTorch 0.4.1
    torch.save(old, tmp_path / "released.pth")
    checkpoint = open_model(tmp_path / "released.pth", arch="accel_deeplabv2", classes=read_classes("viper-15"))
    checkpoint.build()
    spec = checkpoint.input.spec()
    assert (spec.color_order, spec.width, spec.height) == ("bgr", 1024, 512)
    assert list(spec.mean) == pytest.approx([104.00698793, 116.66876762, 122.67891434])
    assert list(spec.std) == [1, 1, 1]


def test_names_are_replaced_where_their_number_fits(folder: Path) -> None:
    assert open_model(folder, classes=THREE).classes is THREE.names
    with pytest.raises(UserError, match=r"expected names for the 3 classes of .*; found 19"):
        open_model(folder, classes=read_classes("cityscapes-19"))


OWN = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of the example's network; the module itself is not imported yet."""
    monkeypatch.chdir(OWN)
    path = tmp_path / "own.safetensors"
    model = build_model("own_model:build", 3)
    save_checkpoint(
        Checkpoint("own_model:build", THREE.names, InputConfig(height=32, width=48), {}).with_weights(model), path
    )
    monkeypatch.delitem(sys.modules, "own_model")
    return path


def test_a_file_does_not_choose_what_is_imported(own: Path) -> None:
    with pytest.raises(UserError, match="where you trust it, say --arch own_model:build"):
        open_model(own)
    assert "own_model" not in sys.modules
    assert open_model(own, arch="own_model:build").build().feature_channels == 32


def test_arch_must_agree_with_a_checkpoint_that_knows_it(tmp_path: Path) -> None:
    checkpoint = Checkpoint("compact", THREE.names, InputConfig(), {}).with_weights(CompactNet(3))
    save_checkpoint(checkpoint, tmp_path / "model.safetensors")
    assert open_model(tmp_path / "model.safetensors", arch="compact").arch == "compact"
    with pytest.raises(UserError, match="expected a checkpoint of architecture 'pidnet-s'; found 'compact'"):
        open_model(tmp_path / "model.safetensors", arch="pidnet-s")


def test_merged_classes_are_kept_in_the_file(tmp_path: Path) -> None:
    source = Checkpoint("compact", THREE.names, InputConfig(height=32, width=48), {}).with_weights(CompactNet(3))
    merged = source.with_classes(match_classes(source.classes, None, read_classes("a=ab,b=ab")))
    assert merged.classes.names == ("ab", "c")
    assert merged.digest != source.digest
    save_checkpoint(merged, tmp_path / "merged.safetensors")
    loaded = load_checkpoint(tmp_path / "merged.safetensors")
    assert loaded == replace(merged, origin=loaded.origin, weights=loaded.weights)
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        own = source.build()(images)
        assert torch.equal(loaded.build()(images), MergedClasses(source.build(), [[0, 1], [2]])(images))
        # Merged again: one sum over all members.
        again = loaded.with_classes(match_classes(loaded.classes, None, read_classes("ab=all,c=all")))
        torch.testing.assert_close(again.build()(images), own.logsumexp(dim=1, keepdim=True))
        renamed = source.with_classes(match_classes(source.classes, None, read_classes("a=x")))
        assert renamed.merge is None and renamed.classes.names == ("x", "b", "c")
