#!/usr/bin/env bash
# The long checks: the runtime under the thread sanitizer, its kernels in every instruction set of this machine; the engine
# that benchmarks have for GPUs without TensorRT; fuzzers for FUZZ_SECONDS each (600), an hour of faults and thousands of
# drawn inputs; the runs that the claims about the method and its guard stand on, and the claims themselves.
# Fails where something is found, or where what the guard and the calibration guarantee does not hold; the goals are only
# shown beside what was reached. Runs that are finished are not run again.
# Run: make check-long   with STPL_CAMVID=<folder of the CamVid clips>
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

status=0  # what does not hold is written down with the rest before this fails
PYTHON=python scripts/sanitizers.sh thread || status=1
PYTHON=.venv/bin/python scripts/instruction_sets.sh || status=1
PYTHON=.venv/bin/python scripts/inductor.sh || status=1
PYTHON=python scripts/fuzz.sh "${FUZZ_SECONDS:-600}" || status=1
python benchmarks/fuzzing.py build/fuzz/summary.tsv || status=1
STPL_HYPOTHESIS=long python -m pytest tests/bindings --timeout 3600 -k properties || status=1
python benchmarks/soak.py || status=1

python benchmarks/tables.py rivals ablation guard --jobs "${JOBS:-2}"
python benchmarks/calibration.py --domains rain snow
python benchmarks/calibration.py --domains seen unseen --networks batch-norm "batch-norm, stage off"
if [[ -f "${STPL_CAMVID:-missing}/dataset.yaml" ]]; then
  python benchmarks/calibration.py --domains camvid-dusk --data "$STPL_CAMVID" \
    --camvid-source "$(python benchmarks/tables.py rivals --print-camvid-source)"
else
  echo "STPL_CAMVID is not set to a folder with the CamVid clips (dataset.yaml): claims on real video stay open"
fi
python benchmarks/purity.py

python benchmarks/guard_selectors.py || status=1
python benchmarks/claims.py || status=1
python benchmarks/make_tables.py
exit "$status"
