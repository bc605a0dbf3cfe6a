"""What ends a training whose gradients are no longer finite: a checkpoint, the pictures' names, what to try."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from srgan_lit.common.errors import SRGANError
from srgan_lit.training.module import SRGANModule

LIMIT = 10  # iterations in a row without a finite gradient


class StopWhenDiverged(Callback):
    """End the run after ``LIMIT`` iterations in a row that ``SRGANModule`` left out.

    The weights are those from before the first of them.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look.

        Raises:
            SRGANError: it is enough.
        """
        assert isinstance(pl_module, SRGANModule)
        if pl_module.skipped_in_a_row < LIMIT:
            return
        checkpoint = self.run_dir / "checkpoints" / "last.ckpt"
        trainer.save_checkpoint(checkpoint)
        names = ", ".join(batch["name"])
        raise SRGANError(
            f"{LIMIT} iterations in a row up to {pl_module.global_step} had no finite gradient (the last batch: {names}"
            f"); the weights from before them are in {checkpoint}. Go on with resume={self.run_dir} "
            "optimization.clip_gradients=1 (and trainer.precision=32-true if it was mixed), or begin anew with a "
            "lower learning rate"
        )
