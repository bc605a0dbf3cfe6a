"""What happens beside the training: generator files, curves, the progress bar. No maths."""

import copy
import math
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from torch.optim.swa_utils import update_bn

from srgan_lit.checkpoint import save_generator
from srgan_lit.module import PRETRAIN, SRGANModule


def validation_scores(trainer: L.Trainer) -> dict[str, float]:
    """The means of the last validation, by name."""
    return {
        name.removeprefix("val/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/")
    }


class GeneratorFiles(Callback):
    """Write the generator files of a run.

    ``srresnet.safetensors`` when pretraining ends; ``generator.safetensors``, the result, when all ends;
    ``best.safetensors`` after each validation that is better than any before in the same phase: by PSNR while
    pretraining, by the perceptual distance in the adversarial phase (by PSNR if there is none).
    """

    def __init__(self, run_dir: Path, *, trained: dict[str, Any]) -> None:
        self.run_dir, self.trained = run_dir, trained
        self.best: dict[str, float] = {}
        self.validated: tuple[int, dict[str, float]] = (-1, {})

    def state_dict(self) -> dict[str, Any]:
        """The best value of each phase, for a run that is resumed."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with the best so far."""
        self.best = dict(state_dict["best"])

    def save(self, trainer: L.Trainer, module: SRGANModule, name: str, *, recalibrate: int = 0) -> None:
        """Write one generator file, with the scores of a validation of this very generator if there was one.

        Called in every process, because BatchNorm statistics are all of theirs; the first one writes.
        """
        module.average_statistics()
        if not trainer.is_global_zero:
            return
        iteration, scores = self.validated
        generator = module.result
        if recalibrate:
            generator = copy.deepcopy(generator)  # training goes on with its own statistics
            data = trainer.datamodule  # type: ignore[attr-defined]
            update_bn((data.calibration(number) for number in range(recalibrate)), generator, device=module.device)
        save_generator(
            self.run_dir / name,
            generator,
            trained={**self.trained, "iterations": module.global_step},
            scores={"validation": scores} if iteration == module.global_step and not recalibrate else {},
        )

    def save_result(self, trainer: L.Trainer, module: SRGANModule, name: str) -> None:
        """Write what a phase ends with."""
        self.save(trainer, module, name, recalibrate=module.optimization.recalibrate)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """At the first adversarial iteration, what pretraining ended with."""
        assert isinstance(pl_module, SRGANModule)
        if 0 < pl_module.pretrain_iterations == pl_module.global_step:
            self.save_result(trainer, pl_module, "srresnet.safetensors")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the best."""
        assert isinstance(pl_module, SRGANModule)
        values = validation_scores(trainer)
        self.validated = (pl_module.global_step, values)
        # A validation follows the iterations that it judges: at the seam it belongs to pretraining.
        phase = PRETRAIN if pl_module.global_step <= pl_module.pretrain_iterations else "adversarial"
        by_distance = phase != PRETRAIN and "perceptual" in values
        value = -values["perceptual"] if by_distance else values["psnr"]
        if math.isfinite(value) and value > self.best.get(phase, -math.inf):
            self.best[phase] = value
            self.save(trainer, pl_module, "best.safetensors")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The result."""
        assert isinstance(pl_module, SRGANModule)
        if pl_module.global_step == pl_module.pretrain_iterations:
            self.save_result(trainer, pl_module, "srresnet.safetensors")
        if pl_module.global_step >= pl_module.plan.iterations:
            self.save_result(trainer, pl_module, "generator.safetensors")


class Curves(Callback):
    """Take losses, learning rates, gradient norms, scores and the speed to the loggers, by the iterations done.

    The speed is that since the last time, without validations; ``batch_size`` is per device.
    """

    def __init__(self, *, every: int, batch_size: int) -> None:
        self.every, self.batch_size = every, batch_size
        self._learning_rates: dict[str, float] = {}
        self._since = (0, 0.0)  # iteration, and the time less that of validations
        self._validating = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._since = (trainer.global_step, time.perf_counter())

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop it."""
        self._validating = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let it go on; log the scores."""
        iteration, started = self._since
        self._since = (iteration, started + time.perf_counter() - self._validating)
        scores = {f"val/{name}": value for name, value in validation_scores(trainer).items()}
        for logger in trainer.loggers:
            logger.log_metrics(scores, step=trainer.global_step)

    def _speed(self, trainer: L.Trainer) -> float:
        """Images per second of all devices since the last call."""
        (iteration, started), now = self._since, time.perf_counter()
        self._since = (trainer.global_step, now)
        return (trainer.global_step - iteration) * self.batch_size * trainer.world_size / (now - started)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The learning rates that this iteration uses, before the schedules step on."""
        assert isinstance(pl_module, SRGANModule)
        self._learning_rates = pl_module.learning_rates()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Every so many iterations."""
        assert isinstance(pl_module, SRGANModule)
        if pl_module.global_step % self.every == 0:
            losses = {f"train/{name}": value for name, value in pl_module.values.items()}
            losses["train/skipped"] = torch.tensor(pl_module.skipped)
            rates = {f"learning_rate/{name}": rate for name, rate in self._learning_rates.items()}
            values = {name: float(value) for name, value in (losses | rates).items()}
            values["images_per_second"] = self._speed(trainer)  # after float(), which waits for the device
            for logger in trainer.loggers:
                logger.log_metrics(values, step=pl_module.global_step)


class IterationBar(TQDMProgressBar):
    """One bar over all iterations: phase, iterations per second, time left, losses, last validation."""

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

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Losses, and the PSNR of the last validation next to bicubic's."""
        assert isinstance(pl_module, SRGANModule)
        shown = {name: f"{float(value):.3g}" for name, value in pl_module.values.items() if "_" not in name}
        if pl_module.skipped:
            shown["skipped"] = str(pl_module.skipped)
        scores = validation_scores(trainer)
        if "psnr" in scores:
            shown["PSNR"] = f"{scores['psnr']:.2f} dB (bicubic {scores['psnr_bicubic']:.2f})"
        return shown
