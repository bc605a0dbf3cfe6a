"""SRGAN in PyTorch Lightning: train it, measure it, enlarge pictures with it.

``from srgan_lit import load_generator`` loads what it needs and nothing else: names are resolved when they are
first asked for.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from srgan_lit.data.datamodule import SRDataModule
    from srgan_lit.model_files.generator_file import load_generator, save_generator
    from srgan_lit.networks.srresnet import Generator
    from srgan_lit.training.module import SRGANModule
    from srgan_lit.training.per_network_ddp import PerNetworkDDP
    from srgan_lit.upscaling.engine import enlarge
    from srgan_lit.upscaling.target_sizes import TargetSize

_HOME = {
    "load_generator": "model_files.generator_file",
    "save_generator": "model_files.generator_file",
    "Generator": "networks.srresnet",
    "SRDataModule": "data.datamodule",
    "SRGANModule": "training.module",
    "PerNetworkDDP": "training.per_network_ddp",
    "enlarge": "upscaling.engine",
    "TargetSize": "upscaling.target_sizes",
}

__all__ = [
    "Generator", "PerNetworkDDP", "SRDataModule", "SRGANModule", "TargetSize", "__version__", "enlarge",
    "load_generator", "save_generator",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"srgan_lit.{_HOME[name]}"), name)
    raise AttributeError(f"module 'srgan_lit' has no attribute {name!r}")
