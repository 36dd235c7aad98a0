# From a fresh checkout: `make demo` records a real HTTPS exchange, `make test` runs everything.
# Debian 12; root is needed to install packages and to record.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
BPF := $(wildcard bpf/*.c bpf/*.h)
PYTEST_ARGS ?= -q -p no:cacheprovider

.PHONY: help setup demo test check bench docs objects wheel clean test-packages test-kernels soak fuzz

help:
	@echo "make setup  .venv/bin/qtapture"
	echo "make demo   set up, record a real HTTPS exchange, export it (root)"
	echo "make test   set up and run all checks and tests (root, for the live ones)"
	echo "make soak   hundreds of kills and long floods (root)"
	echo "make test-kernels  record on other kernels, in emulated machines (root)"
	echo "make fuzz   look for inputs that readers and parsers do not survive"
	echo "make check  style, types, layers, kernel side"
	echo "make bench  measure what docs/ states"
	echo "make wheel  dist/, with libbpf for hosts that have none"
	echo "make docs   write the generated pages anew"
	echo "make objects  compile the kernel side anew, for the loader that needs no compiler"
	echo "make clean  remove what was made"

setup: .venv/.stamp-setup

.venv/.stamp-setup: pyproject.toml scripts/setup scripts/packages
	@scripts/setup
	touch $@
	echo "ready: $(BIN)/qtapture"

demo: setup
	@scripts/packages record demo
	scripts/demo/run

test-packages: setup
	@scripts/packages record check test
	$(MAKE) tests/npm/node_modules/.stamp-npm

tests/npm/node_modules/.stamp-npm: $(wildcard tests/npm/package.json tests/npm/package-lock.json)
	@[ -e tests/npm/package-lock.json ] || exit 0
	mkdir -p build
	npm ci --prefix tests/npm --silent --no-audit --no-fund </dev/null >build/npm.log 2>&1 || {
	  echo "npm could not install tests/npm (details: build/npm.log)" >&2
	  exit 1
	}
	touch $@

test: test-packages check
	@$(BIN)/python -m pytest $(PYTEST_ARGS) --ignore tests/kernels

soak: test-packages
	@QTAPTURE_SOAK=1 $(BIN)/python -m pytest $(PYTEST_ARGS) tests/live/test_kills.py tests/live/test_hardships.py tests/live/test_accounting.py

test-kernels: test-packages
	@scripts/packages kernels
	scripts/kernels bullseye bookworm trixie
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/kernels

check: setup
	@scripts/packages check
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check . || { echo "ruff format would change files" >&2; exit 1; }
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports >build/lint-imports.log 2>&1 || { cat build/lint-imports.log >&2; exit 1; }
	$(BIN)/clang-format --dry-run -Werror $(BPF)
	scripts/objects build/objects
	diff -rq build/objects bpf/objects || { echo "run make objects: bpf/objects is not what bpf/ compiles to" >&2; exit 1; }
	echo "check: style, types, layers and the kernel side for x86-64 and arm64 are in order"

# Not a part of `make test`, which holds what was found: tests/fuzz/corpus.
FUZZ_SECONDS ?= 30
FUZZ_TARGETS ?= $(notdir $(wildcard tests/fuzz/corpus/*))

fuzz: setup
	@$(BIN)/python -c 'import atheris' 2>build/fuzz.log || $(BIN)/pip install --quiet \
	  --disable-pip-version-check --no-input --editable '.[fuzz]' </dev/null >build/fuzz.log 2>&1 || {
	  echo "pip could not install atheris (details: build/fuzz.log)" >&2
	  exit 1
	}
	failed=0
	for name in $(FUZZ_TARGETS); do
	  mkdir -p "build/fuzz/$$name"
	  PYTHONPATH=tests $(BIN)/python tests/fuzz/runner.py "$$name" $(FUZZ_SECONDS) \
	    >"build/fuzz/$$name/log" 2>&1 || {
	    tail -n 40 "build/fuzz/$$name/log" >&2
	    echo "fuzz: $$name fails (the input is in build/fuzz/$$name)" >&2
	    failed=1
	    continue
	  }
	  echo "$$name: $$(grep '^Done' "build/fuzz/$$name/log")"
	done
	exit $$failed

bench: setup
	@scripts/packages record demo bench
	scripts/bench

objects:
	@scripts/packages check
	scripts/objects bpf/objects

wheel: setup
	@scripts/wheel

docs: setup
	@$(BIN)/python scripts/cli_reference.py docs/cli.md

clean:
	@rm -rf build dist demo-out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks
	rm -rf .venv tests/npm/node_modules
	find qtapture tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
