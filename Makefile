# `make demo` and `make test` need Python 3.11 or later, git, make and gcc; everything else they install into .venv.
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
WORKERS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Torch is no extra of ours, nor is torchdata, which asks for it: which build fits depends on the machine. The tests are
# held against these versions.
TORCH := torch==2.13.0 torchdata==0.11.0

.PHONY: demo test test-long conformance conformance-long bench fidelity lint javascript clean

demo: .venv/demo.stamp
	$(BIN)/python examples/numpy_digits.py

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-long: .venv/test.stamp
	STATETREE_PROFILE=long $(BIN)/python -m pytest -n $(WORKERS) -m hypothesis
	STATETREE_PROFILE=long $(BIN)/python -m pytest tests/test_vectors.py

# All containers, somebody else's backend, and the second implementation where Node is installed; the page for people is
# conformance-report/index.html.
NODE := $(shell command -v node)
CONFORMANCE = PYTHONPATH=.venv/npz $(BIN)/statetree conformance run --jobs $(WORKERS) \
	$(foreach name,zarr hdf5 bson zarr.zip memory npz,--backend $(name)) \
	$(if $(NODE),--subject "$(NODE) implementations/javascript/subject.mjs") --expected conformance/expected \
	--html conformance-report/index.html --jsonl conformance-report/results.jsonl --junit conformance-report/junit.xml

conformance: .venv/test.stamp .venv/npz $(if $(NODE),implementations/javascript/node_modules/.package-lock.json)
	$(CONFORMANCE)

conformance-long: .venv/test.stamp .venv/npz $(if $(NODE),implementations/javascript/node_modules/.package-lock.json)
	$(CONFORMANCE) --examples 4000 --seed random

.venv/npz: tests/third_party_npz/pyproject.toml tests/third_party_npz/statetree_npz.py .venv/test.stamp
	$(PIP) install --upgrade --no-deps --target $@ tests/third_party_npz
	@touch $@

bench: .venv/bench.stamp
	$(BIN)/python -m benchmarks

# Needs Node 20 or later; `make test` runs it where Node is installed.
javascript: implementations/javascript/node_modules/.package-lock.json
	cd implementations/javascript && npm test

implementations/javascript/node_modules/.package-lock.json: implementations/javascript/package-lock.json
	cd implementations/javascript && npm ci --no-audit --no-fund
	@touch $@

# Writes docs/fidelity.md; takes some minutes.
fidelity: .venv/bench.stamp
	$(BIN)/python -m benchmarks.fidelity --write

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks examples
	$(BIN)/lint-imports

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "expected Python 3.11 or later with venv, got none: install it, or say make PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# Each stamp is remade when the project's own requirements change.
.venv/test.stamp: EXTRAS = test,frameworks
.venv/test.stamp: MORE = $(TORCH)
.venv/demo.stamp: EXTRAS = demo
.venv/bench.stamp: EXTRAS = bench
.venv/bench.stamp: MORE = $(TORCH)
.venv/%.stamp: pyproject.toml Makefile | $(BIN)/python
	$(PIP) install $(MORE) --editable '.[$(EXTRAS)]'
	@touch $@

clean:
	rm -rf .venv implementations/javascript/node_modules demo-output conformance-report build dist .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
