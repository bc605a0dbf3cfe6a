"""3x3 convolutions with fewer multiplications, on a CPU: Winograd's F(4x4, 3x3).

Cook and Toom's algorithm as Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", use it: the image
is cut into tiles of 6x6 that overlap by 2; each is transformed, multiplied with the transformed weights, one matrix
product for each of the 36 values, and transformed back to 4x4 results. That takes 36 multiplications where the
definition takes 144, and more passes over memory, so it pays for many channels only: see ``Conv3x3``.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_RESULT, _TILE = 4, 6
# Where the polynomials are evaluated. The customary 0, ±1, ±2 lose four times as many digits: these round as the plain
# convolution does, to a factor of 2.
_POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))
# From where it is faster: input times output channels, tiles, and the share of the tiles that is inside the image.
_LEAST_CHANNELS = 64 * 256
_LEAST_TILES = 32
_LEAST_INSIDE = 0.75


@functools.cache
@torch.inference_mode(False)
def _transforms(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Of one side of a tile of the image (6, 6), of both sides of the weights (36, 9), and of one side back (4, 6)."""
    image, weight, back = np.zeros((6, 6)), np.zeros((6, 3)), np.zeros((4, 6))
    for index, point in enumerate(_POINTS):
        others = _POINTS[:index] + _POINTS[index + 1 :]
        image[index, :5] = np.poly(others)[::-1]
        weight[index] = point ** np.arange(3) / math.prod(point - other for other in others)
        back[:, index] = point ** np.arange(4)
    image[5], weight[5, 2], back[3, 5] = np.poly(_POINTS)[::-1], 1, 1  # the point at infinity
    image_side, both_of_weight, back_side = (
        torch.from_numpy(matrix).to(dtype) for matrix in (image, np.kron(weight, weight), back)
    )
    return image_side, both_of_weight, back_side


def transform(weight: Tensor) -> Tensor:
    """(outputs, inputs, 3, 3) to what ``convolve`` multiplies with: (36, inputs, outputs)."""
    outputs, inputs = weight.shape[:2]
    flat = weight.detach().permute(2, 3, 1, 0).reshape(9, inputs * outputs)
    return (_transforms(weight.dtype)[1] @ flat).view(36, inputs, outputs)


