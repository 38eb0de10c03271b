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
# Further arguments of the tests: make test-unit PYTEST_ARGS="-k budget"
PYTEST_ARGS ?=
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

.PHONY: setup setup-python setup-test setup-app setup-engine
setup: setup-python setup-app setup-engine ## Python, Node, npm packages, an engine and the base image
	@echo "==> Set up: $$($(BIN)/ansible --version | sed -n 1p), node $$($(BIN)/node --version)"

# All that a deploy needs on the controller. It makes sure of the engine itself, where the stack
# runs, so that --check can tell the truth about a host that has none.
setup-python: $(VENV)/deploy.stamp | $(COLLECTION)

setup-test: $(VENV)/test.stamp setup-python

setup-engine: setup-python
	docker image inspect "$$(cat .dev/base-image 2>/dev/null)" >/dev/null 2>&1 || $(PLAYBOOK) $(LOCAL) playbooks/setup.yml

# npm leaves this file behind when an installation is whole.
app/%/node_modules/.package-lock.json: app/%/package-lock.json $(VENV)/deploy.stamp
	@echo "==> npm packages of app/$*"
	cd app/$* && npm ci --no-progress
	touch node_modules/.package-lock.json

tests/%/node_modules/.package-lock.json: tests/%/package-lock.json $(VENV)/deploy.stamp
	@echo "==> npm packages of tests/$*"
	cd tests/$* && npm ci --no-progress
	touch node_modules/.package-lock.json

setup-app: app/api/node_modules/.package-lock.json app/frontend/node_modules/.package-lock.json

# -- the stack

.PHONY: deploy-local deploy-production check-health check-resources restart-services rollback-emergency releases monitor-deployment monitor-memory silence unlock backup restore maintenance destroy-local compose
deploy-local: setup-python ## Deploy the stack on this machine: http://localhost
	$(PLAYBOOK) $(LOCAL) deploy.yml $(ARGS)

deploy-production: setup-python ## Deploy the stack on the production hosts
	$(PLAYBOOK) -i inventories/production deploy.yml $(ARGS)

INVENTORY ?= inventories/local
# table or json: make -s check-resources OUTPUT=json | jq .
OUTPUT ?=
# The report alone goes to standard output, what failed to standard error.
REPORT := ANSIBLE_STDOUT_CALLBACK=sixty_sales.memory_optimized.report $(PLAYBOOK)
check-health: setup-python ## Is everything healthy and served? Non-zero when it is not
	@$(REPORT) -i $(INVENTORY) playbooks/check_health.yml $(if $(OUTPUT),-e output=$(OUTPUT)) $(ARGS)

check-resources: setup-python ## Memory of each container against its budget; non-zero over a threshold
	@$(REPORT) -i $(INVENTORY) playbooks/check_resources.yml $(if $(OUTPUT),-e output=$(OUTPUT)) $(ARGS)

monitor-memory: setup-python ## Memory of each container, live in a terminal until Ctrl-C
	@[ -t 1 ] && follow=true || follow=false
	$(REPORT) -i $(INVENTORY) playbooks/monitor_memory.yml -e monitor_memory_follow=$$follow $(if $(OUTPUT),-e output=$(OUTPUT)) $(ARGS)

# As they are, so that quotes and dollars in a comment survive.
silence: export SILENCE_ALERT = $(value ALERT)
silence: export SILENCE_SERVICE = $(value SERVICE)
silence: export SILENCE_FOR = $(value FOR)
silence: export SILENCE_COMMENT = $(value COMMENT)
silence: export SILENCE_EXPIRE = $(value EXPIRE)
silence: setup-python ## List silences, make one or end one: ALERT=HighMemoryUsage SERVICE=redis FOR=2h COMMENT="why", EXPIRE=<id>
	$(PLAYBOOK) -i $(INVENTORY) playbooks/silence.yml $(ARGS)

restart-services: setup-python ## Restart services one at a time: make restart-services SERVICES=redis,nginx
	$(PLAYBOOK) -i $(INVENTORY) playbooks/restart_services.yml $(if $(SERVICES),-e restart_services=$(SERVICES)) $(ARGS)

rollback-emergency: setup-python ## Back to the release before: make rollback-emergency [RELEASE=<id>]
	$(PLAYBOOK) -i $(INVENTORY) rollback.yml $(if $(RELEASE),-e release_id=$(RELEASE)) $(ARGS)

releases: setup-python ## The releases that are kept, and what became of them
	$(PLAYBOOK) -i $(INVENTORY) playbooks/releases.yml $(ARGS)

monitor-deployment: setup-python ## Follow a deploy that is under way, from another terminal
	$(PLAYBOOK) -i $(INVENTORY) playbooks/monitor_deployment.yml $(ARGS)

unlock: setup-python ## Show who deploys, and remove the lock of one that is gone
	$(PLAYBOOK) -i $(INVENTORY) playbooks/unlock.yml $(ARGS)

backup: setup-python ## Dump the database now
	$(PLAYBOOK) -i $(INVENTORY) playbooks/backup.yml $(ARGS)

restore: setup-python ## Put a dump back: make restore [FROM=<release id or path>]
	$(PLAYBOOK) -i $(INVENTORY) playbooks/restore.yml $(if $(FROM),-e restore_from=$(FROM)) $(ARGS)

