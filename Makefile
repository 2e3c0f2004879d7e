# `make demo` and `make test` need Python 3.11 or later, make and gcc; everything else they install into .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-long bench lint clean

demo: .venv/demo
	$(BIN)/python examples/numpy_digits.py

test: .venv/test lint
	$(BIN)/python -m pytest -n 2

test-long: .venv/test
	STATETREE_PROFILE=long $(BIN)/python -m pytest -n 2 tests/test_laws.py

bench: .venv/bench
	$(BIN)/python -m benchmarks

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/bin/python:
	$(PYTHON) -m venv .venv

# Each stamp is remade when the project's own requirements change.
.venv/%: pyproject.toml | .venv/bin/python
	$(PIP) install --editable '.[$*]'
	@touch $@

clean:
	rm -rf .venv demo-output .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
