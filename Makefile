# Everything runs from .venv, which `make` builds by itself from requirements.txt with uv.
PYTHON ?= python3.13
VENV := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.venv/installed: requirements.txt
	@echo "Setting up .venv (once)"
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet uv
	$(VENV)/uv pip sync --quiet --python $(VENV)/python requirements.txt
	$(VENV)/python -m pip --version >/dev/null
	touch $@
