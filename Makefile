# Shortcuts. Each line can be typed by hand; PYTHON may name another interpreter.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test test-all lint bench wheel

demo: .venv/demo
	$(BIN)/fuxictr run --expid LR_demo FM_demo DNN_demo QNNalpha_demo

test: .venv/test
	$(BIN)/pytest -q -n 2 --dist loadfile

# With what needs an extra, and what takes minutes: processes killed at random moments, Ray, several workers.
test-all: .venv/all
	$(BIN)/pytest -q -m 'slow or not slow'

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: .venv/demo
	$(BIN)/python -m benchmarks.all

wheel: .venv/demo
	rm -rf build
	$(BIN)/pip wheel --no-deps -w dist .

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/pip setup.cfg constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

.venv/all: .venv/bin/pip setup.cfg constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e '.[all]'
	touch $@

.venv/test: .venv/bin/pip setup.cfg constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e '.[test]'
	touch $@
