# make train: the main job, on a bare machine. make test: everything that CI checks. Both set up .venv first.
# make gpu: check, train and measure on this machine's GPU, about 15 minutes; writes docs/gpu.md.
# make constraints: the tested versions of all dependencies, into constraints.txt.
# make sbom: a bill of materials of .venv (CycloneDX JSON), into build/sbom.json.
# make release: sdist and wheel in dist/, checked, and tried in a new environment without a network; uploads nothing.
# make docs: the documentation as a site, into build/site; `.venv/bin/mkdocs serve` shows it with search.
# make test-lowest: the tests with the oldest releases that pyproject.toml allows; downloads some gigabytes.
PYTHON ?= python3
VENV := .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
TOOLS := build/tools

.PHONY: train test test-lowest lint gpu docs constraints sbom release clean

train: $(VENV)/ready
	$(BIN)/domtrans train digits-dtn

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Old releases beside new ones of what they need give warnings that say nothing about domtrans: those are no errors here.
test-lowest:
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[dev]'
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -o filterwarnings=default

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry plugins .
	$(BIN)/python -m pip check

gpu: $(VENV)/ready
	$(BIN)/python benchmarks/gpu.py

docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# What is installed in .venv is what the tests ran with. The other extras get the newest releases that go with it.
constraints: $(VENV)/ready $(TOOLS)/ready
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' > build/tested.txt
	$(TOOLS)/bin/uv pip compile --quiet --all-extras --no-annotate --no-header --python $(BIN)/python \
	    --constraints build/tested.txt --output-file constraints.txt pyproject.toml

sbom: $(VENV)/ready $(TOOLS)/ready
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	    --output-file build/sbom.json $(BIN)/python

# The new environment has only the wheel of its own. All else comes from .venv, where no build of it is installed.
release: $(VENV)/ready $(TOOLS)/ready
	rm -rf dist build/release
	$(BIN)/python -m hatchling build -d dist
	$(TOOLS)/bin/twine check --strict dist/*
	$(PYTHON) -m venv --without-pip build/release
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	    > "$$(build/release/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/libraries.pth"
	$(BIN)/python -m pip --python build/release/bin/python install --quiet --no-index --no-deps dist/*.whl
	cd build/release && bin/python -c "from PIL import Image; Image.new('RGB', (40, 30), 'red').save('photo.png')"
	cd build/release && bin/python -m domtrans transfer models:digits-dtn photo.png digit.png --device cpu
	cd build/release && bin/python -m domtrans --version
	ls -l dist

$(TOOLS)/ready: Makefile
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet uv cyclonedx-bom twine
	touch $@

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) .mypy_cache .pytest_cache .ruff_cache dist build
