"""Against a slow reference written from the definition, and against the published LR files where they are."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from srgan_lit.pictures import bicubic, bicubic_bands, bicubic_tensors, rgb8

DATA = Path(os.environ.get("SRGAN_LIT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def keys_cubic(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def slow_line(line, after):
    """One row of samples resized, one output at a time, every input looked at."""
    before = len(line)
    ratio = after / before
    width = min(1.0, ratio)
    result = []
    for out in range(after):
        centre = (out + 0.5) / ratio - 0.5
        reach = math.ceil(2 / width) + 1
        total = norm = 0.0
        for at in range(math.floor(centre) - reach, math.ceil(centre) + reach + 1):
            weight = keys_cubic((centre - at) * width)
            total += weight * float(line[min(max(at, 0), before - 1)])
            norm += weight
        result.append(total / norm)
    return result


def rounded(values):
    return np.array([min(max(math.floor(value + 0.5), 0), 255) for value in values], dtype=np.uint8)


def slow_resize(pixels, height, width):
    rows = np.stack([rounded(slow_line(column, height)) for column in pixels.T], axis=1)
    return np.stack([rounded(slow_line(row, width)) for row in rows])


PIXELS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=13))


@settings(max_examples=60, deadline=None)
@given(PIXELS, st.integers(1, 20), st.integers(1, 20))
def test_equals_the_slow_reference(pixels, height, width):
    fast = bicubic.resize(pixels, height, width).astype(int)
    slow = slow_resize(pixels, height, width).astype(int)
    # A sum that is a half but for rounding in float64 may go either way, and its row then feeds the columns.
    assert np.abs(fast - slow).max() <= 1
    assert (fast != slow).mean() <= 0.1 or fast.size < 10


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_shrinking_noise_equals_the_slow_reference_exactly(scale):
    pixels = np.random.default_rng(0).integers(0, 256, (5 * scale + 1, 4 * scale + 1), dtype=np.uint8)
    expected = slow_resize(pixels[: 5 * scale, : 4 * scale], 5, 4)
    assert np.array_equal(bicubic.shrink(pixels, scale), expected)


@given(st.integers(0, 255), st.integers(1, 30), st.integers(1, 30), st.sampled_from([2, 4, 8]))
def test_flat_stays_flat(value, height, width, scale):
    flat = np.full((height, width, 3), value, dtype=np.uint8)
    assert np.array_equal(
        bicubic.enlarge(flat, scale), np.full((height * scale, width * scale, 3), value, dtype=np.uint8)
    )


def test_channels_are_resized_apart():
    pixels = np.random.default_rng(1).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    together = bicubic.shrink(pixels, 4)
    assert np.array_equal(together, np.stack([bicubic.shrink(pixels[..., c], 4) for c in range(3)], axis=-1))


def test_what_cannot_be_resized_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        bicubic.resize(np.zeros((4, 4)), 2, 2)
    with pytest.raises(ValueError, match="at least 1"):
        bicubic.shrink(np.zeros((3, 9), dtype=np.uint8), 4)


@pytest.mark.parametrize("values", ["any", "black and white", "nearly white"])
@pytest.mark.parametrize("white", [255, 65535])
@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("resize", ["enlarge", "shrink"])
def test_on_tensors_it_is_the_definition_to_the_last_bit(resize, scale, white, values):
    random = np.random.default_rng(0).integers(0, white + 1, (96, 80, 3))
    darker = {"any": random, "black and white": white * (random % 2), "nearly white": random % 2}[values]
    picture = (white - darker).astype(np.uint8 if white == 255 else np.uint16)
    size = tuple(side * scale if resize == "enlarge" else side // scale for side in picture.shape[:2])
    expected = np.concatenate(list(bicubic_bands.resize([picture], picture.shape[:2], size)))  # in float64
    image = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None] / white
    found = getattr(bicubic_tensors, resize)(image, scale, levels=white)[0].permute(1, 2, 0) * white
    assert np.array_equal(found.round().numpy().astype(picture.dtype), expected)


@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_published_lr_files_come_out_to_the_byte(name):
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip("needs Set5 and Set14 in SRGAN_LIT_DATA")
    for path in sorted((folder / "HR").iterdir()):
        hr, lr = rgb8.read_picture(path), rgb8.read_picture(folder / "LRx4" / path.name)
        assert np.array_equal(bicubic.shrink(hr.pixels, 4), lr.pixels), path.name


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint16, np.float32])
def test_other_types_of_pixels_are_not_resized(dtype):
    with pytest.raises(ValueError, match="must be uint8"):
        bicubic.resize(np.zeros((8, 8, 3), dtype=dtype), 4, 4)
