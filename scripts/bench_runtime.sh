#!/usr/bin/env bash
# The runtime's benchmarks: times, so on a machine that does nothing else. About ten minutes on two cores.
# Run: scripts/bench_runtime.sh   with STPL_CAMVID=<folder of the CamVid clips> for those on real video,
#      and CAMVID_SOURCE=<checkpoint trained on CamVid's day>; else it is that of the adaptations' tables, trained by them
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
# PyTorch's threads would go on spinning into the times of the others.
export OMP_WAIT_POLICY=passive

if [[ ! -f runs/demo/bundle/manifest.json ]]; then
  stpl-adapt demo --out runs/demo
fi
python benchmarks/runtime_overhead.py
python benchmarks/runtime_pipelines.py
python benchmarks/runtime_sampling.py
python benchmarks/runtime_flow.py
python benchmarks/runtime_latency.py
python benchmarks/runtime_growth.py
python benchmarks/runtime_schedules.py --bundle runs/demo/bundle --vary-speed \
  --data "synthstreet:?domain=dusk&seed=41&sequences=1&frames=160&fps=30&size=240x320"

dusk="size=240x320&fps=15&frames=60"
python benchmarks/runtime_accel.py --model runs/demo/stpl --out runs/bench/accel-dusk \
  --video "synthstreet:?domain=dusk&seed=41&sequences=12&$dusk" \
  --data "synthstreet:?domain=dusk&seed=42&sequences=2&$dusk" steps=1200

if [[ -f "${STPL_CAMVID:-missing}/dataset.yaml" ]]; then
  camvid_source=${CAMVID_SOURCE:-$(python benchmarks/tables.py rivals --print-camvid-source)}
  clip="folder:$STPL_CAMVID?sequences=day_0016E5_15hz"
  if [[ ! -f runs/bench/camvid-bundle/manifest.json ]]; then
    stpl-adapt export --model "$camvid_source" --out runs/bench/camvid-bundle
  fi
  python benchmarks/runtime_propagation.py --bundle runs/bench/camvid-bundle --data "$clip"
  python benchmarks/runtime_schedules.py --bundle runs/bench/camvid-bundle --data "$clip"
  python benchmarks/runtime_key_lag.py --bundle runs/bench/camvid-bundle --data "$clip" --clip-rate 15
  python benchmarks/runtime_real_time.py --model "$camvid_source" --data "$clip"
  python benchmarks/runtime_accel.py --model "$camvid_source" --out runs/bench/accel-camvid --measured 50 --data "$clip"
else
  echo "STPL_CAMVID is not set to a folder with the CamVid clips (dataset.yaml): benchmarks on real video skipped"
  python benchmarks/runtime_key_lag.py
fi
python benchmarks/make_tables.py
