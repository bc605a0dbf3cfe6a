"""Files of very many frames: each costs the same, they are counted as they are read, and there is a bound."""

import io
import sys

import pytest
from PIL import Image

from helpers.many_pages import tiff
from srgan_lit import upscale
from srgan_lit.common.errors import SRGANError
from srgan_lit.pictures import full_files


def steps(path):
    """Functions that are called to read all of a file, Python's and C's."""
    count = 0

    def called(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    with full_files.opened(path) as opened:  # what is imported for the first one is not counted
        opened.frame(0)
    sys.setprofile(called)
    try:
        with full_files.opened(path) as opened:
            for number in range(opened.info.frames):
                opened.frame(number)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("bits", [8, 16])
def test_twice_the_pages_cost_twice_as_much(tmp_path, bits):
    few, many = tmp_path / "few.tif", tmp_path / "many.tif"
    few.write_bytes(tiff(200, bits=bits))
    many.write_bytes(tiff(400, bits=bits))
    assert steps(many) < 2.1 * steps(few)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP", "AVIF"])
def test_more_frames_than_the_bound_are_refused_before_their_pixels_are_decoded(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(full_files, "MOST_FRAMES", 3)
    shades = [Image.new("RGB", (9, 9), (40 * number, 0, 90)) for number in range(4)]

    def saved(count):
        path = tmp_path / f"{count}.{kind.lower()}"
        shades[0].save(path, kind, save_all=True, append_images=shades[1:count])
        return path

    enough, many = saved(3), saved(4)
    assert full_files.size_of(enough) == (9, 9, 3)
    with full_files.opened(enough) as opened:
        assert [opened.frame(number).shape for number in range(3)] == [(9, 9, opened.frame(0).shape[2])] * 3
    monkeypatch.setattr(Image.Image, "load", None)  # would raise
    with pytest.raises(SRGANError, match="more than 3 frames or pages"):
        full_files.size_of(many)
    if kind != "PNG":  # of which the EXIF may follow the pixels
        with pytest.raises(SRGANError, match="more than 3 frames or pages"), full_files.opened(many):
            pass


@pytest.mark.long
def test_a_hundred_thousand_pages_are_refused_in_one_line(tmp_path, capsys):
    assert len(tiff(1, bits=16)) < 300
    with Image.open(io.BytesIO(tiff(3))) as image:
        assert image.n_frames == 3
    (tmp_path / "many.tif").write_bytes(tiff(100_000))
    status = upscale.main([str(tmp_path / "many.tif"), "-o", str(tmp_path / "out"), "--model", "bicubic"])
    said = capsys.readouterr().err.splitlines()
    assert status == 1
    assert any("more than 10,000 frames or pages: cut it into several files" in line for line in said)
