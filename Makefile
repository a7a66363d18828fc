# make lab opens the course, make test checks everything; both install into .venv on their first run.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# The first Python in range; make PYTHON=/path/to/python takes another one.
IN_RANGE := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c '$(IN_RANGE)' 2>/dev/null && { echo "$$python"; break; }; done)

# The browser tests need a Chromium. It may be named, or be on the path.
CHROMIUM = $(or $(VMRLIB_CHROMIUM),$(shell for name in chromium chromium-browser google-chrome; do \
	command -v $$name && break; done))

.PHONY: help lab test course notebooks bench lint clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

# A .venv is made anew when its Python is gone, out of range or without pip (a set-up that broke off).
$(INSTALLED): pyproject.toml requirements.txt
	@$(BIN)/python -c 'import pip; $(IN_RANGE)' 2>/dev/null || { \
	"$(PYTHON)" -c '$(IN_RANGE)' 2>/dev/null || { \
	echo "missing: Python 3.11, 3.12 or 3.13 (if it is not on the path: make PYTHON=/path/to/python3)"; exit 1; }; \
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	echo "missing: Python's venv module (Debian and Ubuntu: apt-get install python3-venv)"; exit 1; }; \
	echo "setting up $(VENV) with $(PYTHON): once, some minutes"; "$(PYTHON)" -m venv --clear $(VENV); }
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

lab: $(INSTALLED)  ## open the notebooks in JupyterLab (LAB_FLAGS are passed on)
	@echo "JupyterLab takes port 8888, or the next free one, and prints its address. Ctrl-C ends it."
	@flags=; \
	if [ "$$(id -u)" = 0 ]; then flags="$$flags --allow-root"; fi; \
	if [ -f /.dockerenv ] || [ -f /run/.containerenv ]; then flags="$$flags --ip=0.0.0.0"; fi; \
	if [ "$$(uname)" = Linux ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY" ]; then flags="$$flags --no-browser"; fi; \
	$(BIN)/jupyter lab notebooks $$flags $(LAB_FLAGS)

test: $(INSTALLED)  ## run every test: the library, the notebooks, and JupyterLab in Chromium where there is one
	@failed=; \
	$(BIN)/python -m pytest || failed=1; \
	$(BIN)/python -m pytest --nbval notebooks || failed=1; \
	if [ -n "$(CHROMIUM)" ]; then $(BIN)/python -m pytest tests/browser || failed=1; \
	else echo "not run: tests/browser (no Chromium found; VMRLIB_CHROMIUM=/path/to/chromium names one)"; fi; \
	[ -z "$$failed" ]

course: $(INSTALLED)  ## run every notebook without a browser and print its seconds
	@$(BIN)/python notebooks/build.py --run

notebooks: $(INSTALLED)  ## rebuild the notebooks whose source in notebooks/src changed
	@$(BIN)/python notebooks/build.py

bench: $(INSTALLED)  ## run the benchmarks and write benchmarks/RESULTS.md (BENCH_FLAGS=--quick: a minute each)
	@$(BIN)/python benchmarks/run.py $(BENCH_FLAGS)

lint: $(INSTALLED)  ## check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

clean:  ## remove .venv, caches and build folders; data/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
