"""A dry run: everything that a training does, a few iterations long, and what the whole would take."""

import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import psutil
import torch
from lightning.pytorch.callbacks import Callback

from srgan_lit.config.schema import LoggerConfig, ScheduleConfig, TrainConfig
from srgan_lit.training import build
from srgan_lit.training.module import SRGANModule

log = logging.getLogger(__name__)

ITERATIONS = 3  # of each phase; the first warms up and is not counted


class Stopwatch(Callback):
    """Seconds of each iteration by phase, and of the validation."""

    def __init__(self) -> None:
        self.iterations: dict[str, list[float]] = {}
        self.validation = 0.0
        self.memory = ""
        self._started = 0.0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember the phase, which the iteration may end."""
        assert isinstance(pl_module, SRGANModule)
        self._phase, self._started = pl_module.phase, time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """When the device is done too."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self.iterations.setdefault(self._phase, []).append(time.perf_counter() - self._started)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget what the device held before."""
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Read the memory while the networks are on their device: when ``fit`` returns, they no longer are."""
        self.memory = _memory(pl_module.device)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start."""
        self._started = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop."""
        self.validation = time.perf_counter() - self._started


def _short(schedule: ScheduleConfig | None) -> Any:
    return replace(schedule, iterations=ITERATIONS, warmup=0) if schedule else None


def rehearse(config: TrainConfig) -> None:
    """Build all of it, run a few iterations of each phase and one validation in a temporary folder, and log the bill.

    Parameters, peak memory, iterations per second, and the expected duration and disk space of the whole run.
    """
    phase = replace(config.phase, pretrain=_short(config.phase.pretrain), adversarial=_short(config.phase.adversarial))
    with tempfile.TemporaryDirectory(prefix="srgan_lit-") as folder:
        short = replace(
            config,
            phase=phase,
            run_dir=folder,
            validate_every=phase.iterations,
            checkpoint_every=phase.iterations,
            logger=LoggerConfig(),  # no service gets a run of it
        )
        watch = Stopwatch()
        module, datamodule = build.module(short), build.datamodule(short)
        trainer = build.trainer(short, also=[watch])
        trainer.fit(module, datamodule=datamodule)
        checkpoint = sum(path.stat().st_size for path in Path(folder).rglob("*.ckpt"))
        files = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
    if not trainer.is_global_zero:
        return
    seconds = config.phase.iterations // config.validate_every * watch.validation
    log.info("\ndry run: nothing was kept")
    for name, network in (("generator", module.generator), ("discriminator", module.discriminator)):
        if network is not None:
            log.info("%-14s %s parameters", name, f"{sum(p.numel() for p in network.parameters()):,}")
    for name, times in watch.iterations.items():
        schedule = getattr(config.phase, name)
        each = sum(times[1:]) / len(times[1:])
        seconds += each * schedule.iterations
        log.info("%-14s %s iterations at %.2f a second", name, f"{schedule.iterations:,}", 1 / each)
    log.info("%-14s %.1f s, every %s iterations", "validation", watch.validation, f"{config.validate_every:,}")
    log.info("%-14s %s", "memory", watch.memory)
    log.info("%-14s %.1f hours", "duration", seconds / 3600)
    log.info("%-14s %.0f MB in the run directory", "disk", (checkpoint + files) / 1e6)


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB of the GPU at the peak"
    return f"{psutil.Process().memory_info().rss / 1e9:.2f} GB resident"
