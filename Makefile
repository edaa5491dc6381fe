# agentd: `make up` runs the example; CI runs `make check`.
.DEFAULT_GOAL := help
.PHONY: help install up browser test test-slow test-load check check-newest mutate walk bench fmt clean constraints

ARGS ?=
VENV ?= .venv
BIN := $(VENV)/bin
# The Pythons that agentd is tested on, as pyproject.toml says, too.
VERSIONS := 3.11 3.12 3.13
version_of = $(shell "$(1)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
# The first Python of these versions that runs here: in PATH, or one of pyenv.
first = $(firstword $(foreach v,$(1),$(foreach p,python$(v) $(wildcard $(PYENV)/$(v).*/bin/python$(v)) \
	python3,$(if $(filter $(v),$(call version_of,$(p))),$(p)))))
PYENV := $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions
PYTHON ?= $(call first,$(VERSIONS))
NEWEST = $(lastword $(foreach v,$(VERSIONS),$(call first,$(v))))

# uv does not read pip's settings. Where pip is configured with a private index, pass it on to uv.
INDEX = $(or $(UV_DEFAULT_INDEX),$(shell $(BIN)/pip config list | \
	sed -nE "s/^(:env:|global)\.index-url='(.*)'/\2/p" | head -1))
# uv, because pip refuses an editable install when a constraints file has hashes. uv checks every hash
# and takes a tenth of the time.
UV = VIRTUAL_ENV="$(abspath $(VENV))" UV_DEFAULT_INDEX="$(INDEX)" $(BIN)/uv pip
INSTALL = $(UV) install --quiet --constraints constraints.txt --build-constraints constraints.txt

# Four workers on two cores: tests spend a third of their time waiting for processes and servers. A
# file stays on one worker, because its tests share fixtures.
WORKERS := --numprocesses 4 --dist loadfile
PYTEST := $(BIN)/pytest $(WORKERS)
TIMES ?= 20

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-17s %s\n", $$1, $$2}' Makefile

install: $(VENV)/.runtime ## create .venv and install agentd in it

up: install ## run the agents of manifests/ (ARGS="--http off")
	@exec $(BIN)/agentd up manifests/ $(ARGS) # exec: a shell in between would report Ctrl-C as an error

test: $(VENV)/.dev ## run the tests (ARGS="tests/unit -x")
	@$(BIN)/python scripts/browser.py || true # the tests of the page say what is missing, too
	@$(PYTEST) $(ARGS)

test-slow: $(VENV)/.dev ## run the tests on a fifth of the CPU, to find flaky ones (ARGS="tests/unit")
	@$(BIN)/python scripts/flaky.py --cpu 0.2 $(WORKERS) $(ARGS)

test-load: $(VENV)/.dev ## run the tests TIMES=20 times beside eight busy processes (ARGS="tests/unit")
	@$(BIN)/python scripts/flaky.py --busy 8 --times $(TIMES) $(WORKERS) $(ARGS)

browser: $(VENV)/.dev ## see that a Chromium is here, which the tests of the page need; install it where root may
	@$(BIN)/python scripts/browser.py

alerts: $(VENV)/.dev ## check deploy/: the alert rules and the dashboard, with promtool
	@$(BIN)/python scripts/promtool.py

check: $(VENV)/.dev browser ## all that CI runs: format, lint, types, order of imports, examples, tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/agentd validate manifests/
	$(BIN)/agentd validate examples/research-team/manifests/
	$(BIN)/agentd validate examples/support/manifests/
	$(BIN)/agentd test manifests/
	$(BIN)/agentd test examples/research-team/manifests/
	$(BIN)/agentd test examples/support/manifests/
	$(BIN)/python scripts/promtool.py
	$(PYTEST)
	@$(if $(filter-out $(call version_of,$(BIN)/python),$(call version_of,$(call first,$(VERSIONS)))), \
		echo "$(VENV) has a newer Python than the oldest one here that agentd supports; make clean to test that")
	@$(MAKE) --no-print-directory check-newest

# The torture suite and the commands of the docs take a third of the time, and hardly depend on the
# version of Python, nor do tests of the source and of the page: they run once, on the lowest.
AGAIN := tests/unit tests/property tests/acceptance $(addprefix --ignore tests/,acceptance/test_torture.py \
	acceptance/test_docs.py acceptance/test_page.py acceptance/test_contributing.py unit/test_house.py)

check-newest: $(VENV)/.dev ## run the unit, property and acceptance tests on the newest Python
	@[ "$(call version_of,.venv-newest/bin/python)" = "$(call version_of,$(NEWEST))" ] || rm -rf .venv-newest
	@$(if $(filter $(call version_of,$(BIN)/python),$(call version_of,$(NEWEST))), \
		echo "no newer Python that agentd supports is here: nothing to test again", \
		$(MAKE) test VENV=.venv-newest PYTHON="$(NEWEST)" ARGS="$(AGAIN)")

mutate: $(VENV)/.dev ## mutate the pure modules and count the mutants that their unit tests kill
	@nice $(BIN)/python scripts/mutate.py $(ARGS)

walk: $(VENV)/.dev ## print the files that a plain task runs through
	@$(BIN)/python scripts/walk.py $(ARGS)

bench: $(VENV)/.dev ## measure agentd against a bare NATS handler
	@$(BIN)/python -m bench $(ARGS)

fmt: $(VENV)/.dev ## format, and fix what ruff can fix
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

clean: ## remove the virtual environments and the caches, but not .agentd, which holds your messages
	@rm -rf .venv .venv-newest .ruff_cache .pytest_cache .import_linter_cache .hypothesis mutants build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

constraints: $(BIN)/uv ## resolve all dependencies again and write constraints.txt
	@$(UV) compile --quiet --upgrade --universal --python-version $(firstword $(VERSIONS)) --generate-hashes \
		--no-header --no-annotate --group dev pyproject.toml --output-file constraints.txt >/dev/null

$(BIN)/uv:
	@[ -n "$(filter $(call version_of,$(PYTHON)),$(VERSIONS))" ] || { echo "agentd needs Python" \
		"$(firstword $(VERSIONS)) to $(lastword $(VERSIONS)); choose one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "creating $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > $(VENV)/uv.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement $(VENV)/uv.txt

$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/uv
	@echo "installing agentd"
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing the tools for development"
	@$(INSTALL) --group dev
	@touch $@
