"""A file that was written anew in place, with its size and its time of before, is seen all the same."""

import os

import numpy as np
from PIL import Image

from srgan_lit.config.schema import DataConfig
from srgan_lit.data import packed_cache, sets


def test_other_pixels_of_the_same_size_and_time_are_packed_again(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(np.full((40, 40, 3), 50 + number, dtype=np.uint8)).save(folder / f"{number}.bmp")

    def packed():
        sources = sets.training_sources(DataConfig(name="folder", root=str(folder)))
        return packed_cache.open_packed(sources, scale=4, label="set", cache=tmp_path / "cache")

    assert packed().hr(0)[0, 0].tolist() == [50, 50, 50]
    picture = folder / "0.bmp"
    before = picture.stat()
    content = bytearray(picture.read_bytes())
    content[-40 * 40 * 3 :] = b"\xc8" * (40 * 40 * 3)
    with picture.open("r+b") as opened:
        opened.write(content)
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = picture.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert packed().hr(0)[0, 0].tolist() == [200, 200, 200]
