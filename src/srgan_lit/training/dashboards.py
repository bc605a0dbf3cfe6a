"""Weights & Biases and TensorBoard beside metrics.csv. They cannot stop a training.

Each is imported only when ``logger`` asks for it.
"""

import dataclasses
import json
import logging
import math
import os
from abc import abstractmethod
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from srgan_lit.common.environment import environment
from srgan_lit.common.errors import UsageError
from srgan_lit.config.schema import TrainConfig
from srgan_lit.evaluation import stored_results
from srgan_lit.training import resume, run_directory

log = logging.getLogger(__name__)


# Of the scores of validations, what is better: a dashboard's summary keeps the best beside the last.
BEST = {"psnr": "max", "psnr_gain": "max", "ssim": "max", "perceptual": "min", "lpips": "min"}
LONGEST_NAME = 128  # that W&B takes


class Dashboard(Logger):
    """A service that shows curves, pictures and alarms. Its first failure is logged, and ends its use."""

    title: str

    def __init__(self, service: Logger) -> None:
        super().__init__()
        self._service: Any = service
        self._failed = False

    @property
    def name(self) -> str | None:
        """The service's, as Lightning's loggers have one."""
        return self._service.name

    @property
    def version(self) -> int | str | None:
        """The service's."""
        return self._service.version

    def attempt(self, act: Callable[[], Any]) -> None:
        """Call ``act``, unless the service has failed before."""
        if self._failed:
            return
        try:
            act()
        except Exception as error:  # of a network, a full disk, a process that died: none is the training's
            self._failed = True
            said = " ".join(str(error).split()) or type(error).__name__
            log.warning("%s failed (%s); the training goes on with metrics.csv alone", self.title, said)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Scalars by name at an iteration."""
        self.attempt(lambda: self._service.log_metrics(metrics, step))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the configuration was shown when the service started."""

    def save(self) -> None:
        """Write what is buffered."""
        self.attempt(self._service.save)

    def finalize(self, status: str) -> None:
        """Tell the service that the training has ended."""
        self.attempt(lambda: self._service.finalize(status))

    @abstractmethod
    def show(self, panel: str, pictures: Mapping[str, Image.Image], iteration: int) -> None:
        """Show a panel: a picture by the name of each validation picture."""

    @abstractmethod
    def alarm(self, title: str, text: str, iteration: int) -> None:
        """Send an alarm to the people who watch the dashboard."""

    def result(self, path: Path) -> None:
        """Keep the generator file, where the service keeps files."""

    def report(self, folder: Path, iteration: int) -> None:
        """Show the final scores of ``folder``, a run's ``report/``, where the service has a place for tables."""


class Wandb(Dashboard):
    """Weights & Biases: also alerts, the generator file as an artifact, and the report."""

    title = "W&B"

    def show(self, panel: str, pictures: Mapping[str, Image.Image], iteration: int) -> None:
        """Show them as one list of captioned pictures."""
        self.attempt(
            lambda: self._service.log_image(
                f"val/{panel}", list(pictures.values()), step=iteration, caption=list(pictures)
            )
        )

    def alarm(self, title: str, text: str, iteration: int) -> None:
        """Send an alert, by mail or chat as the account is set."""
        self.attempt(lambda: self._service.experiment.alert(title=title, text=text, level="WARN"))

    def result(self, path: Path) -> None:
        """Keep the generator file as an artifact of the run."""
        self.attempt(lambda: self._upload(path))

    def report(self, folder: Path, iteration: int) -> None:
        """Show the table of validation and test pictures, the comparison strip and the page; scores in the summary."""
        self.attempt(lambda: self._show_report(folder, iteration))

    def _show_report(self, folder: Path, iteration: int) -> None:
        import wandb

        stored, run = stored_results.read(folder / "results.json"), self._service.experiment
        facts = ("dataset", "model", "n", "protocol")
        table = wandb.Table(columns=[*facts, *(column.key for column in stored.columns)])
        for row in stored.rows:
            scores = {column.key: stored.value(row, column) for column in stored.columns}
            table.add_data(*(row[fact] for fact in facts), *scores.values())
            known = {key: score for key, score in scores.items() if math.isfinite(score)}
            run.summary.update({f"{row['dataset']}/{row['model']}/{key}": score for key, score in known.items()})
        shown = {
            "report/results": table,
            "report/comparison": wandb.Image(str(folder / "comparison.png")),
            "report/page": wandb.Html((folder / "report.html").open(encoding="utf-8"), inject=False),
        }
        run.log({**shown, "trainer/global_step": iteration})

    def _upload(self, path: Path) -> None:
        import wandb

        run = self._service.experiment
        artifact = wandb.Artifact(f"generator-{run.id}", type="model")
        artifact.add_file(str(path))
        run.log_artifact(artifact)


