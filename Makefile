# Everything runs in .venv, made from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
# The notebooks run in their own folder, so a relative ANET_DATA would mean another place there.
ifdef ANET_DATA
export ANET_DATA := $(abspath $(ANET_DATA))
endif
export PATH := $(CURDIR)/$(BIN):$(PATH)
CHROMIUM ?= chromium
DEMO := book/extra/demo/built/about.js
DEMO_WEIGHTS := results/weights/neu-inclusion--A-Net--tuned--split0--seed0.safetensors
STRICT := -W -n --keep-going --all
PROFILE ?= local
BESIDE_SITE := $(addprefix tests/test_,site.py peers.py training.py campaign.py own.py claims.py recalibration.py)

.PHONY: book pages site demo serve pdf resume bench test test-site test-rest clean

book: .venv/installed  ## execute the notebooks on the embedded data and build the book
	python workflow/pages.py --embedded
	-$(MAKE) --no-print-directory demo
	jupyter-book build book/
	@echo "open $(CURDIR)/book/_build/html/index.html"

pages: .venv/installed  ## execute every page whose data is at hand
	python workflow/pages.py

site: .venv/installed  ## build the book from the committed pages, warnings being errors
	rm -rf book/_build/html
	jupyter-book build book/ $(STRICT)

demo: $(DEMO)  ## what the page "Try it" computes with; needs npm, without which the page says so

$(DEMO): .venv/installed workflow/demo.py $(DEMO_WEIGHTS)
	python workflow/demo.py

serve: .venv/installed  ## show the built book at http://127.0.0.1:8000
	python -m http.server --bind 127.0.0.1 --directory book/_build/html 8000

pdf: .venv/installed  ## print the committed pages to book/_build/book.pdf with Chromium
	jupyter-book build book/ --builder singlehtml
	$(CHROMIUM) --headless --no-sandbox --disable-gpu --virtual-time-budget=60000 --no-pdf-header-footer \
		--print-to-pdf=book/_build/book.pdf "file://$(CURDIR)/book/_build/singlehtml/index.html"

resume: .venv/workflow  ## run what the grid and the pages lack, from where it stopped; PROFILE=slurm for a cluster
	snakemake --unlock
	snakemake --workflow-profile $(PROFILE)

bench: .venv/installed  ## latencies of the networks, and the training step beside a plain loop; on a machine that does nothing else
	python workflow/fig7.py
	python workflow/training_speed.py

test: .venv/installed  ## tests, checked notebook cells, strict build of the book, the book in a browser; two halves, one core each
	@OMP_NUM_THREADS=1 $(MAKE) --no-print-directory --output-sync --jobs 2 test-site test-rest

test-site:
	$(MAKE) --no-print-directory site
	pytest -q $(BESIDE_SITE)

test-rest:
	pytest -q $(addprefix --ignore=,$(BESIDE_SITE))
	pytest -q --nbval notebooks/

clean:  ## remove what is built and the records of quick runs
	rm -rf book/_build results/*/*--quick--*

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or later is needed, this is ' + sys.version.split()[0])"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

.venv/workflow: .venv/installed workflow/requirements.txt
	$(BIN)/pip install --quiet --requirement workflow/requirements.txt
	@touch $@
