"""Bicubic resizing as the super-resolution literature defines it: MATLAB's ``imresize(…, 'bicubic')``.

Keys' cubic with a = -0.5 (Keys 1981), widened by the scale when shrinking, replicated border, rows first
and rounded to uint8, then columns and rounded to uint8. The published LR files of Set5 and Set14 come out
without one differing byte. Pillow's, OpenCV's and torch's bicubic differ at the border, by rounding, or by
another ``a``; none of them reproduces the published numbers.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' piecewise cubic, a = -0.5, support [-2, 2]."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0.0))


@functools.lru_cache(maxsize=64)
def taps(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Source positions (after, taps) and their weights, which sum to 1, for one axis."""
    ratio = after / before
    width = min(ratio, 1.0)  # below 1 the kernel is widened: antialiasing
    centre = (np.arange(after) + 0.5) / ratio - 0.5
    reach = 2.0 / width
    first = np.floor(centre - reach).astype(np.intp) + 1
    positions = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 1)[None, :]
    weights = _cubic((centre[:, None] - positions) * width)
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0, axis=0)
    positions, weights = np.clip(positions[:, used], 0, before - 1), weights[:, used]
    positions.setflags(write=False)
    weights.setflags(write=False)
    return positions, weights


def weighted_rows(pixels: Pixels, positions: NDArray[np.intp], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (n, …), each the sum of ``pixels[positions[i]]`` times ``weights[i]``; not rounded."""
    total = np.zeros((len(positions), *pixels.shape[1:]), dtype=np.float64)
    shape = (len(positions), *([1] * (pixels.ndim - 1)))
    for tap in range(positions.shape[1]):
        total += pixels[positions[:, tap]] * weights[:, tap].reshape(shape)
    return total


def rounded(total: NDArray[np.float64], dtype: np.dtype[Any]) -> Pixels:
    """``total`` as a file of that ``dtype`` holds it: clipped to its range, and rounded if it is uint8 or uint16."""
    if np.issubdtype(dtype, np.floating):
        return np.clip(total, 0, 1).astype(dtype)
    # MATLAB rounds halves away from zero; negative sums clip to 0 either way.
    return np.clip(np.floor(total + 0.5), 0, np.iinfo(dtype).max).astype(dtype)


def _along_rows(pixels: Pixels, after: int) -> Pixels:
    """Resize the first axis of (H, …) to ``after``."""
    if after == pixels.shape[0]:
        return pixels
    return rounded(weighted_rows(pixels, *taps(pixels.shape[0], after)), pixels.dtype)


def along_columns(pixels: Pixels, after: int) -> Pixels:
    """Resize the second axis of (H, W[, C]) to ``after``, rounded to its dtype."""
    return np.ascontiguousarray(_along_rows(np.ascontiguousarray(pixels.swapaxes(0, 1)), after).swapaxes(0, 1))


def resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return ``pixels`` (H, W) or (H, W, C) uint8 resized to (height, width[, C]) uint8.

    Raises:
        ValueError: not uint8, not two- or three-dimensional, or a side below 1.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ValueError(f"pixels must be uint8 (H, W) or (H, W, C), not {pixels.dtype} {pixels.shape}")
    if min(height, width, *pixels.shape[:2]) < 1:
        raise ValueError(f"sides must be at least 1: {pixels.shape[:2]} to {(height, width)}")
    return along_columns(_along_rows(pixels, height), width)


def crop_to_multiple(pixels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Return (H, W[, C]) cut at the bottom and right to multiples of ``scale``: as LR images are made from."""
    height, width = pixels.shape[:2]
    return pixels[: height - height % scale, : width - width % scale]


def shrink(hr: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Return the LR image of ``hr`` (H, W[, C]): cropped to a multiple of ``scale``, then 1/scale the size.

    Raises:
        ValueError: a side of ``hr`` is below ``scale``.
    """
    hr = crop_to_multiple(hr, scale)
    return resize(hr, hr.shape[0] // scale, hr.shape[1] // scale)


def enlarge(lr: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Return ``lr`` (h, w[, C]) at ``scale`` times the size: the baseline that every table names ``bicubic``."""
    return resize(lr, lr.shape[0] * scale, lr.shape[1] * scale)
