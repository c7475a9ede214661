# The lab's commands. `make demo` is the first minute; `make test` is what must pass.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
TESTS := $(RUN) -m pytest
BESIDE := -n 3 --dist worksteal  # most tests wait most of their time
# Every peer is a process of its own: what they import is compiled once, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test quick night clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/ -/'

demo: $(VENV)/ready  ## six peers in three emulated regions, three orderings; what they cost elsewhere; one page of it all
	$(RUN) -m experiments sweep demo --anew
	$(RUN) -m experiments local demo --ordering unordered,lamport_all_ack,fixed_sequencer \
		--also runs/demo --report runs/demo-report.html

test: $(VENV)/ready-dev  ## everything but the large counts, under 12 minutes
	$(TESTS) -m "not slow and not alone" $(BESIDE)
	$(TESTS) -m "not slow and alone"

quick: $(VENV)/ready-dev  ## no long tests, no root, under 3 minutes
	$(TESTS) -m "not slow and not long and not alone" $(BESIDE)

# The large counts, in parts: make night, or make night PART=judge
NIGHT := judge conformance explorer fuzz cloud soak rest
PART ?= $(NIGHT)
ELSEWHERE := $(addprefix --ignore=tests/,comparison_server conformance explorer fuzz deploy)
night: $(VENV)/ready-dev  ## the large counts, in parts of half an hour or less: make night PART="judge explorer"
	@for part in $(PART); do \
		echo "== night: $$part"; \
		case $$part in \
			judge) $(TESTS) -m slow tests/comparison_server ;; \
			conformance) $(TESTS) -m slow tests/conformance ;; \
			explorer) $(TESTS) -m slow tests/explorer ;; \
			fuzz) $(TESTS) -m slow tests/fuzz ;; \
			cloud) $(TESTS) -m slow tests/deploy ;; \
			soak) $(TESTS) -m slow -k half_an_hour tests/experiments/test_soak.py ;; \
			rest) $(TESTS) -m slow -k "not half_an_hour" $(ELSEWHERE) ;; \
			*) echo "unknown part $$part; known are $(NIGHT)"; exit 2 ;; \
		esac || { code=$$?; [ $$code -eq 5 ] || exit $$code; }; \
	done

clean:  ## remove the virtual environment and caches, never the runs
	rm -rf $(VENV) .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "The lab needs Python 3.11 or later; say which with make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready: requirements.txt | $(VENV)/bin/python
	@echo "Installing what the lab needs into $(VENV) (once)"
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/ready-dev: requirements-dev.txt $(VENV)/ready
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
