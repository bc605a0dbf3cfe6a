"""What enlarges, by its name: a generator that is loaded and perhaps blended, or bicubic."""

import os

from srgan_lit.common.errors import UsageError
from srgan_lit.model_files import generator_file
from srgan_lit.model_files.generator_file import Ranged
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures import bicubic_tensors


def load(
    model: str | os.PathLike[str], *, fidelity: float | None = None
) -> Generator | Ranged | bicubic_tensors.Bicubic:
    """Return what ``model`` names, ``bicubic`` too; with ``fidelity`` as ``generator_file.load_blend`` blends it.

    Raises:
        SRGANError: as ``load_generator`` and ``load_blend``.
        UsageError: bicubic with a fidelity.
    """
    if generator_file.is_bicubic(model):
        if fidelity is not None:
            raise UsageError("--fidelity blends two networks; bicubic is none")
        return bicubic_tensors.Bicubic()
    return (
        generator_file.load_generator(model)
        if fidelity is None
        else generator_file.load_blend(model, fidelity=fidelity)
    )
