"""What happens to real photographs besides bicubic shrinking: blur, resize, noise and JPEG, in this order.

The order, the kinds and their ranges are those of the first-order model of Real-ESRGAN (Wang et al. 2021,
"Training Real-World Blind Super-Resolution with Pure Synthetic Data", section 3.1 and table 2 of its code's
settings), which is the classical y = JPEG((x * k)↓ + n). ``everyday`` is milder: each step happens to some pictures
only, so that clean ones are learnt too, and some are saved twice, as in the second-order model there. The second-order
model itself is in ``second_order``. What is named by its numbers is fixed, to score with. Each kind is a row of
``DEGRADATIONS``. No torch until one of ``second_order`` is asked for.
"""

import functools
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan_lit.common.errors import UsageError
from srgan_lit.config.nearest_name import nearest
from srgan_lit.pictures import bicubic
from srgan_lit.pictures.rgb8 import Pair

BLUR_SIGMA = (0.2, 3.0)  # HR pixels
NOISE_SIGMA = (1.0, 30.0)  # of 255
SHOT_SCALE = (0.05, 3.0)  # of Poisson noise: 1 is that of 255 photons at white
GREY_NOISE = 0.4  # probability that the three channels share the noise
JPEG_QUALITY = (30, 95)
_REACH_PX = 10  # of the blur kernel on each side: 21x21

# Of ``everyday``: how many pictures a step happens to, and how strong it is.
BLURRED, NOISY, COMPRESSED, TWICE = 0.6, 0.4, 0.85, 0.25
EVERYDAY_NOISE = 0.5  # of the ranges above
EVERYDAY_QUALITY = (20, 95)  # of the JPEG
TWICE_RESIZE = (0.7, 1.3)  # between the first JPEG and the second, of the LR's sides
_MCU_PX = 16  # JPEG's largest unit

# Of those with a number in their name, all of the bicubic LR.
FIXED_BLUR, FIXED_NOISE, FIXED_QUALITIES = 0.8, 8.0, (30, 60, 85)  # standard deviations: LR pixels; of 255


@dataclass(frozen=True, kw_only=True)
class Part:
    """The part of a picture that is degraded.

    Attributes:
        hr: the whole picture (H, W, 3) uint8: what surrounds the part is blurred into it.
        box: top, left, height, width of the part, in LR pixels.
        lr: its bicubic LR (height, width, 3) uint8.
        scale: of LR.
    """

    hr: NDArray[np.uint8]
    box: tuple[int, int, int, int]
    lr: NDArray[np.uint8]
    scale: int


Degradation = Callable[[Part, np.random.Generator], NDArray[np.uint8]]


def degraded(part: Part, *, kind: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The LR (height, width, 3) uint8 of a part, as ``kind`` makes it; what is drawn depends on ``rng`` alone.

    Raises:
        UsageError: as ``check``.
    """
    check(kind)
    return DEGRADATIONS[kind](part, rng)


def degraded_pair(pair: Pair, *, file: str, kind: str, scale: int) -> Pair:
    """A whole picture whose LR is as ``kind`` makes it: the same in every run for the ``file``'s name in its folder.

    Raises:
        UsageError: as ``check``.
    """
    seed = hashlib.sha256(file.encode("utf-8", "surrogateescape")).digest()
    part = Part(hr=pair.hr, box=(0, 0, *pair.lr.shape[:2]), lr=pair.lr, scale=scale)
    return Pair(
        name=pair.name,
        lr=degraded(part, kind=kind, rng=np.random.default_rng(list(seed))),
        hr=pair.hr,
        grey=pair.grey,
    )


def check(kind: str, option: str = "data.degradation=") -> None:
    """Refuse a degradation that is not in the table; ``option`` is how the user asked for it.

    Raises:
        UsageError: names those that are.
    """
    if kind not in DEGRADATIONS:
        raise UsageError(f"{option}{kind}: may be {', '.join(DEGRADATIONS)}.{nearest(kind, DEGRADATIONS)}")


def _shrunk(part: Part, rng: np.random.Generator, *, any_resize: bool) -> NDArray[np.uint8]:
    """Blur and resize the part with what surrounds it, so that the cut does not show at its border."""
    pixels, above, before = with_surroundings(part, _reach(part.scale))
    small = _resized(blurred(pixels, blur_kernel(rng)), part.scale, int(rng.integers(3)) if any_resize else 0)
    return small[above : above + part.box[2], before : before + part.box[3]]


def _everyday(part: Part, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, resize, noise and JPEG, each to some pictures only; some are resized and saved once more."""
    pixels, above, before = with_surroundings(part, _reach(part.scale) + _MCU_PX)
    if rng.random() < BLURRED:
        pixels = blurred(pixels, blur_kernel(rng))
    small = _resized(pixels, part.scale, int(rng.integers(3)))
    if rng.random() < NOISY:
        small = noisy(small, rng, strength=EVERYDAY_NOISE)
    # JPEG's blocks begin anywhere in a part of a picture, and at the edge of a whole one.
    down, right = (int(rng.integers(min(_MCU_PX, room + 1))) for room in (above, before))
    small = small[down:, right:]
    if rng.random() < COMPRESSED:
        small = _compressed_anyhow(small, rng, EVERYDAY_QUALITY)
    if rng.random() < TWICE:
        rows, columns = small.shape[:2]
        other = [max(8, round(side * rng.uniform(*TWICE_RESIZE))) for side in (columns, rows)]
        again = np.asarray(Image.fromarray(small).resize(other, Image.Resampling.BICUBIC))
        again = _compressed_anyhow(again, rng, EVERYDAY_QUALITY)
        small = np.asarray(Image.fromarray(again).resize((columns, rows), Image.Resampling.BICUBIC))
    top, left = above - down, before - right
    return small[top : top + part.box[2], left : left + part.box[3]]


def _reach(scale: int) -> int:
    """LR pixels around a part that blur and resizing look at."""
    return -(-_REACH_PX // scale) + 2


def with_surroundings(part: Part, margin: int) -> tuple[NDArray[np.uint8], int, int]:
    """The part's HR with up to ``margin`` LR pixels on each side; how many those are above and before it."""
    (top, left, height, width), scale = part.box, part.scale
    above, before = min(margin, top), min(margin, left)
    rows = slice((top - above) * scale, (top + height + margin) * scale)
    columns = slice((left - before) * scale, (left + width + margin) * scale)
    return part.hr[rows, columns], above, before


def _resized(pixels: NDArray[np.uint8], scale: int, how: int) -> NDArray[np.uint8]:
    """(H, W, 3) shrunk: 0 bicubic, 1 bilinear, 2 mean of each square."""
    rows, columns = pixels.shape[0] // scale, pixels.shape[1] // scale
    if how == 0:
        return bicubic.resize(pixels, rows, columns)
    filtering = Image.Resampling.BILINEAR if how == 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((columns, rows), filtering))


def blur_kernel(rng: np.random.Generator) -> NDArray[np.float64]:
    """A Gaussian (21, 21) that sums to 1: two standard deviations from ``BLUR_SIGMA``, any angle."""
    sigmas = rng.uniform(*BLUR_SIGMA, size=2)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    precision = turn @ np.diag(1 / sigmas**2) @ turn.T
    at = np.arange(-_REACH_PX, _REACH_PX + 1)
    grid = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1)
    kernel = np.exp(-0.5 * np.einsum("...i,ij,...j", grid, precision, grid))
    return kernel / kernel.sum()


