# Everything needs only Python 3.11 to 3.13, Go and make. Whatever else it needs, it installs in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(BIN)/uv

# A terminal shows how far it is; a log needs no list of packages.
QUIET := $(shell test -t 2 || echo --quiet)

.DEFAULT_GOAL := help
.PHONY: help demo stop test unit cluster-test check gates bench compare chart manifests chart-scan lock compat clean

help: ## This list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-7s %s\n", $$1, $$2}'

demo: $(READY) ## A real call on this machine, without keys (KEEP=1 leaves the stack up)
	@$(BIN)/voicefleet demo $(if $(KEEP),--keep)

stop: $(READY) ## End what `make demo KEEP=1` left up
	@$(BIN)/voicefleet demo --stop

# A call uses little of a core, and two at a time go well; what fills the machine has it to itself.
# Nine of ten branches of pod/ and job/ are reached in process: the life of a pod and of its calls.
# CI measures them: COVERAGE="--cov --cov-fail-under=90".
test: $(READY) ## Every test, against a real livekit-server
	@$(BIN)/pytest -n auto --dist loadfile $(COVERAGE) -m "not server and not cluster"
	@$(BIN)/pytest -m "server and alone and not cluster"
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "server and not alone and not cluster"

unit: $(READY) ## The quick tests: no server, no Helm, no other program; in a minute or two
	@$(BIN)/pytest -n auto --dist worksteal -m "not server and not helm and not cluster and not slow"

# Real calls through all that happens to a fleet, in the cluster that KUBECONFIG names:
# tests/cluster/README.md. ARGUMENTS="-m quick" is the half that needs one node and no helper.
cluster-test: $(READY)
	@$(BIN)/pytest -m cluster $(ARGUMENTS) tests/cluster

gates: $(READY) ## Format, lint, types, direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: gates test ## What CI runs

bench: $(READY) ## Ten calls one after the other, and where the time goes
	@$(BIN)/voicefleet bench

compare: $(READY) ## The same drills against LiveKit's own worker and ours (twenty minutes)
	@$(BIN)/voicefleet compare $(if $(WRITE),--write $(WRITE))

# What follows from the chart: schema, tables, manifests, golden renders. See deploy/README.md.
chart: $(READY)
	@$(BIN)/python -m deploy.generate

manifests: $(READY)
	@$(BIN)/python -m deploy.generate manifests

chart-scan: $(READY)
	@$(BIN)/python -m deploy.scan

# In CONTRIBUTING.md: the help has room for ten.
lock: $(UV) # Resolve requirements.lock again from pyproject.toml
	@$(UV) pip compile pyproject.toml --extra lab --extra mcp --group dev --universal --generate-hashes \
	  --python-version 3.11 --no-annotate --no-header --upgrade --output-file requirements.lock

# Also in CONTRIBUTING.md. VERSIONS="1.8.7 1.8.9" tries those.
compat: $(READY) # The contract tests and a real call, with each LiveKit that we say we run with
	@BIN=$(BIN) .ci/compat $(VERSIONS)

clean: ## Remove the virtual environment and caches (not the built livekit-server)
	rm -rf $(VENV) .venv-3.13 .venv-compat .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(UV):
	@echo "set-up: a virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1), and 3.11 to 3.13 is needed"; \
	    echo "fix: make $(MAKECMDGOALS) PYTHON=python3.13"; exit 78; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(READY): requirements.lock pyproject.toml | $(UV)
	@echo "set-up: the locked dependencies"
	@$(UV) pip install --python $(BIN)/python --require-hashes --requirement requirements.lock $(QUIET)
	@$(UV) pip install --python $(BIN)/python --quiet --no-deps --editable .
	@touch $(READY)
