# `make run` diagnoses the shipped model, `make test` runs the tests; both set up .venv themselves.
ROOT := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))
PYTHON ?= python3
BIN := $(ROOT).venv/bin
READY := $(ROOT).venv/.ready

.PHONY: run quick reproduce test test-long fuzz mutants benchmark figures docs lint format clean

run: $(READY)  ## the main job: report on the shipped model, half a minute on two cores
	cd $(ROOT) && $(BIN)/sharptheory diagnose --model arithmetic-1m --task arithmetic --out out/first-light $(ARGS)

quick: $(READY)  ## the main job in a few seconds
	cd $(ROOT) && $(BIN)/sharptheory diagnose --model arithmetic-1m --task arithmetic --prompts 20 --samples 32 --out out/quick $(ARGS)

test: $(READY)
	cd $(ROOT) && $(BIN)/python -m pytest -n 2 $(ARGS)

test-long: $(READY)  ## long statistical tests
	cd $(ROOT) && $(BIN)/python -m pytest -m slow -n 2 $(ARGS)

fuzz: $(READY)  ## spoilt files and responses for every reader and grader, half an hour on two cores; FUZZ_SEED=1 for others
	cd $(ROOT) && FUZZ=$(or $(FUZZ),100000) $(BIN)/python -m pytest tests/fuzz -n 2 --dist worksteal $(ARGS)

mutants: $(READY)  ## mutation testing, ROOMS="theory report" or all of them: minutes a room
	cd $(ROOT) && $(BIN)/python -c "import mutmut.configuration" 2>/dev/null || $(BIN)/python -m pip install --quiet --constraint $(ROOT)constraints.txt '.[mutants]'
	cd $(ROOT) && $(BIN)/python -m tests.mutants $(or $(ROOMS),runs theory checks decoding learners training measure report tasks) $(ARGS)

benchmark: $(READY)  ## speed and memory ratios, alone on the machine
	cd $(ROOT) && $(BIN)/python -c "import lm_eval" 2>/dev/null || $(BIN)/python -m pip install --quiet --constraint $(ROOT)constraints.txt '.[bench]'
	cd $(ROOT) && $(BIN)/python -m pytest -m benchmark -s $(ARGS)

reproduce: $(READY)  ## the paper's protocol, quick: about four minutes on two cores, report in out/reproduce
	cd $(ROOT) && $(BIN)/python -m experiments.reproduce $(ARGS)

figures: $(READY)  ## redraw every figure and table from committed results
	cd $(ROOT) && $(BIN)/python -m experiments.figures $(ARGS) && $(BIN)/python -m experiments.tables

docs: $(READY)  ## API reference as a static site in out/docs, a page per module
	cd $(ROOT) && $(BIN)/pdoc --docformat google --output-directory out/docs sharptheory sharptheory.llm \
		$$($(BIN)/python -c "import pkgutil, sharptheory as st; print(*(f'sharptheory.{m.name}' for m in \
		pkgutil.iter_modules(st.__path__) if m.name not in (*st.__all__, '__main__')))")

lint: $(READY)  ## style, and which room may import which: on the package as it is installed
	cd $(ROOT) && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	rm -rf $(ROOT)out/lint && mkdir -p $(ROOT)out/lint
	cd $(ROOT)out/lint && $(BIN)/python -m pip install --quiet --no-deps --target . $(ROOT)
	cd $(ROOT)out/lint && $(BIN)/lint-imports --no-logo --config $(ROOT)pyproject.toml

format: $(READY)
	cd $(ROOT) && $(BIN)/ruff check --fix . && $(BIN)/ruff format .

# Reinstalled only when the requirements change; an interrupted installation leaves no stamp and is repeated.
$(READY): $(ROOT)pyproject.toml $(ROOT)constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(ROOT).venv
	cd $(ROOT) && $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[llm,tasks,train,dev]'
	touch $(READY)

clean:
	rm -rf $(ROOT).venv $(ROOT)out $(ROOT)build $(ROOT)dist $(ROOT)*.egg-info
