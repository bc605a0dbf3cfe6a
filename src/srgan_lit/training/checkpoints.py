"""The checkpoints of a run that is gone on with: which is whole, fits it, and is the newest; what becomes of others."""

import logging
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import SRGANError
from srgan_lit.config import quoting
from srgan_lit.model_files import tensor_files
from srgan_lit.training import launch

log = logging.getLogger(__name__)

# What Lightning asks a checkpoint for when it goes on from it.
_PARTS = ("pytorch-lightning_version", "state_dict", "loops", "callbacks", "optimizer_states", "lr_schedulers")


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Those of a run directory: the one to go on from, its iterations, and why others cannot be gone on from.

    ``newest`` is None, and ``iteration`` 0, where the run stopped before its first.
    """

    newest: Path | None = None
    iteration: int = 0
    passed_over: dict[Path, str] = field(default_factory=dict)

    def set_aside(self) -> None:
        """Rename what is passed over: the run's own would replace it."""
        for path in self.passed_over:
            atomic_files.set_aside(path)


def find(
    run_dir: Path, *, shapes: Mapping[str, torch.Size] | None = None, iterations: int | None = None
) -> Checkpoints:
    """The checkpoint of a run with the most iterations that is whole by its check sums, and fits the run.

    By iterations and not by the files' times, because clocks are set back. What killed processes left half written is
    removed.

    Args:
        run_dir: of the run.
        shapes: of the tensors that a checkpoint of the run has, by name; None takes any that is whole.
        iterations: that the whole run has.

    Raises:
        SRGANError: there are checkpoints and none can be gone on from.
    """
    for folder in (run_dir, run_dir / "checkpoints", run_dir / "report"):
        atomic_files.sweep(folder)
    # Hidden ones are half written, on a disk where they cannot be removed.
    paths = sorted(path for path in (run_dir / "checkpoints").glob("[!.]*.ckpt") if path.is_file())
    if not paths:
        log.warning("%s: stopped before its first checkpoint, so it begins anew", run_dir)
        return Checkpoints()
    good: list[tuple[int, Path]] = []
    passed_over: dict[Path, str] = {}
    for path in paths:
        try:
            checkpoint = tensor_files.read(path, mmap=True)
            good.append((int(checkpoint["global_step"]), path))
            reason = _misfit(checkpoint, shapes, iterations) if shapes else None
        except pickle.UnpicklingError as error:  # of another version, or of a callback's
            match = re.search(r"GLOBAL ([\w.]+)", str(error))
            reason = f"holds {match[1] if match else 'objects'}, which cannot be read without running code"
        except Exception as error:  # a damaged file raises one of many kinds
            reason = f"not whole ({(str(error).splitlines() or [type(error).__name__])[0]})"
        if reason:
            passed_over[path] = reason
    good = [each for each in good if each[1] not in passed_over]
    said = "; ".join(f"{path.name}: {reason}" for path, reason in passed_over.items())
    if not good:
        raise SRGANError(
            f"{quoting.override('resume', run_dir)}: none of the {len(paths)} files in checkpoints/ can be gone on "
            f"from ({said}); put a whole one there, or move them away to begin the run anew"
        )
    if said and launch.is_first():
        log.warning("resume: passed over in checkpoints/: %s", said)
    iteration, path = max(good)
    return Checkpoints(newest=path, iteration=iteration, passed_over=passed_over)


def _misfit(checkpoint: Mapping[str, Any], shapes: Mapping[str, torch.Size], iterations: int | None) -> str | None:
    """Why a training with tensors of these ``shapes`` cannot go on from ``checkpoint``; None if it can."""
    if missing := [part for part in _PARTS if part not in checkpoint]:
        return f"no checkpoint of this run: it has no {missing[0]}"
    if iterations is not None and checkpoint["global_step"] > iterations:
        return f"no checkpoint of this run: {checkpoint['global_step']} iterations of {iterations}"
    tensors = checkpoint["state_dict"]
    for name in [*shapes, *tensors]:
        if name not in tensors or name not in shapes:
            where = "in config.yaml" if name in tensors else "in it"
            return f"does not fit config.yaml: {name} is not {where}"
        if wrong := tensor_files.unsound(tensors[name], name=name, shape=shapes[name]):
            return f"does not fit config.yaml: {name} {wrong}"
    return None
