# `make` lists the targets. No target writes outside this folder or changes an active environment.
.DEFAULT_GOAL := help

# PYTHON is the first candidate that runs and can make a virtual environment; constraints.txt is for 3.11.
# Name another one with make test PYTHON=/path/to/python3.12
PYTHONS := 3.10 3.11 3.12
SUPPORTED := import sys, venv, ensurepip; sys.exit("%d.%d" % sys.version_info[:2] not in "$(PYTHONS)".split())
CANDIDATES := python3.11 python3 python3.12 python3.10 python
PYTHON ?= $(shell for p in $(CANDIDATES); do $$p -c '$(SUPPORTED)' >/dev/null 2>&1 && { command -v $$p; break; }; done)

VENV := .venv
CONSTRAINTS := constraints.txt
STACKS := $(patsubst stacks/%.txt,%,$(wildcard stacks/*.txt))
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2
ARGS ?=
# Files and folders that ruff checks, if they exist.
SOURCES := $(wildcard setup.py run_*.py s3prl_gendistiller upstream tests benchmarks docs examples)

# Variables of the caller's environment that would redirect an installation or an import.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX

.PHONY: help setup demo test $(STACKS:%=test-%) lint format typecheck wheel clean clean-stacks

help:  ## list the targets
	@echo "usage: make TARGET [PYTHON=python3.11] [ARGS='...']"
	@sed -n 's/^\([a-z][a-z0-9.-]*\):.*##  *\(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) \
		| while IFS='|' read -r name text; do printf '%-18s%s\n' "$$name" "$$text"; done

setup: $(STAMP)  ## install .venv with the tested versions (demo and test do this themselves)

demo: $(STAMP)  ## distil two students on synthetic speech and evaluate both; writes result/demo
	$(BIN)/gendistiller demo --out result/demo $(ARGS)

test: $(STAMP)  ## run the test suite in two processes (WORKERS=2); ARGS='-k link' runs a part
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --max-worker-restart 0 $(ARGS)

test-oldest:  ## run the test suite on the lower bounds of setup.py, in .venv-oldest
test-newest:  ## run the test suite on the newest releases that setup.py admits, in .venv-newest
test-torch-2.11:  ## run the test suite on torch 2.11 and transformers 5.17, in .venv-torch-2.11

# Each file in stacks/ is a list of constraints; the first line of a file names its Python version.
$(STACKS:%=test-%): test-%: stacks/%.txt
	$(MAKE) test VENV=.venv-$* CONSTRAINTS=$< PYTHONS=$$(sed -n '1s/^# Python \(3\.[0-9]*\):.*/\1/p' $<)

lint: $(STAMP)  ## check style and formatting with ruff
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: $(STAMP)  ## fix style and formatting with ruff
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

typecheck: $(STAMP)  ## check types with mypy
	$(BIN)/mypy

wheel: $(STAMP)  ## build the wheel into dist/
	rm -rf build dist
	$(PIP) wheel --no-deps --wheel-dir dist .

clean-stacks:  ## remove the environments of test-oldest, test-newest and test-torch-2.11 (several GB each)
	rm -rf $(STACKS:%=.venv-%)

clean:  ## remove build files and tool caches (environments and result/ stay)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

# --use-pep517: without it the pip of Python 3.10 cannot build s3prl, because the installation replaces setuptools.
$(STAMP): setup.py $(CONSTRAINTS) | $(BIN)/python
	@$(BIN)/python -c '$(SUPPORTED)' || { echo "make: $(VENV) holds a Python that is none of $(PYTHONS); remove $(VENV) and run make again" >&2; exit 2; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip  # a .venv made by uv has no pip
	$(PIP) install --constraint $(CONSTRAINTS) torch
	$(PIP) install --constraint $(CONSTRAINTS) --use-pep517 --editable '.[superb,corpus,dev]'
	@touch $@

$(BIN)/python:
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' >/dev/null 2>&1 || { echo "make: no Python of $(PYTHONS) with venv and ensurepip (found: '$(PYTHON)'); install one (Debian: python3-venv) or name it: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
