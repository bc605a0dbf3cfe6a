"""Going on where a run stopped: its configuration and its newest whole checkpoint."""

import contextlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import SRGANError, UsageError

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
    saved = Path(str(cfg.resume)) / "config.yaml"
    if not saved.is_file():
        raise UsageError(f"resume={cfg.resume}: no run directory (no config.yaml in it)")
    try:
        resumed = OmegaConf.load(saved)
    except Exception as error:  # YAML's own kinds
        raise UsageError(f"{saved}: no configuration of a run ({' '.join(str(error).split())})") from error
    if not isinstance(resumed, DictConfig) or "phase" not in resumed:
        raise UsageError(f"{saved}: no configuration of a run; remove {cfg.resume} and start it anew")
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


def newest_whole(run_dir: Path) -> tuple[Path | None, int]:
    """The checkpoint of a run with the most iterations that can be read to its end, and how many they are.

    None and 0 where the run stopped before its first: it begins anew. By iterations and not by the files' times,
    because clocks are set back. What killed processes left half written is removed.

    Raises:
        SRGANError: there are checkpoints and none is whole.
    """
    import torch

    for folder in (run_dir, run_dir / "checkpoints", run_dir / "report"):
        atomic_files.sweep(folder)
    found = list((run_dir / "checkpoints").glob("*.ckpt"))
    if not found:
        log.warning("%s: stopped before its first checkpoint, so it begins anew", run_dir)
        return None, 0
    whole: list[tuple[int, Path]] = []
    for path in found:
        with contextlib.suppress(Exception):  # a damaged file raises one of many kinds; an older whole one will do
            iteration = torch.load(path, map_location="cpu", weights_only=True)["global_step"]
            whole.append((int(iteration), path))
    if not whole:
        raise SRGANError(
            f"resume={run_dir}: none of the {len(found)} files in checkpoints/ is whole; "
            "remove them to begin the run anew"
        )
    iteration, path = max(whole)
    return path, iteration
