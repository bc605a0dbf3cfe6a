"""How a run's curve and checkpoints reach the disk: never half written, never begun anew by a resumed run."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from srgan_lit import atomic


class ContinuedCSVLogger(CSVLogger):
    """``metrics.csv`` directly in the run directory, going on behind the rows before ``iteration``.

    Lightning's own starts the file anew.
    """

    def __init__(self, run_dir: Path, *, iteration: int) -> None:
        super().__init__(save_dir=run_dir, name="", version="", flush_logs_every_n_steps=1)
        path = run_dir / "metrics.csv"
        rows: list[dict[str, Any]] = []
        if iteration and path.is_file():
            with path.open(newline="") as opened:
                # A row that was being written when the run was killed lacks columns.
                rows = [row for row in csv.DictReader(opened) if (row.get("step") or "").isdigit()]
        kept = [row for row in rows if int(row["step"]) <= iteration and None not in row.values()]
        writer = self.experiment  # deletes the file
        if kept:
            writer.metrics_keys = list(kept[0])
            with atomic.replacing(path) as temporary, temporary.open("w", newline="") as opened:
                table = csv.DictWriter(opened, fieldnames=writer.metrics_keys)
                table.writeheader()
                table.writerows(kept)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Without Lightning's ``epoch``: a run is one, however often it sees its pictures."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoints appear whole or not at all.

    Lightning's own writes to the temporary folder and moves, which is a copy where that is another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside the target, then move."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(path) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch closes its archive before it lets the file's own error through
                cause: BaseException | None = error
                while cause is not None and not isinstance(cause, OSError):
                    cause = cause.__context__
                raise cause or error from None
