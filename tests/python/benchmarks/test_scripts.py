"""What `make bench` and `make check-long` call, in which order, and how they end; nothing of it is computed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RECORDS = """\
#!/bin/bash
echo "$*" >> "$(dirname "$0")/../../called"
if [[ "$*" == *--print-camvid-source ]]; then echo the-source; fi
case "$*" in "benchmarks/${FAILS:-nothing}" | "${FAILS:-nothing}") exit 1 ;; esac
"""


@pytest.fixture
def called(root, tmp_path):
    """Function that runs a script and returns its status and the commands that it called."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "stpl-adapt"):
        (programs / name).write_text(RECORDS)
        (programs / name).chmod(0o755)
    shutil.copytree(root / "scripts", tmp_path / "scripts")
    for name in ("sanitizers.sh", "instruction_sets.sh", "inductor.sh", "fuzz.sh"):  # which build
        (tmp_path / "scripts" / name).write_text(RECORDS.replace("/../../", "/../").replace("$*", f"{name} $*"))

    def run(script: str, camvid: Path | None = None, fails: str = "") -> tuple[int, list[str]]:
        (tmp_path / "called").unlink(missing_ok=True)
        environment = {"PATH": os.environ["PATH"], "FAILS": fails, "STPL_CAMVID": "" if camvid is None else str(camvid)}
        done = subprocess.run([tmp_path / "scripts" / script], env=environment, capture_output=True, check=False)
        return done.returncode, (tmp_path / "called").read_text().splitlines()

    return run


@pytest.fixture
def camvid(tmp_path) -> Path:
    folder = tmp_path / "camvid"
    folder.mkdir()
    (folder / "dataset.yaml").touch()
    return folder


AT_THE_END = [f"benchmarks/{name}.py" for name in ("guard_selectors", "claims", "make_tables")]
OF_CAMVID = "benchmarks/calibration.py --domains camvid-dusk --data {} --camvid-source the-source"


@pytest.mark.parametrize("script", ["bench.sh", "check_long.sh"])
def test_what_the_claims_stand_on_is_computed_before_them(called, camvid, script):
    status, commands = called(script)
    assert status == 0 and commands[-3:] == AT_THE_END
    assert {"benchmarks/calibration.py --domains rain snow", "benchmarks/purity.py"} <= set(commands)
    assert not any("camvid-dusk" in command for command in commands)
    status, commands = called(script, camvid)
    assert status == 0 and commands[-3:] == AT_THE_END
    (trained,) = (number for number, command in enumerate(commands) if "rivals ablation guard" in command)
    # CamVid's source model is trained by the tables.
    asked = commands.index("benchmarks/tables.py rivals --print-camvid-source")
    assert trained < asked < commands.index(OF_CAMVID.format(camvid))


def test_the_runtime_alone_runs_on_real_video_where_there_is_some(called, camvid):
    status, commands = called("bench_runtime.sh")
    assert status == 0 and "benchmarks/runtime_key_lag.py" in commands
    assert not any("camvid" in command for command in commands)
    status, commands = called("bench_runtime.sh", camvid)
    exported = commands.index("export --model the-source --out runs/bench/camvid-bundle")
    clip = f"--data folder:{camvid}?sequences=day_0016E5_15hz"
    assert status == 0 and commands[-1] == "benchmarks/make_tables.py"
    bundle = f"--bundle runs/bench/camvid-bundle {clip}"
    assert exported < commands.index(f"benchmarks/runtime_propagation.py {bundle}")
    assert {
        f"benchmarks/runtime_schedules.py {bundle}",
        f"benchmarks/runtime_key_lag.py {bundle} --clip-rate 15",
        f"benchmarks/runtime_real_time.py --model the-source {clip}",
    } <= set(commands)


@pytest.mark.parametrize("fails", ["benchmarks/soak.py", "-m pytest tests/bindings --timeout 3600 -k properties"])
def test_the_long_check_fails_where_the_runtime_does(called, fails):
    status, commands = called("check_long.sh")
    assert status == 0 and fails in commands
    status, commands = called("check_long.sh", fails=fails.removeprefix("benchmarks/"))
    assert status == 1 and commands[-3:] == AT_THE_END


@pytest.mark.parametrize("fails", ["guard_selectors.py", "claims.py"])
def test_a_claim_that_does_not_hold_is_shown_and_fails_the_check_alone(called, fails):
    status, commands = called("check_long.sh", fails=fails)
    assert status == 1 and commands[-3:] == AT_THE_END
    status, commands = called("bench.sh", fails=fails)
    assert status == 0 and commands[-3:] == AT_THE_END


IN_THE_RUNTIME = (
    "sanitizers.sh thread",
    "instruction_sets.sh ",
    "inductor.sh ",
    "fuzz.sh 600",
    "benchmarks/fuzzing.py build/fuzz/summary.tsv",
)


@pytest.mark.parametrize("finds", [command.removeprefix("benchmarks/") for command in IN_THE_RUNTIME])
def test_what_is_found_in_the_runtime_fails_the_long_check_at_its_end(called, finds):
    status, commands = called("check_long.sh", fails=finds)
    assert status == 1 and commands[-3:] == AT_THE_END
    assert tuple(commands[: len(IN_THE_RUNTIME)]) == IN_THE_RUNTIME
