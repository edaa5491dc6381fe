# agentd: `make up` runs the example; CI runs `make check`.
.DEFAULT_GOAL := help
.PHONY: help install up test test-slow test-load check mutate walk bench fmt clean constraints

ARGS ?=
BIN := .venv/bin
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)

# uv does not read pip's settings. Where pip is configured with a private index, pass it on to uv.
INDEX = $(or $(UV_DEFAULT_INDEX),$(shell $(BIN)/pip config list | \
	sed -nE "s/^(:env:|global)\.index-url='(.*)'/\2/p" | head -1))
# uv, because pip refuses an editable install when a constraints file has hashes. uv checks every hash
# and takes a tenth of the time.
UV = VIRTUAL_ENV="$(CURDIR)/.venv" UV_DEFAULT_INDEX="$(INDEX)" $(BIN)/uv pip
INSTALL = $(UV) install --quiet --constraints constraints.txt --build-constraints constraints.txt

# Two workers even on one core: tests spend most of their time waiting for processes and servers. A
# file stays on one worker, because its tests share fixtures.
WORKERS := --numprocesses 2 --dist loadfile
PYTEST := $(BIN)/pytest $(WORKERS)
TIMES ?= 20

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

install: .venv/.runtime ## create .venv and install agentd in it

up: install ## run the agents of manifests/ (ARGS="--http off")
	@exec $(BIN)/agentd up manifests/ $(ARGS) # exec: a shell in between would report Ctrl-C as an error

test: .venv/.dev ## run the tests (ARGS="tests/unit -x")
	@$(PYTEST) $(ARGS)

test-slow: .venv/.dev ## run the tests on a fifth of the CPU, to find flaky ones (ARGS="tests/unit")
	@$(BIN)/python scripts/flaky.py --cpu 0.2 $(WORKERS) $(ARGS)

test-load: .venv/.dev ## run the tests TIMES=20 times beside eight busy processes (ARGS="tests/unit")
	@$(BIN)/python scripts/flaky.py --busy 8 --times $(TIMES) $(WORKERS) $(ARGS)

check: .venv/.dev ## all that CI runs: format, lint, types, order of imports, examples, tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/agentd validate manifests/
	$(BIN)/agentd validate examples/research-team/manifests/
	$(BIN)/agentd test manifests/
	$(BIN)/agentd test examples/research-team/manifests/
	$(PYTEST)

mutate: .venv/.dev ## mutate the pure modules and count the mutants that their unit tests kill
	@nice $(BIN)/python scripts/mutate.py $(ARGS)

walk: .venv/.dev ## print the files that a plain task runs through
	@$(BIN)/python scripts/walk.py $(ARGS)

bench: .venv/.dev ## measure agentd against a bare NATS handler
	@$(BIN)/python -m bench $(ARGS)

fmt: .venv/.dev ## format, and fix what ruff can fix
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

clean: ## remove .venv and the caches, but not .agentd, which holds your messages
	@rm -rf .venv .ruff_cache .pytest_cache .import_linter_cache .hypothesis mutants build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

constraints: .venv/bin/uv ## resolve all dependencies again and write constraints.txt
	@$(UV) compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --group dev pyproject.toml --output-file constraints.txt >/dev/null

.venv/bin/uv:
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo "agentd needs Python 3.11 or newer; choose one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "creating .venv with $(PYTHON)"
	@"$(PYTHON)" -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > .venv/uv.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement .venv/uv.txt

.venv/.runtime: pyproject.toml constraints.txt | .venv/bin/uv
	@echo "installing agentd"
	@$(INSTALL) --editable .
	@touch $@

.venv/.dev: .venv/.runtime
	@echo "installing the tools for development"
	@$(INSTALL) --group dev
	@touch $@
