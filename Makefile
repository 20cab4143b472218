# make demo     a virtual environment, the install, the whole job on the embedded sample
# make test     a virtual environment with the test dependencies, all tests but the slow ones
# make slow     the slow tests: kills, damage, many processes (CI runs both)
# make gpu      what runs on a GPU, on a machine that has one; the other tests see none
# make lint     ruff and mypy
# make format   let ruff sort imports, fix what it can and format
# make check    before a commit: lint, then the tests of make test

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test slow gpu lint format check

demo: $(VENV)/.installed
	$(BIN)/mmx demo

test: $(VENV)/.installed-dev
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

slow: $(VENV)/.installed-dev
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow

gpu: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 tests/gpu tests/extract/test_jpegs.py tests/extract/test_together.py tests/devices/test_numbers.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml requirements/test.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint requirements/test.txt --editable '.[dev]'
	touch $@