def blurred(pixels: NDArray[np.uint8], kernel: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(H, W, 3) convolved with a square kernel of odd side, border replicated, by Fourier transform."""
    reach = kernel.shape[0] // 2
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    planes = np.ascontiguousarray(padded.transpose(2, 0, 1), dtype=np.float64)
    shape = planes.shape[1:]  # what wraps round falls on the first rows and columns, which are cut off
    whole = np.fft.irfft2(np.fft.rfft2(planes) * np.fft.rfft2(kernel, shape), shape)
    return _to_uint8(whole[:, 2 * reach :, 2 * reach :].transpose(1, 2, 0))


def noisy(pixels: NDArray[np.uint8], rng: np.random.Generator, strength: float = 1.0) -> NDArray[np.uint8]:
    """(H, W, 3) with Gaussian or Poisson noise, equally often; grey with probability ``GREY_NOISE``.

    ``strength`` multiplies its standard deviation, or what of the Poisson noise is added.
    """
    values = pixels.astype(np.float64)
    grey = rng.random() < GREY_NOISE
    if rng.random() < 0.5:
        sigma = rng.uniform(*NOISE_SIGMA) * strength
        noise = rng.normal(0, sigma, (*pixels.shape[:2], 1 if grey else 3))
    else:
        light = values.mean(axis=2, keepdims=True) if grey else values
        noise = (rng.poisson(light) - light) * rng.uniform(*SHOT_SCALE) * strength
    return _to_uint8(values + noise)


def compressed(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """(H, W, 3) as it comes back from a JPEG file of that quality (1 to 95)."""
    with io.BytesIO() as file:
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="JPEG", quality=quality)
        return np.asarray(Image.open(file).convert("RGB"))


def _compressed_anyhow(
    pixels: NDArray[np.uint8], rng: np.random.Generator, quality: tuple[int, int] = JPEG_QUALITY
) -> NDArray[np.uint8]:
    return compressed(pixels, int(rng.integers(quality[0], quality[1] + 1)))


def _to_uint8(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _saved(part: Part, rng: np.random.Generator, *, quality: int) -> NDArray[np.uint8]:
    return compressed(part.lr, quality)


def _by_torch(name: str) -> Degradation:
    """A function of ``second_order``, which is imported when it is first called."""

    def degrade(part: Part, rng: np.random.Generator) -> NDArray[np.uint8]:
        from srgan_lit.data import second_order

        made: NDArray[np.uint8] = getattr(second_order, name)(part, rng)
        return made

    return degrade


def _blurred_jpeg(part: Part, rng: np.random.Generator) -> NDArray[np.uint8]:
    at = np.arange(-_REACH_PX, _REACH_PX + 1)
    line = np.exp(-0.5 * (at / FIXED_BLUR) ** 2)
    return compressed(blurred(part.lr, np.outer(line, line) / line.sum() ** 2), 50)


def _noisy_jpeg(part: Part, rng: np.random.Generator) -> NDArray[np.uint8]:
    return compressed(_to_uint8(part.lr + rng.normal(0, FIXED_NOISE, part.lr.shape)), 70)


# By the name in ``data.degradation``.
DEGRADATIONS: dict[str, Degradation] = {
    "bicubic": lambda part, rng: part.lr,
    "jpeg": lambda part, rng: _compressed_anyhow(part.lr, rng),
    "blur_noise": lambda part, rng: noisy(_shrunk(part, rng, any_resize=False), rng),
    "real": lambda part, rng: _compressed_anyhow(noisy(_shrunk(part, rng, any_resize=True), rng), rng),
    "everyday": _everyday,
    **{name: _by_torch(name) for name in ("second_order", "mild", "mixed")},
    "blur_jpeg50": _blurred_jpeg,
    "noise_jpeg70": _noisy_jpeg,
    **{f"jpeg{quality}": functools.partial(_saved, quality=quality) for quality in FIXED_QUALITIES},
}
