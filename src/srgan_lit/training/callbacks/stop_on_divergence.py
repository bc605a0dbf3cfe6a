"""What ends a training whose gradients are no longer finite: the pictures' names, and a command that helps."""

import functools
import logging
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from srgan_lit.common.errors import SRGANError
from srgan_lit.config import quoting
from srgan_lit.model_files import tensor_files
from srgan_lit.model_files.generator_file import read_metadata
from srgan_lit.training.module import ADVERSARIAL, PRETRAIN, SRGANModule

LIMIT = 10  # iterations in a row without a finite gradient
FIRST = 10  # iterations of a phase whose mean loss is what is usual at its beginning
FACTOR = 100  # above what is usual, a loss tells that the weights are lost: one batch differs from another by less
SAFE_RATE = 1e-4  # the paper's
PATIENCE = 100  # iterations between two looks, where lines of the log are further apart


log = logging.getLogger(__name__)


def _far_above(loss: float, first: Sequence[float]) -> bool:
    """``FACTOR`` times the mean of ``first``, or of its size as far above it: a loss may be negative."""
    if not first:
        return False
    usual, size = sum(first) / len(first), sum(map(abs, first)) / len(first)
    return loss - usual >= (FACTOR - 1) * max(size, sys.float_info.min)


class StopWhenDiverged(Callback):
    """End the run where the last ``LIMIT`` iterations, or more, are left out by ``SRGANModule``.

    It looks where a line of the log is due, since looking waits for the device, and after ``PATIENCE`` iterations at
    the latest. What it sees is the same as if it had looked at each iteration. Several processes see the mean of
    their losses, and so decide alike: a checkpoint that one of them left out would keep the others waiting for ever.

    Weights are lost before gradients stop being finite: a checkpoint that was written meanwhile would diverge again
    at once. So each loss is compared with those that the phase began with; while it is far above them no checkpoint
    replaces the last sound one, and in the end those of lost weights go to ``checkpoints/diverged/``, where a resume
    does not look.
    """

    def __init__(self, run_dir: Path, **vouching: object) -> None:
        """``vouching`` goes into the command that goes on."""
        self.run_dir, self._vouching = run_dir, vouching
        self._first: dict[str, list[float]] = {PRETRAIN: [], ADVERSARIAL: []}
        self._sound = 0  # iterations after which the weights were certainly good
        self._lost = False
        self._unread: list[tuple[int, str, Tensor]] = []  # iterations, their phases, and losses still on the device
        self._mean: Callable[[Tensor], Any] = lambda losses: losses  # of all processes

    @property
    def lost(self) -> bool:
        """Whether by the last finite loss the weights are lost."""
        self._look()
        return self._lost

    def state_dict(self) -> dict[str, Any]:
        """What is usual, for a run that is resumed."""
        self._look()
        return {"first": self._first}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with it."""
        self._first = {phase: list(losses) for phase, losses in state_dict["first"].items()}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Know the other processes."""
        self._mean = functools.partial(trainer.strategy.reduce, reduce_op="mean")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look.

        Raises:
            SRGANError: it is enough.
        """
        assert isinstance(pl_module, SRGANModule)
        phase = PRETRAIN if pl_module.global_step <= pl_module.pretrain_iterations else ADVERSARIAL
        self._remember(pl_module, phase)
        if not pl_module.row_is_due(pl_module.global_step) and len(self._unread) < PATIENCE:
            return
        self._look()
        if (skipped := pl_module.skipped_in_a_row) < LIMIT:
            return
        names = ", ".join(batch["name"]) if "name" in batch else "of pictures without names"
        last = f"{pl_module.global_step} had no finite gradient (the last batch: {names})"
        values = ((name, value) for name, value in pl_module.values.items() if not name.startswith("gradient_norm"))
        faulty = ", ".join(name for name, value in values if not value.isfinite())
        said = f"{skipped} iterations in a row up to {last}" + (f"; not finite: {faulty}" if faulty else "")
        if not trainer.is_global_zero:
            raise SRGANError(said)
        newest = self._set_lost_ones_aside()
        schedule = pl_module.plan.pretrain if phase == PRETRAIN else pl_module.plan.adversarial
        assert schedule is not None
        rate = {f"phase__{phase}__learning_rate": float(f"{min(SAFE_RATE, schedule.learning_rate / 10):.2g}")}
        where = f"from iteration {newest:,}, before that" if newest else "from the beginning, as no checkpoint is sound"
        raise SRGANError(
            f"{said}. {self._about_best()}. Go on {where}, with a lower rate: "
            f"{quoting.train_command(resume=self.run_dir, **rate, **self._vouching)}"
        )

    def _remember(self, module: SRGANModule, phase: str) -> None:
        loss = module.values.get("total") if phase == ADVERSARIAL else None
        if loss is None and module.plan.pretrain is not None:
            loss = module.values.get(module.plan.pretrain.loss)
        if loss is not None:
            self._unread.append((module.global_step, phase, loss))

    def _look(self) -> None:
        """Read the losses since the last look, waiting for the device once, and compare each."""
        if not self._unread:
            return
        losses = self._mean(torch.cat([loss.float().reshape(1) for _, _, loss in self._unread])).tolist()
        for (iteration, phase, _), loss in zip(self._unread, losses, strict=True):
            first = self._first[phase]
            if not math.isfinite(loss):
                if not first:
                    self._sound = iteration  # from the beginning on: no update has changed a weight
                continue
            before, self._lost = self._lost, _far_above(loss, first)
            if self._lost and not before:
                log.warning(
                    "iteration %d: the loss is %.3g, far above %.3g, where the phase began: no checkpoint is written "
                    "until it is lower", iteration, loss, sum(first) / len(first)
                )  # fmt: skip
            if not self._lost:
                self._sound = iteration - 1  # the loss is that of the weights before this update
                if len(first) < FIRST:
                    first.append(loss)
        self._unread = []

    def _set_lost_ones_aside(self) -> int:
        """Move checkpoints of lost weights; return the iterations of the newest that stays, or 0."""
        newest, folder = 0, self.run_dir / "checkpoints"
        for path in sorted(folder.glob("*.ckpt")):
            try:
                iteration = int(tensor_files.read(path, mmap=True)["global_step"])
            except Exception:  # not one of ours, or damaged: a resume says so
                continue
            if iteration <= self._sound:
                newest = max(newest, iteration)
            else:
                (folder / "diverged").mkdir(exist_ok=True)
                path.replace(folder / "diverged" / path.name)
        return newest

    def _about_best(self) -> str:
        path = self.run_dir / "best.safetensors"
        if not path.is_file():
            return "There is no best.safetensors yet"
        metadata = read_metadata(path)
        iteration, psnr = metadata.trained.get("iterations", 0), metadata.scores.get("validation", {}).get("psnr")
        sound = "is sound" if iteration <= self._sound else "is not sound"
        return (
            f"best.safetensors {sound}: iteration {iteration:,}, {psnr:.2f} dB" if psnr else f"best.safetensors {sound}"
        )
