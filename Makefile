# SPDX-License-Identifier: GPL-3.0-or-later
# Every command of a checkout. `make` prints this list.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Ansible refuses to start in a locale that is not UTF-8, such as the one of a new machine.
export LC_ALL := C.UTF-8
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.build
# The tools see the virtualenv first, whichever shell calls make.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

NETWORK := .build/ansible_collections/crosshost/network

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what is missing: Debian packages (as root), the virtualenv, the collection link
	@scripts/setup

# The virtualenv and the link alone: for targets that run without root and without the lab.
.PHONY: venv
venv:
	@scripts/setup venv

.PHONY: demo
demo: setup ## start lab hosts on this machine and join containers on them with one network
	@scripts/demo

.PHONY: demo-down
demo-down: venv ## stop the demo and remove all that it made
	@scripts/demo-down

.PHONY: test-fast
test-fast: venv ## unit and property tests: no root, under a minute
	@pytest --numprocesses auto --maxprocesses 8 tests/unit tests/property

.PHONY: test-webui
test-webui: venv ## the dashboard's tests in process, on both databases: no root
	@pytest --numprocesses auto --maxprocesses 8 -m "not slow" tests/webui

.PHONY: test
test: setup ## all tests, as root with the lab's hosts
	@pytest --numprocesses auto --maxprocesses 8 tests/unit tests/property tests/webui tests/browser
	@pytest tests/integration

.PHONY: lint
lint: venv ## all linters and the documentation's checks; one alone: scripts/lint ruff_check
	@scripts/lint

.PHONY: format
format: venv ## format the Python code and repair what ruff can repair safely
	@ruff check --fix --exit-zero --quiet .
	@ruff format .

.PHONY: bench
bench: setup ## measure, and compare with the recorded figures
	@python tests/bench/run.py

.PHONY: bench-webui
bench-webui: setup ## measure the dashboard on a large seeded database
	@python tests/bench_webui/run.py

.PHONY: screenshots
screenshots: setup ## pictures of every page of the dashboard, in both widths and themes, in .build/screenshots
	@scripts/screenshots

.PHONY: build
build: venv ## build the collection's archive and the dashboard's wheel into .build/dist
	@ansible-galaxy collection build --force --output-path .build/dist
	@cd webui && python -m hatchling build -d ../.build/dist

.PHONY: docs
docs: venv ## print the modules' documentation as Ansible shows it
	@ansible-doc --type module $$(ansible-doc --type module --list --json crosshost.network \
	    | python -c 'import json, sys; print(*json.load(sys.stdin))')

.PHONY: changelog
changelog: venv ## turn the fragments into the release that galaxy.yml names: CHANGELOG.md
	@cd $(NETWORK) && antsibull-changelog release --reload-plugins --update-existing

.PHONY: lock
lock: venv ## make requirements.lock from requirements.in; newest versions: scripts/lock --upgrade
	@scripts/lock

.PHONY: clean
clean: ## remove what the tools made, but not the virtualenv and the lab
	@rm -rf .build .ansible .hypothesis changelogs/.plugin-cache.yaml
	@find . -path ./.venv -prune -o -path ./.lab -prune -o -name __pycache__ -type d -exec rm -rf {} +
