# Each target makes a virtual environment and installs what it needs, then runs.
# `make` alone lists the targets. Paths are relative, so spaces above are harmless.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python

# Installing is repeated when the packaging changes, or another PYTHON is asked for.
PACKAGING := setup.py pyproject.toml

export TF_CPP_MIN_LOG_LEVEL ?= 2
# Tests start many processes; each would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-oldest lint docs bench bench-oracle bench-torch clean

help:
	@echo "make demo       distil a digits student, three minutes (runs/demo)"
	@echo "make test       unit and smoke tests, some minutes"
	@echo "make test-slow  every test"
	@echo "make test-oldest  the tests with the oldest versions allowed (.venv-oldest)"
	@echo "make lint       ruff and import rules"
	@echo "make docs       the documentation's pages (site/)"
	@echo "make bench      augmentation, reader, training, fast layers, born-again step"
	@echo "make bench-oracle  the search's oracle against others, an hour (.venv-peers)"
	@echo "make bench-torch  students and language models against PyTorch (.venv-peers)"
	@echo "make clean      remove $(VENV), site and caches; runs/ stays"

demo: $(VENV)/.installed
	@mkdir -p runs
	$(RUN) -m kerasdistill.cli student --dataset digits --budget 1M --convs 3 --quick \
	    --fast --passes 12 --epochs 12 --workdir runs/demo > runs/demo.txt
	$(RUN) -m kerasdistill.cli inspect --workdir runs/demo \
	    "$$(sed -n 's/^distillation_set: *//p' runs/demo.txt)"
	@cat runs/demo.txt

test: $(VENV)/.installed-dev
	$(RUN) -m pytest -n 2

test-slow: $(VENV)/.installed-slow
	$(RUN) -m pytest -n 2 -m "slow or not slow"

# Old packages with new ones below them warn of much, so that warnings are no errors.
OLDEST := .venv-oldest/bin/python
test-oldest:
	$(PYTHON) -m venv .venv-oldest
	$(OLDEST) -m pip install --quiet --no-deps --editable .
	$(OLDEST) tests/support/oldest.py > .venv-oldest/oldest.txt
	$(OLDEST) -m pip install --quiet --constraint .venv-oldest/oldest.txt \
	    --editable ".[test]"
	$(OLDEST) -m pytest -n 2 -W default

lint: $(VENV)/.installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports

docs: $(VENV)/.installed-dev
	$(RUN) -m sphinx --fail-on-warning --keep-going --quiet docs site

bench: $(VENV)/.installed
	$(RUN) benchmarks/augment.py
	$(RUN) benchmarks/reader.py
	$(RUN) benchmarks/resident.py
	$(RUN) benchmarks/fast_layers.py
	$(RUN) benchmarks/born_again_step.py
	$(RUN) benchmarks/widths.py

# Optuna's GPSampler needs PyTorch, and greenlet to run its searches side by side;
# nothing here does, so they have an environment of their own.
bench-oracle:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --editable . \
	    optuna==5.0.0 greenlet torch==2.13.0
	.venv-peers/bin/python benchmarks/oracle.py --log .venv-peers/searches.jsonl

# PyTorch has an environment of its own here too; its steps run in their own process.
bench-torch:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --editable . torch==2.13.0
	.venv-peers/bin/python benchmarks/language_model.py
	.venv-peers/bin/python benchmarks/live_teacher.py \
	    --torch-python .venv-peers/bin/python

clean:
	rm -rf $(VENV) .venv-peers .venv-oldest build *.egg-info .pytest_cache .ruff_cache .import_linter_cache
	rm -rf .hypothesis site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(PACKAGING)
	$(RUN) -m pip install --quiet --editable ".[report]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python $(PACKAGING)
	$(RUN) -m pip install --quiet --editable ".[test,lint,docs]"
	@touch $@ $(VENV)/.installed

# The slow tests start a Dask cluster and a server, and try every export, tracker and
# notebook.
$(VENV)/.installed-slow: $(VENV)/bin/python $(PACKAGING)
	$(RUN) -m pip install --quiet --editable ".[test-slow,lint,docs,all]"
	@touch $@ $(VENV)/.installed-dev $(VENV)/.installed
