"""Going on where a run stopped: its configuration and its newest whole checkpoint."""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from srgan_lit.errors import SRGANError, UsageError

log = logging.getLogger(__name__)

# What may differ from the run that stopped: where it runs and what it reports, not what it computes.
CHANGEABLE = (
    "resume", "run_dir", "hydra", "trainer", "logger", "objective", "compile", "validate_every", "checkpoint_every",
    "log_every", "optimization.clip_gradients", "data.root", "data.test_root", "data.cache", "data.workers",
    "phase.pretrain.iterations", "phase.adversarial.iterations",
)  # fmt: skip


def run_dir_of(arguments: Sequence[str]) -> str | None:
    """The value of ``resume=`` on a command line, as it was written."""
    values = [argument.partition("=")[2] for argument in arguments if argument.startswith("resume=")]
    return values[-1] if values and values[-1] not in ("null", "") else None


def configuration(cfg: DictConfig, overrides: Iterable[str]) -> DictConfig:
    """The configuration of the run that ``cfg.resume`` names, changed by the keys that were set beside it.

    Raises:
        UsageError: no run is there, or a key would make another run of it.
    """
    saved = Path(cfg.resume) / "config.yaml"
    if not saved.is_file():
        raise UsageError(f"resume={cfg.resume}: no run directory (no config.yaml in it)")
    resumed = OmegaConf.load(saved)
    assert isinstance(resumed, DictConfig)
    for override in overrides:
        key, _, text = override.partition("=")
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in CHANGEABLE):
            before = OmegaConf.select(resumed, key)
            raise UsageError(
                f"resume with {key}={text} (it was {before}) would be another run; "
                f"start one with init_from={cfg.resume}/generator.safetensors, or leave {key} out"
            )
        if key in ("trainer", "logger"):
            raise UsageError(f"resume keeps the group {key}; change its keys, e.g. trainer.devices=2")
        before, now = OmegaConf.select(resumed, key), OmegaConf.select(cfg, key)
        if before != now and key not in ("resume", "run_dir"):
            log.info("resume: %s is %s now; it was %s", key, now, before)
        OmegaConf.update(resumed, key, now, force_add=True)
    return resumed


def newest_whole(run_dir: Path) -> tuple[Path, int]:
    """The newest checkpoint of a run that can be read to its end, and the iterations done in it.

    Raises:
        SRGANError: there is none.
    """
    import torch

    found = sorted((run_dir / "checkpoints").glob("*.ckpt"), key=os.path.getmtime, reverse=True)
    for path in found:
        try:
            iteration = torch.load(path, map_location="cpu", weights_only=True)["global_step"]
        except Exception:  # a damaged file raises one of many kinds; an older whole one will do
            continue
        return path, int(iteration)
    said = "no checkpoint" if not found else f"no whole checkpoint among {len(found)}"
    raise SRGANError(f"resume={run_dir}: {said} in checkpoints/; the run stopped before its first, so start it anew")
