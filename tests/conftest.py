"""What every test shares: processes that tests start import this tree, and no test asks the network."""

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
os.environ.setdefault("WANDB_MODE", "offline")

# Packed caches of tests go with the tests.
_cache = tempfile.TemporaryDirectory(prefix="srgan_lit-cache-")
os.environ["XDG_CACHE_HOME"] = _cache.name
