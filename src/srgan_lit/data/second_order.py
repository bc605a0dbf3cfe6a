"""Degradations of the second order: what pictures go through that were edited, resized and saved several times.

The steps and their ranges are those of Real-ESRGAN (Wang et al. 2021, section 3, and the settings of its code): blur of
six kinds or a sinc filter, resize up or down, Gaussian or Poisson noise, JPEG, all twice, and a sinc filter at the end.
Their order is shuffled for half of the pictures, as in BSRGAN (Zhang et al. 2021, section 3.4). ``mild`` is what
happens to most photographs instead: saved once or twice well, or cleaned and sharpened by a phone.

Images here are float32 tensors (3, H, W) in [0, 1]. What is drawn depends on the ``rng`` alone.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from srgan_lit.data.degradations import Part, with_surroundings

Range = tuple[float, float]
Step = Callable[[Tensor], Tensor]
Kind = TypeVar("Kind")
MARGIN = 8  # LR pixels around a part that are degraded with it: blurs reach further, and weigh little there


@dataclass(frozen=True, kw_only=True)
class Order:
    """One time through the steps.

    Args:
        blurred: share of pictures that are blurred.
        sigma: standard deviations of the blur, in pixels.
        resized: sides after resizing, as a share of those that it starts from.
        larger, smaller: share of pictures that are enlarged and shrunk; the others keep their size.
        noise: standard deviation of Gaussian noise, of 255.
        shot: scale of Poisson noise: 1 is that of 255 photons at white.
        quality: of the JPEG.
    """

    blurred: float
    sigma: Range
    resized: Range
    larger: float
    smaller: float
    noise: Range
    shot: Range
    quality: tuple[int, int]


FIRST = Order(
    blurred=1.0, sigma=(0.2, 3.0), resized=(0.15, 1.5), larger=0.2, smaller=0.7,
    noise=(1, 30), shot=(0.05, 3.0), quality=(30, 95),
)  # fmt: skip
SECOND = Order(
    blurred=0.8, sigma=(0.2, 1.5), resized=(0.3, 1.2), larger=0.3, smaller=0.4,
    noise=(1, 25), shot=(0.05, 2.5), quality=(30, 95),
)  # fmt: skip
SHUFFLED = 0.5  # share of pictures whose steps come in any order
SINC, LAST_SINC = 0.1, 0.8  # share of blurs that are a sinc filter; of pictures that end with one
GREY_NOISE = 0.4
SUBSAMPLED = 0.8  # share of JPEGs that keep a quarter of the colours (4:2:0)
# Kinds of blur and their shares: a Gaussian, exp(-q^b / 2) and the plateau 1 / (1 + q^b), of one width or of two.
KERNELS = {
    ("gaussian", False): 0.45, ("gaussian", True): 0.25, ("generalised", False): 0.12, ("generalised", True): 0.03,
    ("plateau", False): 0.12, ("plateau", True): 0.03,
}  # fmt: skip
GENERALISED, PLATEAU = (0.5, 4.0), (1.0, 2.0)  # the exponent b

MIXED = {"second_order": 0.6, "mild": 0.3, "clean": 0.1}
MILD = {"jpeg": 0.4, "webp": 0.15, "jpeg_twice": 0.25, "phone": 0.2}
SOFT = 0.5  # share of mild pictures that were a little blurred before they were shrunk
SOFT_SIGMA = (0.3, 1.6)  # HR pixels
MILD_QUALITY, WEBP_QUALITY = (60, 95), (50, 95)
GRID_PX = 8  # JPEG's blocks
# Of a phone: noise of the sensor, of 255; the strength of its removal, as a multiple of that; unsharp masking.
SENSOR, CLEANED, SHARPENED, SHARP_SIGMA = (1.0, 8.0), (0.5, 2.5), (0.3, 1.5), (0.6, 1.5)


def second_order(part: Part, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The LR (height, width, 3) of a part of a picture, degraded twice."""
    image, above, before, (rows, columns) = _surroundings(part)
    # What the first order makes of its size is a share of the HR's, the second's of the LR's; the last step is to LR.
    steps: list[Step] = [
        lambda x: _blurred(x, FIRST, rng),
        lambda x: _resized(x, FIRST, rng, image.shape[1], image.shape[2]),
        lambda x: _noisy(x, FIRST, rng),
        lambda x: _jpeg(x, rng, FIRST.quality),
    ]
    again: list[Step] = [
        lambda x: _blurred(x, SECOND, rng) if rng.random() < SECOND.blurred else x,
        lambda x: _resized(x, SECOND, rng, rows, columns),
        lambda x: _noisy(x, SECOND, rng),
    ]

    def ends(x: Tensor) -> Tensor:
        x = _to_size(x, rows, columns, rng)
        return _filtered(x, sinc_kernel(rng)) if rng.random() < LAST_SINC else x

    ending: list[Step] = [ends, lambda x: _jpeg(x, rng, SECOND.quality)]
    if rng.random() < SHUFFLED:
        steps, again = (_shuffled(each, rng) for each in (steps, again))
    x = image
    for step in (*steps, *again, *_shuffled(ending, rng)):
        x = step(x).clamp(0, 1)
    return _pixels(x)[above : above + part.box[2], before : before + part.box[3]]


