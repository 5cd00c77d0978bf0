# A new machine needs python3 (3.11 or newer), make and git; the rest is installed into .venv by the first target.

PYTHON ?= python3
PY     := .venv/bin/python
READY  := .venv/.ready
EXTRAS := test,astro,cli,dask,deep,docs,tiff

export MPLBACKEND := Agg

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench docs clean distclean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(READY)  ## restore a blurred image; the pictures go to demo-output/
	$(PY) examples/first_restoration.py

test: lint  ## the static checks, then every test and doctest (PYTEST_ARGS="-k psf -x" is passed on)
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 $(PYTEST_ARGS)

lint: $(READY)  ## the static checks alone
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

format: $(READY)  ## apply what ruff can repair
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

bench: $(READY)  ## every benchmark, one table (BENCH_ARGS="--photographs DIR" is passed on)
	$(PY) benchmarks/every.py $(BENCH_ARGS)

docs: $(READY)  ## build the documentation into docs/_build/html, and run the code of its pages
	$(PY) -m sphinx --fail-on-warning --keep-going --nitpicky -q -b html -d docs/_build/doctrees docs docs/_build/html
	$(PY) -m sphinx --fail-on-warning --keep-going -q -b doctest -d docs/_build/doctrees docs docs/_build/doctest $(wildcard docs/*.md docs/*/*.md)

clean:  ## remove caches, built files, demo-output/ and benchmark-output/
	rm -rf build dist demo-output examples/demo-output benchmark-output docs/_build docs/gallery docs/reference/api *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name .venv -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean  ## remove .venv as well
	rm -rf .venv

$(READY): setup.cfg pyproject.toml tests/constraints.txt | $(PY)
	@echo "Installing lsdeblur and its tools into .venv (a minute or two the first time)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint tests/constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("lsdeblur needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ". Name a newer one: make PYTHON=python3.12")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
