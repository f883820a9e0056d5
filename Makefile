# What a developer runs. Everything is installed into .cache on first use; nothing is left outside the checkout.
# Debian with Python 3.11, git and make is enough to start from; root is not needed, but lets missing packages be installed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
# One thing after the other, also with --jobs: what can run side by side is known to tools/parts.py.
.NOTPARALLEL:

CACHE := .cache
VENV := $(CACHE)/venv
PYTHON := $(VENV)/bin/python
# WHOLE is set by `make proof`: also the tests that are one more of a kind. REPORT is where the counts of a part go.
OPTIONS := $(if $(WHOLE),--proof) $(if $(REPORT),--junit-xml=$(REPORT))
PYTEST := $(PYTHON) -m pytest $(OPTIONS)
STAGE := $(CACHE)/stage
COPY := $(STAGE)/ansible_collections/holdfast/restic_r2
DIST := $(CACHE)/dist
PYTHONS := 3.11,3.12,3.13

# The same wherever this is started: cron has a short PATH, no language, and perhaps no home.
# The tools of the environment come first, and none of the developer's own Ansible settings count.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL := C.UTF-8
export HOME ?= $(CURDIR)/$(CACHE)/home
export ANSIBLE_HOME := $(CURDIR)/$(CACHE)/ansible
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/$(CACHE)/collections
unexport ANSIBLE_CONFIG ANSIBLE_INVENTORY ANSIBLE_VAULT_PASSWORD_FILE PYTHONPATH PYTHONDONTWRITEBYTECODE

.PHONY: help
help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# --- What most people want ------------------------------------------------------------------------------------------

.PHONY: demo test proof quick bench hosts awx browser
demo: env restic  ## the whole story against a local stand-in: provision, attack, prune, kill, encrypt, restore (no account needed)
	@$(PYTHON) -m demo

RUN_PARTS = python=$$(tools/python.sh 3.11 || tools/python.sh 3.12 || tools/python.sh 3.13) && exec "$$python" tools/parts.py

test:  ## what a change has to pass: every part, with a sample of what proof does; PARTS="lint unit" runs only these
	@$(RUN_PARTS) test $(PARTS)

proof:  ## everything there is, whole; goes on after a failure, leaves out what is proved of this tree (unless FORCE=1); PARTS=…
	@$(RUN_PARTS) proof $(PARTS)

quick:  ## lint, types and unit tests, side by side: under two minutes
	@$(RUN_PARTS) test lint types unit

bench: env restic  ## measure exposure, API calls and memory; writes bench/results.json
	@$(PYTHON) -m bench

hosts: env restic  ## tests on real Debian hosts with systemd, booted here (needs root)
	@$(PYTEST) --durations 20 --numprocesses 2 --dist loadfile --no-loadscope-reorder tests/hosts

browser: env chromium axe  ## the page in a real browser; screenshots go to .results/page
	@$(PYTEST) --durations 5 tests/browser

awx: env restic build  ## the AWX project, its set-up as code and its jobs, run by ansible-runner as AWX does; writes .results/awx.json
	@$(PYTEST) --durations 10 --numprocesses 2 --dist loadfile tests/awx

# --- Checks ---------------------------------------------------------------------------------------------------------

.PHONY: lint types unit integration format changelog
lint: env shellcheck  ## ruff, yamllint, ansible-lint (production), shellcheck, changelog, generated tables
	@ruff check .
	@ruff format --check --quiet . || { echo "Run 'make format'."; exit 1; }
	@yamllint --strict .
	@shellcheck $$(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)
	@$(PYTHON) -m tools.role_readmes --check
	@antsibull-changelog lint && antsibull-changelog lint-changelog-yaml changelogs/changelog.yaml
	@ansible-lint --offline -q