def mild(part: Part, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The LR (height, width, 3) of a part of a picture, as photographs are kept and sent."""
    image, above, before, (rows, columns) = _surroundings(part)
    if rng.random() < SOFT:
        image = _filtered(image, gaussian_kernel(rng.uniform(*SOFT_SIGMA))).clamp(0, 1)
    x = F.interpolate(image[None], size=(rows, columns), mode="bicubic", antialias=True)[0].clamp(0, 1)
    kind = _drawn(MILD, rng)
    if kind == "webp":
        x = _saved(x, format="WEBP", quality=int(rng.integers(*WEBP_QUALITY, endpoint=True)), method=1)
    elif kind == "jpeg_twice":  # cut in between, so that the second grid of blocks is another
        down, right = (int(side) for side in rng.integers(GRID_PX, size=2))
        once = _jpeg(F.pad(x[None], (right, 0, down, 0), mode="replicate")[0], rng, MILD_QUALITY)
        x = _jpeg(once[:, down:, right:], rng, MILD_QUALITY)
    else:
        x = _jpeg(_as_a_phone(x, rng) if kind == "phone" else x, rng, MILD_QUALITY)
    return _pixels(x)[above : above + part.box[2], before : before + part.box[3]]


def mixed(part: Part, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mostly ``second_order``, often ``mild``, sometimes bicubic alone, so that clean pictures are learnt too."""
    kind = _drawn(MIXED, rng)
    return part.lr if kind == "clean" else (second_order if kind == "second_order" else mild)(part, rng)


# ---------------------------------------------------------------------- kernels


def blur_kernel(order: Order, rng: np.random.Generator) -> Tensor:
    """A kernel (k, k), k odd from 7 to 21, that sums to 1: one of ``KERNELS``, or a sinc filter."""
    if rng.random() < SINC:
        return sinc_kernel(rng)
    side = 2 * int(rng.integers(3, 11)) + 1
    form, elongated = _drawn(KERNELS, rng)
    sigmas = rng.uniform(*order.sigma, size=2) if elongated else np.full(2, rng.uniform(*order.sigma))
    angle = rng.uniform(-math.pi, math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    precision = turn @ np.diag(1 / sigmas**2) @ turn.T
    at = np.arange(side) - side // 2
    grid = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1)
    q = np.einsum("...i,ij,...j", grid, precision, grid)
    if form == "plateau":
        kernel = 1 / (1 + q ** _exponent(PLATEAU, rng))
    else:
        kernel = np.exp(-0.5 * q ** (_exponent(GENERALISED, rng) if form == "generalised" else 1))
    return torch.from_numpy(kernel / kernel.sum()).float()


def _exponent(bounds: Range, rng: np.random.Generator) -> float:
    """Below 1 as often as above, where both are allowed."""
    low, high = bounds
    return float(rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high))


def gaussian_kernel(sigma: float) -> Tensor:
    """A Gaussian (k, k) of ``sigma`` pixels that sums to 1."""
    at = torch.arange(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1, dtype=torch.float64)
    line = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = torch.outer(line, line)
    return (kernel / kernel.sum()).float()


