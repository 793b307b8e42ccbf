#!/usr/bin/env bash
# Installs system packages that are missing, where it may (Debian or Ubuntu, as root or with sudo that asks for no
# password); says what to install where it may not.
# Run: scripts/system_packages.sh NEED...   with NEED of: venv, headers (both with PYTHON set), compiler, gtest, pkgconfig;
# and for 64-bit ARM: crosscompiler, emulator, gtestsource
set -euo pipefail

python="${PYTHON:-python3}"

version() { "$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

has_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }
has_headers() {
  "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}
has_compiler() { command -v "${CXX:-c++}" >/dev/null; }
has_pkgconfig() { command -v pkg-config >/dev/null; }
has_gtest() { echo '#include <gtest/gtest.h>' | "${CXX:-c++}" -E -x c++ - >/dev/null 2>&1; }
has_crosscompiler() { command -v aarch64-linux-gnu-g++ >/dev/null; }
has_emulator() { command -v qemu-aarch64 >/dev/null || command -v qemu-aarch64-static >/dev/null; }
has_gtestsource() { [[ -f /usr/src/googletest/CMakeLists.txt ]]; }

package_of() {
  case "$1" in
    venv) echo "python$(version)-venv" ;;
    headers) echo "python$(version)-dev" ;;
    compiler) echo "g++" ;;
    gtest) echo "libgtest-dev" ;;
    pkgconfig) echo "pkg-config" ;;
    crosscompiler) echo "g++-aarch64-linux-gnu" ;;
    emulator) echo "qemu-user" ;;
    gtestsource) echo "googletest" ;;
  esac
}

# Only the system's own Python has packages for its parts.
is_system_python() { [[ "$("$python" -c 'import sys; print(sys.base_prefix)')" == /usr ]]; }

as_root=()
may_install() {
  command -v apt-get >/dev/null || return 1
  [[ $EUID -eq 0 ]] && return 0
  sudo -n true 2>/dev/null && as_root=(sudo -n)
}

missing=()
for need in "$@"; do
  "has_$need" || missing+=("$(package_of "$need")")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

echo "missing from the system: ${missing[*]}"
if may_install; then
  "${as_root[@]}" apt-get update -qq || true
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" || true
fi
for need in "$@"; do
  "has_$need" && continue
  # GoogleTest has another source: CMake downloads it. Without pkg-config its tests are skipped.
  [[ "$need" == gtest || "$need" == gtestsource || "$need" == pkgconfig ]] && continue
  echo "$need is missing: install it (Debian, Ubuntu: apt install $(package_of "$need"))" >&2
  if [[ "$need" == venv || "$need" == headers ]] && ! is_system_python; then
    echo "or choose another interpreter: make PYTHON=/path/to/python3" >&2
  fi
  exit 1
done
