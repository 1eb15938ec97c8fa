# SPDX-License-Identifier: Apache-2.0
# Every target but `help` and `clean` first makes the checkout ready (ci/setup.sh): under a second when it already is.

PYTHON ?= python3
BIN := .venv/bin
DEMO_OUT := demo-out
DEMO_TARGETS := cortex-m4 rv32imc
JOBS ?= 2
LUT_TARGETS ?= cortex-m0plus cortex-m3 cortex-m4 cortex-m7 cortex-m33 cortex-m55 rv32imc cv32e40p cv32e40p-xpulp ibex picorv32

.DEFAULT_GOAL := help
.PHONY: help setup demo luts test coverage check doctor format clean
# The recipes below say what they do as they do it; a failing line ends the run.
MAKEFLAGS += --no-print-directory

help: ## say what can be made
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)$$/  make \1\t\2/' | expand -t 16

setup: ## install what is missing: compilers and emulators with apt-get, Python packages into .venv
	@PYTHON="$(PYTHON)" sh ci/setup.sh

demo: setup ## real images to bit-exact, measured firmware on a Cortex-M4 and a RISC-V core
	$(BIN)/plinio-deploy run digits $(DEMO_TARGETS:%=--target %) --out $(DEMO_OUT)
	@echo && echo "Open one of these in a browser:" && find "$(CURDIR)/$(DEMO_OUT)" -name report.html | sort | sed 's/^/  /'

test: check ## every check and every test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

luts: setup ## fit the cost tables of LUT_TARGETS anew, by measuring
	$(BIN)/plinio-deploy calibrate $(LUT_TARGETS:%=--target %)

coverage: setup ## every test, and which lines none of them runs
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=term-missing:skip-covered

check: setup ## the checks that run nothing: style, types, layering, sizes, README
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m ci.size
	$(BIN)/python -m ci.readme

doctor: setup ## say which tools are installed, which are missing and what installs them
	$(BIN)/plinio-deploy doctor

format: setup ## lay the Python files out, and list the packages, as `make check` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m ci.packages

clean: ## remove everything that was made, .venv included
	rm -rf .venv build dist out $(DEMO_OUT) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
