# The two set-up commands are `make run` and `make test`; both begin from a fresh clone.
PYTHON      ?= python3
VENV        := .venv
BIN         := $(VENV)/bin
NAME        ?=
ARGS        ?=
PYTEST_ARGS ?=
PREFIX      ?= /usr/local
DESTDIR     ?=
ENGINE      ?= auto
KEEP_DATA   ?=

# Benchmarks that compare with other optimisers, which are an extra.
BESIDE_OTHERS := optimisers recommend
comma         := ,

.PHONY: help setup run test check format bench docs install uninstall clean

help:            ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "setup: there is no $(PYTHON); install Python 3.11 or newer, or name one: make PYTHON=python3.12 run" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "setup: Python 3.11 or newer is needed, $(PYTHON) is %s.%s; name another one: make PYTHON=python3.12 run" % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "setup: no virtual environment could be made; Debian and Ubuntu want python3-venv for it" >&2; exit 1; }

setup: $(BIN)/python  ## .venv with vLLM for this machine and this project
	@$(BIN)/python deploy/setup/environment.py

run: setup       ## start the daemon and vLLM in the foreground
	@echo "Starting; Ctrl-C ends the daemon and vLLM. In another terminal: $(BIN)/reconfigure status"
	@exec $(BIN)/reconfigure serve

test: $(BIN)/python  ## the whole suite, real vLLM included; PYTEST_ARGS=tests/unit for a part
	@$(BIN)/python deploy/setup/environment.py --with test
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(BIN)/python ## format, lint, types, walls between rooms
	@$(BIN)/python deploy/setup/environment.py --with test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(BIN)/python  ## rewrite the formatting
	@$(BIN)/python deploy/setup/environment.py --with test
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(BIN)/python  ## one benchmark: make bench NAME=switching ARGS=--quick
	@test -n "$(NAME)" || { echo "Which one? make bench NAME=... with one of:" $(filter-out readme,$(basename $(notdir $(wildcard benchmarks/[a-z]*.py)))) $(notdir $(patsubst %/__main__.py,%,$(wildcard benchmarks/*/__main__.py))) >&2; exit 2; }
	@$(BIN)/python deploy/setup/environment.py --with surrogates,plots$(if $(filter $(BESIDE_OTHERS),$(NAME)),$(comma)bench)
	@$(BIN)/python -m benchmarks.$(NAME) $(ARGS)

docs: $(BIN)/python    ## write the pages that are generated from the code
	@$(BIN)/python deploy/setup/environment.py --with test
	@$(BIN)/python -m docs.generate

install:         ## a systemd service: PREFIX=/usr/local, DESTDIR=folder, ENGINE=auto|gpu|cpu|none, PYTHON=/usr/bin/python3
	@$(PYTHON) deploy/setup/service.py install --prefix "$(PREFIX)" --destdir "$(DESTDIR)" --engine "$(ENGINE)"

uninstall:       ## the service and all of its data away; KEEP_DATA=1 leaves settings and decisions
	@$(PYTHON) deploy/setup/service.py uninstall --prefix "$(PREFIX)" --destdir "$(DESTDIR)" $(if $(KEEP_DATA),--keep-data)

clean:           ## remove what was built, keep .venv
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
