# Two commands for a newcomer: `make demo` and `make test`. Both set everything up first.
.PHONY: help setup demo test test-all lint types imports docs docs-serve check clean

BIN := .venv/bin
# Where the environment forbids to keep compiled modules, every process compiles torch and all the rest again, for 10 seconds.
export PYTHONDONTWRITEBYTECODE :=

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup:  ## Make .venv with everything needed; does nothing when up to date
	@sh scripts/setup.sh

demo: setup  ## Run every application's main job on generated data (at most a minute each), write reports
	@$(BIN)/photic demo

test: setup  ## The default test suite (minutes on two cores)
	@$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

test-all: setup  ## Everything, longer tests included
	@$(BIN)/python -m pytest -n 2 --dist loadscope

lint: setup  ## Style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup  ## Static types
	@$(BIN)/mypy

imports: setup  ## Layers and independence
	@$(BIN)/lint-imports

docs: setup  ## The documentation, into site/ (open site/index.html); a warning is an error
	@$(BIN)/mkdocs build --strict --quiet && echo "site/index.html"

docs-serve: setup  ## The documentation while you write it, at http://127.0.0.1:8000
	@$(BIN)/mkdocs serve --strict

check: lint types imports test  ## All that CI does

clean:  ## Remove caches and build products (keeps .venv and runs)
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