types: env  ## mypy; and every file of tests can be imported
	@mypy -p ansible_collections.holdfast.restic_r2.plugins
	@mypy tools tests/support tests/matrix tests/attacks tests/conftest.py
	@MYPYPATH=roles/backup/files mypy roles/backup/files/*.py
	@$(PYTHON) -m pytest --quiet --collect-only tests >$(CACHE)/collected || { cat $(CACHE)/collected; exit 1; }

unit: env restic  ## unit tests
	@$(PYTEST) -q --numprocesses 8 --maxschedchunk 2 tests/unit

# A file in one process: what its tests share is made once.
integration: env restic rest-server wrangler prometheus $(if $(WHOLE),mariadb)  ## integration tests: the real restic, Ansible and the stand-in
	@$(PYTEST) --durations 20 --numprocesses 5 --dist loadfile tests/integration

.PHONY: attacks kill-matrix fault-matrix model
attacks: env restic  ## what an owned host can do, against plain restic and against maintenance; writes .results/attacks.json
	@$(PYTEST) -q --durations 5 --numprocesses 4 tests/attacks

# Matrices take a sample of their cases, chosen by the commit or by SAMPLE_SEED=...; with WHOLE=yes, all of them.
# Their cases mostly wait: many at a time, those first that take long.
MATRIX = $(PYTEST) --durations 10 --maxschedchunk 1 --numprocesses

kill-matrix: env restic  ## signals to everybody at every step of maintenance; writes .results/kill-matrix.json
	@$(MATRIX) 9 tests/matrix/test_kill.py

fault-matrix: env restic  ## every request of maintenance fails in every way; writes .results/fault-matrix.json
	@$(MATRIX) 8 tests/matrix/test_fault.py tests/matrix/test_backup.py

model: env  ## interleavings of everybody at one lock document; writes .results/model.json
	@$(MATRIX) 2 tests/matrix/test_model.py

format: env  ## format the Python code and rewrite generated tables
	@ruff check --fix --quiet . || true
	@ruff format --quiet .
	@$(PYTHON) -m tools.role_readmes

changelog: env  ## write CHANGELOG.rst anew, with the modules and roles that there are
	@# Only while the first version is not released: after that, antsibull-changelog adds to what there is.
	@rm -f changelogs/changelog.yaml
	@antsibull-changelog release --reload-plugins

# --- The official bars of Ansible collections -----------------------------------------------------------------------

.PHONY: checks sanity sanity-oldest sanity-next docs-lint docs importer unit-oldest unit-next
checks:  ## all official checks, with every ansible-core
	@$(RUN_PARTS) proof sanity sanity-oldest sanity-next docs-lint importer unit-oldest unit-next

sanity: env shellcheck stage  ## ansible-test sanity with the ansible-core of the environment
	@tools/sanity.sh $(VENV) $(COPY)

sanity-oldest: env-oldest shellcheck stage  ## ... with the oldest supported ansible-core
	@tools/sanity.sh $(CACHE)/venv-oldest $(COPY)

# pylint is left out: before its release, this ansible-core wants a version that is not on the package index.
sanity-next: env-next shellcheck stage  ## ... with the newest ansible-core, where there is a Python 3.13
	@if [[ -x $(CACHE)/venv-next/bin/python ]]; then tools/sanity.sh $(CACHE)/venv-next $(COPY) --skip-test pylint; fi

unit-oldest: env-oldest restic  ## unit tests with the oldest supported ansible-core
	@$(CACHE)/venv-oldest/bin/python -m pytest $(OPTIONS) -q --numprocesses 4 tests/unit

unit-next: env-next restic  ## unit tests with the newest ansible-core, where there is a Python 3.13
	@if [[ -x $(CACHE)/venv-next/bin/python ]]; then $(CACHE)/venv-next/bin/python -m pytest $(OPTIONS) -q --numprocesses 4 tests/unit; fi

docs-lint: env  ## antsibull-docs: documentation of every plugin and role
	@# It logs into the home folder.
	@mkdir -p $(CACHE)/home
	@cd $(CACHE)/collections/ansible_collections/holdfast/restic_r2 && HOME="$(CURDIR)/$(CACHE)/home" antsibull-docs lint-collection-docs \
	    --plugin-docs --validate-collection-refs=all --disallow-unknown-collection-refs .

docs: env  ## a site of all documentation, in .cache/docs/html; a warning is an error
	@mkdir -p $(CACHE)/home
	@HOME="$(CURDIR)/$(CACHE)/home" $(PYTHON) -m tools.docs $(CACHE)/docs

importer: env-importer build  ## galaxy-importer on the built collection
	@tools/importer.sh $(CACHE)/venv-importer $(DIST)

# --- Pieces ---------------------------------------------------------------------------------------------------------

.PHONY: build stage env env-oldest env-next env-importer restic rest-server wrangler prometheus mariadb chromium axe shellcheck clean
build: env stage  ## build the collection into .cache/dist
	@rm -rf $(DIST) && ansible-galaxy collection build --force --output-path $(DIST) $(COPY)

stage:
	@python=$$(tools/python.sh 3.11 || tools/python.sh 3.12 || tools/python.sh 3.13); $$python tools/stage.py $(STAGE) >/dev/null

env:
	@tools/venv.sh $(VENV) $(PYTHONS) meta/ee-requirements.txt tools/requirements/{ansible,tests,lint,browser}.txt
	@link=$(CACHE)/collections/ansible_collections/holdfast/restic_r2; \
	    [[ -e $$link ]] || { mkdir -p $${link%/*} && ln -sT ../../../.. $$link 2>/dev/null; } || [[ -e $$link ]]

env-oldest:
	@tools/venv.sh $(CACHE)/venv-oldest $(PYTHONS) meta/ee-requirements.txt tools/requirements/{ansible-oldest,tests}.txt

env-next:
	@if tools/python.sh 3.13 >/dev/null 2>&1; then \
	    tools/venv.sh $(CACHE)/venv-next 3.13 meta/ee-requirements.txt tools/requirements/{ansible-next,tests}.txt; \
	else \
	    echo "SKIPPED: the newest ansible-core needs Python 3.13, which this machine does not have." >&2; \
	fi

env-importer:
	@tools/venv.sh $(CACHE)/venv-importer $(PYTHONS) tools/requirements/importer.txt

restic: env
	@$(PYTHON) tools/get_restic.py

# restic's own REST server, for the tests that compare a view of a repository with it.
rest-server: env
	@$(PYTHON) -m tools.get_rest_server

# Cloudflare's CLI, for one test of the stand-in; that test is the only one that goes without npm.
wrangler:
	@tools/system.sh npm=npm && tools/get_wrangler.sh >/dev/null \
	    || echo "SKIPPED: the stand-in is not tested with wrangler, Cloudflare's CLI, for want of npm." >&2

# What looks at the page: Debian's browser, and axe-core from npm.
chromium:
	@tools/system.sh chromium=chromium || echo "SKIPPED: the page is not tested in a browser, for want of Chromium." >&2

axe:
	@tools/system.sh npm=npm && tools/get_axe.sh >/dev/null \
	    || echo "SKIPPED: nothing looks whether everybody can use the page, for want of npm." >&2

# Debian's, for the tests of metrics and alert rules; those alone go without it.
prometheus:
	@tools/get_prometheus.sh >/dev/null \
	    || echo "SKIPPED: metrics and alert rules are not tested with Prometheus, for want of Debian's package." >&2

# Debian's, for one test of a drill that `make proof` has; nothing is started by installing it.
mariadb:
	@tools/system.sh mariadbd=mariadb-server-core mariadb=mariadb-client \
	    || echo "SKIPPED: the drill of a dump of MariaDB is not tested, for want of Debian's packages." >&2

shellcheck:
	@tools/system.sh shellcheck=shellcheck

clean:  ## remove everything that make has made
	@rm -rf $(CACHE) .demo .results
