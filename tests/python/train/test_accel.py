"""The networks of accel mode: what they learn from, what is kept, what export makes of them, what the runtime shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import stpl_rt
from stpl.data.batches import PreparedVideo
from stpl.data.dataset import VideoDataset
from stpl.data.specs import open_dataset
from stpl.errors import UserError
from stpl.export import export_bundle
from stpl.models.accel import FuseNet, UpdateNet
from stpl.models.compact import CompactNet
from stpl.train.accel import AccelConfig, AccelNetworks, Judgement, load_accel, train_accel
from stpl.train.carried import Clips, Teacher, stream_flow
from stpl.train.checkpoint import Checkpoint, load_checkpoint
from stpl.train.run import ACCEL_FILE, MetricsLog

CPU = torch.device("cpu")
SIZE = (120, 160)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """The demo's source model at half its size."""
    whole = load_checkpoint(Path(__file__).parents[3] / "models/street-day")
    from dataclasses import replace

    return replace(whole, input=whole.input.model_copy(update={"height": SIZE[0], "width": SIZE[1]}))


@pytest.fixture(scope="module")
def video() -> VideoDataset:
    return open_dataset("synthstreet:?domain=dusk&seed=3&sequences=2&frames=24&fps=15&size=120x160")


@pytest.fixture(scope="module")
def prepared(checkpoint: Checkpoint, video: VideoDataset) -> PreparedVideo:
    return PreparedVideo(video, checkpoint.input.spec(), flow=stream_flow)


def test_both_begin_as_the_identity_for_every_size_of_logits() -> None:
    chance = torch.Generator().manual_seed(0)
    logits, past = (torch.randn(2, 5, 15, 21, generator=chance) for _ in range(2))
    assert torch.equal(FuseNet(5).eval()(logits, past), logits)
    network = CompactNet(5, width=8, feature_channels=16)
    shown = UpdateNet(network, width=8).eval()(torch.randn(2, 3, 60, 82, generator=chance), past)
    centred = past - past.mean(dim=1, keepdim=True)
    assert torch.allclose(shown, centred, atol=1e-6)
    assert torch.equal(shown.argmax(1), past.argmax(1))


def test_what_is_carried_in_training_is_what_the_runtime_carries(
    checkpoint: Checkpoint, video: VideoDataset, prepared: PreparedVideo, tmp_path: Path
) -> None:
    bundle = export_bundle(checkpoint, tmp_path / "plain", [video.frame(0)]).bundle
    segmenter = stpl_rt.Segmenter(bundle, schedule="fixed:9", threads=1, scene_cuts=False)
    for index in range(4):
        segmenter.push(video.frame(index))
    teacher, clips = Teacher(checkpoint, prepared, CPU), Clips(prepared, 5, 0.2)
    clip = clips.make(3, 3)
    assert (clip.index, clip.key) == (3, 0)
    np.testing.assert_allclose(teacher.carried(clip).numpy(), segmenter.logits(), atol=2e-3)
    # Not what any other way would give.
    assert np.abs(teacher.logits(0).numpy() - segmenter.logits()).max() > 0.5


def test_no_frame_is_both_trained_and_judged_on(prepared: PreparedVideo) -> None:
    clips = Clips(prepared, 5, 0.3)
    trained = {i - age for i in clips.training for age in range(6)}
    judged = {i - age for i in clips.held_out for age in range(6)}
    assert trained
    assert judged
    assert not trained & judged
    with pytest.raises(ValueError, match="expected 5 frames before"):
        clips.make(2, 5)


@pytest.fixture(scope="module")
def trained(checkpoint: Checkpoint, prepared: PreparedVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with networks that have learnt a little."""
    out = tmp_path_factory.mktemp("accel")
    config = AccelConfig(enabled=True, steps=12, fuse_steps=25, batch_size=4, width=16)
    judgements = train_accel(config, checkpoint, prepared, out, MetricsLog(out / "metrics.jsonl"), device=CPU)
    assert set(judgements) == {"update", "fuse"}
    return out


def test_only_what_helps_is_kept_and_the_log_says_why(trained: Path, checkpoint: Checkpoint) -> None:
    events = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    networks = load_accel(trained / ACCEL_FILE, checkpoint)
    for event in events:
        assert event["kept"] == (event["with_it"] < event["without"])
        assert event["kept"] == (getattr(networks, event["network"]) is not None)
    assert [event["network"] for event in events] == ["update", "fuse"]
    assert networks.fuse is not None, "to mix in the past helps against an average over views, even after 25 steps"
    assert not Judgement(0.1, 0.1).helps


def test_networks_of_another_checkpoint_are_refused(trained: Path, checkpoint: Checkpoint) -> None:
    other = checkpoint.with_weights(checkpoint.build().train())
    other.weights[next(iter(other.weights))].add_(1.0)
    with pytest.raises(UserError, match=r"expected the networks of checkpoint .*accel.enabled"):
        load_accel(trained / ACCEL_FILE, other)
    broken = trained / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(UserError, match="safetensors"):
        load_accel(broken, checkpoint)


def test_the_runtime_shows_what_pytorch_computes(
    checkpoint: Checkpoint, video: VideoDataset, prepared: PreparedVideo, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    update, fuse = UpdateNet(checkpoint.build(), width=16), FuseNet(len(checkpoint.classes))
    for network in (update, fuse):  # far from the identity, so that a wrong input would show
        for parameter in network.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    networks = AccelNetworks(fuse.eval(), update.eval())
    bundle = export_bundle(checkpoint, tmp_path / "accel", [video.frame(0)], accel=networks).bundle
    teacher, clips = Teacher(checkpoint, prepared, CPU), Clips(prepared, 5, 0.2)
    segmenter = stpl_rt.Segmenter(bundle, schedule="fixed:3", threads=1, scene_cuts=False, update=True, fuse=True)
    assert segmenter.bundle.update is not None
    shown = [segmenter.push(video.frame(index)).labels for index in range(4)]
    with torch.no_grad():
        second = update(prepared.image(2)[None], teacher.carried(clips.make(2, 2))[None])[0]
        third = fuse(teacher.logits(3)[None], teacher.carried(clips.make(3, 3))[None])[0]
    for index, wanted in ((0, teacher.logits(0)), (2, second), (3, third)):
        assert (shown[index] == teacher.labels(wanted)).mean() > 0.999, f"frame {index}"
    assert (shown[2] == teacher.labels(teacher.logits(2))).mean() < 0.99


def test_a_video_too_short_is_a_clear_mistake(checkpoint: Checkpoint, tmp_path: Path) -> None:
    video = open_dataset("synthstreet:?domain=dusk&seed=3&sequences=1&frames=8&fps=15&size=120x160")
    prepared = PreparedVideo(video, checkpoint.input.spec(), flow=stream_flow)
    log = MetricsLog(tmp_path / "metrics.jsonl")
    with pytest.raises(UserError, match="expected at least 8 frames with 5 before them"):
        train_accel(AccelConfig(enabled=True), checkpoint, prepared, tmp_path, log, device=CPU)
