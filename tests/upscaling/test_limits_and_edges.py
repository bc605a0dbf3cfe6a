"""Where ``auto`` begins to see blocks, where grown blocks lie, and colours under transparent edges across tiles."""

import numpy as np
import pytest
import torch

from srgan_lit.networks.initialisation import grow_
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures import condition
from srgan_lit.upscaling import engine, model_choice


@pytest.mark.parametrize(("step", "name"), [(1.4, "srgan"), (2.3, "everyday")])
def test_blocks_are_seen_from_steps_of_1_8_levels_on(step, name):
    """A grey ramp, whose squares of 8x8 are by turns a little lighter: nothing else is in it."""
    found = {}
    rows, columns = np.mgrid[:160, :160]
    for height in np.arange(0.25, 12, 0.25):
        checks = (rows // 8 + columns // 8) % 2 * height
        soft = 90 + 0.2 * rows + checks + np.random.default_rng(0).normal(0, 0.4, rows.shape)
        pixels = np.repeat(np.clip(np.rint(soft), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        found[abs(condition.measure(pixels).block_step - step)] = pixels
    pixels = found[min(found)]
    assert condition.measure(pixels).block_step == pytest.approx(step, abs=0.25)
    assert model_choice.for_pixels(pixels).name == name


@pytest.mark.parametrize(("few", "many", "places"), [(1, 3, [0]), (2, 4, [0, 2]), (2, 5, [0, 2]), (4, 8, [0, 2, 4, 6])])
def test_blocks_of_the_smaller_generator_are_spread_over_the_larger(few, many, places):
    smaller, larger = Generator(blocks=few, features=4), Generator(blocks=many, features=4)
    grow_(larger, smaller)
    assert [n for n, block in enumerate(larger.trunk) if block.norm2.weight.abs().sum() > 0] == places


def test_tiles_are_exact_at_transparent_edges_too():
    """What shows is one pixel here and there, three from a tile's reach: its colour is taken under the edge."""
    generator = Generator(blocks=1, features=4).eval()
    with torch.no_grad():
        for conv in generator.modules():  # means all: what lies furthest away counts too
            if isinstance(conv, torch.nn.Conv2d):
                conv.weight.fill_(1 / conv.weight[0].numel())
                if conv.bias is not None:
                    conv.bias.zero_()
    enlarger = engine.Enlarger(generator)
    pixels = np.zeros((60, 61, 4), dtype=np.uint16)
    pixels[::7, ::7] = [15000, 9000, 3000, 65535]
    whole, tiled = (np.concatenate(list(engine.bands(pixels, enlarger, tile=tile))) for tile in (0, 9))
    assert np.abs(whole.astype(int) - tiled.astype(int)).max() <= 2
