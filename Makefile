# make demo | make test — the two commands; everything they need is put into .tools and .venv.
.PHONY: demo test mutants docs notebooks check format lock clean
SHELL := /bin/bash
# with it set, every process compiles torch's sources anew
unexport PYTHONDONTWRITEBYTECODE
export UV_PYTHON_DOWNLOADS := never
PYTHON ?= python3
UV := .tools/bin/uv
BIN := .venv/bin

demo: .venv/.ready
	$(BIN)/tracer demo

test: .venv/.ready
	$(BIN)/python -m pytest -n logical

# whether the tests notice changes of the code: about an hour on two cores
mutants: .venv/.mutants
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutation

docs: .venv/.ready
	$(BIN)/sphinx-build -W --keep-going -n -a -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

notebooks: .venv/.ready
	$(BIN)/python notebooks/build.py

check: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.tools/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tracer needs Python 3.11 or newer: $(PYTHON) is $$($(PYTHON) -V 2>&1). Try make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target .tools uv

.venv/.ready: .tools/bin/uv requirements.lock pyproject.toml
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	VIRTUAL_ENV=.venv $(UV) pip sync --quiet --require-hashes requirements.lock
	VIRTUAL_ENV=.venv $(UV) pip install --quiet --no-deps -e .
	touch $@

.venv/.mutants: .venv/.ready requirements-mutants.lock
	VIRTUAL_ENV=.venv $(UV) pip install --quiet --require-hashes -r requirements-mutants.lock
	touch $@

lock: .tools/bin/uv
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --python-version 3.11 pyproject.toml --extra test --extra notebooks --extra docs -o requirements.lock
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --python-version 3.11 --group mutants -c requirements.lock -o requirements-mutants.lock

clean:
	rm -rf .venv .tools .cache docs/_build docs/repository
