# make demo | make test: on a fresh clone, with nothing but Python 3.11 or later.
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo
BOX := $(basename $(notdir $(wildcard src/srgan_lit/models/*.safetensors)))
GPU_REPORT := gpu-report.txt
QUICK := $(addprefix tests/,common config data evaluation losses model_files networks pictures upscaling)

# Else each of the tests' processes compiles what it imports once more: ten seconds for torch and Lightning.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo check audit test test-quick test-slow test-mutations gpu scores notebooks format clean

setup: .venv/.ready

# The stamp is written last: a set-up that was interrupted starts again.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "srgan_lit needs Python 3.11 or later; run: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "Setting up .venv (once; torch is a large download)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

demo: setup
	@rm -rf $(DEMO)
	$(BIN)/python -m srgan_lit.train experiment=demo run_dir=$(DEMO)
	$(BIN)/python -m srgan_lit.upscale src/srgan_lit/sample/test/chelsea.png --model $(DEMO) -o $(DEMO)/upscaled
	@echo
	@cat $(DEMO)/report/results.md
	@echo
	@echo "Everything is in $(DEMO):"
	@echo "  a report to open in a browser   $(DEMO)/report/report.html"
	@echo "  the comparison picture          $(DEMO)/report/comparison.png"
	@echo "  a picture four times larger     $(DEMO)/upscaled/chelsea.png"

check: setup
	$(BIN)/ruff format --check src tests notebooks examples
	$(BIN)/ruff check src tests notebooks examples
	$(BIN)/mypy
	$(BIN)/lint-imports

# Known flaws of the packages that are installed; where no source of advisories answers, it says so and nothing fails.
audit: setup
	@PYTHONPATH=tests $(BIN)/python -m helpers.audit

# Workers: as many as cores and memory allow (tests/conftest.py).
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# Folders whose tests hardly start processes, without those that take seconds.
test-quick: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m 'not slow and not long' $(QUICK)

# Kills, mutated files, several processes and long runs: an hour and more.
test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

# The source is changed in one place at a time, and a test must fail. What was tried is kept in build/: it goes on there.
test-mutations: setup
	@OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m helpers.mutants $(MUTANTS)
	@OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m helpers.ignored_keys

# The tables of MODELS.md and docs/held_out.md. TESTS holds Set5 and Set14, TRAINED is data.root of the training, FEATURES
# holds VGG19's and SqueezeNet's.
scores: setup
	@test -d "$(TESTS)" -a -d "$(TRAINED)" -a -d "$(FEATURES)" \
		|| { echo "make scores TESTS=<folder> TRAINED=<folder> FEATURES=<folder>" >&2; exit 2; }
	$(BIN)/python -m srgan_lit.evaluate --model bicubic $(BOX) --data sample $(TESTS)/Set5 $(TESTS)/Set14 \
		--degradation bicubic everyday --perceptual $(FEATURES)/vgg19_features.safetensors \
		--lpips $(FEATURES)/squeezenet1_1_features.safetensors --out runs/scores --overwrite --into MODELS.md
	$(BIN)/python -m srgan_lit.evaluate --model bicubic srgan everyday everyday-faithful auto \
		--held-out $(TRAINED) --validation-share 0.03 --degradation bicubic everyday \
		--lpips $(FEATURES)/squeezenet1_1_features.safetensors --out runs/held_out --overwrite --into docs/held_out.md

# For whoever has a GPU: its tests, then how fast it is, all of it in one file to send back.
gpu: setup
	@$(BIN)/python -c 'import torch, sys; sys.exit(None if torch.cuda.is_available() else "make gpu: torch sees no GPU with CUDA")'
	@{ \
		OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/gpu -v || echo "FAILED: tests"; \
		for precision in 32-true bf16-mixed; do for blocks in 5 16; do \
			echo; $(BIN)/python -m srgan_lit.benchmark --only pretrain adversarial --device cuda --batch 16 \
				--blocks $$blocks --precision $$precision || echo "FAILED: benchmark"; \
		done; done; \
		echo; $(BIN)/python -m srgan_lit.benchmark --only inference --device cuda || echo "FAILED: benchmark"; \
	} 2>&1 | tee $(GPU_REPORT)
	@echo "Everything is in $(GPU_REPORT)"; ! grep "^FAILED: " $(GPU_REPORT)

# Run them and keep their outputs: minutes, since the second one trains.
notebooks: setup
	PYTHONPATH=tests $(BIN)/python -m helpers.notebooks

format: setup
	$(BIN)/ruff format src tests notebooks examples
	$(BIN)/ruff check --fix src tests notebooks examples

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache
