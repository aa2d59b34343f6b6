# Everything runs in the present Python environment: pip install -c constraints.txt -e '.[data,lm,dev]'

PYTHON ?= python
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help figures report bench notebooks test

help:
	@echo "make figures    draw paper_figs/out from the results that are checked in"
	@echo "make report     check all theorems and write build/report/index.html"
	@echo "make bench      every benchmark at a size that takes minutes"
	@echo "make notebooks  execute the notebooks"
	@echo "make test       the quick tests"

figures:
	$(PYTHON) -m paper_figs

report:
	$(PYTHON) -m nlhf verify --report build/report

bench:
	$(PYTHON) -m nlhf bench smoke

notebooks:
	$(PYTHON) -m pytest -n0 -m '' tests/documents/test_notebooks.py

test:
	$(PYTHON) -m pytest -n 2
