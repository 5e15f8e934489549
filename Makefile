# The words a developer types. Each line runs as it stands, too.
.PHONY: check test test-slow bench

check:  ## format, lint and types
	ruff format --check .
	ruff check .
	mypy

test:  ## what README's test command runs
	pytest

test-slow:  ## everything else that CI runs
	pytest -m slow

bench:  ## the benchmarks, one after the other; each prints its figures
	python tests/benchmarks/step.py
	python tests/benchmarks/grid.py
	python tests/benchmarks/study_cost.py
	python tests/benchmarks/tracking.py
	python tests/benchmarks/ray_nodes.py
