# What people run. `make help` lists it.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash -o pipefail
# Without byte code each of the hundreds of processes of a test run compiles the product anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.agentsessions-dev
CLUSTER := $(PYTHON) hack/cluster
# Tests have clusters beside it, named after it: two checkouts that test at the same time each need a name.
CLUSTER_NAME := $(or $(AGENTSESSIONS_CLUSTER),agentsessions)
IN_VENV := PYTHONPATH=operator:. $(BIN)/python
# Programs of the cluster (kubectl) come before those of the machine.
WITH_CLUSTER := PATH="$$($(CLUSTER) path):$$PATH"

# What `make generate` writes and `make verify` compares; each takes --check, and names `make generate` when it fails.
GENERATORS := \
	-m\ agentsessions.crdgen \
	hack/docs/states.py \
	hack/docs/kinds.py \
	hack/docs/reference.py \
	hack/docs/api.py \
	hack/docs/cli.py \
	hack/docs/metrics.py \
	hack/docs/dashboard.py \
	hack/verify/manifests.py

RUFF_PATHS := operator tests hack
FAST_TESTS := tests/unit tests/golden
LIFE_TESTS := tests/journal tests/scenario tests/process
# Those that speak to the journal itself; all others run on SQLite alone.
EITHER_JOURNAL_TESTS := tests/journal tests/process/proxy/test_proxy_purchase.py \
	tests/process/proxy/test_proxy_conversation.py tests/process/webhooks

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the developer's environment

.PHONY: venv
venv: $(STAMP) ## Make .venv with every locked dependency

$(STAMP): requirements/dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

.PHONY: lock
lock: ## Lock the dependencies of pyproject.toml anew, with hashes (needs uv)
	hack/verify/lock.sh

# --- code that is written, and code that is checked

.PHONY: generate
generate: $(STAMP) ## Write CRDs, manifests and reference pages from their sources
	@set -e; for generator in $(GENERATORS); do echo "$$generator"; $(IN_VENV) $$generator; done

.PHONY: format
format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix-only --quiet $(RUFF_PATHS)
	$(BIN)/ruff format $(RUFF_PATHS)

.PHONY: verify
verify: lint verify-generated verify-manifests ## Lint, types, imports; generated files; chart and manifests

.PHONY: lint
lint: $(STAMP)
	$(BIN)/ruff check $(RUFF_PATHS)
	$(BIN)/ruff format --check $(RUFF_PATHS)
	$(BIN)/mypy operator
	PYTHONPATH=operator $(BIN)/lint-imports

.PHONY: verify-generated
verify-generated: $(STAMP)
	@failed=; for generator in $(GENERATORS); do \
		echo "$$generator --check"; $(IN_VENV) $$generator --check || failed=1; done; test -z "$$failed"

.PHONY: verify-manifests
verify-manifests: $(STAMP)
	$$($(CLUSTER) tool helm) lint --strict --quiet helm/agentsessions
	$(BIN)/python hack/verify/conform.py

# --- tests

# More workers than cores where tests wait for pods and processes rather than compute.
FAST := -n 3 --dist worksteal
WAITING := -n 4 --dist worksteal
BY_FILE := -n 3 --no-loadscope-reorder
# Prints how long each part took; the first one that fails ends it.
run-parts = @set -e; for part in $(1); do began=$$SECONDS; \
	$(MAKE) --no-print-directory $$part; echo "== $$part: $$((SECONDS - began)) s"; done; echo "== in all: $$SECONDS s"

.PHONY: test
test: $(STAMP) ## Run all checks and tests that a change must pass
	$(call run-parts,$(TEST_PARTS))

.PHONY: test-full
test-full: $(STAMP) ## Run all checks and all tests: what a release must pass
	$(call run-parts,$(TEST_PARTS) test-soak test-hostile test-slow test-faults test-lives test-storms)

# What is one process at a time leaves a core to something else; each prints when it is through.
TEST_PARTS := verify-and-fast-tests test-postgresql test-e2e-beside integration-and-e2e-alone
BESIDE := $(MAKE) --no-print-directory --jobs 2 --output-sync=target

.PHONY: verify-and-fast-tests
verify-and-fast-tests: $(STAMP)
	@$(BESIDE) test-fast verify

.PHONY: integration-and-e2e-alone
integration-and-e2e-alone: $(STAMP)
	@$(BESIDE) test-e2e-alone test-integration

.PHONY: test-unit
test-unit: $(STAMP) ## Run the tests that need no cluster and take seconds
	$(BIN)/pytest --quiet $(FAST) $(FAST_TESTS)

.PHONY: postgresql
postgresql:
	@$(PYTHON) hack/postgres install

.PHONY: browser
browser:
	@$(PYTHON) hack/browser install

.PHONY: test-process
test-process: $(STAMP) postgresql ## Run the tests of the journal, of whole processes and whole lives that need no cluster
	$(BIN)/pytest --quiet $(FAST) $(LIFE_TESTS)

.PHONY: test-postgresql
test-postgresql: $(STAMP) postgresql ## Run the journal's tests, and those of its users, on PostgreSQL
	$(BIN)/pytest --quiet $(FAST) --journal=postgresql $(EITHER_JOURNAL_TESTS)

.PHONY: test-fast
test-fast: $(STAMP) postgresql ## Run both of these
	$(BIN)/pytest --quiet $(FAST) $(LIFE_TESTS) $(FAST_TESTS)

