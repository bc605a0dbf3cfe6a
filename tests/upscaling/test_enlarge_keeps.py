"""``enlarge`` gives back what the command would write, and refuses what it cannot take."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from srgan_lit import enlarge, load_generator, save_generator, upscale
from srgan_lit.common.errors import UsageError
from srgan_lit.model_files.generator_file import Ranged
from srgan_lit.networks.srresnet import Generator
from srgan_lit.upscaling import engine

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (24, 20), dtype=np.uint8)


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    return Generator(blocks=1, features=8, scale=4).eval()


def test_a_phones_photograph_stands_upright_and_keeps_what_it_says(generator, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    exif.get_ifd(0x8769)[0xA002] = 20
    photo = Image.fromarray(RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8))
    photo.save(tmp_path / "in.png", exif=exif, icc_profile=profile, dpi=(72, 72))
    save_generator(tmp_path / "generator.safetensors", generator)
    model = str(tmp_path / "generator.safetensors")
    assert upscale.main([str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), "--model", model]) == 0
    with Image.open(tmp_path / "in.png") as opened, Image.open(tmp_path / "out.png") as written:
        result = enlarge(opened, model)
        assert np.array_equal(np.asarray(result), np.asarray(written))
        assert result.size == (48, 80)
        assert result.info["icc_profile"] == profile
        assert result.info["dpi"] == pytest.approx((288, 288), rel=1e-3)
        assert written.info["dpi"] == pytest.approx((288, 288), rel=1e-3)
        assert dict(result.getexif()) == dict(written.getexif()) | {0x010F: "maker"}
        assert np.array_equal(np.asarray(enlarge(opened, model)), np.asarray(result)), "the image itself is left alone"
        assert result.getexif().get_ifd(0x8769)[0xA002] == 48


def test_arrays_of_either_byte_order(generator):
    native = RNG.integers(0, 65536, (9, 8, 3), dtype=np.uint16)
    result = enlarge(native.astype(">u2"), generator)
    assert result.dtype == np.dtype(">u2")
    assert np.array_equal(result, enlarge(native, generator))


def test_wrong_options_are_refused_and_usual_names_taken(generator):
    for wrong in ({"tile": -1}, {"tile": 2.5}, {"tile": "large"}, {"precision": "int8"}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            enlarge(GREY, generator, **wrong)
    for fidelity in (1.7, -0.1, float("nan")):
        with pytest.raises(UsageError, match="fidelity must be from 0 to 1"):
            enlarge(GREY, "everyday", fidelity=fidelity)
    for short, name in {"fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32"}.items():
        assert engine.Enlarger(generator, precision=short).dtype == engine.PRECISIONS[name]


def test_grey_saved_as_rgb_stays_grey_whatever_the_tiles(generator):
    rgb = np.repeat(GREY[..., None], 3, axis=2)
    result = enlarge(rgb, generator, tile=16)
    assert (result == result[..., :1]).all()
    assert np.array_equal(result[..., 0], enlarge(GREY, generator))
    clear = np.concatenate([rgb, 255 - rgb[..., :1]], axis=2)
    assert np.array_equal(enlarge(clear, generator)[..., [0, 3]], enlarge(clear[..., [0, 3]], generator))
    tinted = rgb.copy()
    tinted[0, 0, 2] ^= 1  # one pixel in the first tile is colour: so is the picture
    result = enlarge(tinted, generator, tile=16)
    assert not (result[60:] == result[60:, :, :1]).all()


def test_a_converted_generator_is_saved_with_its_ranges(generator, tmp_path):
    ranged = Ranged(generator, input_range="signed", output_range="tanh")
    save_generator(tmp_path / "a.safetensors", ranged)
    again = load_generator(tmp_path / "a.safetensors")
    assert (again.input_range, again.output_range) == ("signed", "tanh")
    assert np.array_equal(enlarge(GREY, again), enlarge(GREY, ranged))
