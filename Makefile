# make demo   adapt the shipped model to dusk video, export it, run it (runs/demo/)
# make test   all tests, C++ and Python
# make lint   formatters and type checks, changing nothing
# make bench  the benchmarks, results to benchmarks/results/ and BENCHMARKS.md; resumes where it was stopped
# make wheel  source distribution and wheel to dist/, checked and tried where nothing else is
# make aarch64  libstpl_rt for 64-bit ARM, its unit tests in an emulator, without and with OpenVINO
# make cuda   the kernels for NVIDIA GPUs, with the installed CUDA toolkit or one from Python packages (build/cuda); part of make test
# make tensorrt  the runtime with TensorRT, its engine's tests in build/tensorrt; needs TensorRT's headers in TENSORRT_ROOT, says
#             where to get them where they are not there
# make check-asan   the C++ tests with the address and undefined-behaviour sanitizers; check-tsan: with that for threads
# make check-long   wheel, aarch64, CUDA for every GPU we support, the thread sanitizer, the kernels in each of this machine's
#             instruction sets, the benchmarks' other engine for GPUs, the fuzzers, the runtime in an hour of faults, and the
#             claims about the method and its guard, checked on runs (goals that were not reached are shown and fail
#             nothing); hours, the runs resume where they were stopped
# Each sets up what it needs in .venv. PYTHON=... chooses the interpreter when .venv is made (3.10 to 3.13).

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
BUILD := build/cmake
STAMPS := $(VENV)/.stamps
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# PyTorch's threads sleep while they wait: spinning, they slow each other down on a busy machine.
export OMP_WAIT_POLICY ?= passive
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

CXX_SOURCES := $(shell find cpp include bindings cmake -type f) CMakeLists.txt pyproject.toml
TEST_SOURCES := $(shell find tests/cpp tests/fuzz -type f)
CXX_FORMATTED := $(shell find cpp include bindings tests/cpp tests/fuzz benchmarks $(wildcard examples) -name '*.cpp' -o -name '*.h' -o -name '*.c' -o -name '*.cu')

.PHONY: demo test lint bench wheel aarch64 cuda tensorrt check-asan check-tsan check-long stub clean
.DEFAULT_GOAL := demo

demo: $(STAMPS)/train $(STAMPS)/build
	$(VENV)/bin/stpl-adapt demo

test: $(STAMPS)/test $(STAMPS)/build-tests
	ctest --test-dir $(BUILD) --output-on-failure -j 2
	PYTHON=$(PY) scripts/cuda.sh
	$(PY) -m pytest --numprocesses 2 --dist worksteal $(PYTEST_ARGS)

lint: $(STAMPS)/dev $(STAMPS)/build
	ruff check python tests scripts benchmarks $(wildcard examples)
	ruff format --check python tests scripts benchmarks $(wildcard examples)
	mypy
	mypy $(shell find $(wildcard examples) -name '*.py')
	clang-format --dry-run --Werror $(CXX_FORMATTED)
	scripts/clang_tidy.sh $(BUILD)

bench: $(STAMPS)/train $(STAMPS)/build
	scripts/bench.sh

cuda: $(STAMPS)/test
	PYTHON=$(PY) scripts/cuda.sh

tensorrt: $(STAMPS)/test
	PYTHON=$(PY) scripts/system_packages.sh compiler headers gtest
	PYTHON=$(PY) scripts/tensorrt.sh

check-asan: $(STAMPS)/test
	PYTHON=$(PY) scripts/sanitizers.sh address

check-tsan: $(STAMPS)/test
	PYTHON=$(PY) scripts/sanitizers.sh thread

wheel: $(STAMPS)/created
	PYTHON=$(PY) scripts/system_packages.sh compiler headers
	PYTHON=$(PY) scripts/wheel.sh

aarch64: $(STAMPS)/test
	PYTHON=$(PY) scripts/aarch64.sh
	PYTHON=$(PY) scripts/aarch64.sh openvino

check-long: wheel aarch64 $(STAMPS)/test $(STAMPS)/build
	PYTHON=$(PY) scripts/cuda.sh all
	scripts/check_long.sh

# The type stub of the extension module, committed beside it; a test compares the two.
stub: $(STAMPS)/build
	$(PY) -m nanobind.stubgen -q -m stpl_rt._core -p bindings/stub.pat -o python/stpl_rt/_core.pyi

clean:
	rm -rf build dist $(STAMPS)

# --- Environment ---
$(STAMPS)/created: scripts/check_python.py
	$(PYTHON) scripts/check_python.py
	test -x $(PY) || { PYTHON=$(PYTHON) scripts/system_packages.sh venv; $(PYTHON) -m venv $(VENV); }
	$(PY) scripts/check_python.py
	$(PY) -m pip install --quiet --disable-pip-version-check 'pip>=23.1'
	mkdir -p $(STAMPS)
	touch $@

$(STAMPS)/torch: $(STAMPS)/created constraints.txt scripts/install_torch.py
	$(PY) scripts/install_torch.py
	touch $@

# $(call install,groups): the requirements of pyproject.toml's groups, not the project itself.
install = $(PY) scripts/requirements.py $(1) | $(PIP) -r /dev/stdin

$(STAMPS)/base: $(STAMPS)/created constraints.txt pyproject.toml
	$(call install,build core)
	touch $@

$(STAMPS)/train: $(STAMPS)/torch $(STAMPS)/base
	$(call install,train)
	touch $@

$(STAMPS)/test: $(STAMPS)/train
	$(call install,test tensorrt)
	touch $@

$(STAMPS)/dev: $(STAMPS)/test
	$(call install,dev)
	touch $@

# --- Our own code: editable, so that Python files are used where they lie; one CMake tree for everything ---
EDITABLE := $(PIP) --no-build-isolation --no-deps --editable . --config-settings=build-dir=$(BUILD) \
            --config-settings=cmake.define.STPL_RT_LIBRARY=ON

# Without the tests' settings: where `make test` has set them, they stay as they are, and nothing compiles twice.
$(STAMPS)/build: $(STAMPS)/base $(CXX_SOURCES)
	PYTHON=$(PY) scripts/system_packages.sh compiler headers
	$(EDITABLE)
	touch $@

$(STAMPS)/build-tests: $(STAMPS)/test $(CXX_SOURCES) $(TEST_SOURCES)
	PYTHON=$(PY) scripts/system_packages.sh compiler headers gtest pkgconfig
	$(EDITABLE) --config-settings=cmake.define.STPL_RT_TESTS=ON --config-settings=cmake.define.STPL_RT_WERROR=ON
	touch $(STAMPS)/build $@
