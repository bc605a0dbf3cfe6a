"""What every test shares: processes that tests start import this tree, and no test asks the network."""

import collections
import os
import tempfile
from pathlib import Path

import psutil
import pytest
import yaml
from hypothesis import HealthCheck, settings

from helpers import tiny_runs, tiny_training
from srgan_lit.common.worker_processes import processors

ROOT = Path(__file__).resolve().parents[1]

os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH")])
)
os.environ.setdefault("WANDB_MODE", "offline")

# Hydra's files are read some thousand times: by libyaml in a tenth of the time, to the same values.
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

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


# Whole files go to one worker each: those that take longest first, so that no worker ends long after the others.
LONGEST = [
    "test_launch", "test_readme", "test_train", "test_run_life", "test_interruptions", "test_resume", "test_multirun",
    "test_notebooks", "test_package", "test_plain_trainer", "test_recorded_iterations", "test_benchmark",
    "test_discriminator_options", "test_updates", "test_every_key_is_wired", "test_configs", "test_attacks", "test_app",
]  # fmt: skip


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


INSTALL = {
    "chromium": "apt-get install chromium chromium-driver",
    "nginx": "apt-get install nginx-light openssl",
    "ImageMagick": "apt-get install imagemagick",
    "GPU": "make gpu, on a machine that has one",
    "SRGAN_LIT_DATA": "SRGAN_LIT_DATA=<folder with Set5, Set14, CUFED, CUFED5>",
}


def pytest_terminal_summary(terminalreporter):
    """What was not tried, why, and what to do about it: a line for each reason."""
    reasons = collections.Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        terminalreporter.section("not tried here")
    for reason, count in reasons.most_common():
        ways = [way for name, way in INSTALL.items() if name in reason]
        terminalreporter.line(f"{count:4} tests: {reason}{''.join(f' ({way})' for way in ways)}")


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


# Packed caches of tests go with the tests; packages stay where they are, else the wheel's test fetches torch each time.
os.environ.setdefault("UV_CACHE_DIR", str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"))
_cache = tempfile.TemporaryDirectory(prefix="srgan_lit-cache-")
os.environ["XDG_CACHE_HOME"] = _cache.name


@pytest.fixture
def narrow_discriminators():
    """For trainings in the test's own process that make their networks themselves."""
    with tiny_training.narrow_discriminators():
        yield


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """An uninterrupted run of both phases: its directory and what it printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    return run_dir, tiny_runs.train(run_dir, *tiny_runs.BOTH)
