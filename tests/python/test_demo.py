"""The demo, whole but for most of its training steps."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

import stpl_rt
from stpl.demo import run_demo
from stpl.errors import UserError


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_demo_writes_bundle_video_report_and_table(tmp_path, capsys):
    run_demo(tmp_path, steps=2)
    table = capsys.readouterr().out
    for name in ("source model", "input calibrated", "+ batch-norm", "self-training", "STPL", "every", "fixed:5"):
        assert name in table
    results = json.loads((tmp_path / "results.json").read_text())
    # Calibration and batch-norm alone raise the mIoU at dusk by far; two steps of training must not undo that.
    assert results["miou"]["+ batch-norm"] > results["miou"]["source model"] + 3
    assert results["miou"]["STPL"] > results["miou"]["source model"] + 3
    assert results["runtime"]["every"]["miou"] * 100 == pytest.approx(results["miou"]["STPL"], abs=0.1)
    assert results["runtime"]["fixed:5"]["miou"] > 0.9 * results["runtime"]["every"]["miou"]
    assert stpl_rt.Bundle.open(tmp_path / "bundle").input.lut is not None
    with av.open(str(tmp_path / "overlay.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.frames == 75
    assert "data:image/" in (tmp_path / "report.html").read_text()


def test_demo_refuses_a_folder_that_is_not_its_own(tmp_path):
    (tmp_path / "stpl").mkdir()
    with pytest.raises(UserError, match="earlier demo"):
        run_demo(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "stpl"]


@pytest.mark.slow
def test_demo_without_its_model_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("stpl.demo.SOURCE", Path("models") / "missing")
    with pytest.raises(UserError, match="from a clone"):
        run_demo(tmp_path)
