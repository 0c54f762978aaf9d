# Everything runs from .venv, which every target builds by itself from requirements.txt.
PYTHON ?= python3.13
VENV := $(CURDIR)/.venv
export PATH := $(VENV)/bin:$(PATH)
export PYTHONPATH := $(CURDIR):$(CURDIR)/layers/mayfly:$(CURDIR)/cli
# Where an image turns bytecode off, each of a thousand processes would compile the project anew.
export PYTHONDONTWRITEBYTECODE :=
INSTALLED := .venv/installed
LAYER_AND_FUNCTIONS := layers/mayfly/mayfly $(wildcard functions/*)

.PHONY: help demo local test model lint lint-types lint-templates lint-tests test-unit test-integration test-e2e test-sam-local invoke bench accept format lock previous clean

help: ## What there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: $(INSTALLED) ## The main job, live, on the local cloud; KEEP=1 keeps it and its console up
	@python -m local.demo $(if $(KEEP),--keep)

local: $(INSTALLED) ## The local cloud with Mayfly installed, kept up for playing
	@python -m local

# In the order of tests/conftest.py; by itself xdist begins with the modules of the most tests. Workers wait for other
# processes now and then: with five, two cores were never idle.
test: lint ## All checks and tests but the container ones
	pytest tests --ignore tests/sam_local --numprocesses 5 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED) ## Formatting, style, types, templates
	ruff format --check .
	ruff check .
	@$(MAKE) --no-print-directory -j 3 lint-types lint-templates lint-tests

lint-types: $(INSTALLED)
	mypy layers/mayfly/mayfly local cli/mayfly_cli functions bench statemachines accept

# With --lint, `sam validate` is cfn-lint's look at template.yaml, and nothing else.
lint-templates: $(INSTALLED)
	cfn-lint blueprints/*.yaml tests/blueprints/*.yaml
	AWS_DEFAULT_REGION=us-east-1 sam validate --lint

# Every worker of `make test` reads all tests: what pytest makes of their assertions is there for them by then.
lint-tests: $(INSTALLED)
	@pytest tests --collect-only -qq >/dev/null || pytest tests --collect-only -qq

model: $(INSTALLED) ## Random histories of the model, a million steps: hours; STEPS=… and SEED=… for others
	MAYFLY_MODEL_STEPS=$(or $(STEPS),1000000) MAYFLY_MODEL_SEED=$(or $(SEED),1) \
	    pytest tests/model/test_lifecycle.py tests/model/test_*_histories.py --numprocesses $(or $(WORKERS),2) --dist load

test-unit test-integration test-e2e: test-%: $(INSTALLED) ## One kind of test
	pytest tests/$*

test-sam-local: $(INSTALLED) ## Every function through `sam local` in a container
	pytest tests/sam_local

invoke: $(INSTALLED) ## `sam local invoke` on the local cloud: FUNCTION=PlanEnvironment EVENT=events/plan_environment.json
	@python -m tests.sam_local.invoke $(FUNCTION) $(EVENT)

bench: $(INSTALLED) ## What lives cost, counted; also build/bench.json; PARTS="pages bill" for these alone
	@python -m bench $(PARTS)

accept: $(INSTALLED) ## Mayfly's first hours in your AWS account, compared and removed again; LOCAL=1 on the local cloud
	@LOCAL=$(LOCAL) REMOVE=$(REMOVE) python -m accept

format: $(INSTALLED) ## Formats the code and the state machines
	ruff format .
	ruff check --fix .
	python statemachines/format.py

lock: $(INSTALLED) ## Pins the newest versions that fit
	uv pip compile -q --upgrade pyproject.toml --group dev --generate-hashes --no-emit-index-url --no-header \
	    --python-version 3.13 -o requirements.txt
	uv pip compile -q --upgrade layers/mayfly/requirements.in -c requirements.txt --generate-hashes \
	    --no-emit-index-url --no-header --python-version 3.13 -o layers/mayfly/requirements.txt

previous: ## Keeps this commit as the version before, which the test of upgrades begins with: once a tagged version
	git archive HEAD template.yaml samconfig.toml layers functions images statemachines | xz -9 > tests/e2e/previous.tar.xz

clean: ## Removes what was built, not the environment
	rm -rf build .aws-sam .local

$(INSTALLED): requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "Mayfly needs Python 3.13 as '$(PYTHON)'; set PYTHON=... to name yours" >&2; exit 1; }
	@echo "Setting up .venv (once, about half a minute)"
	@$(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.txt >.venv/uv.txt
	@python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement .venv/uv.txt
	@uv pip sync --quiet --compile-bytecode --python .venv/bin/python requirements.txt
	@uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	@touch $@
