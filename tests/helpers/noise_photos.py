"""Pictures to train on and to read: noise, another in each file, the same in every run."""

import numpy as np
from PIL import Image


def photos(folder, count, size=(48, 48), name="{}.png"):
    """Write ``count`` RGB pictures of ``size`` (height, width) into ``folder``, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name.format(number))
    return folder
