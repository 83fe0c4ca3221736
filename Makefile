# Everything runs in the project's own virtual environment; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test fast check format install clean oracle

## make demo: install Luthier, pretrain a small model, fine-tune it, ask it questions, show the report
demo: $(VENV)/.luthier
	$(BIN)/luthier train recipes/story-pretrain.yaml
	$(BIN)/luthier train recipes/story-questions.yaml
	@echo
	@echo "Facts that the table never asks for, and only the stories tell:"
	$(BIN)/luthier evaluate runs/story-questions --data recipes/data/questions-from-stories.csv --max-new-tokens 32
	@echo
	@echo "Look at the reports: runs/story-pretrain/report.html and runs/story-questions/report.html"
	@echo "Now ask it yourself: $(BIN)/luthier generate runs/story-questions --prompt 'Where does Maren live?'"
	@echo "Next, your own rows: copy recipes/story-questions.yaml, change data.train, and luthier plan it"

## make test: everything that CI runs
test: check
	$(BIN)/python -m pytest -n 2 --dist worksteal

## make fast: the checks' little sister, for every save
fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not oracle"

## make oracle: ask TRL itself what tests/oracle/golden keeps of it (a virtual environment of its own, some minutes)
oracle: $(VENV)/.dev $(VENV)-trl/.made
	LUTHIER_ORACLE_TRL=$(CURDIR)/$(VENV)-trl/bin/python $(BIN)/python -m pytest tests/oracle -m oracle

$(VENV)-trl/.made:
	$(PYTHON) -m venv $(VENV)-trl
	$(VENV)-trl/bin/python -m pip install --quiet --disable-pip-version-check "trl==1.16.*" "peft>=0.18" "torch<=2.13.0"
	@touch $@

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(VENV)/.luthier

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.luthier: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.luthier pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-trl runs build dist
