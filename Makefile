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
# The lines of a watch appear when they are said, in a pipe and in the log of a CI job too.
export PYTHONUNBUFFERED := 1

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

$(VENV)/performance.stamp: requirements/performance.txt $(VENV)/deploy.stamp
	@echo "==> Python packages for charts, about half a minute"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/performance.txt
	touch $@

COLLECTION := .dev/collections/ansible_collections/sixty_sales/memory_optimized
$(COLLECTION):
	mkdir -p $(dir $@)
	ln -sfn ../../../.. $@

.PHONY: setup setup-python setup-test setup-performance setup-app setup-engine
setup: setup-test setup-app setup-engine ## Python, Node, npm packages, an engine and the base image
	@echo "==> Set up: $$($(BIN)/ansible --version | sed -n 1p), node $$($(BIN)/node --version)"

# All that a deploy needs on the controller. It makes sure of the engine itself, where the stack
# runs, so that --check can tell the truth about a host that has none.
setup-python: $(VENV)/deploy.stamp | $(COLLECTION)

setup-test: $(VENV)/test.stamp setup-python

setup-performance: $(VENV)/performance.stamp setup-test

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

backup: setup-python ## Back the database up now, restored elsewhere and compared
	$(PLAYBOOK) -i $(INVENTORY) playbooks/backup.yml $(ARGS)

restore: setup-python ## Put a dump back: make restore CONFIRM=<stack name> [FROM=<release id or path>] [FILE=<dump or copy here>]
	$(PLAYBOOK) -i $(INVENTORY) playbooks/restore.yml $(if $(FROM),-e restore_from=$(FROM)) $(if $(FILE),-e restore_file=$(abspath $(FILE))) $(if $(CONFIRM),-e restore_confirm=$(CONFIRM)) $(ARGS)

maintenance: setup-python ## Close the site with a page that says so, or open it: make maintenance STATE=on|off
	$(PLAYBOOK) -i $(INVENTORY) playbooks/maintenance.yml -e maintenance=$(STATE) $(ARGS)

destroy-local: setup-python ## Remove the local stack; the database only with PURGE=1
	$(PLAYBOOK) $(LOCAL) playbooks/destroy.yml -e docker_host_purge=$(if $(filter 1,$(PURGE)),true,false) $(ARGS)

compose: setup-python ## Render docker-compose.memory-optimized.yml from the same data
	$(PLAYBOOK) $(LOCAL) playbooks/compose.yml $(ARGS)

# -- quality

.PHONY: checklist checklist-document package deploy-package scan ci-build ci-memory ci-performance ci-deploy ci-health
PHASE ?= all
checklist: export CHECKLIST_ANSWERS = $(value ANSWERS)
checklist: setup-python ## The deployment checklist: PHASE=pre|during|post, ANSWERS="on-call=yes", OUTPUT=json; non-zero when an item fails
	@$(REPORT) -i $(INVENTORY) playbooks/checklist.yml -e phase=$(PHASE) $(if $(OUTPUT),-e output=$(OUTPUT)) $(ARGS)

checklist-document: setup-python ## Write PRODUCTION_DEPLOYMENT_CHECKLIST.md from its items
	PYTHONPATH=.dev/collections $(BIN)/python scripts/checklist_document.py

package: setup-python ## Build images and frontend once, into build/package, with their digests; FRESH=1 builds the frontend anew
	$(PLAYBOOK) $(LOCAL) playbooks/package.yml $(if $(FRESH),-e package_fresh=true) $(ARGS)

deploy-package: setup-python ## Deploy build/package to INVENTORY, verified, without building anything: PACKAGE_DIGEST=<sha256 of package.json>
	$(PLAYBOOK) -i $(INVENTORY) playbooks/deploy_package.yml $(if $(PACKAGE_DIGEST),-e package_digest=$(PACKAGE_DIGEST)) $(ARGS)

scan: setup-python ## Known vulnerabilities with a fix, in the packed images and in the application
	$(BIN)/python scripts/scan_images.py

