.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE_DIRS := deploy/devnet deploy/wallet

.PHONY: help
help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.python-ready: requirements.txt
	@echo "setup: Python packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement requirements.txt
	@printf '%s\n%s\n' "$(CURDIR)" "$(CURDIR)/gen" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/bithedge.pth"
	@touch $@

%/node_modules/.ready: %/package-lock.json $(VENV)/.python-ready
	@echo "setup: Node packages into $*"
	@cd $* && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --no-audit --no-fund
	@touch $@

.PHONY: setup
setup: $(VENV)/.python-ready $(NODE_DIRS:%=%/node_modules/.ready) ## Install everything below this folder; does nothing when up to date
