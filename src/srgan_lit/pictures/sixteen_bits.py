"""The pixels of PNG and TIFF files of 16 bits, of which Pillow keeps 8 where they are in colour. No torch."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from srgan_lit.common.errors import SRGANError
from srgan_lit.pictures import pil_arrays

Pixels = NDArray[Any]


def pixels(path: Path, image: Image.Image, *, page: int, orientation: int) -> Pixels | None:
    """Upright pixels (H, W, C) uint16 of a file; None where they are not of 16 bits, and for a grey PNG.

    Args:
        path: the file.
        image: the same, opened by Pillow, and not loaded: a TIFF is turned, and loses its orientation, by that.
        page: of a TIFF.
        orientation: of a PNG, as its EXIF says (1 to 8).

    Raises:
        SRGANError: a TIFF in other colours than RGB, or one that says two sizes.
    """
    if image.format == "PNG":
        with path.open("rb") as file:
            header = file.read(26)
        if header[24] != 16 or header[25] == 0:
            return None
        import imagecodecs

        array = np.asarray(imagecodecs.png_decode(path.read_bytes()))
    elif image.format == "TIFF" and set(image.tag_v2.get(258, (8,))) == {16}:  # type: ignore[attr-defined]
        import tifffile

        with tifffile.TiffFile(path) as opened:
            stored = opened.pages[page].aspage()
            orientation = image.tag_v2.get(ExifTags.Base.Orientation, 1)  # type: ignore[attr-defined]
            size = stored.imagewidth, stored.imagelength
            if (size[::-1] if orientation in pil_arrays.SIDEWAYS else size) != image.size:
                raise SRGANError("a page that says two sizes")
            if stored.photometric not in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK):
                raise SRGANError(f"16 bits of {stored.photometric!r}; only RGB and grey can be enlarged")
            array = stored.asarray()
            if stored.axes.startswith("S"):
                array = np.moveaxis(array, 0, -1)
    else:
        return None
    return pil_arrays.upright(array if array.ndim == 3 else array[:, :, None], orientation)
