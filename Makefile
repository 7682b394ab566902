# Every target makes what it needs on first use: a virtual environment, and in it one set of
# dependencies per extra of pyproject.toml, at the versions and with the hashes that are locked in
# `requirements`, installed again whenever those files change.
PYTHON ?= python3
VENV ?= .venv
# More than there are processors, since many tests wait for what is to happen in its time.
WORKERS ?= 3
# Seconds; of a fuzzer, of which there are four.
FUZZ ?= 30
SOAK ?= 60

BIN := $(VENV)/bin
QUIETLY := --quiet --disable-pip-version-check
# Those that are there: a checker fails on a directory that is not.
SOURCES := $(wildcard remoteobj tests examples benchmarks fuzz docs/conf.py noxfile.py)

# Each has its locked requirements. What lint checks imports the others' libraries, so it leads.
EXTRAS := lint cli demo examples gui test docs bench nox titles progress uvloop otel ray fuzz peers upgrade

.PHONY: help demo test bytecode test-ray test-portable test-oldest test-wheel test-all lint format docs picture bench bench-peers fuzz soak upgrade clean
# Two installations into one environment at once would break it.
.NOTPARALLEL:

help:
	@echo "make demo | test | test-ray | test-portable | test-oldest | test-wheel | test-all | lint | format | docs | picture | bench | bench-peers | fuzz | soak | upgrade | clean"

demo: $(VENV)/demo.stamp
	$(BIN)/python examples/indexer.py

test: $(VENV)/test.stamp bytecode
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# Where Python is told to write none, each of the thousand processes that the tests start would
# compile all that it imports, which takes four times as long as to import it.
bytecode: $(VENV)/test.stamp
	$(BIN)/python -m compileall -q -j 0 remoteobj tests

# On a cluster of Ray on this machine, which `make test` does with a few of these tests alone. In one
# process, since each of them would start a cluster of its own.
test-ray: $(VENV)/test.stamp bytecode
	$(BIN)/python -m pytest tests --engine ray -o timeout=60 -o faulthandler_timeout=55 $(ARGS)

# As on systems that lack what only Linux has, one thing at a time.
test-portable: $(VENV)/test.stamp bytecode
	for name in memfd_create pidfd_open eventfd SO_PEERCRED; do \
		$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --without $$name $(ARGS) || exit 1; \
	done

# With the oldest versions of what the package needs at run time. `make test` has the newest.
test-oldest:
	$(MAKE) VENV=.venv-oldest .venv-oldest/oldest.stamp
	$(MAKE) VENV=.venv-oldest test

# What users install: the package comes from the wheel, and all else from the sdist, into a directory
# that has nothing else. Nothing of this directory is seen there.
test-wheel:
	rm -rf .venv-wheel build/wheel
	$(MAKE) VENV=.venv-wheel .venv-wheel/test.stamp
	.venv-wheel/bin/python -m hatchling build --directory build/wheel
	.venv-wheel/bin/python -m pip install $(QUIETLY) --no-deps --force-reinstall build/wheel/*.whl
	mkdir build/wheel/empty
	tar -xzf build/wheel/*.tar.gz -C build/wheel/empty --strip-components 1 --exclude "*/remoteobj"
	cd build/wheel/empty && $(abspath .venv-wheel)/bin/python -m compileall -q -j 0 tests
	cd build/wheel/empty && PYTHONPATH=$(abspath build/wheel/empty) \
		$(abspath .venv-wheel)/bin/python -m pytest tests -n $(WORKERS) --dist worksteal $(ARGS)

test-all: $(VENV)/nox.stamp
	$(BIN)/python -m nox --session tests

# The last finds the package by the interpreter that comes first in the path, and takes no other.
lint: $(VENV)/lint.stamp
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	$(BIN)/pyright --pythonpath $(BIN)/python
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pyright --verifytypes remoteobj --ignoreexternal

format: $(VENV)/lint.stamp
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# All pages are read anew (-E), since a page that has not changed would not be warned of again.
docs: $(VENV)/docs.stamp
	$(BIN)/sphinx-build -E -W -n --keep-going -b html docs docs/_build/html

# Of `remoteobj top`, and of a timeline, for the documentation.
picture: $(VENV)/test.stamp
	$(BIN)/python -m tests.command_line.picture
	$(BIN)/python -m tests.timeline_picture

bench: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks $(ARGS)

# In an environment of their own, since they bring in far more than all the other extras do.
bench-peers:
	$(MAKE) VENV=.venv-peers .venv-peers/peers.stamp
	.venv-peers/bin/python -m benchmarks.peers $(ARGS)

fuzz: $(VENV)/fuzz.stamp
	for target in decoder mailbox handshake parsers; do \
		$(BIN)/python -m fuzz.$$target -max_total_time=$(FUZZ) $(ARGS) || exit 1; \
	done

# That it takes long is no hang, so no dump of its threads is wanted.
soak: $(VENV)/test.stamp
	SOAK=$(SOAK) $(BIN)/python -m pytest tests -m soak -o faulthandler_timeout=0 $(ARGS)

# Lock the newest versions of what each extra asks for, for every system and Python at once.
upgrade: $(VENV)/upgrade.stamp
	for extra in $(EXTRAS); do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
			--no-annotate --custom-compile-command "make upgrade" \
			--constraint requirements/lint.txt --extra $$extra \
			--output-file requirements/$$extra.txt pyproject.toml requirements/build.in || exit 1; \
	done
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --resolution lowest-direct --generate-hashes \
		--no-annotate --custom-compile-command "make upgrade" \
		--output-file requirements/oldest.txt pyproject.toml

clean:
	rm -rf .venv .venv-oldest .venv-peers .venv-wheel .nox .fuzz build dist docs/_build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Nothing is installed but files whose hashes are known here. The package itself has none, since it
# is this directory: so it is built by what is installed by then, and not by the newest there is.
$(VENV)/%.stamp: pyproject.toml requirements/%.txt $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install $(QUIETLY) --require-hashes --requirement requirements/$*.txt
	$(BIN)/python -m pip install $(QUIETLY) --no-deps --no-build-isolation --editable .
	touch $@

# In place of the newest, which the tests' lock has as well.
$(VENV)/oldest.stamp: $(VENV)/test.stamp

# The environment is older than its stamps for ever after, so that it never makes them stale.
$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)
