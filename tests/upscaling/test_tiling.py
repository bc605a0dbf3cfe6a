"""Tiled equals whole, for any size, tile and network whose radius is known."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import foreign_networks
from srgan_lit import Generator
from srgan_lit.pictures import bicubic_tensors
from srgan_lit.upscaling import fast_generator, tiling
from srgan_lit.upscaling.fast_generator import accelerate

sides = st.integers(1, 40)


@given(height=sides, width=sides, tile=st.integers(1, 45), top=st.integers(0, 39))
def test_windows_cover_every_pixel_once_and_none_is_too_long(height: int, width: int, tile: int, top: int) -> None:
    top = min(top, height - 1)
    seen = torch.zeros(height, width, dtype=torch.int)
    for row in tiling.rows_of_windows(height, width, tile=tile, halo=3, top=top):
        for window in row:
            seen[slice(*window.rows), slice(*window.columns)] += 1
            assert max(window.rows[1] - window.rows[0], window.columns[1] - window.columns[0]) <= tile
            assert 0 <= window.rows[0] < window.rows[1] <= height
            assert 0 <= window.columns[0] < window.columns[1] <= width
            assert window.read_rows.start == max(window.rows[0] - 3, 0)
            assert window.read_columns.stop == min(window.columns[1] + 3, width)
    assert (seen[:top] == 0).all()
    assert (seen[top:] == 1).all()


@settings(max_examples=15, deadline=None)
@given(
    height=sides,
    width=sides,
    tile=st.integers(5, 45),
    scale=st.sampled_from((2, 4, 8)),
    blocks=st.integers(1, 2),
    wide=st.booleans(),
)
def test_tiled_equals_whole(height: int, width: int, tile: int, scale: int, blocks: int, wide: bool) -> None:
    network = Generator(blocks=blocks, features=4, scale=scale, prelu_width=4 if wide else 1)
    foreign_networks.randomised(network)
    lr = torch.rand(1, 3, height, width)
    halo = int(-(-network.receptive_radius // 1))
    with torch.no_grad():
        whole = network(lr)
        tiled = tiling.tiled(network, lr, scale=scale, tile=tile, halo=halo)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_a_halo_one_pixel_short_shows() -> None:
    network = foreign_networks.randomised(Generator(blocks=2, features=4))
    lr = torch.rand(1, 3, 60, 60)
    with torch.no_grad():
        whole, short = network(lr), tiling.tiled(network, lr, scale=4, tile=20, halo=8)
    assert (whole - short).abs().max() > 1e-5


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("tail_kernel", [1, 3, 5, 7, 9])
@pytest.mark.parametrize("prelu_width", [1, 8])
def test_the_faster_network_computes_the_same(scale: int, tail_kernel: int, prelu_width: int) -> None:
    shape = {"blocks": 2, "features": 8, "scale": scale, "tail_kernel": tail_kernel, "prelu_width": prelu_width}
    network = foreign_networks.randomised(Generator(**shape))
    for height, width in ((1, 1), (5, 3), (13, 110)):  # the last is longer than the inner tile
        lr = torch.rand(2, 3, height, width)
        with torch.inference_mode():
            torch.testing.assert_close(accelerate(network)(lr), network(lr), atol=1e-5, rtol=0)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())  # the original is untouched


def test_bicubic_tiles_exactly() -> None:
    lr = torch.rand(1, 3, 31, 29)
    network = functools.partial(bicubic_tensors.enlarge, scale=4)
    tiled = tiling.tiled(network, lr, scale=4, tile=7, halo=2)
    torch.testing.assert_close(tiled, network(lr), atol=1e-6, rtol=0)


@pytest.mark.parametrize("upsampling", ["pixelshuffle", "nearest"])
def test_the_fast_generator_s_own_tiles_leave_no_seam(upsampling):
    """It enlarges in tiles of its own, which are seen only in pictures larger than one."""
    torch.manual_seed(0)
    generator = Generator(blocks=1, features=4, upsampling=upsampling).eval()
    lr = torch.rand(1, 3, 20, 2 * fast_generator._INNER_TILE + 30)
    with torch.inference_mode():
        assert torch.allclose(fast_generator.FastGenerator(generator)(lr), generator(lr), atol=1e-5)
