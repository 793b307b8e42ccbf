"""stpl_rt.video and stpl_rt.overlay."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from stpl_rt.overlay import colorize, overlay
from stpl_rt.video import VideoError, VideoReader, VideoWriter, read_frames, read_timed_frames

Pixels = npt.NDArray[np.uint8]


def write(path: Path, frames: Pixels, fps: float = 15.0) -> Path:
    with VideoWriter(path, fps, crf=4) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def test_what_is_written_is_read_back(tmp_path: Path, moving_picture: Pixels) -> None:
    path = write(tmp_path / "new" / "clip.mp4", moving_picture)
    with VideoReader(path) as reader:
        assert (reader.fps, reader.width, reader.height) == (15.0, 128, 96)
        frames = np.stack(list(reader))
    assert frames.shape == moving_picture.shape
    # 4:2:0 halves the colour's resolution; brightness stays near.
    assert np.abs(frames.astype(int).mean(-1) - moving_picture.astype(int).mean(-1)).mean() < 3
    assert [p.name for p in path.parent.iterdir()] == ["clip.mp4"]


def test_frames_come_with_their_times(tmp_path: Path, moving_picture: Pixels) -> None:
    path = write(tmp_path / "clip.mp4", moving_picture, fps=12.5)
    frames, times = zip(*read_timed_frames(path), strict=True)
    np.testing.assert_allclose(times, np.arange(len(moving_picture)) / 12.5, atol=1e-6)
    np.testing.assert_array_equal(np.stack(frames), np.stack(list(read_frames(path))))


def test_files_are_h264_that_plays_everywhere(tmp_path: Path, moving_picture: Pixels) -> None:
    av = pytest.importorskip("av")
    with av.open(str(write(tmp_path / "clip.mp4", moving_picture))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


def test_odd_sizes_grow_by_a_pixel(tmp_path: Path, moving_picture: Pixels) -> None:
    path = write(tmp_path / "odd.mp4", moving_picture[:, :95, :127])
    assert {frame.shape for frame in read_frames(path)} == {(96, 128, 3)}


def test_an_exception_leaves_nothing(tmp_path: Path, moving_picture: Pixels) -> None:
    def interrupted() -> None:
        with VideoWriter(tmp_path / "clip.mp4", 15.0) as writer:
            writer.write(moving_picture[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with VideoWriter(tmp_path / "empty.mp4", 15.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_stays_until_the_new_one_is_whole(tmp_path: Path, moving_picture: Pixels) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with VideoWriter(path, 15.0) as writer:
        writer.write(moving_picture[0])
        assert path.read_bytes() == b"old"
    assert len(list(read_frames(path))) == 1


def test_wrong_frames_and_names_are_refused(tmp_path: Path, moving_picture: Pixels) -> None:
    with pytest.raises(ValueError, match=r"\.mp4"):
        VideoWriter(tmp_path / "clip.avi", 15.0)
    with pytest.raises(ValueError, match="fps: expected a positive number, found 0"):
        VideoWriter(tmp_path / "clip.mp4", 0)
    with VideoWriter(tmp_path / "clip.mp4", 15.0) as writer:
        writer.write(moving_picture[0])
        with pytest.raises(ValueError, match=r"\(96, 128\), found \(90, 128\)"):
            writer.write(moving_picture[0, :90])
        with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8, found \(96, 128\) uint8"):
            writer.write(moving_picture[0, ..., 0])


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.mp4: no such video"):
        VideoReader(tmp_path / "missing.mp4")
    with pytest.raises(VideoError, match="found a folder"):
        VideoReader(tmp_path)
    text = tmp_path / "notes.mp4"
    text.write_text("not a video at all\n" * 50)
    with pytest.raises(VideoError, match=r"notes\.mp4: cannot be opened as a video"):
        VideoReader(text)
    with pytest.raises(FileNotFoundError, match="camera:97"):
        VideoReader("camera:97")


def test_a_truncated_file_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (40, 96, 128, 3), dtype=np.uint8)
    whole = write(tmp_path / "whole.mp4", noise)
    content = whole.read_bytes()
    for share in (0.1, 0.5):
        cut = tmp_path / "cut.mp4"
        cut.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(VideoError, match=r"cut\.mp4: .*(cut off|found none|cannot be opened)"):
            list(read_frames(cut))


def test_without_pyav_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match="run: python -m pip install av"):
        VideoWriter(tmp_path / "clip.mp4", 15.0)


def test_colorize_paints_each_class_and_leaves_the_rest_black() -> None:
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    painted = colorize(labels, [(255, 0, 0), (0, 128, 0), (1, 2, 3)])
    np.testing.assert_array_equal(painted, [[[255, 0, 0], [0, 128, 0]], [[1, 2, 3], [0, 0, 0]]])


def test_overlay_blends_and_keeps_the_frame_where_there_is_no_class(rng: np.random.Generator) -> None:
    frame = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, (5, 7), dtype=np.uint8)
    labels[0, 0] = 255
    colors = [(255, 0, 0), (0, 128, 0), (10, 20, 30)]
    blended = overlay(frame, labels, colors, alpha=0.25)
    expected = 0.75 * frame + 0.25 * np.array([*colors, *[(0, 0, 0)] * 253])[labels]
    assert np.abs(blended - expected)[1:].max() <= 1
    np.testing.assert_array_equal(blended[0, 0], frame[0, 0])
    np.testing.assert_array_equal(overlay(frame, labels % 3, colors, alpha=0), frame)
    np.testing.assert_array_equal(overlay(frame, labels % 3, colors, alpha=1), colorize(labels % 3, colors))


@pytest.mark.parametrize(
    ("frame", "labels", "alpha", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), 0.5, r"\(4, 5, 3\)"),
        (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), 0.5, "float32"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.int64), 0.5, "int64"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), 1.5, "alpha: expected 0..1, found 1.5"),
    ],
)
def test_overlay_refuses_wrong_arguments(frame: Pixels, labels: Pixels, alpha: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        overlay(frame, labels, [(1, 2, 3)], alpha)
