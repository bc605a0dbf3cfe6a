"""The checkpoint that a training ends with, whatever ended it: its last iteration, or a signal."""

from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback


class LastCheckpoint(Callback):
    """Write ``checkpoints/last.ckpt`` while the processes still belong together.

    When ``fit`` returns, the networks are back on the processor and the processes' exchange has ended: NCCL could no
    longer average the statistics of BatchNorm.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / "checkpoints" / "last.ckpt"

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save; called in every process."""
        trainer.save_checkpoint(self.path)
