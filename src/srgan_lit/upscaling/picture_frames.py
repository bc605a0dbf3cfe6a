"""A picture file, frame by frame, enlarged: what ``srgan-upscale`` and ``srgan-app`` share. No names."""

from collections.abc import Callable, Iterator
from pathlib import Path

from srgan_lit.common.errors import UsageError
from srgan_lit.model_files import generator_file
from srgan_lit.model_files.generator_file import Ranged
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures import formats, full_files
from srgan_lit.upscaling import bicubic_tensors, engine
from srgan_lit.upscaling.target_sizes import TargetSize


def default_model() -> str:
    """The bundled name that is meant where none was given."""
    return "srgan" if "srgan" in generator_file.bundled_names() else "srresnet"


def load(model: str | Path, *, fidelity: float | None = None) -> Generator | Ranged | bicubic_tensors.Bicubic:
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


def frames(
    opened: full_files.Opened,
    enlarger: engine.Enlarger,
    suffix: str,
    *,
    size: TargetSize = TargetSize(),  # noqa: B008  # frozen
    tile: str | int = "auto",
    on_frame: Callable[[int, full_files.Pixels], object],
    on_progress: Callable[[int], object],
) -> Iterator[full_files.Frame]:
    """Yield the enlarged frames for a file with ``suffix``, computed as they are written.

    Args:
        opened: the file.
        enlarger: what enlarges.
        suffix: of the file to be written, lower case.
        size: of the result.
        tile: see ``engine.bands``.
        on_frame: called with the number of each frame, from 0, and its pixels (H, W, C), before it is enlarged.
        on_progress: called with the number of input pixels done, after each tile.

    Raises:
        SRGANError: the file is damaged, its result does not fit into the format, or is to be larger than ``enlarger``
            makes it.
    """
    for number in range(opened.info.frames):
        pixels = opened.frame(number)
        height, width = size.of(*pixels.shape[:2], own_scale=enlarger.scale)
        shape = (height, width, pixels.shape[2])
        full_files.refuse_unless_it_fits(formats.BY_SUFFIX[suffix], shape, pixels.dtype)
        on_frame(number, pixels)
        bands = engine.bands(pixels, enlarger, size=(height, width), tile=tile, on_progress=on_progress)
        yield full_files.Frame(shape=shape, bands=bands, scale=height / pixels.shape[0])
