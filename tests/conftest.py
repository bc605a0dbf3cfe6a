"""What every test shares: processes that tests start import this tree, and no test asks the network."""

import os
import tempfile
from pathlib import Path

import pytest

from helpers import tiny_runs

ROOT = Path(__file__).resolve().parents[1]

os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
os.environ.setdefault("WANDB_MODE", "offline")

# Packed caches of tests go with the tests.
_cache = tempfile.TemporaryDirectory(prefix="srgan_lit-cache-")
os.environ["XDG_CACHE_HOME"] = _cache.name


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """An uninterrupted run of both phases: its directory and what it printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    return run_dir, tiny_runs.train(run_dir, *tiny_runs.BOTH)
