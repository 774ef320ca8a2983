# Curlew's commands. `make run` and `make test` set up what they need.
.DEFAULT_GOAL := help
.PHONY: help run test lint format lock messages settings bench clean

# Compiling our modules anew at every start takes longer than the start.
unexport PYTHONDONTWRITEBYTECODE

PY := .venv/bin/python
# Two workers on two cores; a file's tests stay together, so that its server starts once.
PYTEST_FLAGS ?= -n 2 --dist loadfile
# `make lock LOCK_FLAGS=` keeps every version that still fits.
LOCK_FLAGS ?= --upgrade
COMPILE = .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 $(LOCK_FLAGS)

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 18

run: ## set up, serve on http://127.0.0.1:5000 (HOST, PORT)
	@scripts/setup run
	@exec .venv/bin/gunicorn

test: ## set up and run every test (ARGS="tests/unit -k name" narrows it)
	@scripts/setup dev
	@# Compiled once here, not by every worker and server at the same time.
	@$(PY) -c "import backtesting; backtesting.warm_up()"
	@exec $(PY) -m pytest $(PYTEST_FLAGS) $(ARGS)

lint: ## style, types, templates and scripts
	@scripts/setup dev
	@exec scripts/lint

format: ## format the Python files
	@scripts/setup dev
	@.venv/bin/ruff check --fix-only --quiet . && .venv/bin/ruff format .

lock: ## renew the locked requirements
	@scripts/setup dev
	$(COMPILE) requirements/setup.in -o requirements/setup.txt
	$(COMPILE) requirements/node.in -o requirements/node.txt
	$(COMPILE) requirements/run.in -o requirements/run.txt
	$(COMPILE) -c requirements/run.txt requirements/dev.in -o requirements/dev.txt
	$(COMPILE) requirements/bench.in -o requirements/bench.txt
	$(if $(LOCK_FLAGS),rm -f package-lock.json)
	PATH="$$PATH:$(CURDIR)/.venv/bin" npm install --package-lock-only --ignore-scripts --no-audit --no-fund

messages: ## collect the words that people read into translations/messages.pot
	@scripts/setup dev
	@mkdir -p translations
	@.venv/bin/pybabel -q extract -F babel.cfg -k _l -k N_ -k lazy_gettext -k t -c NOTE: --no-location --omit-header \
		-o translations/messages.pot .

settings: ## write .env.example and docs/settings.md from config.py
	@scripts/setup run
	@$(PY) scripts/settings_docs.py

bench: ## measure against the peers, side by side in one run
	@scripts/setup bench
	@exec $(PY) benchmarks/run.py $(ARGS)

clean: ## remove everything that set-up made (your data in instance/ stays)
	rm -rf .venv .bench-venv node_modules static/vendor .pytest_cache .mypy_cache .ruff_cache .hypothesis test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
