# Hashmill: `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NATIVE := $(wildcard native/*.c native/*.h native/*.py)
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format bench sanitize clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## the virtual environment, with everything in it

$(STAMP): pyproject.toml setup.py Makefile $(NATIVE)
	@sh native/requirements.sh "$(PYTHON)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all,dev]'
	@touch $@

demo: $(STAMP) ## a private bitcoind, the node, the controller on a price tape (ARGS="--seconds 60")
	@$(BIN)/hashmill demo $(ARGS)

# Four at a time on two cores: many tests wait for a node or a pool. Bytecode is kept wherever the shell has that turned off: the tests start
# hundreds of processes, and each of them would compile all it imports.
test: $(STAMP) ## every test, against a real bitcoind
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 --dist loadgroup $(ARGS)

lint: $(STAMP) ## ruff, mypy --strict, the C core's warnings
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python native/build.py check

format: $(STAMP) ## put the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP) ## every published number, measured here
	@$(BIN)/python bench/all.py $(ARGS)

sanitize: $(STAMP) ## the C core under ASan and UBSan
	@$(BIN)/python -m pytest tests/native $(ARGS)

clean: ## what was built here; the cache with bitcoind stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis miner/_native.c miner/_native*.so controller/_plan.c controller/_plan*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