# Clusters of their own: these tests play the operator and the gateway themselves, and the product must not interfere.
# They give way to the end-to-end tests that `make test` runs beside them, some of which measure time. What a run that
# was cut off left in them goes first.
remove-integration-clusters = for name in it operators operators-faults; do \
	$(CLUSTER) down --name $(CLUSTER_NAME)-$$name; done
.PHONY: test-integration
test-integration: export AGENTSESSIONS_CLUSTER = $(CLUSTER_NAME)-it
test-integration: export AGENTSESSIONS_OPERATOR_CLUSTER = $(CLUSTER_NAME)-operators
test-integration: $(STAMP) postgresql browser ## Run the tests that need an API server, on clusters of their own
	@$(remove-integration-clusters)
	nice $(CLUSTER) up
	$(WITH_CLUSTER) nice $(BIN)/pytest --quiet $(BY_FILE) -m "not slow" tests/integration; status=$$?; \
		$(remove-integration-clusters); exit $$status

.PHONY: test-e2e
test-e2e: test-e2e-beside test-e2e-alone ## Run the tests that need the product on a cluster; installs it

.PHONY: test-e2e-beside
test-e2e-beside: $(STAMP) browser cluster-up
	$(WITH_CLUSTER) $(BIN)/pytest --quiet $(WAITING) -m "not slow and not alone" tests/e2e

# Those that disturb what the others share.
.PHONY: test-e2e-alone
test-e2e-alone: $(STAMP) cluster-up
	$(WITH_CLUSTER) $(BIN)/pytest --quiet -m "not slow and alone" tests/e2e

# -rP prints the figures that these tests measure.
.PHONY: test-slow
test-slow: $(STAMP) cluster-up ## Run the end-to-end tests that take minutes
	$(WITH_CLUSTER) $(BIN)/pytest --quiet -rP -m slow tests/e2e

.PHONY: test-soak
test-soak: $(STAMP) ## Play 20,000 events of sessions' lives, other ones each time
	AGENTSESSIONS_LIVES=full $(BIN)/pytest --quiet tests/scenario/test_any_life.py

# One after the other: each file has its 50 ms of a processor that nobody shares.
.PHONY: test-hostile
test-hostile: $(STAMP) ## Read ten thousand files, and play two hundred answers, that mean harm
	AGENTSESSIONS_HOSTILE=full $(BIN)/pytest --quiet -rP tests/process/hostile \
		tests/process/proxy/test_proxy_hostile.py

# The matrix has a cluster of its own, too. `make test-faults FAULTS_PAGE=docs/faults.md` writes down what came out.
.PHONY: test-faults
test-faults: export AGENTSESSIONS_OPERATOR_CLUSTER = $(CLUSTER_NAME)-operators
test-faults: $(STAMP) ## Strike the operator at each of its changes, in every way: minutes
	$(WITH_CLUSTER) AGENTSESSIONS_FAULTS_PAGE="$(FAULTS_PAGE)" \
		$(BIN)/pytest --quiet -m slow tests/integration/test_controller_faults.py; status=$$?; \
		$(CLUSTER) down --name $(CLUSTER_NAME)-operators-faults; exit $$status

# Other lives each time; a failure names the seed: `make test-lives AGENTSESSIONS_LIFE_SEED=…` plays them again.
.PHONY: test-lives
test-lives: export AGENTSESSIONS_OPERATOR_CLUSTER = $(CLUSTER_NAME)-operators
test-lives: $(STAMP) ## Play 300 events of sessions' lives on a real API server
	$(WITH_CLUSTER) $(BIN)/pytest --quiet -m slow tests/integration/test_controller_lives.py; status=$$?; \
		$(CLUSTER) down --name $(CLUSTER_NAME)-operators; exit $$status

.PHONY: test-storms
test-storms: export AGENTSESSIONS_CLUSTER = $(CLUSTER_NAME)-it
test-storms: $(STAMP) postgresql ## Send the gateway very many requests, and kill it and its database again and again
	$(CLUSTER) up
	$(WITH_CLUSTER) $(BIN)/pytest --quiet -m slow tests/integration/test_gateway_*.py; status=$$?; \
		$(CLUSTER) down; exit $$status

# --- the cluster

.PHONY: cluster-up
cluster-up: ## Start, repair or reuse the development cluster
	$(CLUSTER) up

.PHONY: cluster-down
cluster-down: ## Remove the development cluster, its data included
	$(CLUSTER) down

.PHONY: cluster-kubeconfig
cluster-kubeconfig: ## Print the path of its kubeconfig: export KUBECONFIG=$(make -s cluster-kubeconfig)
	@$(CLUSTER) kubeconfig

.PHONY: cluster-audit-log
cluster-audit-log: ## Print the path of its audit log
	@$(CLUSTER) audit-log

.PHONY: image
image: cluster-up ## Build the product's image and bring it into the cluster
	$(CLUSTER) image

.PHONY: install
install: ## Install the product, as built from this checkout, into the cluster
	$(PYTHON) hack/product install

.PHONY: demo
demo: ## Show one session from nothing to its result
	$(PYTHON) hack/product demo

.PHONY: docs-pictures
docs-pictures: $(STAMP) browser install ## Take the pictures of docs/page.md anew, from the product on the cluster
	$(WITH_CLUSTER) $(IN_VENV) hack/pictures

.PHONY: bench
bench: $(STAMP) browser cluster-up ## Measure the product on the cluster
	$(WITH_CLUSTER) $(IN_VENV) hack/bench
