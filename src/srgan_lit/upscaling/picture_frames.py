"""A picture file, frame by frame, enlarged: what ``srgan-upscale`` and ``srgan-app`` share. No names."""

from collections.abc import Callable, Iterator

from srgan_lit import checkpoint, picture_files, resampling, upscaling
from srgan_lit.checkpoint import Ranged
from srgan_lit.errors import UsageError
from srgan_lit.generator import Generator


def default_model() -> str:
    """The bundled name that is meant where none was given."""
    return "srgan" if "srgan" in checkpoint.bundled_names() else "srresnet"


def load(model: str, *, fidelity: float | None = None) -> Generator | Ranged | resampling.Bicubic:
    """Return what ``model`` names, ``bicubic`` too, blended as ``checkpoint.load_blend`` does if ``fidelity`` says so.

    Raises:
        SRGANError: as ``load_generator`` and ``load_blend``.
        UsageError: bicubic with a fidelity.
    """
    if model == "bicubic":
        if fidelity is not None:
            raise UsageError("--fidelity blends two networks; bicubic is none")
        return resampling.Bicubic()
    return checkpoint.load_generator(model) if fidelity is None else checkpoint.load_blend(model, fidelity=fidelity)


def frames(
    opened: picture_files.Opened,
    enlarger: upscaling.Enlarger,
    suffix: str,
    *,
    tile: str | int = "auto",
    on_frame: Callable[[int, picture_files.Pixels], object],
    on_progress: Callable[[int], object],
) -> Iterator[picture_files.Frame]:
    """Yield the enlarged frames for a file with ``suffix``, computed as they are written.

    Args:
        opened: the file.
        enlarger: what enlarges.
        suffix: of the file to be written, lower case.
        tile: see ``upscaling.bands``.
        on_frame: called with the number of each frame, from 0, and its pixels (H, W, C), before it is enlarged.
        on_progress: called with the number of input pixels done, after each tile.

    Raises:
        SRGANError: the file is damaged, or its result does not fit into the format.
    """
    for number in range(opened.info.frames):
        pixels = opened.frame(number)
        shape = (pixels.shape[0] * enlarger.scale, pixels.shape[1] * enlarger.scale, pixels.shape[2])
        picture_files.refuse_unless_it_fits(picture_files.FORMATS[suffix], shape, pixels.dtype)
        on_frame(number, pixels)
        bands = upscaling.bands(pixels, enlarger, tile=tile, on_progress=on_progress)
        yield picture_files.Frame(shape=shape, bands=bands)
