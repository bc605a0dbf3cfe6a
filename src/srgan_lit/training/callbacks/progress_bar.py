"""One progress bar over all iterations of a training."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar

from srgan_lit.training.callbacks.validation_scores import validation_scores
from srgan_lit.training.module import SRGANModule


class IterationBar(TQDMProgressBar):
    """One bar over all iterations: phase, iterations per second, time left, losses, last validation."""

    def __init__(self, *, refresh_rate: int) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self._scores: dict[str, float] = {}

    @property
    def total_train_batches(self) -> int:
        """Of the whole run, also where it was resumed."""
        return self.trainer.max_steps

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin: where a run is resumed in the middle, Lightning calls this alone."""
        super().on_train_start(trainer, pl_module)
        self._begin(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin, after Lightning has set the bar back."""
        self.train_progress_bar.initial = 0  # or it would show that as iterations undone
        super().on_train_epoch_start(trainer, pl_module)
        self._begin(trainer)

    def _begin(self, trainer: L.Trainer) -> None:
        """Count on from where a resumed run goes on, so that the rate is that of the iterations done here."""
        bar = self.train_progress_bar
        bar.reset(self.total_train_batches)
        bar.n = bar.initial = bar.last_print_n = trainer.global_step
        bar.set_description("training")

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Name the phase."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        assert isinstance(pl_module, SRGANModule)
        self.train_progress_bar.set_description(pl_module.phase, refresh=False)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Go by iterations: Lightning's own count of batches begins at 0 again where a finished run is extended."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, trainer.global_step - 1)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Read the scores, once: they are on the device."""
        super().on_validation_end(trainer, pl_module)
        self._scores = validation_scores(trainer)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Losses as last read for the log, and the PSNR of the last validation next to bicubic's."""
        assert isinstance(pl_module, SRGANModule)
        shown = {name: f"{value:.3g}" for name, value in pl_module.read.items() if "_" not in name}
        if not pl_module.read.get("skipped"):
            shown.pop("skipped", None)
        if "psnr" in self._scores:
            shown["PSNR"] = f"{self._scores['psnr']:.2f} dB (bicubic {self._scores['psnr_bicubic']:.2f})"
        return shown