# The stages of the pipeline. Each ends with a summary in build/reports/<target>/summary.md.
STAGE := $(BIN)/python scripts/ci_stage.py
# A build that nobody has looked at in a browser does not pass; SMOKE=auto where there is none.
ci-build: export SMOKE ?= required
ci-build: setup-test ## Stage 1, build validation: linters, unit tests, build, bundle check, images, scan
	@$(STAGE) $@ "make lint" "make test-unit" "make test-frontend" "make package FRESH=1" "make scan"

ci-memory: export DURATION ?= 180
ci-memory: setup-python ## Stage 2, memory stress: leaks and pressure, DURATION=180
	@$(STAGE) $@ --include build/reports/memory/summary.md "make test-memory"

ci-performance: setup-python ## Stage 3, performance: Lighthouse and the API under load
	@$(STAGE) $@ --include build/reports/performance/summary.md "make test-performance"

ci-deploy: setup-python ## Stage 4, blue-green deployment of build/package to INVENTORY
	@$(STAGE) $@ --show "make deploy-package"

ci-health: setup-python ## Stage 5, health validation of INVENTORY
	@$(STAGE) $@ --show --keep-going "make check-health" "make check-resources" "make checklist"

.PHONY: benchmark-deploy benchmark-switch benchmark-monitor benchmark-footprint benchmark-profiles images lint test test-unit test-api test-frontend test-integration test-switch test-release test-security test-eda test-alerts test-recovery test-molecule test-molecule-all test-upgrade test-browser test-dashboard test-performance test-memory test-memory-selfcheck test-archive test-galaxy test-fresh test-fresh-sudo test-drill test-faults test-ssh test-vm dashboards docs
lint: setup-test setup-app tests/browser/node_modules/.package-lock.json tests/workflow/node_modules/.package-lock.json ## All linters
	bash tests/lint.sh

test-unit: setup-test ## Pure functions, in seconds
	cd $(COLLECTION) && PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/unit -q -n 4 $(PYTEST_ARGS)

# The arguments of a benchmark are its own.
images: setup-python
	$(PLAYBOOK) $(LOCAL) tests/images.yml $(if $(filter benchmark-%,$(MAKECMDGOALS)),,$(ARGS))

test-api: setup-app images ## The API against real PostgreSQL and Redis
	bash tests/api.sh

test-frontend: setup-app ## The frontend's components
	cd app/frontend && npm test --silent

# No test of this is about the three minutes that a first release is watched.
test-integration: ARGS += -e release_watch_seconds=10
test-integration: deploy-local images setup-test tests/dashboards/node_modules/.package-lock.json ## The running stack, and every refusal
	set -a; . .dev/images.env; set +a
	cd $(COLLECTION) && PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/integration -q -m "not slow" $(PYTEST_ARGS)

# What is changed is this test's own; a file a worker, since they share nothing.
test-security: ARGS += -e release_watch_seconds=10
test-security: deploy-local images setup-test ## Who reaches whom, where secrets are, what nginx refuses: docs/security.md
	set -a; . .dev/images.env; set +a
	cd $(COLLECTION) && PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/security -q -n 2 --dist loadfile $(PYTEST_ARGS)

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

test-molecule: setup-test images ## The application tier's roles on hosts of their own
	bash tests/molecule.sh

# MOLECULE_DEBIAN=trixie for Debian 13.
test-molecule-all: setup-test images ## Every role, the whole stack, rollback and upgrade: MOLECULE_DEBIAN=bookworm|trixie, an hour
	bash tests/molecule.sh all

test-upgrade: setup-test images ## From the version before to this one, under load: MOLECULE_UPGRADE_FROM=<tag or commit>
	bash tests/molecule.sh upgrade

docs: setup ## Write the role READMEs and the README's budget table
	$(BIN)/python scripts/docs.py

benchmark-deploy: setup ## Time of a deploy that has nothing to do, against one task a file
	$(BIN)/python benchmarks/no_change_deploy/run.py $(ARGS)