def sinc_kernel(rng: np.random.Generator) -> Tensor:
    """A circular low pass (k, k), k odd from 7 to 21, that sums to 1: it rings at edges."""
    side = 2 * int(rng.integers(3, 11)) + 1
    cutoff = rng.uniform(math.pi / (3 if side < 13 else 5), math.pi)
    at = torch.arange(side, dtype=torch.float64) - side // 2
    distance = torch.sqrt(at[:, None] ** 2 + at[None, :] ** 2)
    kernel = cutoff * torch.special.bessel_j1(cutoff * distance) / (2 * math.pi * distance)
    kernel[side // 2, side // 2] = cutoff**2 / (4 * math.pi)
    return (kernel / kernel.sum()).float()


# ---------------------------------------------------------------------- steps


def _blurred(x: Tensor, order: Order, rng: np.random.Generator) -> Tensor:
    return _filtered(x, blur_kernel(order, rng))


def _filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolved with a kernel that is its own mirror image, the border replicated, by Fourier transform."""
    reach = kernel.shape[-1] // 2
    padded = F.pad(x[None], (reach,) * 4, mode="replicate")[0]
    # Sides with small factors only; what wraps round falls on what is cut off.
    size = [_easy(side) for side in padded.shape[-2:]]
    product = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernel, s=size)
    return torch.fft.irfft2(product, s=size)[:, 2 * reach : padded.shape[-2], 2 * reach : padded.shape[-1]]


def _easy(side: int) -> int:
    """The next number that has no prime factor above 5."""
    while True:
        rest = side
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return side
        side += 1


def _resized(x: Tensor, order: Order, rng: np.random.Generator, rows: int, columns: int) -> Tensor:
    """To a share of ``rows`` and ``columns``, which ``order`` says."""
    chance, (low, high) = rng.random(), order.resized
    smaller = order.larger <= chance < order.larger + order.smaller
    share = rng.uniform(1, high) if chance < order.larger else rng.uniform(low, 1) if smaller else 1.0
    return _to_size(x, max(4, round(rows * share)), max(4, round(columns * share)), rng)


def _to_size(x: Tensor, rows: int, columns: int, rng: np.random.Generator) -> Tensor:
    """By one of three ways of averaging. As in Real-ESRGAN the last two look at four and sixteen pixels, never more."""
    mode = ("area", "bilinear", "bicubic")[int(rng.integers(3))]
    if (rows, columns) == tuple(x.shape[-2:]):
        return x
    return F.interpolate(x[None], size=(rows, columns), mode=mode)[0]


def _noisy(x: Tensor, order: Order, rng: np.random.Generator) -> Tensor:
    """With Gaussian or Poisson noise, of each channel or of all three together."""
    grey, shape = rng.random() < GREY_NOISE, tuple(x.shape)
    if rng.random() < 0.5:
        sigma = rng.uniform(*order.noise) / 255
        noise = sigma * rng.standard_normal((1, *shape[1:]) if grey else shape, dtype=np.float32)
        return x + torch.from_numpy(noise.astype(np.float32, copy=False))
    photons = 255 * (x.mean(dim=0, keepdim=True) if grey else x).clamp(0, 1).numpy()
    noise = (rng.poisson(photons) - photons) * (rng.uniform(*order.shot) / 255)
    return x + torch.from_numpy(noise.astype(np.float32, copy=False))


def _jpeg(x: Tensor, rng: np.random.Generator, quality: tuple[int, int]) -> Tensor:
    chosen, subsampled = int(rng.integers(*quality, endpoint=True)), rng.random() < SUBSAMPLED
    return _saved(x, format="JPEG", quality=chosen, subsampling="4:2:0" if subsampled else "4:4:4")


def _saved(x: Tensor, *, format: str, **options: int | str) -> Tensor:
    """As it comes back from a file."""
    with io.BytesIO() as file:
        Image.fromarray(_pixels(x)).save(file, format=format, **options)
        return _image(np.asarray(Image.open(file).convert("RGB")))


def _as_a_phone(x: Tensor, rng: np.random.Generator) -> Tensor:
    """A sensor's noise, its removal by a guided filter (He et al. 2013), and unsharp masking."""
    sigma = rng.uniform(*SENSOR) / 255
    x = x + sigma * torch.from_numpy(rng.standard_normal(tuple(x.shape), dtype=np.float32))
    variance, side = (sigma * rng.uniform(*CLEANED)) ** 2, 2 * int(rng.integers(1, 4)) + 1

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(values[None], (side // 2,) * 4, mode="replicate"), side, stride=1)[0]

    local = mean(x)
    spread = (mean(x * x) - local * local).clamp(min=0)
    gain = spread / (spread + variance)
    x = mean(gain) * x + mean(local - gain * local)
    detail = x - _filtered(x, gaussian_kernel(rng.uniform(*SHARP_SIGMA)))
    return (x + rng.uniform(*SHARPENED) * detail).clamp(0, 1)


# ---------------------------------------------------------------------- pixels


def _surroundings(part: Part) -> tuple[Tensor, int, int, tuple[int, int]]:
    """The part's HR with what is around it; how many LR pixels of that are above and before it; its LR sides."""
    pixels, above, before = with_surroundings(part, MARGIN)
    return _image(pixels), above, before, (pixels.shape[0] // part.scale, pixels.shape[1] // part.scale)


def _image(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)) / 255


def _pixels(x: Tensor) -> NDArray[np.uint8]:
    """(H, W, 3)."""
    return x.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _drawn(shares: dict[Kind, float], rng: np.random.Generator) -> Kind:
    """One of the keys, as often as its share says."""
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]


def _shuffled(steps: list[Step], rng: np.random.Generator) -> list[Step]:
    return [steps[at] for at in rng.permutation(len(steps))]
