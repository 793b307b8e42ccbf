"""How the user names data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from stpl.data.folder import FolderDataset
from stpl.data.specs import open_dataset
from stpl.data.video_file import VideoFileDataset
from stpl.errors import UserError


def test_folder_format(write_folder):
    root = write_folder({"day_1": 2, "dusk_1": 1})
    data = open_dataset(f"folder:{root}", need_labels=True)
    assert isinstance(data, FolderDataset)
    assert data.name == "town"
    assert len(data) == 3


def test_bare_path_to_a_folder_of_frames(write_folder):
    root = write_folder({"day_1": 2})
    assert open_dataset(str(root)).sequences == ["day_1"]
    assert open_dataset(str(root / "day_1")).sequences == ["day_1"]
    assert len(open_dataset(str(root / "day_1" / "frames"))) == 2


def test_bare_path_to_a_video_and_to_a_folder_of_videos(write_video):
    file = write_video("ride 1?x=y.mp4", 4)  # such a name is no spec
    one = open_dataset(str(file))
    assert isinstance(one, VideoFileDataset)
    assert (one.name, one.sequences, len(one)) == ("ride 1?x=y", ["ride 1?x=y"], 4)
    write_video("ride2.mp4", 3)
    both = open_dataset(str(file.parent))
    assert (both.name, len(both)) == (file.parent.name, 7)


def test_generated_video():
    data = open_dataset("synthstreet:?domain=dusk&seed=5&sequences=2&frames=3&size=48x64", need_labels=True)
    assert len(data) == 6
    assert [data.previous(i) for i in range(6)] == [None, 0, 1, None, 3, 4]
    assert data.frame(4).shape == (48, 64, 3)
    with pytest.raises(UserError, match="unknown key of format synthstreet 'doman': did you mean 'domain'"):
        open_dataset("synthstreet:?doman=dusk")


def test_the_example_in_the_documentation_runs(write_folder, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    root = write_folder({"day_1": 2, "dusk_1": 1})
    (root.parent / "data").mkdir()
    root.rename(root.parent / "data" / "town")
    monkeypatch.chdir(root.parent)
    names: dict = {}
    exec(code, names)
    assert (names["index"], names["before"]) == (1, 0)
    assert names["frame"].shape == (*names["label"].shape, 3)


def test_relative_and_home_paths(write_folder, monkeypatch):
    root = write_folder({"day_1": 2})
    monkeypatch.chdir(root.parent)
    monkeypatch.setenv("HOME", str(root.parent))
    data = open_dataset("folder:town")
    assert len(open_dataset("town")) == len(open_dataset("~/town")) == len(open_dataset("folder:~/town")) == 2
    monkeypatch.chdir("/")
    assert data.frame(0).shape == (32, 128, 3)  # opened once, readable from anywhere


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("foldr:/data", "unknown data format 'foldr': did you mean 'folder'.* Expected one of: cityscapes-seq, folder"),
        ("cityscape:/data", "unknown data format 'cityscape'"),
        ("rtsp://camera/1", "unknown data format 'rtsp'"),
        ("/nowhere/at/all", "cannot open '/nowhere/at/all': no such file or folder"),
        ("folder", "expected 'folder:' before what follows, as in folder:data/town"),
        ("synthstreet?seed=1", "expected 'synthstreet:' before what follows"),
        ("folder:", "expected a folder after 'folder:', found nothing"),
        ("folder:/nowhere", "expected a folder of frames at /nowhere, found nothing there"),
        ("folder:/nowhere?sequence=a", "unknown key of format folder 'sequence': did you mean 'sequences'"),
        ("folder:/nowhere?sequences", r"expected key=value after '\?', found 'sequences'"),
        ("folder:/nowhere?sequences=a&sequences=b", "expected every key once, found 'sequences' twice"),
        ("synthstreet:dusk", r"expected 'synthstreet:\?key=value', found 'dusk'"),
    ],
)
def test_mistakes_are_named(spec, message):
    with pytest.raises(UserError, match=message) as error:
        open_dataset(spec)
    assert "\n" not in str(error.value)


def test_options_after_a_bare_path(write_folder):
    root = write_folder({"day_1": 2})
    with pytest.raises(UserError, match=f"a bare path takes no options; write 'folder:{root}\\?sequences=day"):
        open_dataset(f"{root}?sequences=day_1")


def test_empty_folder(tmp_path):
    with pytest.raises(UserError, match="found no frames and no videos in"):
        open_dataset(str(tmp_path))


def test_folder_format_with_videos_in_it_says_how_to_name_them(write_video):
    root = write_video("a.mp4", 3).parent
    with pytest.raises(UserError, match="found video files: name the folder without 'folder:'"):
        open_dataset(f"folder:{root}")


def test_frames_and_videos_in_one_folder(write_video):
    root = write_video("a.mp4", 3).parent
    PIL.Image.fromarray(np.zeros((4, 4), np.uint8)).save(root / "1.png")
    with pytest.raises(UserError, match=r"expected frames or videos in .*, found both"):
        open_dataset(str(root))


def test_a_single_picture_is_no_video(tmp_path):
    PIL.Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "1.png")
    with pytest.raises(UserError, match="expected a video or a folder, found a single picture"):
        open_dataset(str(tmp_path / "1.png"))


def test_video_has_no_labels_to_give(write_video):
    with pytest.raises(UserError, match="expected labelled frames, found 3 frames without labels"):
        open_dataset(str(write_video("a.mp4", 3)), need_labels=True)
