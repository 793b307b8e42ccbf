"""What the user reads when a name is wrong."""

from __future__ import annotations

import pytest

from stpl.errors import UserError, nearest, unknown_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [("compcat", "compact"), ("SEGFORMER_B0", "segformer-b0"), ("seqences", "sequences"), ("zzz", None), ("", None)],
)
def test_nearest_name(name, expected):
    assert nearest(name, ["compact", "segformer-b0", "segformer-b5", "sequences"]) == expected


def test_unknown_name_tells_what_was_found_what_is_near_and_what_there_is():
    error = unknown_name("model", "compcat", ["segformer-b0", "compact"])
    assert isinstance(error, UserError)
    assert isinstance(error, ValueError)
    assert str(error) == "unknown model 'compcat': did you mean 'compact'? Expected one of: compact, segformer-b0"
    assert str(unknown_name("model", "zzz", ["a"])) == "unknown model 'zzz': Expected one of: a"
