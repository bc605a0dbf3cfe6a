"""Whose a run directory is: made once, by one run, and removed where nothing came of it. No torch."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import UsageError
from srgan_lit.config.schema import TrainConfig


def discard(run_dir: Path) -> None:
    """Remove the run directory that Hydra made, if nothing else is in it: refusals and dry runs leave none."""
    if run_dir.is_dir() and {path.name for path in run_dir.iterdir()} <= {"train.log"}:
        shutil.rmtree(run_dir)


def claim(run_dir: Path, config: TrainConfig, overrides: Sequence[str]) -> None:
    """Make ``config.yaml`` (of two runs in one directory the second is refused) and ``.hydra/overrides.yaml``.

    Hydra itself would write ``.hydra/`` before anything can be refused, over that of an earlier run.
    """
    (run_dir / ".hydra").mkdir(parents=True, exist_ok=True)
    try:
        atomic_files.create_text(run_dir / "config.yaml", OmegaConf.to_yaml(dataclasses.asdict(config)))
    except FileExistsError:
        raise UsageError(
            f"{run_dir} holds a run already; go on with resume={run_dir}, or name another run_dir"
        ) from None
    OmegaConf.save(list(overrides), run_dir / ".hydra" / "overrides.yaml")
