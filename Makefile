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

.PHONY: up down status logs restart stop token revoke-key
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

stop: $(READY) ## Stop one part until it is restarted: SERVICE=vault
	@$(STACK) stop $(or $(SERVICE),$(error say which: make stop SERVICE=vault))

token: $(READY) ## Mint an API token: USER=carol [ROLE=admin]
	@.venv/bin/latchkey token --user $(if $(filter command%,$(origin USER)),$(USER),$(error say whose: make token USER=carol)) \
	  $(if $(ROLE),--role $(ROLE))

revoke-key: $(READY) ## Destroy a user's stored keys: USER=carol [SERVICE=openai]
	@.venv/bin/latchkey revoke-key --user $(if $(filter command%,$(origin USER)),$(USER),$(error say whose: make revoke-key USER=carol)) \
	  $(if $(SERVICE),--service $(SERVICE))

# --- the demo ---------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(READY) ## Tell the whole story, on the stack that runs or on one of its own
	@$(RUN) infra.demo

# --- tests ------------------------------------------------------------------------------------------------

.PHONY: check test clients fuzz chaos cluster bench
check: $(READY) ## Lint, format, types, architecture
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

# Three processes also where there are two cores: a third of the tests' time is waiting (for leases, deadlines, restarts).
test: $(READY) ## All tests but the long ones [ARGS="tests/unit -k money"]
	@$(RUN) pytest -m "not clients and not fuzz and not chaos and not cluster and not bench" --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

clients: $(READY) ## Try other people's clients: openai and ai for Node, langchain-openai, litellm
	@$(RUN) pytest -m clients $(ARGS)

fuzz: $(READY) ## Send what schemathesis makes of the API's description [CASES=40]
	@$(if $(CASES),CASES=$(CASES)) $(RUN) pytest -m fuzz -s $(ARGS)

chaos: $(READY) ## Kill, freeze and restart everything under load [ONLY=rabbitmq] [SEED=7]
	@$(if $(SEED),SEED=$(SEED)) $(RUN) pytest -m chaos -s $(if $(ONLY),-k $(ONLY)) $(ARGS)

cluster: $(READY) ## Lose nodes of a RabbitMQ cluster (4 or newer) under load [RABBITMQ_SERVER=script] [SEED=7]
	@$(foreach name,RABBITMQ_SERVER SEED,$(if $($(name)),$(name)=$($(name)))) $(RUN) pytest -m cluster -s $(ARGS)

bench: $(READY) ## Print runs/s, latencies and CPU per run [ONLY=versus, beside other gateways: INFERENCE=1 SLICE_S=2.5 ROUNDS=3]
	@$(foreach name,INFERENCE SLICE_S ROUNDS,$(if $($(name)),$(name)=$($(name)))) $(RUN) pytest -m bench -s $(if $(ONLY),-k $(ONLY)) $(ARGS)

.PHONY: contracts
contracts: $(READY) ## Write docs/contracts anew, from the code
	@$(RUN) infra.contracts

# --- docker compose ---------------------------------------------------------------------------------------

.PHONY: compose-up compose-down compose-test
compose-up: ## Start the whole stack in Docker
	@docker compose up --detach --build --wait

compose-down: ## Stop it; its volumes stay
	@docker compose down

compose-test: $(READY) ## Build, start, tell the demo's story on it, remove everything
	@$(RUN) infra.docker.compose_test
