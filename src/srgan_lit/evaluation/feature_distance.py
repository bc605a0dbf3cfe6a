"""The distance of two pictures of any size in VGG's features: what the perceptual loss computes, in exact tiles."""

import math

import torch
from torch import Tensor

from srgan_lit.config.schema import VGG_CONVOLUTIONS, parse_layer
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.upscaling import tiling

_TILE_PX = 1024  # a side: 64 channels of it, and of the halo, are 0.4 GB


def feature_maps(loss: PerceptualLoss, image: Tensor, *, tile_px: int | None = None) -> dict[str, Tensor]:
    """The maps that ``loss`` compares, by layer, of ``image`` (1, 3, H, W) in [0, 1]: (1, C, H // unit, W // unit).

    ``unit`` is 2^(block-1). An image larger than ``tile_px`` is computed tile by tile, which gives the same to
    rounding: each tile starts where the poolings' windows do, and reads as far beyond its sides as a map can depend on.
    """
    features, layers = loss.features, loss.layers
    tile_px = tile_px or _TILE_PX
    if max(image.shape[-2:]) <= tile_px:
        return features.maps(image, layers)
    counts = [*VGG_CONVOLUTIONS[features.backbone][: features.block - 1], features.conv]
    unit = 2 ** (features.block - 1)
    height, width = (side // unit for side in image.shape[-2:])
    halo = math.ceil(sum(count * 2**block for block, count in enumerate(counts)) / unit)

    def pixels(read: slice, last: int) -> slice:
        # What is left over at the right and at the bottom is in no feature of its own, but convolutions see it.
        return slice(read.start * unit, read.stop * unit if read.stop < last else None)

    results: dict[str, Tensor] = {}
    for row in tiling.rows_of_windows(height, width, tile=max(1, tile_px // unit), halo=halo):
        for window in row:
            crop = image[..., pixels(window.read_rows, height), pixels(window.read_columns, width)]
            for layer, part in features.maps(crop, layers).items():
                step = 2 ** (parse_layer(features.backbone, layer)[0] - 1)
                factor, size = unit // step, [side // step for side in image.shape[-2:]]
                if layer not in results:
                    results[layer] = part.new_empty((*part.shape[:2], *size))
                place, keep = [], []
                for (start, stop), read, last, end in (
                    (window.rows, window.read_rows, height, size[0]),
                    (window.columns, window.read_columns, width, size[1]),
                ):
                    place.append(slice(start * factor, stop * factor if stop < last else end))
                    keep.append(slice(place[-1].start - read.start * factor, place[-1].stop - read.start * factor))
                results[layer][..., place[0], place[1]] = part[..., keep[0], keep[1]]
    return results


class FeatureDistance:
    """What ``loss`` says of two pictures; the maps of the last ``hr`` are kept for the next model's ``sr``.

    Args:
        loss: on the device that computes.
    """

    def __init__(self, loss: PerceptualLoss) -> None:
        self.loss = loss
        self._last: tuple[Tensor, dict[str, Tensor]] | None = None

    @torch.no_grad()
    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The distance, on the loss's device, of two images (1, 3, H, W) in [0, 1] on any device."""
        device = self.loss.features.mean.device
        if self._last is None or self._last[0] is not hr:
            self._last = hr, feature_maps(self.loss, hr.to(device))
        return self.loss.distance(feature_maps(self.loss, sr.to(device)), self._last[1])
