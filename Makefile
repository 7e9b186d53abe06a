# The verbs of the house. `make demo` and `make test` need nothing prepared but Python >= 3.11.
PYTHON ?= python3
PORT ?= 8200
BIN = .venv/bin
# Files of tests side by side, on both cores of a small machine.
PARALLEL ?= -n 2 --dist loadfile

.PHONY: demo test test-compiled check install dev bench proto clean

# The product and its demo services, ready to run.
install: .venv/.installed
.venv/.installed: pyproject.toml
	@echo "installing into .venv; this takes a while, once"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[examples]'
	touch $@

# And all that proves it.
dev: .venv/.dev
.venv/.dev: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ .venv/.installed

demo: install
	@exec $(BIN)/asectl up --demo --port $(PORT)

test: dev
	$(BIN)/pytest $(PARALLEL)

# The same on the product as the bench and the image have it: its hot modules compiled. What derives
# from a class of theirs, as four files of tests of the core do, cannot run there; what tests parts
# that are not compiled need not.
test-compiled: dev
	folder=$$($(BIN)/python -m bench.product) && \
	ASE_COMPILED=1 PYTHONSAFEPATH=1 PYTHONPATH="$$folder:$(CURDIR)" $(BIN)/pytest $(PARALLEL) \
		tests/test_compiled.py tests/atom tests/config tests/gateway tests/lb tests/rpc tests/wire \
		--ignore=tests/rpc/test_calls.py --ignore=tests/rpc/test_connection.py \
		--ignore=tests/rpc/test_outbound.py --ignore=tests/rpc/test_streams.py \
		--ignore=tests/wire/test_trust.py --ignore=tests/wire/test_original.py \
		--ignore=tests/wire/test_orca.py --ignore=tests/wire/test_openapi.py \
		--ignore=tests/wire/test_clocks.py --ignore=tests/wire/test_session_soak.py \
		--ignore=tests/wire/test_proxies.py \
		--ignore=tests/gateway/test_files.py

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: dev
	$(BIN)/python -m bench

proto: dev
	$(BIN)/python -m schemas.build

clean:
	rm -rf .venv build *.egg-info
