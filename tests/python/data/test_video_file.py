"""Random access must give exactly the frames that reading from start to end gives, whatever the file's structure."""

from __future__ import annotations

import logging
import pickle
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from stpl.data.dataset import FrameId
from stpl.data.specs import open_dataset
from stpl.data.video_file import VideoFile, VideoFileDataset, videos_in
from stpl.errors import UserError

COUNT = 60

STRUCTURES = {
    "b-frames": ("v.mp4", "libx264", {"g": "12", "bf": "3", "sc_threshold": "0"}),
    "open groups": ("v.mp4", "libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
    "one keyframe": ("v.mp4", "libx264", {"g": "1000", "sc_threshold": "0"}),
    "matroska": ("v.mkv", "libx264", {"g": "10", "bf": "2", "sc_threshold": "0"}),
    "transport stream": ("v.ts", "libx264", {"g": "10", "bf": "2", "sc_threshold": "0"}),
    "bare stream without times": ("v.h264", "libx264", {"g": "10", "bf": "2", "sc_threshold": "0"}),
    "hevc": ("v.mp4", "libx265", {"x265-params": "keyint=10:bframes=2:log-level=none"}),
    "mpeg4 in avi": ("v.avi", "mpeg4", {"g": "10", "bf": "2"}),
    "keyframes only": ("v.avi", "mjpeg", {}),
}


@pytest.fixture(params=STRUCTURES, ids=lambda name: name.replace(" ", "-"))
def any_video(request, write_video) -> Path:
    name, codec, options = STRUCTURES[request.param]
    return write_video(name, COUNT, codec, options)


def sequential_frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_random_access_equals_reading_in_order(number_in, any_video):
    expected = sequential_frames(any_video)
    video = VideoFile(any_video)
    assert video.index.count == len(expected) == COUNT
    order = [*range(COUNT), *reversed(range(COUNT)), *random.Random(0).choices(range(COUNT), k=60)]
    for number in order:
        frame = video.frame(number)
        assert frame.dtype == np.uint8
        np.testing.assert_array_equal(frame, expected[number], err_msg=f"frame {number}")
        assert number_in(frame) == number


def test_the_files_of_the_data_are_known(write_video):
    first, second = write_video("a.mp4", 2), write_video("b.mp4", 2)
    assert VideoFileDataset([first, second]).files() == [first, second]


def test_first_access_may_be_anywhere(number_in, any_video):
    assert number_in(VideoFile(any_video).frame(COUNT - 1)) == COUNT - 1
    assert number_in(VideoFile(any_video).frame(31)) == 31


def test_variable_frame_rate_keeps_every_frame(number_in, write_video):
    steps = [1, 1, 7, 3, 20, 1, 4] * 6
    times = list(np.cumsum(steps).tolist())
    path = write_video("v.mkv", len(times), options={"g": "9", "bf": "2"}, times=times)
    video = VideoFile(path)
    assert [number_in(video.frame(i)) for i in reversed(range(len(times)))] == list(reversed(range(len(times))))


def test_only_the_groups_that_are_needed_are_decoded(write_video, monkeypatch):
    video = VideoFile(write_video("v.mp4", COUNT, options={"g": "12", "sc_threshold": "0"}))
    decoded = []
    monkeypatch.setattr(video, "_remember", lambda number, frame: decoded.append(number))
    video.frame(50)
    assert decoded == [48, 49, 50]
    decoded.clear()
    video.frame(53)
    assert decoded == [51, 52, 53]  # goes on from where it was


def test_a_pair_is_decoded_once(number_in, write_video, monkeypatch):
    video = VideoFile(write_video("v.mp4", COUNT, options={"g": "1000", "sc_threshold": "0"}))
    video.frame(40)
    monkeypatch.setattr(video, "_decode", lambda number: pytest.fail(f"frame {number} was decoded again"))
    assert number_in(video.frame(39)) == 39


def test_dataset_is_one_sequence_a_file_with_predecessors_inside_it(number_in, write_video):
    write_video("ride2.mp4", 5)
    write_video("ride10.mp4", 4)
    data = VideoFileDataset(videos_in(write_video("ride1.avi", 3, "mjpeg").parent), name="rides")
    assert data.sequences == ["ride1", "ride2", "ride10"]
    assert len(data) == 12
    assert [data.previous(i) for i in range(12)] == [None, 0, 1, None, 3, 4, 5, 6, None, 8, 9, 10]
    assert [number_in(data.frame(i)) for i in range(12)] == [0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert data.frame_id(9) == FrameId("ride10", "000001", 1)
    assert data.fps == 25
    assert (data.label(3), data.labelled(), data.classes, data.exact_flow(4)) == (None, [], None, None)
    with pytest.raises(IndexError, match="0 to 11, found 12"):
        data.frame(12)


def test_more_files_than_decoders_kept_open(number_in, write_video):
    paths = [write_video(f"{i}.mp4", 3) for i in range(7)]
    data = VideoFileDataset(paths)
    for _ in range(2):
        assert [number_in(data.frame(i)) for i in range(21)] == [0, 1, 2] * 7
    assert sum(video._decoder is not None for video in data._videos) == 4


@pytest.fixture
def numbers(number_in):
    """Function of a data set and indices: the numbers that these frames carry."""
    return lambda data, indices: [number_in(data.frame(i)) for i in indices]


FORKS = """
import multiprocessing, sys
import numpy as np
from stpl.data.video_file import VideoFileDataset
from pathlib import Path
data = VideoFileDataset([Path(sys.argv[1])])
data.frame(20)  # the parent's decoder is open when the child begins
context = multiprocessing.get_context("fork")
children = []
for number in range(2):
    def work(file=f"{sys.argv[2]}/{number}.npy"):
        np.save(file, np.stack([data.frame(i) for i in (21, 5, 50)]))
    children.append(context.Process(target=work))
    children[-1].start()
np.save(f"{sys.argv[2]}/parent.npy", np.stack([data.frame(i) for i in (22, 40, 1)]))
for child in children:
    child.join(timeout=60)
    assert child.exitcode == 0, child.exitcode
"""


def test_forked_process_reads_with_its_own_decoder(number_in, write_video, tmp_path):
    """In a process of its own: a fork of this one would copy the locks of whatever threads the tests have."""
    video = write_video("v.mp4", COUNT, options={"g": "12"})
    done = subprocess.run([sys.executable, "-c", FORKS, video, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    read = {name: [number_in(frame) for frame in np.load(tmp_path / f"{name}.npy")] for name in ("parent", "0", "1")}
    assert read == {"parent": [22, 40, 1], "0": [21, 5, 50], "1": [21, 5, 50]}


def test_pickled_dataset_reads_the_same(numbers, write_video):
    data = VideoFileDataset([write_video("v.mp4", COUNT)])
    data.frame(7)
    assert numbers(pickle.loads(pickle.dumps(data)), [3, 44]) == [3, 44]


def test_threads_share_a_video(numbers, write_video):
    data = VideoFileDataset([write_video("v.mp4", COUNT, options={"g": "12"})])
    orders = [random.Random(seed).sample(range(COUNT), 40) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda order: numbers(data, order), orders)) == orders


# What is broken


def test_missing_video():
    with pytest.raises(UserError, match=r"cannot open video /nowhere/v\.mp4: .*no such file"):
        VideoFile(Path("/nowhere/v.mp4"))


@pytest.mark.parametrize("content", [b"", b"not a video", bytes(5000)], ids=["empty", "text", "zeros"])
def test_file_that_is_no_video(tmp_path, content):
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot open video .*v\.mp4: expected a complete video file"):
        VideoFile(path)


def test_sound_without_pictures(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(UserError, match="expected a video, found no video stream"):
        VideoFile(path)


def test_video_cut_off_before_its_table_of_contents(write_video):
    path = write_video("v.mp4", COUNT)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="expected a complete video file"):
        VideoFile(path)


FAST_START = {"movflags": "faststart"}  # the table of contents comes first and promises all the frames


def cut_short(path: Path, share: float, how: str) -> None:
    """Leaves the first `share` of the file, the rest cut off or turned to zeros."""
    content = path.read_bytes()
    kept = int(len(content) * share)
    path.write_bytes(content[:kept] + (bytes(len(content) - kept) if how == "zeros" else b""))


@pytest.mark.parametrize("damage", ["cut off", "zeros"])
@pytest.mark.parametrize("keyframes", ["8", "1000"])
@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_damaged_end_is_left_out_with_a_warning(write_video, caplog, name, keyframes, damage):
    options = {"g": keyframes, "bf": "2", "sc_threshold": "0"}
    path = write_video(name, COUNT, options=options, container_options=FAST_START if name == "v.mp4" else None)
    expected = sequential_frames(path)
    cut_short(path, 0.6, damage)
    with caplog.at_level(logging.WARNING):
        video = VideoFile(path)
    assert COUNT * 0.4 < video.index.count < COUNT * 0.7
    assert f"its first {video.index.count} frames are used" in caplog.text
    for number in range(video.index.count):
        np.testing.assert_array_equal(video.frame(number), expected[number], err_msg=f"frame {number}")


def test_data_set_of_a_cut_off_video_is_refused_with_what_is_intact(write_video):
    path = write_video("v.mp4", COUNT, options={"g": "8"}, container_options=FAST_START)
    assert len(open_dataset(str(path))) == COUNT
    cut_short(path, 0.6, "cut off")
    with pytest.raises(UserError, match=r"expected a complete video, found it damaged or cut off after \d+ frames"):
        open_dataset(str(path))


@pytest.mark.parametrize("damage", ["cut off", "zeros"])
def test_transport_stream_is_used_up_to_where_it_was_cut_off(write_video, number_in, damage):
    path = write_video("v.ts", COUNT, options={"g": "8", "bf": "2", "sc_threshold": "0"})
    cut_short(path, 0.6, damage)
    video = VideoFile(path)
    intact = video.index.count - 3  # the format does not tell whether what the last frames refer to is all there
    assert COUNT * 0.4 < intact < COUNT * 0.7
    assert [number_in(video.frame(i)) for i in range(intact)] == list(range(intact))


def test_video_without_any_intact_frame(write_video):
    path = write_video("v.mp4", COUNT, options={"g": "1000"}, container_options=FAST_START)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start:] = bytes(len(content) - start)
    path.write_bytes(content)
    with pytest.raises(UserError, match="found no frame that can be decoded"):
        VideoFile(path)


def test_damage_in_the_middle_is_reported_where_it_is_met(number_in, write_video):
    path = write_video("v.mp4", COUNT, options={"g": "1", "sc_threshold": "0"}, container_options=FAST_START)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    position, size = packets[30]
    content[position : position + size] = bytes(size)
    path.write_bytes(content)
    video = VideoFile(path)
    assert video.index.count == COUNT
    with pytest.raises(UserError, match=r"cannot decode frame 30 of .*damaged"):
        video.frame(30)
    assert [number_in(video.frame(i)) for i in (31, 29, 59)] == [31, 29, 59]


def test_broken_video_in_a_folder_is_named(write_video, tmp_path):
    write_video("a.mp4", 3)
    (tmp_path / "b.mp4").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"b\.mp4"):
        open_dataset(str(tmp_path))
