"""One training, from configuration to a run directory."""

import dataclasses
import logging
from pathlib import Path

import lightning as L
from omegaconf import OmegaConf

from srgan_lit import atomic, build, resume
from srgan_lit.config import TrainConfig

log = logging.getLogger(__name__)


def train(config: TrainConfig) -> float:
    """Train as ``config`` says, write the run directory, and return the last validation PSNR in dB."""
    run_dir = Path(config.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    L.seed_everything(config.seed, workers=True, verbose=False)
    checkpoint, iteration = resume.newest_whole(run_dir) if config.resume else (None, 0)
    module, datamodule = build.module(config), build.datamodule(config)
    trainer = build.trainer(config, iteration=iteration)
    if trainer.is_global_zero:
        atomic.write_text(run_dir / "config.yaml", OmegaConf.to_yaml(dataclasses.asdict(config)))
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint)
        trainer.save_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    finally:
        if config.logger.name == "wandb":
            from srgan_lit import dashboard

            dashboard.finish()
    return float(trainer.callback_metrics["val/psnr"])
