# lamina: everything a clone needs. `make` alone lists the targets; each sets up what it needs in .venv by itself.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# The first Python >= 3.11 on PATH that really starts (a pyenv shim may exist and not start).
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
C_SOURCES = $(wildcard native/*.c native/arch/*.c)
NATIVE_INPUTS = $(C_SOURCES) $(wildcard native/*.h native/arch/*.h native/cdef/*.h) native/build.py setup.py
C_STRICT := -std=gnu11 -O2 -D_GNU_SOURCE -Inative -Wall -Wextra -Werror
ARGS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# Of pip's log what takes a while, as it begins, and whatever is not known here: errors.
define SHOW
2>&1 | sed --unbuffered --regexp-extended \
	-e '/^ *(WARNING: Location|DEPRECATION|Looking in|Requirement already|Collecting|Obtaining|Processing|Installing build|Checking if|Getting req|Preparing)/d' \
	-e '/^ *(Created wheel|Stored in|Building wheels|Attempting|Found existing|Uninstalling|Successfully)|: finished|^$$/d' \
	-e 's/^ *(Downloading|Using cached) ([^-]*-[^-]*).* (\(.*\))/  \2 \3/' -e 's/^ *(Building.*): (started|still running)/  \1/' -e 's/^(Installing).*:/  installing/'
endef

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: run
run: build ## set everything up and open the TUI (ARGS="--stack DIR")
	@$(BIN)/lamina $(ARGS)

.PHONY: demo
demo: build ## open the TUI on a small bundled program
	@$(BIN)/lamina --demo $(ARGS)

.PHONY: build
build: $(VENV)/.built native ## set up .venv with a working .venv/bin/lamina

.PHONY: native
native: build/.native ## compile the C part in place, if it changed

.PHONY: dev
dev: build $(VENV)/.dev ## build, and install what the tests and checks need

.PHONY: schema
schema: dev ## generate the protobuf modules from core/image/schema/*.proto
	@$(BIN)/python core/image/schema/generate.py

.PHONY: lint
lint: dev ## ruff, mypy --strict, import contracts, C warnings as errors
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --cache-dir build/import_linter
	@$(if $(strip $(C_SOURCES)),for source in $(C_SOURCES); do gcc $(C_STRICT) -c -o /dev/null $$source; done)
	@echo "lint: clean"

.PHONY: test
test: lint ## everything that must be green: lint, then all tests with small counts (at most 10 minutes on 2 cores)
	@$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile $(ARGS)

.PHONY: live
live: dev ## the full counts: the seed's session 50 times, 100 kills, 200,000 keys, 10,000 damaged copies of each set; prints a table of what was run
	@LAMINA_LIVE=full $(BIN)/python -m pytest tests/live tests/fuzz tests/tui/test_typed_everywhere.py $(ARGS)

.PHONY: kernels
kernels: $(VENV)/.kernels native ## boot a Debian kernel under qemu and test with its criu inside (ARGS="--kernel 6.12")
	@$(BIN)/python -m tests.kernels.boot $(ARGS)

.PHONY: roots
roots: dev ## a stock Debian 12 and 13 with what README names: build, screen, demo, wheel, all tests; prints a table (ARGS="--root trixie")
	@$(BIN)/python -m tests.roots.main $(ARGS)

.PHONY: bench
bench: dev ## times of dumps, restores and verbs over stacks as ratios to this machine's limits (and to criu, if one works)
	@$(BIN)/python benches/bench.py $(ARGS)

.PHONY: screenshots
screenshots: dev ## make screenshots/ from a real session
	@$(BIN)/python screenshots/make.py $(ARGS)

.PHONY: clean
clean: ## remove everything that was built, .venv included
	@rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@rm -f core/_native.c core/_native.*.so
	@find core tui tests benches native screenshots -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# What pip cannot bring: one line, naming the Debian package.
define FIND_PROBLEM
test "$$(uname -s)" = Linux || { echo "it needs Linux"; exit; }; \
test -n "$(PYTHON)" || { echo "no Python 3.11 or newer was found (apt-get install python3)"; exit; }; \
$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module (apt-get install python3-venv)"; exit; }; \
test -f "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
	|| { echo "Python.h is missing (apt-get install python3-dev)"; exit; }; \
command -v gcc >/dev/null || { echo "there is no C compiler (apt-get install gcc)"; exit; }; \
echo '\#include <stdio.h>' | gcc -E -o /dev/null - 2>/dev/null || echo "the headers of the C library are missing (apt-get install libc6-dev)"
endef
PROBLEM = $(shell $(FIND_PROBLEM))

$(VENV)/.made:
	$(if $(PROBLEM),$(error lamina cannot be built: $(PROBLEM)))
	@echo "setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# setuptools and cffi first: then the build needs no environment of its own, and `make native` uses the same ones.
$(VENV)/.built: pyproject.toml setup.py $(VENV)/.made
	@echo "getting what the build needs"
	@$(PIP) install --progress-bar off 'setuptools>=77.0.3' 'cffi>=1.17' wheel $(SHOW)
	@rm -f build/.native
	@echo "getting what lamina needs, compiling native/"
	@$(PIP) install --progress-bar off --no-build-isolation --editable . $(SHOW)
	@echo "made $(BIN)/lamina"
	@touch $@

$(VENV)/.dev: $(VENV)/.built
	@echo "getting what the tests and checks need"
	@$(PIP) install --progress-bar off --no-build-isolation --editable '.[dev]' $(SHOW)
	@touch $@

$(VENV)/.kernels: $(VENV)/.dev
	@$(PIP) install --progress-bar off --no-build-isolation --editable '.[kernels]' $(SHOW)
	@touch $@

# A list that differs from the last one (a file was added or removed) is a reason to build too.
build/.inputs: FORCE
	@mkdir -p build
	@echo '$(sort $(NATIVE_INPUTS))' | cmp --silent - $@ || echo '$(sort $(NATIVE_INPUTS))' > $@

build/.native: build/.inputs $(NATIVE_INPUTS) $(VENV)/.built
	@$(BIN)/python setup.py -q build_ext --inplace
	@touch $@

.PHONY: FORCE
FORCE:
