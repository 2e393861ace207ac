# The commands of the house. Each sets up what it needs on a machine that has Python 3.11, gcc and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# -n 2 suits the two cores the project is developed on; `make test JOBS=8` on larger machines.
JOBS ?= 2
# Its own step, before all that needs it: which build of torch a machine takes (CPU, CUDA) is the machine's choice. Another
# index or file: `make test TORCH="torch==2.13.0 --index-url URL"`.
TORCH ?= torch==2.13.0

.PHONY: demo test test-long test-tensorflow mutants check bench format clean

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Lockstep needs Python 3.11 or newer; found: $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# A stamp per set of packages, renewed when pyproject.toml changes, so that a second call starts at once.
$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

$(VENV)/.torch: | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	@touch $@

$(VENV)/.all: $(VENV)/.dev $(VENV)/.torch
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev,peers,ml,keras,plots,codecs]"
	@touch $@

# Train the example on the bundled candles, then repeat it in a fresh process and compare.
demo: $(VENV)/.core
	$(BIN)/lockstep train examples/liquidity_sweep.toml
	$(BIN)/lockstep verify last

test: $(VENV)/.all
	$(BIN)/pytest -n $(JOBS) --dist worksteal -m "not long"

test-long: $(VENV)/.all
	$(BIN)/pytest -n $(JOBS) --dist worksteal -m long --durations=0

# Keras on TensorFlow, in a venv of its own: where TensorFlow is installed Keras prefers it, and `make test` trains on torch.
# Not part of any other target: it takes about 2.5 GB.
test-tensorflow:
	$(PYTHON) -m venv $(VENV)-tensorflow
	$(VENV)-tensorflow/bin/pip install --quiet --disable-pip-version-check tensorflow-cpu --editable ".[dev,keras,plots]"
	KERAS_BACKEND=tensorflow $(VENV)-tensorflow/bin/pytest tests/integration/learning/supervised/test_keras_trainer.py \
	  tests/unit/kinds/classifier/test_keras.py

$(VENV)/.mutants: $(VENV)/.all
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[mutants]"
	@touch $@

# Do the tests notice small faults? An hour or two on two idle cores. An interrupted call goes on with MUTANTS=--resume.
SEED ?= 1
COUNT ?= 200
mutants: $(VENV)/.mutants
	$(BIN)/python -m tools.mutants --seed $(SEED) --count $(COUNT) --jobs $(JOBS) $(MUTANTS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One core, so that ratios do not depend on what else runs.
bench: $(VENV)/.all
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.run

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-tensorflow .mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
