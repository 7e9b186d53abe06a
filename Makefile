# The verbs of the house. `make demo` and `make test` need nothing prepared but Python >= 3.11.
PYTHON ?= python3
PORT ?= 8200
BIN = .venv/bin
PYTEST = $(BIN)/pytest
# More workers than the two cores of a small machine: many tests wait for a process. A worker that
# crashes fails its test and is not replaced.
PARALLEL ?= -n 4 --dist worksteal --max-worker-restart 0

# The tests start a thousand processes. Without bytecode on disk, each would compile its imports.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test coverage test-compiled check install dev bench dist proto clean

# An environment of another Python version, or one that was not completed, is made again.
OLD_PYTHON = import sys; sys.exit(sys.version_info >= (3, 11))
define make_venv
@if ! $(PYTHON) --version >/dev/null 2>&1; then \
	echo "there is no $(PYTHON); name Python 3.11 or later: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; \
elif $(PYTHON) -c '$(OLD_PYTHON)'; then \
	echo "$$($(PYTHON) --version) is too old; name 3.11 or later: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; \
fi
@if ! $(BIN)/pip --version >/dev/null 2>&1 || $(BIN)/python -c '$(OLD_PYTHON)'; then rm -rf .venv; fi
$(PYTHON) -m venv .venv
endef

# The product and its demo services, ready to run.
install: .venv/.installed
.venv/.installed: pyproject.toml
	@echo "installing into .venv; this takes a while, once"
	$(make_venv)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

# And all that proves it.
dev: .venv/.dev
.venv/.dev: pyproject.toml
	$(make_venv)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ .venv/.installed

demo: install
	@exec $(BIN)/asectl up --demo --port $(PORT)

test: dev
	$(PYTEST) $(PARALLEL)

# `make test`, and how much of the product it runs; pyproject.toml says how much is enough.
coverage: dev
	$(BIN)/coverage erase
	$(MAKE) test PYTEST="$(BIN)/coverage run -m pytest"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# The same on the product as the bench and the image have it: its hot modules compiled. Files marked
# `sources_only` say why they are left out.
test-compiled: dev
	folder=$$($(BIN)/python -m bench.product) && \
	ASE_COMPILED=1 PYTHONSAFEPATH=1 PYTHONPATH="$$folder:$(CURDIR)" $(BIN)/pytest $(PARALLEL) \
		tests/test_compiled.py tests/test_installed.py tests/atom tests/bench/test_gateway.py \
		tests/config tests/gateway tests/lb tests/rpc tests/wire

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file= --explicit-package-bases --check-untyped-defs --ignore-missing-imports \
		examples

bench: dev
	$(BIN)/python -m bench

# The sdist, and the wheel compiled for this platform and Python version: in dist/, and tried as a
# user would, in an environment of its own.
dist: dev
	rm -rf dist && mkdir dist
	folder=$$($(BIN)/python -m bench.product)/../dist && cp "$$folder"/*.tar.gz dist && \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist "$$folder"/*.whl
	$(BIN)/python -m bench install --wheel dist/*.whl

proto: dev
	$(BIN)/python -m schemas.build

clean:
	rm -rf .venv build dist *.egg-info
