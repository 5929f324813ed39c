# One verb per need; `make` alone prints the list. Everything is installed into .venv from requirements.lock.
# The data path is compiled where there is a C compiler (30 s, again when its sources change); with SIDECAR_COMPILE=0 the
# sources run as they stand, with SIDECAR_COMPILE=1 a machine that cannot compile is an error.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
DEPENDENCIES := $(VENV)/.dependencies
PLAIN := $(filter 0,$(SIDECAR_COMPILE))
INSTALLED := $(VENV)/.installed-$(or $(SIDECAR_COMPILE),as-it-can)
COMPILED := $(if $(PLAIN),,$(shell sed -n 's/^    "\(sidecar.*\.py\)",$$/\1/p' pyproject.toml))

.PHONY: help setup run test itest check fix proto fuzz sim surge soak bench guard micro peers lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  \1\t\2/' | expand -t 12

setup: $(INSTALLED) ## environment with locked development dependencies, and the data path compiled

$(DEPENDENCIES): requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: none of python3, python3.11-3.13 is" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(INSTALLED): $(DEPENDENCIES) pyproject.toml hatch_build.py proto/generate.py $(wildcard proto/llmsidecar/v1/*.proto) $(COMPILED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@test -n "$(PLAIN)" || ls sidecar__mypyc*.so >/dev/null 2>&1 || \
		echo "the data path runs as plain Python, at half the speed: make setup SIDECAR_COMPILE=1 says why it is not compiled" >&2
	@rm -f $(VENV)/.installed*
	@touch $@

run: setup ## the demo; with CONFIG=FILE the daemon
	@exec $(if $(CONFIG),$(BIN)/sidecar run --config $(CONFIG),$(BIN)/sidecar demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS)))

test: setup ## every test that needs only PyPI
	@$(BIN)/python -m pytest -q -m "not itest" $(ARGS)

itest: setup ## tests against real peers: grpcurl, Jaeger, Prometheus, Grafana's schema, llama-server, Node, Chromium; a missing one skips with its reason
	@$(BIN)/python -m pytest -q -m itest $(ARGS)

fuzz: setup ## fuzz every parser, FUZZ_SECONDS (60) each; findings are kept and replayed by make test
	@$(BIN)/python -m tests.fuzz --seconds $(or $(FUZZ_SECONDS),60) $(ARGS)

sim: setup ## hours of surges in invented time: the real core before a modelled GPU
	@$(BIN)/python -m bench.sim $(ARGS)

surge: setup ## the surge with real daemons and sockets, with a picture in build/surge.svg
	@$(BIN)/python -m bench.surge --picture build/surge.svg $(ARGS)

soak: setup ## minutes (SOAK_MINUTES, 10) of broken traffic; all must be back where it was
	@$(BIN)/python -m bench.soak $(ARGS)

bench: setup ## speed and size beside nginx, HAProxy, Envoy and LiteLLM, 15 minutes; QUICK=1: 3 minutes, nothing kept
	@$(BIN)/python -m bench.load $(if $(QUICK),--quick,--into bench/results/$$(date +%F)-bench) $(ARGS)

guard: setup ## what a start, a request and a chunk cost in counts no machine's mood changes, beside what was kept
	@$(BIN)/python -m bench.guard $(ARGS)

micro: setup ## what the data path costs in Python alone
	@$(BIN)/python -m bench.micro $(ARGS)

peers: setup ## build and install the real peers of itest
	@$(BIN)/python -m tests.itest.peers

check: setup ## format, lint, strict types, import directions, schema; changes nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports
	@$(BIN)/python proto/check.py

fix: setup ## format and autofix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

proto: setup ## generate the Python of the schema into build/proto, and docs/configuration.md
	@$(BIN)/python proto/generate.py build/proto
	@$(BIN)/python proto/reference.py docs/configuration.md

lock: ## pin every dependency with hashes (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group dev --extra cli --extra client pyproject.toml -o requirements.lock

clean: ## remove what the other targets made
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -f *.so
	find sidecar -name '*.so' -delete
