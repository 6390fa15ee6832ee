# Everything a newcomer types. Needs python3 (3.11 or newer) and make; the rest goes into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
SHELL  := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-all test-base check lint format docs clean

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo

venv: $(VENV)/.dev ## Make .venv with everything for development.

# WEIGHTS=FILE begins with those weights; without it, with those in a cache or a download, or from scratch. It says which.
DEMO = elpv --set time_budget_minutes=5 --set flip_vertical=0.5 --set mirrors=both
demo: $(VENV)/.demo ## Train on real images in at most 6 minutes: metrics, report, checked ONNX model.
	@$(BIN)/mobilenets train $(DEMO) $(if $(WEIGHTS),--weights '$(WEIGHTS)')
	@echo
	@echo "your own images, in one folder per class:"
	@echo "    $(BIN)/mobilenets train photos/"

test: $(VENV)/.dev ## Run the tests.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

test-all: $(VENV)/.dev ## Run the tests, the slow ones too.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m 'slow or not slow'

test-base: $(VENV)/.dev ## Test prediction in a venv that has only the base install.
	$(PYTHON) -m venv --clear $(VENV)-base
	$(VENV)-base/bin/python -m pip --disable-pip-version-check install --quiet .
	MOBILENETS_BASE_PYTHON=$(CURDIR)/$(VENV)-base/bin/python $(BIN)/pytest tests/test_base_install.py -m 'slow or not slow'

check: lint test ## What must be green before a commit: lint and tests.

lint: $(VENV)/.dev ## Check format, lint, types and import layers.
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Format and fix what can be fixed.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.dev ## Write docs/reference from docstrings and --help.
	$(BIN)/python scripts/reference.py docs/reference

clean: ## Delete the venvs and caches; runs stay.
	rm -rf $(VENV) $(VENV)-base .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
