# Everything a person does here begins with `make`. It needs Python 3.11 or newer and installs the rest into the project:
# uv into .uv/ (unless one is on PATH), packages into .venv/. Stamps in .stamps/ remember what is done.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

STAMPS := .stamps
BIN := .venv/bin
PYTEST := $(BIN)/pytest
# Test files stay together, because they share servers; snapshots are compared and never written here.
EVERYTHING := -n auto --dist loadfile --inline-snapshot=disable --ignore tests/chaos
# Options for the command behind a target: make run ARGS="--port 9000", make test ARGS="-k traefik".
ARGS ?=

# What runs containers: make compose-test COMPOSE=podman-compose ENGINE=podman
COMPOSE ?= docker compose
ENGINE ?= docker

.PHONY: help run link test check mend bench e2e chaos contracts doctor clean compose-test

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST) | sort

run: $(STAMPS)/synced $(STAMPS)/chromium $(STAMPS)/bubblewrap  ## Run the whole product on this machine and print the link that signs you in
	@exec $(BIN)/stagedoor up $(ARGS)

link: $(STAMPS)/synced  ## Print a new link that signs you in, while `make run` runs
	@$(BIN)/stagedoor link $(ARGS)

doctor: $(STAMPS)/synced  ## Say what is missing on this machine, and how to mend it
	@$(BIN)/stagedoor doctor $(ARGS)

test: $(STAMPS)/synced $(STAMPS)/chromium $(STAMPS)/bubblewrap  ## Run every test but the benchmarks and the chaos; with ARGS those of pytest
	@status=0; \
	$(if $(ARGS),,$(BIN)/python hatch_build.py test || status=1;) \
	$(PYTEST) $(EVERYTHING) $(ARGS) || status=1; \
	exit $$status

e2e: $(STAMPS)/synced $(STAMPS)/chromium  ## Run the tests that drive the whole stack with a real browser
	$(PYTEST) tests/e2e $(ARGS)

bench: $(STAMPS)/synced $(STAMPS)/chromium  ## Measure ours beside peers and floors; ARGS="b3 b4" picks some
	@exec $(BIN)/python -m tests.bench $(ARGS)

chaos: $(STAMPS)/synced $(STAMPS)/chromium  ## Break everything on purpose and check every promise (docs/CHAOS.md)
	$(PYTEST) tests/chaos --verbose --durations 10 $(ARGS)

compose-test: $(STAMPS)/synced  ## Build the containers, run them, kill some and look into all of them
	STAGEDOOR_TEST_COMPOSE="$(COMPOSE)" STAGEDOOR_TEST_ENGINE="$(ENGINE)" $(PYTEST) tests/compose $(ARGS)

check: $(STAMPS)/synced  ## Check format, lint, import contracts, types and generated files, in under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m contracts.wiring.documents --check
	$(BIN)/python -m traefik --check
	$(BIN)/python hatch_build.py check

mend: $(STAMPS)/synced  ## Format, and mend what the linter can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python hatch_build.py mend

contracts: $(STAMPS)/synced  ## Write the generated files anew: OpenAPI, AsyncAPI, the page's types, Traefik's configuration
	$(BIN)/python -m contracts.wiring.documents
	$(BIN)/python hatch_build.py types
	$(BIN)/python -m traefik

clean:  ## Remove what make has installed and built; the data of `make run` stays in .stagedoor
	rm -rf .venv .uv $(STAMPS) dist experience/web/dist experience/web/generated experience/web/node_modules

# A shell line that runs the tests of a folder, or says that there are none yet and fails.
define run_if_there
if [ -d $(1) ]; then exec $(PYTEST) $(1) $(ARGS); else echo "There are no $(2) yet: $(1) does not exist."; exit 1; fi
endef

$(STAMPS)/uv: deploy/local/find-uv
	@mkdir -p $(STAMPS)
	@sh deploy/local/find-uv > $@

# The page is built by the sync, from these.
PAGE := $(shell find experience/web -name node_modules -prune -o -name dist -prune -o -name generated -prune -o -type f -print)

$(STAMPS)/synced: pyproject.toml uv.lock hatch_build.py $(PAGE) deploy/local/bring-packages $(STAMPS)/uv
	@sh deploy/local/bring-packages "$$(cat $(STAMPS)/uv)"
	@touch $@

$(STAMPS)/chromium: deploy/local/find-chromium $(STAMPS)/synced
	@sh deploy/local/find-chromium
	@touch $@

$(STAMPS)/bubblewrap: deploy/local/find-bubblewrap
	@mkdir -p $(STAMPS)
	@sh deploy/local/find-bubblewrap
	@touch $@
