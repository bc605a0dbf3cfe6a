"""Feature maps: which are shown, in what order, and distances against the same computed by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_lit.common.errors import SRGANError
from srgan_lit.evaluation import feature_maps
from srgan_lit.losses.perceptual import VGGFeatures
from srgan_lit.pictures import bicubic, tensors


def picture(seed: int, height: int = 48, width: int = 32) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    return bicubic.resize(small, height, width)


def test_the_strongest_maps_are_shown_strongest_first():
    features = VGGFeatures(layer="2_2")
    with torch.no_grad():
        maps = features(tensors.from_pixels(picture(0)))[0]
    strongest = maps.mean(dim=(1, 2)).argsort(descending=True)[:4]
    drawn = np.asarray(feature_maps.grid(features, picture(0), count=4, side_px=24))
    assert drawn.shape == (2 * 24 + 2, 2 * 16 + 2)  # maps of 24x16, two by two
    for place, index in enumerate(strongest):
        y, x = place // 2 * 26, place % 2 * 18
        expected = (maps[index] / maps[index].max() * 255).round().numpy()
        assert np.array_equal(drawn[y : y + 24, x : x + 16], expected)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (3, 2, 2), (5, 3, 2), (1000, 8, 8)])
def test_the_grid_holds_as_many_as_asked_or_there_are(count, columns, rows):
    features = VGGFeatures(layer="1_1")
    drawn = feature_maps.grid(features, picture(1, 32, 32), count=count, side_px=10)
    assert isinstance(drawn, Image.Image)
    assert drawn.size == (columns * 12 - 2, rows * 12 - 2)


def test_a_map_without_activation_is_black_not_an_error():
    features = VGGFeatures(layer="1_1")
    with torch.no_grad():
        features.features[0].weight.zero_()
    assert np.asarray(feature_maps.grid(features, picture(0), count=1)).max() == 0


def test_distance_is_relative_to_what_is_wanted():
    hr, sr = picture(0), picture(1)
    features = VGGFeatures(backbone="vgg16", layer="3_3")
    with torch.no_grad():
        a, b = features(tensors.from_pixels(sr)), features(tensors.from_pixels(hr))
    expected = ((a - b).square().sum() / b.square().sum()).sqrt().item()
    found = feature_maps.distances(sr, hr, backbone="vgg16", weights="random", at=["1_1", "3_3"])
    assert list(found) == ["1_1", "3_3"]
    assert found["3_3"] == pytest.approx(expected, rel=1e-5)
    assert feature_maps.distances(hr, hr, weights="random", at=["2_2"]) == {"2_2": 0}


def test_by_default_the_last_layer_of_each_block():
    found = feature_maps.distances(picture(0), picture(1), weights="random")
    assert list(found) == feature_maps.layers("vgg19") == ["1_2", "2_2", "3_4", "4_4", "5_4"]
    assert feature_maps.layers("vgg16")[-1] == "5_3"


def test_what_does_not_fit_is_refused():
    features = VGGFeatures(layer="5_4")
    with pytest.raises(ValueError, match="too small"):
        feature_maps.grid(features, picture(0, 15, 40))
    with pytest.raises(ValueError, match="at least 1"):
        feature_maps.grid(features, picture(0), count=0)
    with pytest.raises(ValueError, match="one shape"):
        feature_maps.distances(picture(0), picture(0, 40, 40), weights="random")
    with pytest.raises(SRGANError, match="9_9"):
        feature_maps.distances(picture(0), picture(1), weights="random", at=["9_9"])
