.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE_DIRS := deploy/devnet deploy/wallet
# Node and npm come with the environment; nothing that is installed elsewhere is used.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1
# The commands start child processes after gRPC; its fork handlers are of no use to them.
export GRPC_ENABLE_FORK_SUPPORT := 0

.PHONY: help
help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: requirements.txt
	@echo "setup: Python packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@python -m pip install -qq --disable-pip-version-check --require-hashes --requirement requirements.txt
	@printf '%s\n%s\n' "$(CURDIR)" "$(CURDIR)/gen" \
		> "$$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/bithedge.pth"
	@touch $@

%/node_modules/.ready: %/package-lock.json $(VENV)/.ready
	@echo "setup: Node packages into $*/node_modules"
	@cd $* && npm ci --loglevel=error --no-audit --no-fund
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready $(NODE_DIRS:%=%/node_modules/.ready) ## Install everything below this folder; nothing when up to date

.PHONY: demo
demo: setup ## Run the main job from nothing: the crash of March 2020, eight policies, books that agree
	@python -m deploy.demo

.PHONY: up
up: setup ## Start the whole product as processes of this machine and wait until it serves
	@python -m cli up

.PHONY: down
down: setup ## Stop what `make up` started; the state stays in .state/
	@python -m cli down

.PHONY: test
test: setup ## Run every test
	@python -m pytest

.PHONY: bench
bench: setup ## Measure every figure beside its yardstick, into build/bench.json; under 25 minutes
	@python -m tests.bench

.PHONY: bench-full
bench-full: setup ## The same with the long rows, and more samples of each
	@python -m tests.bench --full

.PHONY: fuzz-codec
fuzz-codec: setup ## Feed the Stacks codec 100,000 damaged inputs
	@python -m tests.fuzz.codec --inputs 100000

# The seed is new each time unless given: make fuzz-contracts SEED=7 CALLS=200000
.PHONY: fuzz-contracts
fuzz-contracts: setup ## Random calls of every contract function by everybody, until a rule breaks or CALLS are made
	@python -m tests.contracts.fuzz --calls $(or $(CALLS),50000) $(if $(SEED),--seed $(SEED))

.PHONY: scan-secrets
scan-secrets: setup ## Play the demo, then search every log and database for key material
	@python -m tests.secret_scan

.PHONY: check
check: setup ## Lint, types, import rules, protobuf rules, generated code
	@ruff check .
	@ruff format --check --quiet .
	@mypy
	@lint-imports --no-cache
	@buf lint proto
	@tests/style/generated_code_is_current.sh

.PHONY: backtest
backtest: setup ## Replay daily prices through the product's rules: what providers would have earned (PRICES=FILE SEED=N)
	@python -m backtest --seed $(or $(SEED),1) $(if $(PRICES),--prices "$(PRICES)")

.PHONY: proto
proto: setup ## Generate gen/ from proto/
	@buf format -w proto
	@deploy/generate_code.sh gen

.PHONY: lock
lock: setup ## Lock the Python packages of pyproject.toml anew, with hashes and without addresses
	@python -m uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --extra development \
		--no-emit-index-url --no-emit-find-links --no-header pyproject.toml --output-file requirements.txt

.PHONY: chaos
chaos: setup ## Play the chain gateway under fire: a thousand intents, with three seeds
	@for seed in 1 2 3; do python -m tests.chaos.gateway --intents 1000 --seed $$seed; done
