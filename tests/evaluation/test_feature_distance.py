"""VGG's features in tiles are those of the whole picture."""

import pytest
import torch

from srgan_lit.evaluation.feature_distance import FeatureDistance, feature_maps
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.model_files.vgg_weights import vgg_features

LAYERS = [("vgg16", "2_2", None), ("vgg19", "4_1", None), ("vgg16", "3_2", {"1_2": 0.1, "2_1": 1.0, "3_2": 1.0})]


@pytest.mark.parametrize(("backbone", "deepest", "layers"), LAYERS)
def test_tiles_give_the_features_of_the_whole(backbone, deepest, layers):
    loss = PerceptualLoss(vgg_features(backbone=backbone, layer=deepest, weights="random"), layers)
    image = torch.rand(1, 3, 107, 171, generator=torch.Generator().manual_seed(0))  # no multiples of the poolings
    whole = loss.features.maps(image, loss.layers)
    for tile_px in (32, 64):
        parts = feature_maps(loss, image, tile_px=tile_px)
        assert parts.keys() == whole.keys()
        for layer, part in parts.items():
            assert part.shape == whole[layer].shape
            assert torch.allclose(part, whole[layer], atol=1e-4 * float(whole[layer].abs().max())), (layer, tile_px)


def test_the_distance_is_the_loss_s():
    loss = PerceptualLoss(vgg_features(backbone="vgg16", layer="2_2", weights="random"), {"1_1": 0.5, "2_2": 2.0})
    sr, other, hr = (torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(n)) for n in range(3))
    distance = FeatureDistance(loss)
    for image, original in ((sr, hr), (other, hr), (sr, other)):
        assert torch.equal(distance(image, original), loss(image, original))
