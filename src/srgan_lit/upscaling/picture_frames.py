"""A picture file, frame by frame, enlarged: what ``srgan-upscale`` and ``srgan-app`` share. No names."""

from collections.abc import Callable, Iterator

from srgan_lit.pictures import formats, full_files
from srgan_lit.upscaling import engine
from srgan_lit.upscaling.target_sizes import TargetSize


def frames(
    opened: full_files.Opened,
    enlarger: engine.Enlarger,
    suffix: str,
    *,
    size: TargetSize = TargetSize(),  # noqa: B008  # frozen
    lossless: bool = False,
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
        lossless: whether the file will be, which takes more memory.
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
        full_files.refuse_unless_it_fits(
            formats.BY_SUFFIX[suffix],
            shape,
            pixels.dtype,
            frames=opened.info.frames,
            lossless=lossless or opened.info.lossless,
        )
        on_frame(number, pixels)
        bands = engine.bands(pixels, enlarger, size=(height, width), tile=tile, on_progress=on_progress)
        yield full_files.Frame(shape=shape, bands=bands, scale=height / pixels.shape[0])
