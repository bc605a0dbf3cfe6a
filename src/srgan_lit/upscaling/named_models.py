"""What enlarges, by its name: a generator that is loaded and perhaps blended, or bicubic."""

import os
from collections.abc import Iterable

from srgan_lit.common.errors import UsageError
from srgan_lit.model_files import generator_file
from srgan_lit.model_files.generator_file import Own, Ranged
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures import bicubic_tensors


def load(
    model: str | os.PathLike[str], *, fidelity: float | None = None, network: Own | None = None
) -> Generator | Ranged | bicubic_tensors.Bicubic:
    """Return what ``model`` names, ``bicubic`` too; with ``fidelity`` as ``generator_file.load_blend`` blends it.

    Args:
        model: as ``load_generator`` takes it.
        fidelity: as ``load_blend`` takes it.
        network: the class of the model's network, where it is none of this package's.

    Raises:
        SRGANError: as ``load_generator`` and ``load_blend``.
        UsageError: bicubic with a fidelity, one that is not in [0, 1], or a ``network`` that the model does not need.
    """
    loaded: Generator | Ranged | bicubic_tensors.Bicubic
    if fidelity is not None and not 0 <= fidelity <= 1:
        raise UsageError(f"fidelity must be from 0 to 1, not {fidelity:g}")
    if generator_file.is_bicubic(model):
        if fidelity is not None:
            raise UsageError("--fidelity blends two networks; bicubic is none")
        loaded = bicubic_tensors.Bicubic()
    elif fidelity is None:
        loaded = generator_file.load_generator(model, network=network)
    else:
        loaded = generator_file.load_blend(model, fidelity=fidelity, network=network)
    refuse_unused(network, [loaded])
    return loaded


def refuse_unused(network: Own | None, loaded: Iterable[object]) -> None:
    """Refuse a class that none of the generators is of.

    Raises:
        UsageError: it is so.
    """
    if isinstance(network, type) and not any(
        isinstance(each.generator if isinstance(each, Ranged) else each, network) for each in loaded
    ):
        raise UsageError(f"--network {network.__qualname__}: no model needs it; leave it out")
