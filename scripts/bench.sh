#!/usr/bin/env bash
# All benchmarks, one after the other; results to benchmarks/results/*.json. Takes about an hour on two cores.
# Run: make bench   with STPL_CAMVID=<folder of the CamVid clips> for those on real video
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

if [[ ! -f runs/demo/bundle/manifest.json ]]; then
  stpl-adapt demo --out runs/demo
fi
python benchmarks/overhead.py --bundle runs/demo/bundle --threads 1 2

python benchmarks/flow_vs_opencv.py

if [[ -f "${STPL_CAMVID:-missing}/dataset.yaml" ]]; then
  python benchmarks/camvid_day_to_dusk.py --data "$STPL_CAMVID" --out runs/camvid
  if [[ ! -f runs/camvid/source-bundle/manifest.json ]]; then
    stpl-adapt export --model runs/camvid/source --out runs/camvid/source-bundle
  fi
  python benchmarks/propagation.py --bundle runs/camvid/source-bundle \
    --data "folder:$STPL_CAMVID?sequences=day_0016E5_15hz"
else
  echo "STPL_CAMVID is not set to a folder with the CamVid clips (dataset.yaml): benchmarks on real video skipped"
fi
python benchmarks/make_tables.py
