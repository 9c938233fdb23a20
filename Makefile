# Everything a person does here; `make help` prints the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
BESIDE := .venv-bench
URL    ?= http://127.0.0.1:8114

.DEFAULT_GOAL := help
.PHONY: help run stack test faults soak canaries lint format bench corpus profile replay redact docs lock clean

help:  ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp  ## Set up and serve on 127.0.0.1:8114 (settings: docs/settings.md)
	@$(BIN)/python -m app.settings && exec $(BIN)/gunicorn --config gunicorn.conf.py wsgi:app

stack: $(VENV)/run.stamp  ## Serve with Redis and Prometheus (Debian's packages) beside it (docs/deploy.md)
	@exec $(BIN)/python deploy/stack.py $(ARGS)

test: $(VENV)/dev.stamp  ## Set up and run every test
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadgroup $(ARGS)

faults: $(VENV)/dev.stamp  ## Break it on a large scale: 500 kills, 10,000 traced answers (FAULTS_SEED=n repeats one)
	@FAULTS_KILLS=$${FAULTS_KILLS:-500} FAULTS_ORDERED_REQUESTS=$${FAULTS_ORDERED_REQUESTS:-10000} \
		FAULTS_PARTIAL_REFUSALS=$${FAULTS_PARTIAL_REFUSALS:-10000} \
		$(BIN)/python -m pytest -s tests/faults --deselect tests/faults/test_soak.py $(ARGS)

soak: $(VENV)/dev.stamp  ## Ten minutes at 500 events/s with a worker recycled each minute
	@FAULTS_SOAK_S=$${FAULTS_SOAK_S:-600} $(BIN)/python -m pytest -s tests/faults/test_soak.py $(ARGS)

canaries: $(VENV)/dev.stamp  ## Plant 1,000,000 personal values in what is redacted, 10,000 in a running service
	@REDACTION_EXAMPLES=$${REDACTION_EXAMPLES:-1000000} CANARIES_END_TO_END=$${CANARIES_END_TO_END:-10000} \
		$(BIN)/python -m pytest -s tests/unit/test_redaction_properties.py tests/contract/test_canaries.py $(ARGS)

lint: $(VENV)/dev.stamp  ## ruff, mypy (strict on app/) and the import laws
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/unit/test_architecture.py

format: $(VENV)/dev.stamp  ## Put the code into the project's format
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: $(VENV)/dev.stamp $(BESIDE)/bench.stamp  ## Measure the service beside a floor, redaction beside Presidio (docs/performance.md)
	@$(BIN)/python -m tests.bench $(ARGS)

corpus: $(VENV)/dev.stamp  ## Judge redaction on a labelled corpus (ARGS="--seed 2 --misses 20", or --data FILE.jsonl)
	@$(BIN)/python -m tests.corpus $(ARGS)

profile: $(VENV)/dev.stamp  ## Say where the time of one row of the benchmark goes (ARGS="--row log")
	@$(BIN)/python -m tests.bench.profile $(ARGS)

replay: $(VENV)/run.stamp  ## Play FILE=rows.jsonl through a running service (URL=http://127.0.0.1:8114)
	@test -n "$(FILE)" || { echo "make replay FILE=rows.jsonl [URL=$(URL)]" >&2; exit 2; }
	@$(BIN)/python -m app.replay --url "$(URL)" "$(FILE)"

# No FILE is standard input. Who stops reading early (| head) has what he wanted: 141 is no error here.
redact: $(VENV)/run.stamp  ## Clean FILE=rows.jsonl (or a pipe) onto stdout (ARGS=--help lists more)
	@$(BIN)/python -m app.clean $(ARGS) $(if $(FILE),-- "$(FILE)") || { code=$$?; test $$code -eq 141 || exit $$code; }

docs: $(VENV)/run.stamp  ## Write docs/settings.md and docs/metrics.md anew from the code
	@$(BIN)/python -m app.docs

lock: $(VENV)/dev.stamp  ## Resolve pyproject.toml into the three requirements files
	@$(PIP) install uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --upgrade pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --constraint requirements.txt --extra dev pyproject.toml -o requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --constraint requirements.txt --constraint requirements-dev.txt \
		--group bench -o requirements-bench.txt

clean:  ## Remove what `make` made here (not var/, which holds your data)
	rm -rf $(VENV) $(BESIDE) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) >&2 || { rm -rf $(VENV); echo "Python's venv module is needed (Debian: apt-get install python3-venv)" >&2; exit 1; }

$(VENV)/run.stamp: requirements.txt | $(BIN)/python
	@echo "installing the pinned requirements into $(VENV) ..." >&2
	@$(PIP) install --require-hashes -r requirements.txt >&2
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/run.stamp
	@echo "installing the pinned development tools into $(VENV) ..." >&2
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

# What redaction is compared with. Where it cannot be installed, the benchmark goes without, and says so.
$(BESIDE)/bench.stamp: requirements-bench.txt | $(BIN)/python
	@echo "installing Presidio, to compare with, into $(BESIDE) ..." >&2
	@{ $(BIN)/python -m venv $(BESIDE) \
		&& $(BESIDE)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements-bench.txt \
		&& touch $@; } || echo "Presidio could not be installed; the benchmark goes without it" >&2