def _chunks(images: int, rows: int, columns: int, wanted: int) -> Iterator[tuple[slice, slice, slice]]:
    """The tiles of a batch in pieces of about ``wanted``: slices of images, rows and columns."""
    step_columns = min(columns, wanted)
    step_rows = min(rows, max(1, wanted // columns))
    step_images = max(1, wanted // (rows * columns))
    for image in range(0, images, step_images):
        for row in range(0, rows, step_rows):
            for column in range(0, columns, step_columns):
                yield (
                    slice(image, min(image + step_images, images)),
                    slice(row, min(row + step_rows, rows)),
                    slice(column, min(column + step_columns, columns)),
                )


def convolve(x: Tensor, transformed: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute ``F.conv2d(x, weight, bias, padding=1)``, equal to rounding. No gradients.

    Args:
        x: (B, inputs, H, W), float32 or float64, channels_last for speed.
        transformed: of the weight, by ``transform``.
        bias: (outputs,).

    Returns:
        (B, outputs, H, W), channels_last.
    """
    images, inputs, height, width = x.shape
    outputs = transformed.shape[2]
    rows, columns = -(-height // _RESULT), -(-width // _RESULT)
    forward, _, back = _transforms(x.dtype)
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, columns * _RESULT - width + 1, 1, rows * _RESULT - height + 1))
    shape = (images, outputs, rows * _RESULT, columns * _RESULT)
    result = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    tiles = result.permute(0, 2, 3, 1).view(images, rows, _RESULT, columns, _RESULT, outputs)
    by_image, by_row, by_column, by_channel = padded.stride()
    # So few tiles at a time stay in the processor's cache between the steps; wide weights want more, to be read seldom.
    wanted = max(48, min(inputs, outputs) // 2)
    halves = max(36 * inputs, 24 * outputs)  # where one side is transformed
    buffers = [x.new_empty(values * wanted) for values in (36 * inputs, halves, 36 * outputs, 16 * outputs)]
    for image, row, column in _chunks(images, rows, columns, wanted):
        counts = (image.stop - image.start, row.stop - row.start, column.stop - column.start)
        count = math.prod(counts)
        into, out = count * inputs, count * outputs
        cut, half, product, done = (
            buffer[:values] for buffer, values in zip(buffers, (36 * into, 36 * into, 36 * out, 16 * out), strict=True)
        )
        half_back = buffers[1][: 24 * out]
        cut.view(_TILE, _TILE, *counts, inputs).copy_(
            padded.as_strided(
                (_TILE, _TILE, *counts, inputs),
                (by_row, by_column, by_image, _RESULT * by_row, _RESULT * by_column, by_channel),
                image.start * by_image + _RESULT * (row.start * by_row + column.start * by_column),
            )
        )
        # One side after the other: a third of the multiplications that both at once would take, (36, 36) by a tile.
        torch.mm(forward, cut.view(6, 6 * into), out=half.view(6, 6 * into))
        torch.bmm(forward.expand(6, 6, 6), half.view(6, 6, into), out=cut.view(6, 6, into))
        torch.bmm(cut.view(36, count, inputs), transformed, out=product.view(36, count, outputs))
        torch.mm(back, product.view(6, 6 * out), out=half_back.view(4, 6 * out))
        torch.bmm(back.expand(4, 4, 6), half_back.view(4, 6, out), out=done.view(4, 4, out))
        results = done.view(_RESULT, _RESULT, *counts, outputs)
        if bias is not None:
            results += bias
        tiles[image, row, :, column] = results.permute(2, 3, 0, 4, 1, 5)
    if (height, width) == result.shape[2:]:
        return result
    return result[..., :height, :width].contiguous(memory_format=torch.channels_last)


class _Convolution(torch.autograd.Function):
    """``convolve`` with weights that do not learn."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: "Conv3x3") -> Tensor:
        ctx.layer = layer
        return convolve(x, layer.transformed(), layer.bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return convolve(gradient, ctx.layer.transformed(backwards=True)), None


class Conv3x3(nn.Conv2d):
    """A convolution 3x3 of stride 1 that keeps the size: as ``nn.Conv2d``, and faster where Winograd's way is.

    That is with weights that do not learn, in float32 or float64 on a CPU, channels_last, with many channels. The
    transformed weights are kept: four times the memory of the weights, and again where gradients pass through.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self._kept: dict[bool, tuple[object, Tensor]] = {}

    def _pays(self, x: Tensor) -> bool:
        if (
            x.device.type != "cpu"
            or x.dtype not in (torch.float32, torch.float64)
            or self.weight.requires_grad
            or self.in_channels * self.out_channels < _LEAST_CHANNELS
            or not x.is_contiguous(memory_format=torch.channels_last)
            or torch.is_autocast_enabled("cpu")
            or torch.compiler.is_compiling()
            or torch.jit.is_tracing()
        ):
            return False
        images, _, height, width = x.shape
        tiles = images * -(-height // _RESULT) * -(-width // _RESULT)
        return tiles >= _LEAST_TILES and images * height * width >= _LEAST_INSIDE * tiles * _RESULT**2

    def transformed(self, *, backwards: bool = False) -> Tensor:
        """What ``convolve`` multiplies with, for the output or (``backwards``) for the gradient of the input."""
        weight = self.weight
        state = (weight.data_ptr(), 0 if weight.is_inference() else weight._version, weight.dtype)
        if backwards not in self._kept or self._kept[backwards][0] != state:
            used = weight.flip(2, 3).transpose(0, 1) if backwards else weight
            self._kept[backwards] = state, transform(used)
        return self._kept[backwards][1]

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        if not self._pays(x):
            return super().forward(x)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return convolve(x, self.transformed(), self.bias)
        result = _Convolution.apply(x, self)
        assert isinstance(result, Tensor)
        return result
