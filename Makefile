# Each target sets up everything that it needs. You need only Python 3.10 or newer, and make.
#   make demo     two completions, delivered by the emulator (or by the service, with YC_API_KEY and YC_FOLDER_ID)
#   make test     the tests, on the installed wheel
#   make check    format, lint, types, generated code; builds the packages and uses them
#   make bench    speed, compared with bare stubs and the official packages (make bench-quick: a part, in two minutes)
#   make frameworks  the examples under gunicorn, Celery, gevent and Jupyter, as real processes
#   make load     the asyncio service of the examples under 64 callers, with faults, for five minutes (DURATION=15: less)
#   make faults   every failure against every call, as a table, and outages in real time (QUICK=1: one short outage)
#   make fuzz     random answers and arguments, for a long time
#   make mutants  changes of yagrpc/_core that no test sees; takes hours (MODULES="send.py" SAMPLE=40: some)
#   make matrix   the wheel with every line of versions that it allows, and beside the official package (QUICK=1: few)
#   make ray      Completions on local clusters of Ray, Dask and Daft, with a process killed in the middle
#   make official our descriptors and our emulator, compared with the newest official packages
#   make upstream what was added, changed or removed in the newest official package
#   make live     contract tests with the real service; needs credentials
#   make gen      generates the packages from their protos again

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -I -m pip --quiet --disable-pip-version-check
PYTEST := $(BIN)/pytest
SOURCES := $(shell find yagrpc generated -name '*.py*' -not -name '*.pyc') pyproject.toml

.PHONY: demo test check bench bench-quick frameworks load faults fuzz mutants matrix ray official upstream live gen format clean

demo: $(VENV)/.installed
	$(BIN)/python examples/generate_deferred.py

# pytest, not python -m pytest: the latter would import this folder, and hide what is missing in the wheel.
test: $(VENV)/.installed $(VENV)/.tools
	YAGRPC_TEST_INSTALLED=1 $(PYTEST) -n 4 -m 'not slow and not live and not ray' --cov --cov-report=term $(ARGS)

check: $(VENV)/.installed $(VENV)/.tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/basedpyright
	PYTHON=$(PYTHON) scripts/gen.sh --check
	$(BIN)/python scripts/make_sync.py --check
	PYTHON=$(BIN)/python scripts/check-wheel.sh

bench: $(VENV)/.installed $(VENV)/.tools
	$(BIN)/python benchmarks/imports.py $(if $(QUICK),--quick)
	$(BIN)/python benchmarks/calls.py $(if $(QUICK),--quick)
	$(if $(QUICK),@echo "not run here: polling and delivery and the emulator and the generator and waiting and admission and REST and bulk runs and restarts",$(BIN)/python benchmarks/polling.py)
	$(if $(QUICK),,$(BIN)/python benchmarks/delivery.py)
	$(if $(QUICK),,$(BIN)/python benchmarks/emulator.py)
	$(if $(QUICK),,$(BIN)/python benchmarks/generation.py)
	$(if $(QUICK),,$(BIN)/python benchmarks/waiting.py)
	$(if $(QUICK),,$(BIN)/python benchmarks/rest.py)
	$(if $(QUICK),,$(BIN)/python benchmarks/admission.py)
	$(if $(QUICK),,$(BIN)/python benchmarks/bulk.py)
	$(if $(QUICK),,$(BIN)/python benchmarks/restarts.py)
	$(if $(QUICK),,$(BIN)/python benchmarks/waiting.py --draw docs/waiting.svg)
	$(if $(QUICK),,$(PYTEST) -m slow --no-cov tests/contract/test_limits.py)

bench-quick:
	$(MAKE) bench QUICK=1

frameworks: $(VENV)/.installed $(VENV)/.tools
	$(PIP) install --group frameworks
	$(PYTEST) --no-cov -rs tests/frameworks $(ARGS)

load: $(VENV)/.installed $(VENV)/.tools
	$(BIN)/python benchmarks/load.py $(if $(DURATION),--seconds $(DURATION))

faults: $(VENV)/.installed $(VENV)/.tools
	$(PYTEST) --no-cov tests/faults $(if $(QUICK),-m slow -k "killed_server and (sync-5 or aio-5)",-m "slow or not slow") $(ARGS)

fuzz: $(VENV)/.installed $(VENV)/.tools
	YAGRPC_FUZZ=$(or $(EXAMPLES),20000) $(PYTEST) --no-cov tests/faults/test_fuzz.py $(ARGS)

mutants: $(VENV)/.installed $(VENV)/.tools
	$(PIP) install --group mutants
	$(BIN)/python scripts/mutants.py $(if $(SAMPLE),--sample $(SAMPLE)) $(MODULES)

matrix: $(VENV)/.installed $(VENV)/.tools
	$(BIN)/python scripts/matrix.py $(if $(QUICK),--quick)
	$(PYTEST) -m slow --no-cov tests/isolation $(if $(QUICK),-k newest) $(ARGS)

ray: export YAGRPC_RAY_PYTHON = .venv-ray/bin/python
ray: $(VENV)/.installed $(VENV)/.tools
	$(PYTHON) -I -m venv .venv-ray
	$(PIP) --python .venv-ray/bin/python install --group engines '.[ray,redis]'
	$(PYTEST) -m ray --no-cov -rP tests/integrations/test_engines.py $(ARGS)

official: $(VENV)/.installed $(VENV)/.tools
	$(PYTEST) -m slow --no-cov tests/gen tests/official $(ARGS)

upstream:
	$(PYTHON) -I -m venv .venv-upstream
	.venv-upstream/bin/python -I -m pip install --quiet --disable-pip-version-check --upgrade yandexcloud
	.venv-upstream/bin/python scripts/upstream.py

live: $(VENV)/.installed $(VENV)/.tools
	$(PYTEST) -m live -rs -s --no-cov $(ARGS)

gen:
	PYTHON=$(PYTHON) scripts/gen.sh

format: $(VENV)/.tools
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-gen .venv-upstream .venv-ray .cache build dist .mypy_cache .pytest_cache .ruff_cache .coverage

$(VENV)/.created:
	$(PYTHON) -I -m venv $(VENV)
	$(PIP) install --upgrade pip
	touch $@

$(VENV)/.tools: $(VENV)/.created pyproject.toml
	$(PIP) install --group test --group check
	touch $@

$(VENV)/.installed: $(VENV)/.created $(SOURCES)
	$(PIP) install --force-reinstall --no-deps .
	$(PIP) install '.[auth,cli,codegen,emulator]'
	touch $@
