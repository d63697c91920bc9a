# Two commands set everything up: `make demo` and `make test`. `make` alone lists them all.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP_OPTIONS := --disable-pip-version-check --quiet -c constraints.txt

# The library under the federation neither reports usage nor looks for updates.
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint bench clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install: .venv/.installed ## create .venv and install the project with pinned versions

# What is set on the command line beside make's own variables is a choice of the study: `make demo privacy=patient_dp`.
CHOICES = $(filter-out PYTHON=% BIN=% PIP_OPTIONS=% QUICK=% SHELL=%,$(MAKEOVERRIDES))

# Networks this small gain little from a second thread: two hospitals at a time do.
demo: .venv/.installed ## four simulated hospitals, from data to reports; prints where the report is
	$(BIN)/oncofed-simulation run preset=demo simulation.engine=ray simulation.threads=1 \
	  'study.federated_arms=[real,real_synthetic]' $(foreach choice,$(CHOICES),'$(choice)')

# A file's tests stay with one worker, so that the studies that they share are run once. What is covered is watched
# where it is asked for only: watching makes a test half as slow again.
QUICK := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"
test: lint ## lint, types, import rules, then every test that is not slow
	failed=0; \
	$(QUICK) --cov=common --cov-fail-under=90 common tests/common || failed=1; \
	$(QUICK) client server simulation tests --ignore=tests/common || failed=1; \
	exit $$failed

test-slow: .venv/.installed ## the tests that take longer than half a minute each
	$(BIN)/python -m pytest -m slow -o faulthandler_timeout=1800

lint: .venv/.installed ## style, types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed ## every benchmark, one after another
	set -e; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

clean: ## remove .venv and what tools left behind; runs/ and cache/ stay
	rm -rf .venv build dist *.egg-info .coverage .coverage.* htmlcov .hypothesis .mypy_cache .ruff_cache \
	  .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Setuptools comes first and builds without isolation, so that the build environment is pinned too. The stamp is
# written last: an interrupted installation is taken up again.
.venv/.installed: pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "Python 3.11 is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else \
	  "Python 3.11 is needed, found %d.%d: make PYTHON=/path/to/python3.11" % v)'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	@echo "installing into .venv: a few minutes the first time"
	$(BIN)/python -m pip install $(PIP_OPTIONS) setuptools
	$(BIN)/python -m pip install $(PIP_OPTIONS) --no-build-isolation -e '.[dev]'
	@touch $@
