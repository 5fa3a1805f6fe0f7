# What a developer asks for; each target does what it needs by itself.
#
#   make setup                 the environment in .venv, from pyproject.toml and constraints.txt
#   make lint                  ruff, its formatter, mypy
#   make quick                 the tests that need no server, for the next try
#   make test                  the suite, less what is marked slow or gpu; `make slow` runs that too
#   make faults                the drills: what dies, what that costs, as one table
#   make soak                  faults, kills and hostile inputs for MINUTES=20 with SEED=1, as two tables
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
MINUTES ?= 20
SEED ?= 1
LOCAL ?= .local

# What a shell takes for one word, whatever is in it: the folders may have spaces in their names.
quoted = '$(subst ','\'',$(1))'
BIN := $(VENV)/bin
PY := $(call quoted,$(BIN)/python)
IN_LOCAL := $(call quoted,$(LOCAL))
OPTIONS = $(if $(COCO),--coco $(call quoted,$(COCO))) $(if $(KEEP),--keep)
WHEELS = $(if $(TORCH_PAGE),--find-links $(call quoted,$(TORCH_PAGE)))
# A folder that is made here says so, and no other is ever removed. The two by default are in the checkout and ours.
MARK := .made-by-make
marked = test -e $(call quoted,$(1)) || { mkdir -p $(call quoted,$(1)) && touch $(call quoted,$(1)/$(MARK)); }
is_ours = test ! -e $(call quoted,$(1)) || test $(call quoted,$(1)) = $(2) || test -e $(call quoted,$(1)/$(MARK)) || \
	rmdir $(call quoted,$(1)) 2>/dev/null || \
	{ printf '%s was not made by make: name another $(3), or remove it yourself\n' $(call quoted,$(1)) >&2; exit 1; }

ifneq ($(strip $(MAKEFILE_LIST)),Makefile)
$(error run make in the folder of this Makefile, or as make -C folder)
endif

.DEFAULT_GOAL := help
.PHONY: help setup lint quick test slow faults soak bench gpu demo demo-search clean

help:
	@sed -n 's/^#   //p' Makefile

# The stamp is written last: a folder without one is half made, and is built anew.
STAMP := $(call quoted,$(VENV)/.stamp)
setup:
	@command -v $(call quoted,$(PYTHON)) >/dev/null || \
	{ printf '%s\n' $(call quoted,there is no $(PYTHON) here; name one: make setup PYTHON=/path/to/python3.11); exit 1; }
	@test -f $(STAMP) || { $(call is_ours,$(VENV),.venv,VENV); }
	@test -f $(STAMP) || rm -rf $(call quoted,$(VENV))
	@$(call marked,$(VENV))
	@test -f $(STAMP) && test ! pyproject.toml -nt $(STAMP) && test ! constraints.txt -nt $(STAMP) || { \
	set -e; test -f $(STAMP) || $(call quoted,$(PYTHON)) -m venv $(call quoted,$(VENV)); \
	printf '%s\n' $(call quoted,installing into $(VENV); the first time takes a few minutes); \
	$(PY) -m pip install --quiet $(WHEELS) -c constraints.txt -e '.[local,search,dev]'; \
	touch $(STAMP); }

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy .

# In two processes, file by file: much of the suite waits for servers. Each process has servers of its own, and one
# thread to compute with, since threads of two processes would wait for each other on two cores.
test: setup
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: setup
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not stack and not slow and not gpu'

slow: setup
	$(PY) -m pytest -m 'not gpu' --timeout 1200

faults: setup
	$(PY) -m pytest tests/pipeline/drills -m slow --timeout 900

soak: setup
	$(PY) -m benchmarks soak --minutes $(call quoted,$(MINUTES)) --seed $(call quoted,$(SEED))

bench: setup
	@$(call marked,$(LOCAL))
	$(PY) -m benchmarks --out $(call quoted,$(LOCAL)/bench.json)

gpu: setup
	@$(call marked,$(LOCAL))
	$(PY) -m benchmarks gpu --out $(call quoted,$(LOCAL)/gpu)

demo: setup
	@$(call marked,$(LOCAL))
	$(PY) -m infra.demo --dir $(IN_LOCAL) $(OPTIONS)

demo-search: setup
	@$(call marked,$(LOCAL))
	$(PY) -m infra.demo --dir $(IN_LOCAL) --search $(OPTIONS)

clean:
	@$(call is_ours,$(VENV),.venv,VENV)
	@$(call is_ours,$(LOCAL),.local,LOCAL)
	@test ! -x $(PY) || $(PY) -m infra.stack stop --dir $(IN_LOCAL)
	rm -rf $(call quoted,$(VENV)) $(IN_LOCAL) build lightweight_hrnet.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
