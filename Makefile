# rewire: `make` alone prints what there is. Everything lands in .venv/, build/ and
# dist/, and `make clean` removes it. Needs gcc, make, Python >= 3.11 with venv and headers.

PYTHON ?= python3
TORCH  ?= torch==2.13.0   # for test-torch and bench, any CPU build: make bench TORCH=/path/to/torch.whl
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
PYTEST_ARGS ?=            # e.g. make test PYTEST_ARGS="-k store -x"; -n0 for one process, as --pdb wants
ifeq ($(origin CC),default)
CC = gcc
endif

# Bytecode is written, whatever the environment says: some hundred processes would compile the same again.
unexport PYTHONDONTWRITEBYTECODE

BIN     = .venv/bin
SOURCES = setup.py pyproject.toml MANIFEST.in $(wildcard README.md) $(shell find sparse_core python -type f \
          -not -name '*.so' -not -path '*/__pycache__/*' -not -path '*.egg-info/*')
WHEEL   = $$(ls dist/*.whl)

.PHONY: help demo build test test-c test-torch test-neon asan asan-python tsan soak bench-quick bench bench-full bench-rules bench-parts bench-time bench-networks bench-torch bench-torch-quality bench-giant docs clean
.DELETE_ON_ERROR:
.SECONDARY:
.SECONDEXPANSION:

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

demo: .venv/.for-all        ## set up, then train on the digits, print a table, draw a picture
	@$(BIN)/rewire demo

build: .venv/.for-all       ## .venv with the package, from a wheel built from the sdist

# What takes longest by itself begins first: the wheel and what pip brings, all of it beside the C tests, then the
# sanitizers, which need no Python. pytest gets one process a processor, so nothing in them starts threads unless
# a test asks for them.
test: .venv/.machine         ## everything a change must pass: test-c, asan, test-neon where it can run, wheel, pytest
	@$(MAKE) --no-print-directory -j$(JOBS) -Otarget KERNELS=released .venv/.for-test .venv-torch/.ready .venv-mpi/.ready asan test-c $(if $(NEON_LACKS)$(NEON_HERE),,test-neon)
	@$(if $(NEON_LACKS),echo "test-neon skipped: no $(NEON_LACKS) here")
	REWIRE_TEST_INSTALLED=1 REWIRE_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)
	@$(MAKE) --no-print-directory test-torch

# Beside PyTorch, which the package and its other tests never need. Where it cannot be installed this says so.
test-torch: .venv-torch/.ready ## the tests of rewire.torch, in an environment of their own with PyTorch
	@if test -e .venv-torch/.lacks-torch; then \
	    echo "test-torch SKIPPED: $(TORCH) cannot be installed here, see build/torch.log"; \
	else \
	    OPENBLAS_NUM_THREADS=1 .venv-torch/bin/pytest -n $(JOBS) --dist loadfile tests/with_torch $(PYTEST_ARGS); \
	fi

test-c: c-serial c-openmp    ## the C core alone: no Python, with and without OpenMP

test-neon:                   ## the C core for aarch64: cross-compiled, run under emulation
	@$(if $(NEON_LACKS),echo "test-neon needs: apt install $(NEON_LACKS)  (Debian, Ubuntu)"; exit 1)
	@$(MAKE) --no-print-directory $(if $(NEON_HERE),test-c,c-neon)

asan: c-asan                 ## the same under the address and undefined-behaviour sanitizers

tsan:                        ## the C core under the thread sanitizer, in a few minutes
	@$(if $(TSAN_LACKS),echo "tsan needs: apt install $(TSAN_LACKS)  (Debian, Ubuntu)"; exit 1)
	@$(MAKE) --no-print-directory c-tsan

ASAN_TESTS = allocations store kernels growth rewiring network optim inputs
asan-python: .venv/.for-test ## the Python tests of store, kernels and layers against a sanitized module, and some failing allocations
	REWIRE_ASAN=1 $(BIN)/python setup.py -q build --build-base build/asan --build-lib build/asan/lib
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=build/asan/lib REWIRE_EVERY_ALLOCATION=$(EVERY_ALLOCATION) \
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(wildcard $(ASAN_TESTS:%=tests/test_%*.py)) $(PYTEST_ARGS)

soak: EVERY_ALLOCATION = 1
soak: test asan-python       ## all of the above, then hours of random edits, mutants and kills
	REWIRE_TEST_INSTALLED=1 $(BIN)/pytest --soak $(PYTEST_ARGS)
	@$(MAKE) --no-print-directory test-torch PYTEST_ARGS="--soak $(PYTEST_ARGS)"

bench-quick: .venv-bench/.ready ## one epoch of Fashion-MNIST beside dense torch, in a minute or so
	@.venv-bench/bin/python bench/quick.py

BENCHES = $(wildcard $(addprefix bench/,kernels.py epoch.py rewiring.py memory.py scale.py store.py training.py online.py small_data.py selection.py boltzmann.py sparse_inputs.py one_sample.py quick.py))
bench: .venv-bench/.ready    ## every figure of README and docs, and the targets, in an hour
	@$(run-benches)

bench-full: BENCH_OPTIONS = --full --resume
bench-full: .venv-bench/.ready ## everything there is to measure, for hours; goes on where it was stopped
	@$(run-benches)

bench-rules: .venv-bench/.ready ## every rewiring rule at the same budget, and the published directions, in an hour
	@.venv-bench/bin/python bench/rules.py $(BENCH_OPTIONS)
	@.venv-bench/bin/python bench/published.py $(BENCH_OPTIONS)

bench-parts: .venv-bench/.ready ## which parts of a rule make it good, and the default settings, on a validation split
	@.venv-bench/bin/python bench/parts.py $(BENCH_OPTIONS)

bench-time: .venv-bench/.ready ## accuracy over seconds, dense beside sparse, for hours; goes on where it was stopped
	@.venv-bench/bin/python bench/over_time.py $(BENCH_OPTIONS)
	@.venv-bench/bin/python bench/densities.py $(BENCH_OPTIONS)

bench-torch: .venv-bench/.ready ## steps of PyTorch models, rewire.torch beside dense, CSR and SparseLab, in a quarter of an hour
	@.venv-bench/bin/python bench/torch_layers.py $(BENCH_OPTIONS)

bench-torch-quality: .venv-bench/.ready ## test loss over seconds of a transformer, dense and sparse, for hours; goes on where it was stopped
	@.venv-bench/bin/python bench/torch_quality.py $(BENCH_OPTIONS)

bench-networks: .venv-bench/.ready ## the networks beside each other, at equal weights and at equal time, in half an hour or so
	@.venv-bench/bin/python bench/networks.py $(BENCH_OPTIONS)

bench-giant: .venv-bench/.ready ## fifty million neurons: trained on images, saved, killed, resumed; 20 GiB, an hour; goes on where it was stopped
	@.venv-bench/bin/python bench/giant.py $(BENCH_OPTIONS)

define run-benches
failed=; for script in $(BENCHES); do \
	echo "== $$script"; .venv-bench/bin/python $$script $(BENCH_OPTIONS) || failed="$$failed $$script"; done; \
echo "== bench/targets.py"; .venv-bench/bin/python bench/targets.py; \
test -z "$$failed" || { echo "failed:$$failed"; exit 1; }
endef

docs: .venv/.for-docs        ## HTML pages in docs/_build/html; a warning is an error
	@rm -rf docs/_build docs/api/generated
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:                       ## remove everything that make has made
	rm -rf .venv .venv-bench .venv-mpi .venv-torch .hypothesis .pytest_cache .ruff_cache build dist docs/_build docs/api/generated python/*.egg-info python/rewire/_core.*.so
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# --- is everything there? -----------------------------------------------------------------

define MACHINE
import importlib.util as util, os, subprocess, sys, sysconfig
cc, missing = sys.argv[1], []
def need(there, what, debian):
    if not there:
        missing.append("  %s  (Debian, Ubuntu: apt install %s)" % (what, debian))
def compiles(program):
    try:
        return subprocess.run([cc, "-x", "c", "-fsyntax-only", "-"], input=program).returncode == 0
    except OSError:
        return False
need(compiles(b"#include <stdlib.h>\n"), "a C compiler with its headers: %s" % cc, "gcc libc6-dev")
need(sys.version_info >= (3, 11), "Python >= 3.11: %s is %d.%d; another one: make PYTHON=..."
     % ((sys.executable,) + tuple(sys.version_info[:2])), "python3.11 python3.11-venv python3.11-dev")
need(util.find_spec("venv") and util.find_spec("ensurepip"), "the venv module with pip", "python3-venv")
need(os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")), "Python.h", "python3-dev")
if missing:
    sys.exit("\n".join(["rewire needs, and this machine lacks:"] + missing))
endef
export MACHINE

# --- Python: .venv, the wheel (by way of the sdist), and what each verb needs beside it ---

.venv/.machine:
	@command -v $(PYTHON) >/dev/null || { echo "rewire needs Python >= 3.11, and there is no $(PYTHON) here" \
		"(Debian, Ubuntu: apt install python3 python3-venv python3-dev)"; exit 1; }
	@$(PYTHON) -c "$$MACHINE" "$(CC)"
	@mkdir -p .venv && touch $@

# Without bytecode: four fifths of what pip would compile are never imported, and what is, Python compiles once.
.venv/.ready: .venv/.machine
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --no-compile build "setuptools>=77" "cython>=3.1,<4"
	@touch $@

# Other environments are filled by the pip of .venv: one of their own would take longer to install than they.
# MPI in an environment of its own: its wheel brings an mpiexec that other programs may not expect.
.venv-mpi/.ready: .venv/.ready
	@$(PYTHON) -m venv --without-pip .venv-mpi
	@$(BIN)/pip --python .venv-mpi install -q --no-compile numpy safetensors "mpi4py>=4.0" mpich \
		|| echo "no wheels of mpi4py and MPICH here: their tests are skipped"
	@touch $@

dist/.wheel: .venv/.ready $(SOURCES)
	@rm -rf dist build/released; mkdir -p build/released
	$(BIN)/python -m build --no-isolation --sdist --outdir dist . >build/sdist.log 2>&1 || { cat build/sdist.log; exit 1; }
	@tar -xzf dist/*.tar.gz -C build/released --strip-components=1
	$(BIN)/pip wheel -q --no-deps --no-build-isolation --wheel-dir dist ./build/released
	@test $$(wc -c <$(WHEEL)) -le 3000000 || { echo "$(WHEEL) is over 3 MB"; exit 1; }
	@touch $@

# for-all, for-test, for-docs: the wheel, and what that extra of pyproject.toml needs, which can come before it.
.venv/.for-%: dist/.wheel .venv/.needs-%
	@$(BIN)/pip install -q --force-reinstall --no-deps $(WHEEL)
	@touch $@

.venv/.needs-%: .venv/.ready pyproject.toml
	@mkdir -p build
	@$(BIN)/python -c "$$NEEDS" $* >build/needs-$*.txt
	$(BIN)/pip install -q --no-compile -r build/needs-$*.txt
	@touch $@

define NEEDS
import re, sys, tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
def needed(extra):
    for line in project["optional-dependencies"][extra]:
        ours = re.fullmatch(r"rewire\[(.+)\]", line)
        for part in ours[1].split(",") if ours else ():
            yield from needed(part)
        if not ours:
            yield line
print(*project["dependencies"], *needed(sys.argv[1]), sep="\n")
endef
export NEEDS

.venv-torch/.ready: dist/.wheel .venv-torch/.needs
	@$(BIN)/pip --python .venv-torch install -q --force-reinstall --no-deps $(WHEEL)
	@touch $@

.venv-torch/.needs: .venv/.ready
	@test -d .venv-torch || $(PYTHON) -m venv --without-pip .venv-torch
	@rm -f .venv-torch/.lacks-torch; mkdir -p build
	@$(BIN)/pip --python .venv-torch install -q --no-compile $(TORCH) numpy >build/torch.log 2>&1 \
		|| touch .venv-torch/.lacks-torch
	@$(BIN)/pip --python .venv-torch install -q --no-compile "pytest>=8" "pytest-xdist>=3.8" "hypothesis>=6.100"
	@test -e .venv-torch/.lacks-torch || touch $@

.venv-bench/.ready: dist/.wheel
	test -d .venv-bench || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install -q "$(WHEEL)[sklearn,plot]" $(TORCH)
	@.venv-bench/bin/python bench/_install_peers.py
	@.venv-bench/bin/pip install -q --force-reinstall --no-deps $(WHEEL)
	@touch $@

# --- C: build/c/VARIANT/test_x from tests/test_x.c and the whole core ---------------------

C_FLAGS   = -DRW_TEST -std=c11 -ffp-contract=off -Isparse_core \
            -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
C_COMPILE = $(CC)
C_HEADERS = $(wildcard sparse_core/*/*.h tests/*.h tests/*/*.h)
C_TESTS   = $(patsubst tests/%.c,%,$(wildcard tests/test_*.c))
C_OBJECTS = $(patsubst %.c,%.o,$(notdir $(wildcard sparse_core/*/*.c)))

build/c/serial/%: VARIANT = -O2
build/c/openmp/%: VARIANT = -O2 -fopenmp
build/c/asan/%:   VARIANT = -O1 -g1 -fopenmp -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all

# aarch64, here or by Debian's cross compiler and user-mode emulator, whose missing
# packages are in NEON_LACKS.
NEON_HERE  = $(filter aarch64 arm64,$(shell uname -m))
NEON_CC    = aarch64-linux-gnu-gcc
NEON_QEMU  = $(shell command -v qemu-aarch64 || command -v qemu-aarch64-static)
NEON_LACKS = $(if $(NEON_HERE),,$(strip \
  $(shell command -v $(NEON_CC) >/dev/null || echo gcc-aarch64-linux-gnu) \
  $(if $(wildcard /usr/aarch64-linux-gnu/include/stdlib.h),,libc6-dev-arm64-cross) \
  $(if $(NEON_QEMU),,qemu-user)))

# Clang with LLVM's OpenMP and Archer, which tells the sanitizer what OpenMP orders; gcc's libgomp cannot.
TSAN_CC     = $(or $(shell command -v clang),$(lastword $(sort $(wildcard /usr/bin/clang-[0-9]*))))
TSAN_ARCHER = $(lastword $(sort $(wildcard /usr/lib/llvm-*/lib/libarcher.so)))
TSAN_LACKS  = $(strip $(if $(TSAN_CC),,clang) $(if $(TSAN_ARCHER),,libomp-dev))