benchmark-switch: setup images ## What a change of the release costs, as a client sees it; Compose and Swarm beside it
	set -a; . .dev/images.env; set +a
	$(BIN)/python benchmarks/switch/run.py $(ARGS)

test-browser: images tests/browser/node_modules/.package-lock.json ## The Memory Monitor's page in a real browser
	bash tests/browser.sh

test-dashboard: $(if $(URL),,images) tests/browser/node_modules/.package-lock.json ## The dashboard in a real browser, a switch of releases under it; URL= is a stack that is there
	bash tests/dashboard.sh

# With URL=http://host another stack is measured, and none is deployed here.
test-performance: $(if $(URL),,deploy-local) images setup-performance tests/performance/node_modules/.package-lock.json ## Lighthouse with little memory, and the API under load: RUNS=5 DURATION=60 QUICK=1 STRICT_GOALS=1 URL=
	bash tests/performance.sh

test-memory: setup-performance images tests/browser/node_modules/.package-lock.json ## Leaks of the API and the page, and the smallest limits: DURATION=1200 ROUNDS=120 PARTS=api,browser,pressure
	bash tests/memory.sh

test-memory-selfcheck: setup-performance images tests/browser/node_modules/.package-lock.json ## Planted leaks are found, and none in the product
	bash tests/memory.sh selfcheck $(PYTEST_ARGS)

dashboards: setup-test ## Write Grafana's dashboards from their code
	$(BIN)/python scripts/dashboards/build.py

benchmark-monitor: setup-python images ## The Memory Monitor with 12 to 100 containers: memory, time of a scrape, 100,000 scrapes
	$(BIN)/python benchmarks/memory_monitor/run.py $(ARGS)

benchmark-footprint: setup-python ## What the watching of the deployed stack takes: ARGS="--window 1h"
	$(BIN)/python benchmarks/footprint/run.py $(ARGS)

benchmark-profiles: setup-python images ## Both memory profiles under redis-benchmark, pgbench and API load, 5 minutes each: ARGS="--seconds 60"
	set -a; . .dev/images.env; set +a
	$(BIN)/python benchmarks/profiles/run.py $(ARGS)

test-archive: setup-test ## The Galaxy archive, built, installed and deployed from
	bash tests/archive.sh

test-galaxy: setup-test ## What Galaxy says of the archive when it imports it
	bash tests/galaxy.sh

test-fresh: setup-test images ## The README's first command on a bare Debian 12 machine
	bash tests/fresh_machine.sh bookworm root

test-fresh-sudo: setup-test images ## The same on Debian 13, by a user with sudo
	bash tests/fresh_machine.sh trixie deployer

# SUITE=bookworm or trixie.
test-ssh: SUITE ?= bookworm
test-ssh: images setup-test ## The production inventory over SSH, from a bare host on: SUITE=bookworm|trixie, ten minutes
	bash tests/ssh.sh $(SUITE) $(PYTEST_ARGS)

test-vm: SUITE ?= bookworm
test-vm: images setup-test ## The same on a virtual machine of 2,048 MB; goes on where it stopped: SUITE=bookworm|trixie FRESH=1
	bash tests/vm.sh $(SUITE) $(PYTEST_ARGS)

test-drill: setup-test images ## The host is lost: a bare one serves the same rows again, from the last copy
	command -v age >/dev/null || apt-get install --yes --no-install-recommends age
	cd $(COLLECTION) && PYTHONPATH=$(CURDIR)/.dev/collections $(CURDIR)/$(BIN)/python -m pytest tests/drill -q -s $(PYTEST_ARGS)

test-faults: setup-test images ## What breaks, and how long until it is served again: docs/reliability.md; 40 minutes
	bash tests/faults.sh $(PYTEST_ARGS)

test: lint test-unit test-frontend test-api test-integration test-security test-browser test-switch test-archive test-fresh test-molecule ## Everything that CI runs
	@echo "==> All tests passed"
