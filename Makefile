# Two commands do everything: `make demo` and `make test`. Nothing is installed outside .venv.
PYTHON ?= python3
BIN := .venv/bin
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help reference demo test test-slow test-services test-containers test-cluster test-browser \
  chaos reliability audit lint types format lock ui install bench bench-peers

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-17s%s\n", $$1, $$2}' Makefile

demo: install ## the whole pipeline on the sample images
	$(BIN)/python -m pipeline demo

test: install ## all fast tests, a file at a time on each core; branch coverage of components/core
	$(BIN)/python -m pytest -m "not slow and not services and not containers and not cluster" -n logical \
	  --maxprocesses 8 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

test-slow: install ## tests that take minutes
	$(BIN)/python -m pytest -m slow --timeout 300 -n 2 --dist loadfile

test-services: install .tools/installed ## tests with PostgreSQL (from Debian if it is missing), S3, MLflow
	sh infra/install_postgres.sh
	$(BIN)/python -m pytest -m services --timeout 300

test-containers: install .tools/installed ## the image, and the pipeline in containers of it
	sh infra/install_docker.sh
	$(BIN)/python -m pytest -m containers

test-cluster: install ## the pipeline on the cluster that KUBECONFIG names: see tests/cluster/conftest.py
	$(BIN)/python -m pytest -m cluster -rs

test-browser: install .browser/installed ## the pages in Debian's Chromium: links, scripts, contrast, narrow and dark
	sh infra/install_chromium.sh
	rm -rf .browser/pages
	$(BIN)/python -m tests.browser.pages .browser/pages
	cd tests/browser && ../../.browser/bin/python -m pytest -q -c /dev/null --rootdir . --confcutdir . .

reliability: install ## docs/reliability.md, from rows, marks and the results of `pytest --record-rows`
	$(BIN)/python -m tests.faults.report

chaos: install ## whole runs, hurt at random: MINUTES=25, SEED= to repeat one
	$(BIN)/python -m tests.faults.chaos --minutes $${MINUTES:-25} $${SEED:+--seed $$SEED}

audit: install .tools/installed ## licenses, known advisories, bandit, hadolint, SBOM
	$(BIN)/python -m infra.audit

lint: install ## format, style and the contracts about imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: install ## mypy, strict
	$(BIN)/mypy

format: install ## write the code in its format, fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: install ## runs and model versions at http://127.0.0.1:5000, or PORT=5001
	@$(BIN)/python -m pipeline ui --port $${PORT:-5000}

bench: install ## docs/performance.md: this project beside a plain script and the limit in memory
	$(BIN)/python -m bench.suite
	$(BIN)/python -m bench.page

bench-peers: install .peers/installed ## the same, and timm; TIMM_TRAIN names its train.py
	$(BIN)/python -m bench.suite --peers $(if $(TIMM_TRAIN),--timm-train $(TIMM_TRAIN))
	$(BIN)/python -m bench.page

reference: install ## docs/reference, from the classes
	$(BIN)/python -m docs.reference.generate

lock: $(BIN)/uv ## resolve all packages anew
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --upgrade --quiet --custom-compile-command "make lock" -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra s3 --extra kubeflow --extra postgres --extra server \
	  --constraint requirements.lock --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --quiet --custom-compile-command "make lock" -o infra/image.lock
	$(BIN)/uv pip compile infra/tools.in --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --upgrade --quiet --custom-compile-command "make lock" -o infra/tools.lock
	$(BIN)/uv pip compile tests/browser/requirements.in --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --upgrade --quiet --custom-compile-command "make lock" -o tests/browser/requirements.lock
	$(BIN)/uv pip compile bench/peers.in --constraint requirements.lock --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --quiet --custom-compile-command "make lock" -o bench/peers.lock

install: .venv/installed ## packages of the lock and the project itself into .venv

# uv is pinned in the lock like everything else: take its lines from there.
$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; run: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	awk '/^uv==/ {take = 1} take {print} take && !/\\$$/ {exit}' requirements.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock

.venv/installed: requirements.lock | $(BIN)/uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --offline --no-deps --editable .
	@[ -e .git ] || git rev-parse --is-inside-work-tree >/dev/null 2>&1 || \
	  $(BIN)/dvc config --local core.no_scm true
	@touch $@

.browser/installed: tests/browser/requirements.lock | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .browser
	$(BIN)/uv pip sync --quiet --python .browser/bin/python --require-hashes tests/browser/requirements.lock
	@touch $@

.tools/installed: infra/tools.lock | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .tools
	$(BIN)/uv pip sync --quiet --python .tools/bin/python --require-hashes infra/tools.lock
	@touch $@

.peers/installed: bench/peers.lock | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .peers
	$(BIN)/uv pip sync --quiet --python .peers/bin/python --require-hashes --compile-bytecode bench/peers.lock
	@touch $@
