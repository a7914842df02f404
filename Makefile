# Two commands for everyone: `make demo` and `make test`. Both set up the virtual environment first, once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo serve test lint types unit slow soak mutation format clean

help:
	@echo "make demo    train on real digits and write a report"
	@echo "make serve   the demo's run as a service with a page, and a gallery of its test images"
	@echo "make test    lint, types and every test"
	@echo "make setup   the virtual environment alone; then .venv/bin/triune --help"
	@echo "make slow    the tests that take minutes"
	@echo "make soak    fuzz everything that reads a file, MINUTES=10 each"
	@echo "make mutation  change the source here and there: does a test notice? (hours)"
	@echo "make format  let ruff tidy the code"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Triune needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/triune demo

# Trains first where `make demo` has not; prints the address once it answers.
serve: $(READY)
	$(BIN)/triune serve --demo

test: lint types unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

# A process a core, each with one thread: many tests wait for processes of their own or run on one thread anyway.
unit: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 8 --dist worksteal

slow: $(READY)
	$(BIN)/pytest -m slow

soak: $(READY)
	PYTHONPATH=tests $(BIN)/python -m soak --minutes $(or $(MINUTES),10)

mutation: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mutation]'
	$(BIN)/python benchmarks/mutation.py $(FILES)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache
