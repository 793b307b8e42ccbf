#!/usr/bin/env bash
# The long checks: the runs that the claims about the method and its guard stand on, and the claims themselves.
# Fails where a claim does not hold. What is finished is not run again.
# Run: make check-long   with STPL_CAMVID=<folder of the CamVid clips>
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

python benchmarks/tables.py rivals ablation guard --jobs "${JOBS:-2}"
python benchmarks/claims.py
python benchmarks/make_tables.py
