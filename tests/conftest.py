"""What every test shares: processes that tests start import this tree, and no test asks the network."""

import os
import tempfile
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

from helpers import tiny_runs
from srgan_lit.common.worker_processes import processors

ROOT = Path(__file__).resolve().parents[1]

os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH")])
)
os.environ.setdefault("WANDB_MODE", "offline")

# No test asserts a time, and Hypothesis asserts two of its own.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

BYTES_PER_WORKER = 3 * 2**30  # a worker and the processes that its tests start: torch and Lightning in each


def pytest_xdist_auto_num_workers(config):
    """What ``-n auto`` means: the cores, as far as the memory that is free goes round."""
    free = psutil.virtual_memory().available
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdecimal():  # of a container
        free = min(free, int(text))
    return max(1, min(processors(), free // BYTES_PER_WORKER))


# Tests marked ``gpu`` are about a GPU with CUDA, and skipped without. SRGAN_LIT_GPU_TESTS=cpu puts the processor in its
# place, to test the tests. In no conftest.py of their own: of two modules of that name one hides the other.
STAND_IN = os.environ.get("SRGAN_LIT_GPU_TESTS") == "cpu"


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not STAND_IN:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no GPU with CUDA")


@pytest.fixture(scope="session")
def device():
    import torch

    return torch.device("cpu" if STAND_IN else "cuda")


@pytest.fixture(scope="session")
def accelerator():
    """The device as ``trainer.accelerator`` calls it."""
    return "cpu" if STAND_IN else "gpu"


@pytest.fixture
def on_gpu_only():
    """For what the processor cannot stand in for."""
    if STAND_IN:
        pytest.skip("only a GPU has this")


# Packed caches of tests go with the tests.
_cache = tempfile.TemporaryDirectory(prefix="srgan_lit-cache-")
os.environ["XDG_CACHE_HOME"] = _cache.name


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """An uninterrupted run of both phases: its directory and what it printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    return run_dir, tiny_runs.train(run_dir, *tiny_runs.BOTH)
