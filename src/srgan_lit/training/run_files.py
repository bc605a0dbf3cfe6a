"""How a run's curve and checkpoints reach the disk: never half written, never begun anew by a resumed run."""

import csv
import io
import pickle
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import SRGANError
from srgan_lit.evaluation import run_curves


class _Writer(ExperimentWriter):
    """Lightning's, which deletes a file that is there and rewrites it in place when there are new columns.

    A kill in either moment would lose the curve so far.
    """

    def _check_log_dir_exists(self) -> None:
        pass  # the file that is there is the one to go on with

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        rows, whole = run_curves.rows(path)
        if not whole:
            atomic_files.set_aside(path)
        _write(path, fieldnames, rows)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with atomic_files.replacing(path) as temporary, temporary.open("w", newline="") as opened:
        table = csv.DictWriter(opened, fieldnames=columns)
        table.writeheader()
        table.writerows(rows)


class ContinuedCSVLogger(CSVLogger):
    """``metrics.csv`` directly in the run directory, going on behind the rows up to ``iteration``."""

    def __init__(self, run_dir: Path, *, iteration: int) -> None:
        super().__init__(save_dir=run_dir, name="", version="", flush_logs_every_n_steps=1)
        if getattr(rank_zero_only, "rank", 0) > 0:
            return
        path = run_dir / "metrics.csv"
        rows, whole = run_curves.rows(path)
        kept = [row for row in rows if int(row["step"]) <= iteration]
        if not whole:
            atomic_files.set_aside(path)
        self._experiment = _Writer(log_dir=str(run_dir))
        if kept:
            self._experiment.metrics_keys = list(kept[0])
            _write(path, self._experiment.metrics_keys, kept)
        else:
            path.unlink(missing_ok=True)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Without Lightning's ``epoch``: a run is one, however often it sees its pictures."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    def log_hyperparams(self, params: Any = None) -> None:
        """Lightning's ``hparams.yaml``: ``config.yaml`` says it all."""


def refuse_code(name: str, state: object) -> None:
    """Refuse what a callback would put into a checkpoint, and what could not be read back without running code.

    Raises:
        SRGANError: its state is more than numbers, text and tensors.
    """
    content = io.BytesIO()
    torch.save(state, content)
    content.seek(0)
    try:
        torch.load(content, weights_only=True)
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise SRGANError(
            f"{name}: its state_dict() holds {match[1] if match else 'objects'}, which cannot be read back from a "
            "checkpoint without running code; return numbers, text and tensors"
        ) from error


class RunCheckpoints(ModelCheckpoint):
    """``last.ckpt`` and the newest ``iteration=<N>.ckpt`` of a run directory, every so many iterations.

    Lightning's own goes by paths that it keeps in the checkpoint, and begins new files (``last-v1.ckpt``) where the
    directory was copied or moved, or the interval changed. Here the files that are there say which are there.
    ``unless`` is asked each time: where it says so, the files stay as they are. Where a validation follows the same
    iteration, it comes first: a run that goes on from the file has its scores and its best generator.
    """

    def __init__(self, folder: Path, *, every: int, validate_every: int, unless: Callable[[], bool]) -> None:
        self._unless, self._every, self._validate_every = unless, every, validate_every
        super().__init__(
            dirpath=folder,
            filename="iteration={step}",
            auto_insert_metric_name=False,
            every_n_train_steps=every,
            save_last=True,
            save_on_train_epoch_end=False,
        )

    @property
    def state_key(self) -> str:
        """Lightning's: checkpoints of before have it."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing: it is about another time, and perhaps another place."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look what is there, and whether the others' states can be kept."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            refuse_code(type(callback).__name__, callback.state_dict())
        super().on_train_start(trainer, pl_module)
        folder = Path(str(self.dirpath))
        numbered = sorted(folder.glob("iteration=*.ckpt"), key=lambda path: path.stat().st_mtime)
        self.best_model_path = str(numbered[-1]) if numbered else ""
        self.last_model_path = str(folder / "last.ckpt") if (folder / "last.ckpt").exists() else ""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, unless a validation follows."""
        if trainer.global_step % self._validate_every or not trainer.enable_validation:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what the iteration before the validation left to it."""
        if trainer.global_step % self._every == 0 and not self._should_skip_saving_checkpoint(trainer):
            candidates = self._monitor_candidates(trainer)
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)

    def _should_skip_saving_checkpoint(self, trainer: L.Trainer) -> bool:
        return self._unless() or super()._should_skip_saving_checkpoint(trainer)

    def _should_remove_checkpoint(self, trainer: L.Trainer, previous: str, current: str) -> bool:
        return previous != current  # also the one that the run went on from: there is a newer one now


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoints appear whole or not at all.

    Lightning's own writes to the temporary folder and moves, which is a copy where that is another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside the target, then move."""
        for name, state in checkpoint.get("callbacks", {}).items():
            refuse_code(name, state)
        Path(path).parent.mkdir(exist_ok=True)  # not those above: a run directory that was moved is not begun anew
        with atomic_files.replacing(path) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch closes its archive first, which fails because something else did
                first: BaseException = error
                while first.__context__ is not None:
                    first = first.__context__
                raise first from None
