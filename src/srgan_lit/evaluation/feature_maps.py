"""VGG's feature maps of a picture as a grid, and the distance of SR from HR in each layer."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from srgan_lit.config.schema import VGG_CONVOLUTIONS
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.networks.vgg import VGGFeatures
from srgan_lit.pictures import tensors

_GAP_PX = 2


def layers(backbone: str) -> list[str]:
    """The last convolution of each block, shallow to deep: ``1_2``, ``2_2``, … ``5_4`` of vgg19."""
    return [f"{block}_{convolutions}" for block, convolutions in enumerate(VGG_CONVOLUTIONS[backbone], start=1)]


def _features(features: VGGFeatures, pixels: NDArray[np.uint8]) -> Tensor:
    device = features.mean.device
    with torch.inference_mode():
        return features(tensors.from_pixels(pixels).to(device)).float().cpu()


def grid(features: VGGFeatures, pixels: NDArray[np.uint8], *, count: int = 16, side_px: int = 160) -> Image.Image:
    """The strongest feature maps of a picture in one layer, side by side, as the literature shows them.

    Args:
        features: the layer, for instance VGG22 (edges and textures stay in place) or VGG54 (parts of objects).
        pixels: (H, W, 3) uint8.
        count: maps shown, those with the largest mean activation, strongest first, row by row.
        side_px: longer side of each map in the drawing; map pixels stay visible.

    Each map is scaled by its own maximum: bright is where its feature is found most. A map that is 0
    everywhere is black.

    Raises:
        ValueError: ``count`` or ``side_px`` below 1, or a picture too small to have a map in this layer.
    """
    if count < 1 or side_px < 1:
        raise ValueError(f"count and side_px must be at least 1, not {count} and {side_px}")
    if min(pixels.shape[:2]) < 2 ** (features.block - 1):
        raise ValueError(
            f"{features.name} halves a picture {features.block - 1} times: {pixels.shape[:2]} is too small"
        )
    maps = _features(features, pixels)[0]  # (C, h, w)
    strongest = maps[maps.mean(dim=(1, 2)).argsort(descending=True, stable=True)[:count]]
    height, width = maps.shape[1:]
    shown = (max(1, round(side_px * width / max(height, width))), max(1, round(side_px * height / max(height, width))))
    columns = math.ceil(math.sqrt(len(strongest)))
    rows = math.ceil(len(strongest) / columns)
    step = (shown[0] + _GAP_PX, shown[1] + _GAP_PX)
    canvas = Image.new("L", (columns * step[0] - _GAP_PX, rows * step[1] - _GAP_PX), 255)
    for index, one in enumerate(strongest):
        peak = one.max().clamp_min(torch.finfo(torch.float32).tiny)
        tile = Image.fromarray((one / peak * 255).round().to(torch.uint8).numpy())
        place = (index % columns * step[0], index // columns * step[1])
        canvas.paste(tile.resize(shown, Image.Resampling.NEAREST), place)
    return canvas


def distances(
    sr: NDArray[np.uint8],
    hr: NDArray[np.uint8],
    *,
    backbone: str = "vgg19",
    weights: str = "imagenet",
    at: Sequence[str] | None = None,
) -> dict[str, float]:
    """How far ``sr`` is from ``hr`` in each layer: |φ(sr) - φ(hr)| / |φ(hr)|, Euclidean norms over the whole map.

    The ratio makes layers comparable: 0 is equal, 1 is as far away as a picture without features. (The
    perceptual loss is the mean square without the ratio.)

    Args:
        sr: (H, W, 3) uint8.
        hr: the same shape.
        backbone: ``vgg19`` or ``vgg16``.
        weights: as for ``VGGFeatures``.
        at: layers such as ``2_2``; by default the last of each block.

    Raises:
        ValueError: the shapes differ.
        SRGANError: no such layer, or weights that cannot be had.
    """
    if sr.shape != hr.shape:
        raise ValueError(f"sr and hr must have one shape, not {sr.shape} and {hr.shape}")
    distances = {}
    for layer in at or layers(backbone):
        features = vgg_features(backbone=backbone, layer=layer, weights=weights)
        hr_features = _features(features, hr)
        distances[layer] = ((_features(features, sr) - hr_features).norm() / hr_features.norm()).item()
    return distances
