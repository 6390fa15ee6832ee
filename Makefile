# Everything a newcomer types. Needs python3 (3.11 to 3.13) and make; everything else is installed into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
SHELL  := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help venv demo web test test-all test-base check lint format docs site wheel clean

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is required, but this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo

# The native engine, where there is a compiler. Without one its tests are skipped, and say so.
$(VENV)/.native: $(VENV)/.dev $(shell find native -type f)
	@if command -v $${CXX:-c++} > /dev/null; then $(PIP) install --quiet ./native; \
	else echo 'no C++ compiler: the native engine is not built, and its tests are skipped'; fi
	@touch $@

# The page that runs models in the browser. Without Node.js its tests are skipped, and say so.
NODE := node -e 'process.exit(Number(process.versions.node.split(".")[0] < 20))'

$(VENV)/.web: $(VENV)/.dev scripts/wasm.py $(shell find native/src web -type f -not -path '*/node_modules/*' -not -path 'web/wasm/*' -not -name .building)
	@if $(NODE) 2> /dev/null && command -v npm > /dev/null; then $(MAKE) --no-print-directory web; \
	else echo 'no Node.js 20 or newer: the page for the browser is not built, and its tests are skipped'; fi
	@touch $@

web: ## Build the page that runs models in the browser into the package. Needs Node.js 20 or newer; with ziglang, our own engine too.
	@$(NODE) 2> /dev/null && command -v npm > /dev/null || { echo 'error: the page is built by Node.js 20 or newer with npm; install them' >&2; exit 1; }
	$(firstword $(wildcard $(BIN)/python) $(PYTHON)) scripts/wasm.py web/wasm
	cd web && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error && npm run --silent build

venv: $(VENV)/.dev ## Create .venv with everything that development needs.

# WEIGHTS=FILE starts from that file. Without it, the demo starts from cached or downloaded weights, or from scratch, and says which.
demo: $(VENV)/.demo ## Train on real photos in at most 6 minutes: metrics, report, verified ONNX model.
	@$(BIN)/python scripts/demo.py $(if $(WEIGHTS),--weights '$(WEIGHTS)')

test: $(VENV)/.native $(VENV)/.web ## Run the tests.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

test-all: $(VENV)/.native $(VENV)/.web ## Run the tests, slow ones included.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m 'slow or not slow'

test-base: wheel ## Install the wheel alone into a fresh venv and test prediction there.
	$(PYTHON) -m venv --clear $(VENV)-base
	$(VENV)-base/bin/python -m pip --disable-pip-version-check install --quiet dist/*.whl
	MOBILENETS_BASE_PYTHON=$(CURDIR)/$(VENV)-base/bin/python $(BIN)/pytest tests/test_base_install.py -m 'slow or not slow'

check: lint test ## Run lint and tests; both must pass before a commit.

lint: $(VENV)/.dev ## Check formatting, lint, types and import layers.
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Format the code and fix what ruff can fix.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.dev ## Write docs/reference from docstrings and --help, docs/papers from the results that are kept there.
	$(BIN)/python scripts/reference.py docs/reference
	$(BIN)/python scripts/papers.py docs/papers

site: $(VENV)/.dev ## Build the documentation into site/ and check every link.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: $(VENV)/.dev $(VENV)/.web ## Build an sdist and a wheel into dist/; make test-base tests the wheel.
	rm -rf dist
	$(BIN)/python -m build --outdir dist

clean: ## Delete the venvs, caches and build outputs; runs stay.
	rm -rf $(VENV) $(VENV)-base .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist site web/node_modules web/wasm src/mobilenets/web/page
