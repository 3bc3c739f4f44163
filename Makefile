# Latchkey. `make help` lists what there is; everything else works from a fresh clone.
SHELL := /bin/sh
.DEFAULT_GOAL := help
READY := .venv/.ready
RUN := .venv/bin/python -m
STACK := $(RUN) infra.local

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the virtual environment ------------------------------------------------------------------------------

$(READY): pyproject.toml uv.lock infra/local/venv.sh
	@sh infra/local/venv.sh
	@touch $@

.PHONY: venv
venv: $(READY) ## Make .venv (with uv, fetched when missing)

# --- the native stack -------------------------------------------------------------------------------------

.PHONY: up down status logs restart token
up: $(READY) ## Start the whole stack natively [INFERENCE=2] [SIMULATOR=1] [SERVERS_ONLY=1]
	@$(STACK) up $(if $(INFERENCE),--inference $(INFERENCE)) $(if $(SERVERS_ONLY),--servers-only) \
	  $(if $(SIMULATOR),$(if $(filter 0 no,$(SIMULATOR)),--no-simulator,--simulator))

down: $(READY) ## Stop the stack; its data stays
	@$(STACK) down

status: $(READY) ## Show what runs and how much memory it takes
	@$(STACK) status

logs: $(READY) ## Show the logs [SERVICE=inference]
	@$(STACK) logs $(SERVICE)

restart: $(READY) ## Restart one part: SERVICE=inference
	@$(STACK) restart $(or $(SERVICE),$(error say which: make restart SERVICE=inference))

token: $(READY) ## Mint an API token: USER=carol [ROLE=admin]
	@.venv/bin/latchkey token --user $(if $(filter command%,$(origin USER)),$(USER),$(error say whose: make token USER=carol)) \
	  $(if $(ROLE),--role $(ROLE))
