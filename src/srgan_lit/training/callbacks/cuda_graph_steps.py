"""Where one iteration ends and the next begins, for networks that run as CUDA graphs."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback


class CUDAGraphSteps(Callback):
    """Tell the compiler when what the networks gave in the last iteration may be overwritten.

    Without it, the discriminator's second forward in an iteration could be taken for a new one.
    """

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Nothing of the last iteration is needed any more."""
        torch.compiler.cudagraph_mark_step_begin()
