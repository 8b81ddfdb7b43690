# Every target sets up what it needs: python3 and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

LOWEST ?= .venv-lowest
LOWEST_READY := $(LOWEST)/.ready

.PHONY: help demo demo-distributed test test-fast test-processors test-lowered test-lowest test-wheel lint format tables docs docs-open clean

help:
	@echo "make demo             train two VAEs on scikit-learn's digits and print their test log-likelihoods"
	@echo "make demo-distributed do the same with two processes that work together"
	@echo "make test             run the tests"
	@echo "make test-fast        run those that take about half a second at most"
	@echo "make test-processors  run the numerical tests as other processors and numbers of threads run them"
	@echo "make test-lowered     run a quick part of these with everything lowered"
	@echo "make test-lowest      run the fast tests with the lowest versions that pyproject.toml declares"
	@echo "make test-wheel       build the wheel, install it into an environment of its own and train with it"
	@echo "make lint             check style and types"
	@echo "make format           put the style right"
	@echo "make tables           train what is missing of the tables of published results, for days, and write their rows"
	@echo "make docs             build the HTML documentation into docs/_build/html"
	@echo "make docs-open        build it and serve it on this machine"
	@echo "make clean            remove the environments and caches"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps celltypist  # a table of cells that it ships
	@touch $@

$(LOWEST_READY): pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --constraint constraints-lowest.txt torch
	$(LOWEST)/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable '.[test]'
	@touch $@

demo: $(READY)
	$(BIN)/python examples/demo.py

demo-distributed: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m torch.distributed.run --standalone --nproc-per-node 2 examples/demo.py

# Every worker rewrites and compiles all tests at its start unless what was compiled before is kept.
test test-fast test-lowest: export PYTHONDONTWRITEBYTECODE :=

test: $(READY)
	$(BIN)/python -m pytest

test-fast: $(READY)
	$(BIN)/python -m pytest -m "not slow"

test-processors: $(READY)
	.ci/processors $(BIN)/python

test-lowered: $(READY)
	.ci/processors $(BIN)/python lowered

test-lowest: $(LOWEST_READY)
	$(LOWEST)/bin/python -m pytest -m "not slow"

test-wheel: $(READY)
	.ci/wheel $(BIN)/python

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

TABLES := static_mnist dynamic_mnist caltech101_silhouettes frey_faces grey_mnist dvae_sharp nade penn_treebank_search penn_treebank

tables: $(READY)
	for name in $(TABLES); do $(BIN)/python -m pyrodgm table $$name --page docs/results.md || exit 1; done

docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/sphinx-build -W --fresh-env -j 2 -b html docs docs/_build/html
	$(BIN)/python docs/_checks/site.py docs/_build/html

docs-open: docs
	@echo "http://127.0.0.1:8000 has the documentation; end with Ctrl-C"
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory docs/_build/html 8000

clean:
	rm -rf $(VENV) $(LOWEST) .mypy_cache .pytest_cache .ruff_cache docs/_build docs/reference/generated
