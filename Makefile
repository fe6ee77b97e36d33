# Every target sets up what it needs; `make help` lists them. The only requirements are Python >= 3.11, git and make.
# The distribution's Python where it is new enough and makes environments: it was built by profile, one built by hand hardly
# ever is, and everything here takes a tenth to a fifth longer with such a one. PYTHON=… is another.
PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys; assert sys.version_info >= (3, 11)' 2>/dev/null && echo /usr/bin/python3 || echo python3)
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
ARGS   ?=
MODE   ?= both
# One process more than there are cores, for some tests wait; plugins that no test here uses cost each of them time for nothing.
QUICK  := -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --dist worksteal -p tests.workers -p no:pytest-kind -p no:anyio
# Two processes with a plane each: tests wait for others most of the time. ARGS="-n 0" is one.
SHARED := -n 2 --dist loadscope --no-loadscope-reorder
export PYTHONDONTWRITEBYTECODE :=  # set on some machines, it makes Python compile and pytest rewrite everything at each start
BENCH  ?= admission xds triggers

.DEFAULT_GOAL := help
.PHONY: help install demo test unit component e2e check crds bench plane programs binaries lock wheel clean

help:                   ## this list
	@sed -n 's/^\([a-z0-9]*\):[^#]*## */\1: /p' Makefile | awk -F': ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP)       ## create .venv with the locked dependencies (idempotent)

$(STAMP): requirements/dev.txt requirements/agent.txt pyproject.toml scripts/install.py
	@$(PYTHON) scripts/install.py $(VENV)

programs: install       ## build (once) or find the control plane's programs and helm, with progress
	@$(PY) -m tests.e2e.plane.binaries

binaries: programs      ## those and all else that the e2e suite starts; Keycloak where Java is or may be installed
	@$(PY) -m tests.e2e.keycloak.distribution

demo: install programs  ## show the main job on a real API server; ARGS=--once ends by itself, MODE=label|cr|both
	@$(PY) -m scripts.demo --mode $(MODE) $(ARGS)

unit: install           ## unit tests only, which start nothing and contact nobody
	@$(PY) -m pytest $(QUICK) tests/unit $(ARGS)

component: install      ## tests that start a server or a program on loopback, our processes or a real Envoy
	@$(PY) -m pytest $(QUICK) tests/component $(ARGS)

e2e: install binaries   ## end-to-end tests on a real control plane
	@$(PY) -m pytest $(SHARED) tests/e2e $(ARGS)

test: install binaries  ## the whole suite, unit and component and then e2e; a part that fails ends it
	@$(PY) -m pytest $(QUICK) tests/unit tests/component $(ARGS)
	@$(PY) -m pytest $(SHARED) tests/e2e $(ARGS)

check: install          ## lint, format, types, import contracts, drift of generated files, the wheel in an empty venv
	@$(PY) scripts/check.py

crds: install           ## write generated/crds, the chart's copies and the values schema anew
	@$(PY) scripts/generate.py

bench: install programs ## the figures, as tables and plots; BENCH=admission, xds, cards, operators or triggers is one of them, ARGS=--quick a small run
	@for name in $(BENCH); do $(PY) -m bench.$$name $(ARGS) || exit 1; done

plane: install programs ## start the control plane alone and print its kubeconfig
	@$(PY) -m tests.e2e.plane $(ARGS)

lock: install           ## pin the dependencies of pyproject.toml anew, with hashes
	@$(PY) scripts/lock.py

clean:                  ## remove the virtual environment and caches of the checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