build/c/tsan/%: VARIANT = -O1 -g1 -fopenmp -fsanitize=thread -Wno-string-conversion
build/c/tsan/%: C_COMPILE = $(TSAN_CC)
c-tsan: C_RUN = OMP_TOOL_LIBRARIES=$(TSAN_ARCHER) TSAN_OPTIONS=ignore_noninstrumented_modules=1

# On two processors two programs wait for threads that the other one keeps from running: not by spinning, which
# takes half of their time.
c-openmp c-asan: C_RUN = OMP_WAIT_POLICY=passive

build/c/neon/%: VARIANT = -O2 -fopenmp
build/c/neon/%: C_COMPILE = $(NEON_CC)
c-neon: C_RUN = $(NEON_QEMU) -L /usr/aarch64-linux-gnu

c-%: $$(addsuffix .run,$$(addprefix build/c/$$*/,$(C_TESTS)))
	@echo "$@: passed"

# Never made, so that it runs whenever asked for; each by itself, side by side.
build/c/%.run: build/c/%
	@echo "$<"; $(C_RUN) $<

build/c/%.o: $$(wildcard sparse_core/*/$$(notdir $$*).c tests/$$(notdir $$*).c) $(C_HEADERS)
	@mkdir -p $(@D)
	@echo "cc $@"
	@$(C_COMPILE) $(C_FLAGS) $(VARIANT) -c $< -o $@

# The kernels take most of the compiler's time. At -O2 these and the test programs take half as long again to
# compile, which running them does not win back. What knows nothing of OpenMP (tests/test_architecture.py) is
# one object for both variants. All kernels are made of the same two files, so every check of undefined behaviour
# is made on the scalar ones, and on vectors those that cost little; in the test programs it is made of what they
# call, for what they do themselves would take the compiler as long again. What this machine cannot run is
# compiled once, for its warnings. Without the optimizer gcc's AVX-512 intrinsics are macros, which convert signs.
build/c/serial/kernels_%.o: VARIANT = -O1
build/c/serial/test_%: VARIANT = -O1
build/c/openmp/test_%: VARIANT = -O1 -fopenmp
build/c/asan/test_%.o: VARIANT = -O1 -g1 -fopenmp -fno-omit-frame-pointer -fsanitize=address
WITHOUT_OPENMP = base hypergeometric mem normal topk cpu kernels_avx2 kernels_avx512 kernels_avx512bf16 kernels_neon \
                 kernels_scalar adam fields rescale targets check csr loader store structure test_core
SHARED = $(WITHOUT_OPENMP:%=build/c/openmp/%.o)
build/c/asan/kernels_%.o: VARIANT = -O0 -g1 -fno-omit-frame-pointer -fno-sanitize-recover=all \
                                    -fsanitize=address,bounds,shift,signed-integer-overflow
build/c/asan/kernels_scalar.o: VARIANT += -fsanitize=undefined
build/c/asan/kernels_avx512.o: VARIANT += -Wno-sign-conversion
build/c/asan/kernels_avx512bf16.o: VARIANT += -Wno-sign-conversion
ifeq ($(shell grep -om1 avx512bw /proc/cpuinfo 2>/dev/null),)
SHARED += build/c/asan/kernels_avx512.o
build/c/serial/kernels_avx512.o: VARIANT = -O0 -Wno-sign-conversion
endif
# `make test` has compiled them for the wheel already, and tests those: they know no difference between a release
# and the tests (RW_TEST). Their warnings come from the sanitized ones, and these from the parser alone.
ifeq ($(KERNELS),released)
build/c/serial/kernels_%.o: sparse_core/kernels/kernels_%.c $(C_HEADERS) dist/.wheel
	@mkdir -p $(@D)
	@$(C_COMPILE) $(C_FLAGS) -O1 -fsyntax-only $<
	@cp build/released/build/temp.*/sparse_core/kernels/kernels_$*.o $@
endif
$(SHARED): build/c/serial/$$(@F)
	@mkdir -p $(@D)
	@ln -f $< $@

build/c/%: build/c/%.o $$(addprefix build/c/$$(dir $$*),$(C_OBJECTS))
	@$(C_COMPILE) $(VARIANT) $^ -o $@ -lm
