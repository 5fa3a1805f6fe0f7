# What a developer asks for; each target does what it needs by itself.
#
#   make setup                 the environment in .venv, from pyproject.toml and constraints.txt
#   make lint                  ruff, its formatter, mypy
#   make quick                 the tests that need no server, for the next try
#   make test                  the suite, less what is marked slow or gpu; `make slow` runs that too
#   make faults                the drills: what dies, what that costs, as one table
#   make bench                 the measurements, as one table and as JSON in .local/bench.json
#   make gpu                   everything about a GPU in six minutes, into .local/gpu; docs/gpu.md says what it tells
#   make demo [COCO=folder]    the whole road on this machine: shard, train, evaluate, submit, promote
#   make demo-search           four settings of the network against each other, on drawn people
#   make clean                 takes away everything that was made here

PYTHON ?= python3.11
VENV ?= .venv
# A page of further wheels, by choice: with PyTorch's page of CPU builds a machine without a GPU saves 2 GB; without
# one the same pins take the registry's build.
TORCH_PAGE ?=
COCO ?=
KEEP ?=
LOCAL ?= .local

BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.DEFAULT_GOAL := help
.PHONY: help setup lint quick test slow faults bench gpu demo demo-search clean

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)

# The stamp is written last: a folder without one is half made, and is built anew.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON) here; name one: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@test -f $@ || rm -rf $(VENV)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV); the first time takes a few minutes"
	@$(BIN)/python -m pip install --quiet $(if $(TORCH_PAGE),--find-links $(TORCH_PAGE)) -c constraints.txt -e '.[local,search,dev]'
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

# In two processes, file by file: much of the suite waits for servers. Each process has servers of its own, and one
# thread to compute with, since threads of two processes would wait for each other on two cores.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not stack and not slow and not gpu'

slow: setup
	$(BIN)/python -m pytest -m 'not gpu' --timeout 1200

faults: setup
	$(BIN)/python -m pytest tests/pipeline/drills -m slow --timeout 900

bench: setup
	$(BIN)/python -m benchmarks --out $(LOCAL)/bench.json

gpu: setup
	$(BIN)/python -m benchmarks gpu --out $(LOCAL)/gpu

demo: setup
	$(BIN)/python -m infra.demo --dir $(LOCAL) $(if $(COCO),--coco $(COCO)) $(if $(KEEP),--keep)

demo-search: setup
	$(BIN)/python -m infra.demo --dir $(LOCAL) --search $(if $(COCO),--coco $(COCO)) $(if $(KEEP),--keep)

clean:
	@test ! -x $(BIN)/python || $(BIN)/python -m infra.stack stop --dir $(LOCAL)
	rm -rf $(VENV) $(LOCAL) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
