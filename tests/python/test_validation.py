"""YAML as people mean it."""

from __future__ import annotations

from typing import Literal

import pytest

from stpl.config import Config, dump_yaml, load_config


class Settings(Config):
    mode: Literal["off", "on"] = "on"
    fast: bool = False


@pytest.mark.parametrize("override", ["mode=off", "mode='off'"])
def test_off_is_a_word(override: str, tmp_path) -> None:
    assert load_config(Settings, None, [override]).mode == "off"
    (tmp_path / "settings.yaml").write_text("mode: off\nfast: true\n")
    read = load_config(Settings, tmp_path / "settings.yaml")
    assert read == Settings(mode="off", fast=True)
    (tmp_path / "again.yaml").write_text(dump_yaml(read))
    assert load_config(Settings, tmp_path / "again.yaml") == read


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("False", False)])
def test_true_and_false_are_booleans(value: str, expected: bool) -> None:
    assert load_config(Settings, None, [f"fast={value}"]).fast is expected
