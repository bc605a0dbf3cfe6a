"""How a run's curve and checkpoints reach the disk: never half written, never begun anew by a resumed run."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from srgan_lit.common import atomic_files


class _Writer(ExperimentWriter):
    """Lightning's, which deletes a file that is there and rewrites it in place when there are new columns.

    A kill in either moment would lose the curve so far.
    """

    def _check_log_dir_exists(self) -> None:
        pass  # the file that is there is the one to go on with

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        with path.open(newline="") as opened:
            _write(path, fieldnames, list(csv.DictReader(opened)))


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
        rows: list[dict[str, Any]] = []
        if iteration and path.is_file():
            with path.open(newline="") as opened:
                # A row that was being written when the run was killed lacks columns.
                rows = [row for row in csv.DictReader(opened) if (row.get("step") or "").isdigit()]
        kept = [row for row in rows if int(row["step"]) <= iteration and None not in row.values()]
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


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoints appear whole or not at all.

    Lightning's own writes to the temporary folder and moves, which is a copy where that is another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside the target, then move."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_files.replacing(path) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch closes its archive first, which fails because something else did
                first: BaseException = error
                while first.__context__ is not None:
                    first = first.__context__
                raise first from None