class TensorBoard(Dashboard):
    """TensorBoard event files in the run directory."""

    title = "TensorBoard"

    def show(self, panel: str, pictures: Mapping[str, Image.Image], iteration: int) -> None:
        """Show each picture under its own name."""
        self.attempt(lambda: self._add(panel, pictures, iteration))

    def _add(self, panel: str, pictures: Mapping[str, Image.Image], iteration: int) -> None:
        for name, picture in pictures.items():
            self._service.experiment.add_image(f"val/{panel}/{name}", np.asarray(picture), iteration, dataformats="HWC")

    def alarm(self, title: str, text: str, iteration: int) -> None:
        """Write the alarm as a text."""
        self.attempt(lambda: self._service.experiment.add_text("alarm", f"**{title}**: {text}", iteration))


def dashboards(config: TrainConfig) -> list[Dashboard]:
    """What ``logger`` names, started and shown the configuration; none where it cannot be, or in a process that
    does not write.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    if getattr(rank_zero_only, "rank", 0) != 0 or config.logger.name == "csv":
        return []
    facts = {**dataclasses.asdict(config), "environment": environment()}
    if config.logger.name == "wandb":
        return _wandb(config, facts)
    try:
        service = TensorBoardLogger(save_dir=config.run_dir, name="", version="")
    except ModuleNotFoundError:
        raise UsageError("logger=tensorboard is not installed: pip install 'srgan_lit[tensorboard]'") from None
    made = TensorBoard(service)
    text = "".join(f"    {line}\n" for line in json.dumps(facts, indent=1).splitlines())  # Markdown's code
    made.attempt(lambda: service.experiment.add_text("configuration", text))
    return [made]


def _wandb(config: TrainConfig, facts: dict[str, Any]) -> list[Dashboard]:
    import wandb

    offline = os.environ.get("WANDB_MODE") == "offline" or not _has_key()
    earlier = _earlier_id(Path(config.run_dir)) if config.resume else None
    name, multirun = _place(Path(config.run_dir))
    try:
        logger = WandbLogger(
            project=config.logger.project,
            entity=config.logger.entity,
            name=name,
            group=config.logger.group or multirun,
            job_type=config.logger.job_type,
            tags=list(config.logger.tags),
            save_dir=config.run_dir,
            id=earlier,
            offline=offline,
            config=resume.flat(facts),
        )
        run = logger.experiment  # starts it, so that what fails fails here
        for score, best in BEST.items():
            run.define_metric(f"val/{score}", step_metric="trainer/global_step", summary=best)
    except (wandb.Error, OSError) as error:
        log.warning("W&B is not available (%s); going on with metrics.csv alone", " ".join(str(error).split()))
        return []
    if offline:
        log.info("W&B runs offline; to send it later: wandb sync %s", Path(run.dir).parent)
    return [Wandb(logger)]


def _place(run_dir: Path) -> tuple[str, str | None]:
    """The name of a run, and the multirun that it is of: there the name says what differs from the other runs."""
    common, own = (run_directory.read_overrides(folder) for folder in (run_dir.parent, run_dir))
    if common is None:
        return run_dir.name, None
    changed = [each for each in own or () if each not in common and not each.startswith("run_dir=")]
    return " ".join([run_dir.name, *changed])[:LONGEST_NAME], run_dir.parent.name


def _has_key() -> bool:
    """Whether ``wandb login`` was done on this machine; wandb itself would ask for a key at a terminal."""
    import requests.utils

    service = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    return bool(os.environ.get("WANDB_API_KEY") or requests.utils.get_netrc_auth(service))


def _earlier_id(run_dir: Path) -> str | None:
    """Of the W&B run that a resumed training goes on with: the folder of one ends with it."""
    folders = sorted((run_dir / "wandb").glob("*run-*-*"), key=os.path.getmtime)
    return folders[-1].name.rpartition("-")[2] if folders else None


def finish() -> None:
    """Close the W&B run, so that the next job of a multirun starts its own."""
    import wandb

    if wandb.run is not None:
        try:
            wandb.finish()
        except Exception as error:  # as above
            log.warning("W&B did not end well (%s)", " ".join(str(error).split()))
