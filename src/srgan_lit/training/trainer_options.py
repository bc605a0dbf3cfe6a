"""What ``conf/trainer`` says to Lightning's Trainer beside where it runs, and which arguments it may not have."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from srgan_lit.common.errors import UsageError
from srgan_lit.config.nearest_name import nearest
from srgan_lit.config.schema import TrainerConfig

# Arguments of the Trainer that have a key of their own here.
KEYS = {
    "accelerator": "trainer.accelerator", "devices": "trainer.devices", "num_nodes": "trainer.num_nodes",
    "precision": "trainer.precision", "sync_batchnorm": "trainer.sync_batchnorm", "strategy": "trainer.strategy",
    "deterministic": "trainer.deterministic", "profiler": "trainer.profiler",
    "limit_train_batches": "trainer.limit_train_batches", "limit_val_batches": "trainer.limit_val_batches",
    "logger": "logger", "callbacks": "callbacks", "max_steps": "phase.pretrain.iterations",
    "max_epochs": "phase.pretrain.iterations", "val_check_interval": "validate_every",
    "check_val_every_n_epoch": "validate_every", "log_every_n_steps": "log_every", "default_root_dir": "run_dir",
    "gradient_clip_val": "optimization.clip_gradients", "gradient_clip_algorithm": "optimization.clip_gradients",
    "accumulate_grad_batches": "optimization.accumulate", "fast_dev_run": "dry_run",
    "enable_checkpointing": "checkpoint_every",
}  # fmt: skip

# Arguments that would break what a run promises, and how.
BREAKS = {
    "plugins": "checkpoints would not be whole, or float16 not be scaled for each network",
    "use_distributed_sampler": "the order of pictures would not be the run's, and no resume would equal the run",
    "reload_dataloaders_every_n_epochs": "a run is one epoch, which begins where it was stopped",
    "overfit_batches": "a resumed run would see other pictures; SRGANModule in a Trainer of your own takes it",
    "num_sanity_val_steps": "a validation before the first update would be the best one",
    "min_steps": "a signal could not stop the training",
    "min_epochs": "a signal could not stop the training",
    "barebones": "nothing would be logged or saved",
    "limit_test_batches": "test pictures are scored in the report, which takes all",
    "limit_predict_batches": "a training predicts nothing",
}

PROFILERS: Mapping[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}


def check_extra(extra: Mapping[str, Any]) -> None:
    """Refuse, by name, what ``trainer.extra`` may not hold.

    Raises:
        UsageError: the Trainer has no such argument, there is a key for it, a run would not be what it promises, or
            the Trainer does not take the value.
    """
    known = inspect.signature(L.Trainer.__init__).parameters.keys() - {"self"}
    for name in extra:
        if name in KEYS:
            raise UsageError(f"trainer.extra.{name}: the key for it is {KEYS[name]}")
        if name in BREAKS:
            raise UsageError(f"trainer.extra.{name} cannot be given: {BREAKS[name]}; leave it out")
        if name not in known:
            free = sorted(known - KEYS.keys() - BREAKS.keys())
            raise UsageError(f"trainer.extra.{name}: L.Trainer has no such argument.{nearest(name, free)}")
    if extra:
        try:
            L.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, **extra)
        except Exception as error:  # of Lightning, several kinds
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise UsageError(f"trainer.extra: L.Trainer does not take {dict(extra)} ({said})") from error


def arguments(config: TrainerConfig, run_dir: Path) -> dict[str, Any]:
    """Of the Trainer: what ``config`` says beside devices and precision. Where nothing is said, as a run needs it."""
    profiler = PROFILERS[config.profiler](dirpath=run_dir, filename="profile") if config.profiler else None
    ours = {
        "deterministic": config.deterministic,
        "profiler": profiler,
        "limit_train_batches": config.limit_train_batches,
        "limit_val_batches": config.limit_val_batches,
        "enable_model_summary": False,
        "benchmark": not config.deterministic,  # cuDNN would choose by time, differently each time
    }
    return ours | config.extra


def set_tf32(config: TrainerConfig) -> None:
    """Whether GPUs round what float32 multiplies to TF32's 10 bits: for the whole process, training and scores."""
    torch.backends.cudnn.allow_tf32 = config.tf32_convolutions
    torch.set_float32_matmul_precision("high" if config.tf32_matmuls else "highest")
