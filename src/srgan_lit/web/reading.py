"""What a page asks of a file that it received, in a process of its own: is it a picture that can be taken? No torch."""

import os
from pathlib import Path

from srgan_lit.pictures import full_files
from srgan_lit.web.children import Tell
from srgan_lit.web.limits import Held


def pixels(_tell: Tell, _held: Held, *, path: str, max_pixels: int) -> int:
    """How many pixels the picture at ``path`` has, with all frames, as its header says.

    Raises:
        SRGANError: it is no picture, or too large a one.
    """
    if hasattr(os, "nice"):
        os.nice(10)  # the picture that is enlarged meanwhile goes first
    with full_files.opened(Path(path), max_pixels=max_pixels, together=True) as opened:
        return opened.pixels
