# Everything runs in .venv, made from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
# The notebooks run in their own folder, so a relative ANET_DATA would mean another place there.
ifdef ANET_DATA
export ANET_DATA := $(abspath $(ANET_DATA))
endif
export PATH := $(CURDIR)/$(BIN):$(PATH)
STRICT := -W -n --keep-going --all

.PHONY: book pages site test test-networks test-rest clean

book: .venv/installed  ## execute the notebooks on the embedded data and build the book
	python workflow/pages.py --embedded
	jupyter-book build book/
	@echo "open $(CURDIR)/book/_build/html/index.html"

pages: .venv/installed  ## execute every page whose data is at hand
	python workflow/pages.py

site: .venv/installed  ## build the book from the committed pages, warnings being errors
	jupyter-book build book/ $(STRICT)

test: .venv/installed  ## tests, checked notebook cells, strict book build; two halves at once, one core each
	@OMP_NUM_THREADS=1 $(MAKE) --no-print-directory --output-sync --jobs 2 test-networks test-rest

test-networks:
	pytest -q tests/test_peers.py

test-rest:
	pytest -q --ignore tests/test_peers.py
	pytest -q --nbval notebooks/
	jupyter-book build book/ $(STRICT)

clean:  ## remove what is built and the records of quick runs
	rm -rf book/_build results/checkpoints results/tuning/checkpoints results/*/*--quick--*

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or later is needed, this is ' + sys.version.split()[0])"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@
