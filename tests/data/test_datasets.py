"""Crops are aligned, turned together and a function of the position alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan_lit.config.schema import DataConfig
from srgan_lit.data import packed_cache, sets
from srgan_lit.data.samples import CropBatches, WholePairs


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    found = sets.training_sources(DataConfig(name="sample"))
    return packed_cache.open_packed(found, scale=4, label="sample", cache=tmp_path_factory.mktemp("cache"))


def crops(cache, **changes):
    options = {"crop": 32, "augment": True, "degradation": "bicubic", "seed": 0} | changes
    return CropBatches(cache, range(len(cache)), **options)


def places(whole, part):
    """Top-left corners where ``part`` occurs in ``whole``, both (H, W, 3)."""
    height, width = part.shape[:2]
    candidates = np.argwhere((whole == part[0, 0]).all(axis=2)).tolist()
    return {(y, x) for y, x in candidates if np.array_equal(whole[y : y + height, x : x + width], part)}


def pixels(tensor):
    return tensor.permute(1, 2, 0).numpy()


@settings(max_examples=40, deadline=None)
@given(position=st.integers(0, 2**40), picture=st.integers(0, 40), seed=st.integers(0, 2**32 - 1))
def test_lr_and_hr_show_the_same_place_turned_the_same_way(cache, position, picture, seed):
    batch = crops(cache, crop=48, seed=seed)[[(position, picture)]]
    lr, hr = pixels(batch["lr"][0]), pixels(batch["hr"][0])
    assert batch["name"] == [cache.names[picture]]
    for turns in range(4):
        for mirrored in (False, True):
            small, large = (np.rot90(image, turns) for image in (lr, hr))
            if mirrored:
                small, large = small[:, ::-1], large[:, ::-1]
            at_lr, at_hr = places(cache.lr(picture), small), places(cache.hr(picture), large)
            if {(4 * top, 4 * left) for top, left in at_lr} & at_hr:
                return
    raise AssertionError("no turn puts both crops at the same place")


def test_all_eight_ways_and_the_whole_picture_occur(cache):
    # One picture, the crop as large as it: only the turns differ.
    ways = {crops(cache, crop=160)[[(position, 0)]]["hr"].numpy().tobytes() for position in range(200)}
    assert len(ways) == 8
    plain = crops(cache, crop=160, augment=False)
    assert np.array_equal(pixels(plain[[(7, 0)]]["hr"][0]), cache.hr(0))
    corners = {
        next(iter(places(cache.lr(20), pixels(crops(cache, crop=152, augment=False)[[(n, 20)]]["lr"][0]))))
        for n in range(200)
    }
    assert corners == {(top, left) for top in range(3) for left in range(3)}  # up to the last row and column


def test_a_sample_depends_on_its_position_and_the_seed_alone(cache):
    alone, among = crops(cache)[[(5, 3)]], crops(cache)[[(4, 1), (5, 3)]]
    assert torch.equal(alone["hr"][0], among["hr"][1])
    assert not torch.equal(alone["hr"], crops(cache, seed=1)[[(5, 3)]]["hr"])
    assert not torch.equal(alone["hr"], crops(cache)[[(6, 3)]]["hr"])


@pytest.mark.parametrize("degradation", ["bicubic", "jpeg", "blur_noise", "real", "everyday"])
def test_batches_are_uint8_and_channels_last(cache, degradation):
    batch = crops(cache, degradation=degradation)[[(n, n) for n in range(5)]]
    assert batch["lr"].shape == (5, 3, 8, 8)
    assert batch["hr"].shape == (5, 3, 32, 32)
    for image in (batch["lr"], batch["hr"]):
        assert image.dtype == torch.uint8
        assert image.is_contiguous(memory_format=torch.channels_last)
    clean = crops(cache)[[(n, n) for n in range(5)]]
    assert torch.equal(batch["hr"], clean["hr"])
    assert torch.equal(batch["lr"], clean["lr"]) == (degradation == "bicubic")


def test_whole_pairs_are_what_is_in_the_cache(cache):
    whole = WholePairs("sample", cache.names, cache.pair)
    assert len(whole) == 41
    for index in (0, 6, 40):
        batch = whole[index]
        assert np.array_equal(pixels(batch["hr"][0]), cache.hr(index))
        assert np.array_equal(pixels(batch["lr"][0]), cache.lr(index))
        assert (batch["name"], batch["grey"]) == ([cache.names[index]], [bool(cache.grey[index])])
