"""Weights & Biases: imported only when ``logger=wandb`` asks for it, and never able to stop a training."""

import dataclasses
import logging
import os
from pathlib import Path

from lightning.pytorch.loggers import Logger, WandbLogger

from srgan_lit.config import TrainConfig

log = logging.getLogger(__name__)


def wandb_logger(config: TrainConfig) -> list[Logger]:
    """A started W&B logger; offline where there is no API key; none where the service fails."""
    import wandb

    offline = os.environ.get("WANDB_MODE") == "offline" or not _has_key()
    try:
        logger = WandbLogger(
            project=config.logger.project,
            entity=config.logger.entity,
            name=Path(config.run_dir).name,
            save_dir=config.run_dir,
            offline=offline,
            config=dataclasses.asdict(config),
        )
        run = logger.experiment  # starts it, so that what fails fails here
    except wandb.Error as error:
        log.warning("W&B is not available (%s); going on with metrics.csv alone", " ".join(str(error).split()))
        return []
    if offline:
        log.info("W&B runs offline; to send it later: wandb sync %s", Path(run.dir).parent)
    return [logger]


def _has_key() -> bool:
    """Whether ``wandb login`` was done on this machine; wandb itself would ask for a key at a terminal."""
    import requests.utils

    service = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    return bool(os.environ.get("WANDB_API_KEY") or requests.utils.get_netrc_auth(service))


def finish() -> None:
    """Close the W&B run, so that the next job of a multirun starts its own."""
    import wandb

    if wandb.run is not None:
        wandb.finish()
