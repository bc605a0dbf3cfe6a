"""SRGAN in PyTorch Lightning: train it, measure it, enlarge pictures with it.

``from srgan_lit import load_generator`` works without paying for what is not used: names are resolved when
they are first asked for.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from srgan_lit.checkpoint import load_generator, save_generator
    from srgan_lit.generator import Generator
    from srgan_lit.upscaling import upscale

_HOME = {
    "load_generator": "checkpoint",
    "save_generator": "checkpoint",
    "Generator": "generator",
    "upscale": "upscaling",
}

__all__ = ["Generator", "__version__", "load_generator", "save_generator", "upscale"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"srgan_lit.{_HOME[name]}"), name)
    raise AttributeError(f"module 'srgan_lit' has no attribute {name!r}")
