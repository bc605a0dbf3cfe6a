"""Whose a run directory is: made once, by one run, and removed where nothing came of it. No torch."""

import contextlib
import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import UsageError
from srgan_lit.config.schema import TrainConfig


class Folders(Callback):
    """Hydra's callback, named in ``conf/train.yaml``: remember which folders Hydra is about to make for a run."""

    new: ClassVar[list[Path]] = []  # those above the run directory, the innermost first

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look."""
        HydraConfig.instance().set_config(config)  # Hydra does so for jobs alone; the default run_dir asks it
        Folders.new = [folder for folder in Path(config.hydra.run.dir).parents if not folder.exists()]


def discard(run_dir: Path) -> None:
    """Remove the run directory that Hydra made, if nothing else is in it, and the folders that it made above it.

    So refusals and dry runs leave nothing.
    """
    if run_dir.is_dir() and {path.name for path in run_dir.iterdir()} <= {"train.log"}:
        shutil.rmtree(run_dir)
        with contextlib.suppress(OSError):  # another run has begun there meanwhile
            for folder in Folders.new:
                folder.rmdir()


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
