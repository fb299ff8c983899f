# Everything here sets up .venv by itself (Python 3.10 or newer is all that is needed) and reuses
# it afterwards. PYTEST_ARGS adds options to the tests, as in: make test PYTEST_ARGS="-x -k engine"

VENV := .venv/bin
PYTEST := $(VENV)/python -m pytest
PYTEST_ARGS ?=
WORKERS ?= auto
PEER_MODELS ?= .cache/peer

.PHONY: help demo test test-all conformance conformance-peer lint format clean

help:
	@echo "make demo         read a scanned page: compile two trained networks, run them simulated"
	@echo "make test         the quick tests"
	@echo "make test-all     also whole networks, long sweeps and fuzzing"
	@echo "make conformance  against the chip maker's C-model (downloads its libraries)"
	@echo "make conformance-peer  the same for BModels of the chip maker's compiler"
	@echo "make lint         ruff, pyright, import rules"

demo:
	@tools/setup_venv.sh demo
	@$(VENV)/python demo/read_page.py

test:
	@tools/setup_venv.sh test
	@$(PYTEST) -m "not slow and not cmodel" -n $(WORKERS) $(PYTEST_ARGS)

test-all:
	@tools/setup_venv.sh test
	@$(PYTEST) -m "not cmodel" -n $(WORKERS) $(PYTEST_ARGS)

conformance:
	@tools/setup_venv.sh test
	@libs=$$($(VENV)/python tools/fetch_cmodel.py) && \
		NNTC_CMODEL_LIBS=$$libs $(PYTEST) -m cmodel -rs -n $(WORKERS) $(PYTEST_ARGS)

conformance-peer:
	@tools/setup_venv.sh test
	@libs=$$($(VENV)/python tools/fetch_cmodel.py) && \
		$(VENV)/python -m tests.conformance.peer $(PEER_MODELS) && \
		NNTC_CMODEL_LIBS=$$libs NNTC_CONFORMANCE_BMODELS=$(PEER_MODELS) \
		$(PYTEST) tests/conformance/test_bmodels.py -m cmodel -n $(WORKERS) $(PYTEST_ARGS)

lint:
	@tools/setup_venv.sh test,dev
	@$(VENV)/ruff check
	@$(VENV)/ruff format --check
	@$(VENV)/pyright --pythonpath $(VENV)/python
	@$(VENV)/lint-imports

format:
	@tools/setup_venv.sh test,dev
	@$(VENV)/ruff check --fix
	@$(VENV)/ruff format

clean:
	rm -rf .venv .cache build dist
