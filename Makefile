# agentd: `make up` runs the example, `make check` is what CI runs.
.DEFAULT_GOAL := help
.PHONY: help install up test check bench fmt clean constraints

ARGS ?=
BIN := .venv/bin
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)

# uv reads none of pip's settings: a private index that pip was told of counts here too.
INDEX = $(or $(UV_DEFAULT_INDEX),$(shell $(BIN)/pip config list | \
	sed -nE "s/^(:env:|global)\.index-url='(.*)'/\2/p" | head -1))
# pip refuses an editable install among hashes; uv verifies every hash, in a tenth of the time.
UV = VIRTUAL_ENV="$(CURDIR)/.venv" UV_DEFAULT_INDEX="$(INDEX)" $(BIN)/uv pip
INSTALL = $(UV) install --quiet --constraints constraints.txt --build-constraints constraints.txt

# Tests mostly wait: for processes, servers and clocks. Those of a file share what they set up.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

install: .venv/.runtime ## create .venv and install agentd into it

up: install ## run the agents of manifests/ (ARGS="--http off")
	@exec $(BIN)/agentd up manifests/ $(ARGS) # exec: without a shell between, Ctrl-C ends quietly

test: .venv/.dev ## run the tests (ARGS="tests/unit -x")
	@$(PYTEST) $(ARGS)

check: .venv/.dev ## format, lint, types, reading order, example, tests: what CI runs
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/agentd validate manifests/
	$(BIN)/agentd validate examples/research-team/manifests/
	$(BIN)/agentd test manifests/
	$(BIN)/agentd test examples/research-team/manifests/
	$(PYTEST)

bench: .venv/.dev ## measure agentd against a bare NATS handler
	@$(BIN)/python -m bench $(ARGS)

fmt: .venv/.dev ## format, and mend what ruff can mend
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

clean: ## remove the environment and the caches; .agentd, which holds your messages, stays
	@rm -rf .venv .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

constraints: .venv/bin/uv ## resolve every dependency anew
	@$(UV) compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --group dev pyproject.toml --output-file constraints.txt >/dev/null

.venv/bin/uv:
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo "agentd needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
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
