# Every target sets up what it needs. `make help` lists what a person calls.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

VENV := .dev/venv
BIN := $(VENV)/bin
PLAYBOOK := $(BIN)/ansible-playbook
LOCAL := -i inventories/local
# Further arguments: make deploy-local ARGS="--check --diff"
ARGS ?=
export PATH := $(CURDIR)/$(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 24

# -- set-up

$(VENV)/deploy.stamp: requirements/deploy.txt
	@echo "==> Python packages for a deploy, about half a minute"
	python3 scripts/check_python.py
	[ -x $(BIN)/python ] || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/deploy.txt
	touch $@

$(VENV)/test.stamp: requirements/test.txt $(VENV)/deploy.stamp
	@echo "==> Python packages for the tests, about half a minute"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/test.txt
	touch $@

COLLECTION := .dev/collections/ansible_collections/sixty_sales/memory_optimized
$(COLLECTION):
	mkdir -p $(dir $@)
	ln -sfn ../../../.. $@

.PHONY: setup setup-test setup-app engine
setup: $(VENV)/deploy.stamp | $(COLLECTION) ## Install what a deploy needs on this machine
	@echo "==> Set up: $$($(BIN)/ansible --version | head -1), node $$($(BIN)/node --version)"

setup-test: $(VENV)/test.stamp setup

engine: setup ## Make sure that a container engine answers on this machine
	$(PLAYBOOK) $(LOCAL) playbooks/setup.yml $(ARGS)

# npm leaves this file behind when an installation is whole.
app/%/node_modules/.package-lock.json: app/%/package-lock.json $(VENV)/deploy.stamp
	@echo "==> npm packages of app/$*"
	cd app/$* && npm ci --no-progress
	touch node_modules/.package-lock.json

setup-app: app/api/node_modules/.package-lock.json app/frontend/node_modules/.package-lock.json

# -- the stack

.PHONY: deploy-local deploy-production check-health check-resources restart-services destroy-local compose
deploy-local: setup ## Deploy the stack on this machine: http://localhost
	$(PLAYBOOK) $(LOCAL) deploy.yml $(ARGS)

deploy-production: setup ## Deploy the stack on the production hosts
	$(PLAYBOOK) -i inventories/production deploy.yml $(ARGS)

INVENTORY ?= inventories/local
check-health: setup ## Is everything healthy and served? Non-zero when it is not
	$(PLAYBOOK) -i $(INVENTORY) playbooks/check_health.yml $(ARGS)

check-resources: setup ## Memory of each container against its budget; non-zero over a threshold
	$(PLAYBOOK) -i $(INVENTORY) playbooks/check_resources.yml $(ARGS)

restart-services: setup ## Restart services one at a time: make restart-services SERVICES=redis,nginx
	$(PLAYBOOK) -i $(INVENTORY) playbooks/restart_services.yml $(if $(SERVICES),-e restart_services=$(SERVICES)) $(ARGS)

destroy-local: setup ## Remove the local stack; the database only with PURGE=1
	$(PLAYBOOK) $(LOCAL) playbooks/destroy.yml -e docker_host_purge=$(if $(filter 1,$(PURGE)),true,false) $(ARGS)

compose: setup ## Render docker-compose.memory-optimized.yml from the same data
	$(PLAYBOOK) $(LOCAL) playbooks/compose.yml $(ARGS)

# -- quality

.PHONY: images lint test test-unit test-api test-frontend test-integration test-molecule docs
lint: setup-test setup-app ## All linters
	bash tests/lint.sh

test-unit: setup-test ## Pure functions, in seconds
	cd $(COLLECTION) && PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/unit -q $(ARGS)

images: setup
	$(PLAYBOOK) $(LOCAL) tests/images.yml $(ARGS)

test-api: setup-app images ## The API against real PostgreSQL and Redis
	bash tests/api.sh

test-frontend: setup-app ## The frontend's components
	cd app/frontend && npm test --silent

test-integration: deploy-local images setup-test ## The running stack, and every refusal
	set -a; . .dev/images.env; set +a
	cd $(COLLECTION) && PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/integration -q $(ARGS)

test-molecule: setup-test engine ## Each role on a host of its own
	bash tests/molecule.sh

test: lint test-unit test-frontend test-api test-integration test-molecule ## Everything that CI runs
	@echo "==> All tests passed"
