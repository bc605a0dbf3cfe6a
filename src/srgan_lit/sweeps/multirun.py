"""Many trainings by one command. One that fails does not stop the others; a table ends them. No torch."""

import importlib.metadata
import logging
import math
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from srgan_lit.common import atomic_files, command_line
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.sweeps import run_table
from srgan_lit.training import launch, run_directory

log = logging.getLogger(__name__)


class Multirun(Callback):
    """Hydra's callback, named in ``conf/train.yaml``: refuse, before the first job, what would fail in every job."""

    folder: ClassVar[Path | None] = None  # of the multirun that this process leads

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the folder and the sweeper, and make the folder, where a study is kept."""
        HydraConfig.instance().set_config(config)  # Hydra does so for jobs alone; the default run_dir asks it
        try:
            _check(config)
        except UsageError as error:  # what a callback raises Hydra only warns of
            command_line.complain(f"error: {error}")
            sys.exit(error.exit_status)
        Multirun.folder = Path(config.hydra.sweep.dir)
        run_directory.write_overrides(Multirun.folder, config.hydra.overrides.task)
        logging.getLogger("alembic").setLevel(logging.WARNING)  # of Optuna's storage: lines for its developers


def _check(config: DictConfig) -> None:
    launch.check_multirun()
    folder, sweeper = Path(config.hydra.sweep.dir), config.hydra.sweeper
    if run_table.find(folder)[0]:
        more = f"; more trials of its study: add hydra.sweeper.storage=sqlite:///{folder}/study.db"
        raise UsageError(
            f"{folder} holds a multirun already; name another run_dir{more if (folder / 'study.db').is_file() else ''}"
        )
    if not str(sweeper._target_).endswith("OptunaSweeper"):
        return
    direction = run_table.DIRECTIONS[config.objective]
    if str(sweeper.direction).rpartition(".")[2] != direction:
        raise UsageError(f"objective={config.objective} needs hydra.sweeper.direction={direction}")
    if importlib.metadata.version("sqlalchemy").partition(".")[0] != "1":
        raise UsageError("Optuna 2 keeps its studies with SQLAlchemy 1.4 alone: pip install 'srgan_lit[sweep]'")


def attempt(job: Callable[[], float], explain: Callable[[Exception], SRGANError | None]) -> float | None:
    """What ``job`` returns, or None where it fails or is not finite, which is logged and written to ``failure.txt``.

    None and no exception, because the first exception would end the sweep; Optuna marks such a trial as failed.
    ``explain`` gives the words for an error that is not ours, or None.
    """
    context = HydraConfig.get()
    try:
        objective = job()
        if not math.isfinite(objective):
            raise SRGANError(
                "its objective is no finite number: the training diverged, or made a validation picture of one colour "
                "exactly, whose PSNR is infinite (leave such pictures out)"
            )
    except Exception as error:
        if isinstance(error, SRGANError) and error.exit_status > 128:  # a signal means the whole multirun
            command_line.complain(f"error: {error}")
            sys.exit(error.exit_status)
        reason = error if isinstance(error, SRGANError) else explain(error)
        said = " ".join(str(reason or f"{type(error).__name__}: {error}").split())
        trace = "" if reason else f"\n{traceback.format_exc()}"
        folder = Path(context.runtime.output_dir)
        run_directory.write_overrides(folder, context.overrides.task)
        atomic_files.write_text(folder / run_table.FAILURE, f"{said}\n{trace}")
        log.error("failed: %s", said)
        return None
    return objective


def conclude() -> int:
    """After a multirun, print its table and write it, and name what failed. Returns the exit status: 1 if a job failed.

    Without a multirun it does nothing and returns 0.
    """
    folder = Multirun.folder
    runs = run_table.read({folder: run_table.find(folder)[0]}) if folder else []
    if not folder or not runs:
        return 0
    run_table.write(folder, runs)
    failures = [run for run in runs if run.failure]
    for run in failures:
        command_line.complain(f"{folder / run.name}: {run.failure}")
    log.info("\n%s", run_table.table(runs))
    log.info("%d of %d jobs are done; the table is %s", len(runs) - len(failures), len(runs), folder / "results.md")
    return int(bool(failures))