maintenance: setup-python ## Close the site with a page that says so, or open it: make maintenance STATE=on|off
	$(PLAYBOOK) -i $(INVENTORY) playbooks/maintenance.yml -e maintenance=$(STATE) $(ARGS)

destroy-local: setup-python ## Remove the local stack; the database only with PURGE=1
	$(PLAYBOOK) $(LOCAL) playbooks/destroy.yml -e docker_host_purge=$(if $(filter 1,$(PURGE)),true,false) $(ARGS)

compose: setup-python ## Render docker-compose.memory-optimized.yml from the same data
	$(PLAYBOOK) $(LOCAL) playbooks/compose.yml $(ARGS)

# -- quality

.PHONY: benchmark-deploy benchmark-switch benchmark-monitor benchmark-footprint images lint test test-unit test-api test-frontend test-integration test-switch test-release test-eda test-alerts test-recovery test-molecule test-browser test-archive test-fresh test-fresh-sudo dashboards docs
lint: setup-test setup-app tests/browser/node_modules/.package-lock.json ## All linters
	bash tests/lint.sh

test-unit: setup-test ## Pure functions, in seconds
	cd $(COLLECTION) && PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/unit -q -n 4 $(PYTEST_ARGS)

images: setup-python
	$(PLAYBOOK) $(LOCAL) tests/images.yml $(ARGS)

test-api: setup-app images ## The API against real PostgreSQL and Redis
	bash tests/api.sh

test-frontend: setup-app ## The frontend's components
	cd app/frontend && npm test --silent

# No test of this is about the three minutes that a first release is watched.
test-integration: ARGS += -e release_watch_seconds=10
test-integration: deploy-local images setup-test tests/dashboards/node_modules/.package-lock.json ## The running stack, and every refusal
	set -a; . .dev/images.env; set +a
	cd $(COLLECTION) && PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/integration -q -m "not slow" $(PYTEST_ARGS)

test-eda: setup-python images ## Automatic rollback after the deploy, with a real Alertmanager
	bash tests/eda.sh $(PYTEST_ARGS)

test-alerts: setup-test images ## From a container's memory to the message, with real receivers: half an hour
	set -a; . .dev/images.env; set +a
	cd $(COLLECTION) && PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/alerts -q -s $(PYTEST_ARGS)

test-recovery: deploy-local images setup-test ## What breaks comes back; it restarts the container engine
	set -a; . .dev/images.env; set +a
	cd $(COLLECTION) && SIXTY_TEST_ENGINE_RESTART=1 PYTHONPATH=$(CURDIR)/.dev/collections \
	  $(CURDIR)/$(BIN)/python -m pytest tests/integration/test_under_load.py tests/integration/test_engine_restart.py -q -s

# What every change has to pass of the tests of releases, under a minute; the others take half an hour.
test-switch: deploy-local images setup-test ## No request lost in a few switches
	set -a; . .dev/images.env; set +a
	cd $(COLLECTION) && PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/release -q -m quick $(PYTEST_ARGS)

test-release: deploy-local images setup-test ## Zero loss, bad releases, crashes, innocent neighbours: all of it
	set -a; . .dev/images.env; set +a
	cd $(COLLECTION) && PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/release -q -s $(PYTEST_ARGS)
	PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/integration -q -m slow $(PYTEST_ARGS)

test-molecule: setup-test images ## Each role on a host of its own
	bash tests/molecule.sh

docs: setup ## Write the role READMEs and the README's budget table
	$(BIN)/python scripts/docs.py

benchmark-deploy: setup ## Time of a deploy that has nothing to do, against one task a file
	$(BIN)/python benchmarks/no_change_deploy/run.py $(ARGS)

benchmark-switch: setup images ## What a change of the release costs, as a client sees it; Compose and Swarm beside it
	set -a; . .dev/images.env; set +a
	$(BIN)/python benchmarks/switch/run.py $(ARGS)

test-browser: images tests/browser/node_modules/.package-lock.json ## The Memory Monitor's page in a real browser
	bash tests/browser.sh

dashboards: setup-test ## Write Grafana's dashboards from their code
	$(BIN)/python scripts/dashboards/build.py

benchmark-monitor: setup-python images ## The Memory Monitor with 12 to 100 containers: memory, time of a scrape, 100,000 scrapes
	$(BIN)/python benchmarks/memory_monitor/run.py $(ARGS)

benchmark-footprint: setup-python ## What the watching of the deployed stack takes: ARGS="--window 1h"
	$(BIN)/python benchmarks/footprint/run.py $(ARGS)

test-archive: setup-test ## The Galaxy archive, built, installed and deployed from
	bash tests/archive.sh

test-fresh: setup-test images ## The README's first command on a bare Debian 12 machine
	bash tests/fresh_machine.sh bookworm root

test-fresh-sudo: setup-test images ## The same on Debian 13, by a user with sudo
	bash tests/fresh_machine.sh trixie deployer

test: lint test-unit test-frontend test-api test-integration test-browser test-switch test-archive test-fresh test-molecule ## Everything that CI runs
	@echo "==> All tests passed"
