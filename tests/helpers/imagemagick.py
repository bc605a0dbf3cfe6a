"""ImageMagick, a reader and writer of pictures that shares no code with Pillow's, where it is installed."""

import functools
import shutil
import subprocess


@functools.cache
def converter() -> str | None:
    """Its converter, if it is here: other programs are called convert, too."""
    for name in ("magick", "convert"):
        program = shutil.which(name)
        if program and subprocess.run([program, "-version"], capture_output=True).stdout.startswith(b"Version: Image"):
            return program
    return None
