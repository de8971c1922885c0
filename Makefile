# Everything a newcomer needs: `make demo` and `make test`. Both set up .venv first if it is missing.

PYTHON ?= python3.11
ifeq (, $(shell command -v $(PYTHON) 2>/dev/null))
PYTHON := python3
endif
BIN := .venv/bin
BACKTALK := $(BIN)/backtalk

.DEFAULT_GOAL := help
.PHONY: help setup models demo test test-fast check fix fuzz bench clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready ## make .venv with the package and its development tools

.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "backtalk needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,piper,webrtc,otel]'
	@touch $@

# PyTorch is large, and the demo does not need it.
.venv/.neural: .venv/.ready
	$(BIN)/python -m pip install --quiet --editable '.[models,train,watermark]'
	@touch $@

models: setup ## fetch the default agent's models (once, about 180 MB)
	$(BACKTALK) models get

demo: models ## hold a three-turn spoken conversation; leaves it in demo/
	@mkdir -p demo
	$(BACKTALK) talk src/backtalk/demo/1-*.flac src/backtalk/demo/2-*.flac src/backtalk/demo/3-*.flac \
	  --cut-in 2@2500 --out demo/conversation.wav --timeline demo/timeline.png
	@echo "Listen to demo/conversation.wav (you left, the agent right) and open demo/timeline.png."
	@echo "To talk to it yourself: $(BACKTALK) serve, then open http://localhost:8765/"

test: setup .venv/.neural ## run the default suite: unit tests and tests on the real default models
	$(BACKTALK) models get --set eval piper-joe
	$(BIN)/python -m pytest

test-fast: setup .venv/.neural ## run the unit tests alone: no models, no network, no waiting
	$(BIN)/python -m pytest -m "not models and not slow"

check: setup .venv/.neural ## formatting, lint and types
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy

fix: setup ## format and apply safe lint fixes
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

fuzz: setup ## search for protocol bugs for minutes instead of seconds
	BACKTALK_FUZZ=long $(BIN)/python -m pytest --timeout=0 tests/realtime/test_fuzz.py tests/realtime/test_state_machine.py

bench: models ## repeat the committed latency benchmark (about half an hour, an idle machine please)
	$(BIN)/python benchmarks/run_latency.py

clean: ## remove what the other targets made
	rm -rf .venv demo build dist .pytest_cache .mypy_cache .ruff_cache
