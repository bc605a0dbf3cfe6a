"""Checkpoints that a resume takes for those of its run, without a training: right names and shapes, all zero."""

import functools

import torch
from omegaconf import OmegaConf

from srgan_lit.config import composition
from srgan_lit.training import build


@functools.cache
def _tensors(config):
    shapes = build.shapes(composition.configuration(OmegaConf.create(config)))
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def write(run_dir, iteration, name="last.ckpt", **changed):
    """``checkpoints/<name>`` of a run directory after so many iterations; ``changed`` parts replace its own."""
    (run_dir / "checkpoints").mkdir(exist_ok=True)
    parts = {
        "pytorch-lightning_version": "2.6.0", "global_step": iteration, "loops": {}, "callbacks": {},
        "optimizer_states": [], "lr_schedulers": [], "state_dict": _tensors((run_dir / "config.yaml").read_text()),
    }  # fmt: skip
    torch.save(parts | changed, run_dir / "checkpoints" / name)
