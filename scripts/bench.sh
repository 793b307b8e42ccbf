#!/usr/bin/env bash
# All benchmarks; results to benchmarks/results/*.json. The adaptations take many hours on two cores: Ctrl-C, and the
# next call goes on. JOBS adaptations run at a time, one thread each.
# Run: make bench   with STPL_CAMVID=<folder of the CamVid clips> for those on real video
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
jobs=${JOBS:-2}

python benchmarks/step_profile.py
python benchmarks/video_reading.py

python benchmarks/calibration.py
python benchmarks/calibration.py --domains rain snow
python benchmarks/calibration.py --domains seen unseen --networks batch-norm "batch-norm, stage off"
python benchmarks/tables.py settings development-rivals rivals ablation guard --jobs "$jobs"
python benchmarks/purity.py

if [[ -f "${STPL_CAMVID:-missing}/dataset.yaml" ]]; then
  camvid_source=$(python benchmarks/tables.py rivals --print-camvid-source)
  python benchmarks/calibration.py --domains camvid-dusk --data "$STPL_CAMVID" --camvid-source "$camvid_source"
else
  echo "STPL_CAMVID is not set to a folder with the CamVid clips (dataset.yaml): benchmarks on real video skipped"
fi
scripts/bench_runtime.sh
# Both end with 1 where what they check does not hold, which is a result like any other here.
python benchmarks/guard_selectors.py || true
python benchmarks/claims.py || true
python benchmarks/make_tables.py
