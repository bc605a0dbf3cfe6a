"""The generator files of a run: ``srresnet``, ``generator`` and ``best``."""

import copy
import math
from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch.optim.swa_utils import update_bn

from srgan_lit.model_files.generator_file import save_generator
from srgan_lit.networks.srresnet import Generator
from srgan_lit.training.callbacks.stop_on_signal import StopOnSignal
from srgan_lit.training.callbacks.validation_scores import validation_scores
from srgan_lit.training.module import PRETRAIN, SRGANModule


def _alone(generator: Generator) -> Generator:
    """``generator``, with BatchNorm that asks no other process for its statistics, in place."""
    return cast(Generator, TorchSyncBatchNorm().revert(generator))


class GeneratorFiles(Callback):
    """Write the generator files of a run.

    ``srresnet.safetensors`` when pretraining ends; ``generator.safetensors``, the result, when all ends;
    ``best.safetensors`` after each validation that is better than any before in the same phase: by PSNR while
    pretraining, by the perceptual distance in the adversarial phase (by PSNR if there is none); or in both by
    ``best_by``: psnr, ssim, perceptual or lpips, where a validation has it.
    """

    def __init__(self, run_dir: Path, *, trained: dict[str, Any], best_by: str | None = None) -> None:
        self.run_dir, self.trained, self.best_by = run_dir, trained, best_by
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
        if trainer.is_global_zero:
            self._write(trainer, module, name, recalibrate=recalibrate)

    def _write(self, trainer: L.Trainer, module: SRGANModule, name: str, *, recalibrate: int) -> None:
        """What the first process does for all, without asking another one."""
        iteration, scores = self.validated
        generator = module.result
        if recalibrate:
            generator = _alone(copy.deepcopy(generator))  # training goes on with its own statistics
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
        judge = self.best_by or ("psnr" if phase == PRETRAIN else "perceptual")
        judge = judge if judge in values else "psnr"
        value = -values[judge] if judge in ("perceptual", "lpips") else values[judge]
        if math.isfinite(value) and value > self.best.get(phase, -math.inf):
            self.best[phase] = value
            self.save(trainer, pl_module, "best.safetensors")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The result."""
        assert isinstance(pl_module, SRGANModule)
        for name in self._due(pl_module) or self._cut_short(trainer, pl_module):
            self.save_result(trainer, pl_module, name)

    def write_from_checkpoint(self, trainer: L.Trainer, module: SRGANModule) -> None:
        """The result of a run that was killed between its last checkpoint and its result, and trains no more.

        In the first process alone: a checkpoint holds the statistics of all, and they have parted.
        """
        for name in self._due(module):
            self._write(trainer, module, name, recalibrate=module.optimization.recalibrate)

    @staticmethod
    def _cut_short(trainer: L.Trainer, module: SRGANModule) -> list[str]:
        """The files of a training that a callback of the user's, or a time limit, ended: what it is then is its result.

        A signal ends none: such a run goes on.
        """
        signalled = any(isinstance(each, StopOnSignal) and each.received for each in trainer.callbacks)  # type: ignore[attr-defined]
        if signalled or not trainer.should_stop:
            return []
        pretraining = module.global_step < module.pretrain_iterations
        return ["srresnet.safetensors", "generator.safetensors"] if pretraining else ["generator.safetensors"]

    @staticmethod
    def _due(module: SRGANModule) -> list[str]:
        """The files that end with this iteration."""
        ends = {"srresnet.safetensors": module.global_step == module.pretrain_iterations}
        ends["generator.safetensors"] = module.global_step >= module.plan.iterations
        return [name for name, due in ends.items() if due]
