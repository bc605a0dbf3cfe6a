"""Enlarging pictures of any size with a generator: arrays in, arrays out, floating point only tile by tile.

Images here are (H, W, C) arrays of uint8, uint16 or float32 in [0, 1], C being 1 (grey), 2 (grey, alpha),
3 (RGB) or 4 (RGB, alpha). No files; ``pictures.full_files`` has those.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.model_files import box
from srgan_lit.model_files.generator_file import Own, Ranged
from srgan_lit.networks import architectures
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures import bicubic_bands, bicubic_tensors, full_files
from srgan_lit.pictures import pil_arrays as pixels_
from srgan_lit.upscaling import model_choice, named_models, tiling
from srgan_lit.upscaling.fast_generator import accelerate
from srgan_lit.upscaling.target_sizes import TargetSize

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_PRECISIONS_ALSO = {"fp32": "float32", "float": "float32", "bf16": "bfloat16", "fp16": "float16", "half": "float16"}
Pixels = NDArray[Any]
AnyImage = TypeVar("AnyImage", Image.Image, NDArray[Any], Tensor)

_SMALLEST_TILE = 16
_OVERSHOOT = 0.25  # allowed below 0 and above 1 in a floating-point image
_CPU_BUDGET = 600 * 2**20  # bytes for one tile's tensors; more is not faster


def pick_device(name: str) -> torch.device:
    """The device called ``name``: cpu, cuda, cuda:1, mps, or auto for the best that this machine has.

    Raises:
        UsageError: the machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.split(":")[0]
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(kind, False):
        present = ", ".join(device for device, there in available.items() if there)
        raise UsageError(f"device {name}: not on this machine, which has {present}")
    return torch.device(name)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    import psutil

    return int(psutil.virtual_memory().available)


class Enlarger:
    """A generator made ready for inference; one instance enlarges many pictures.

    Args:
        generator: from ``load_generator``, or ``bicubic_tensors.Bicubic()``. It is copied, not changed.
        device: where to compute.
        precision: of weights and activations: float32 (also fp32), bfloat16 (bf16) or float16 (fp16, half).
        match_input: correct the result (iterated back-projection, Irani and Peleg 1991) so that, shrunk by
            bicubic, it gives back the input: colours cannot drift.
        self_ensemble: the mean over the eight flips and rotations (Timofte et al. 2016): eight times the work.

    Raises:
        UsageError: another precision.
    """

    def __init__(
        self,
        generator: Generator | Ranged | bicubic_tensors.Bicubic,
        *,
        device: torch.device | str = "cpu",
        precision: str = "float32",
        match_input: bool = False,
        self_ensemble: bool = False,
    ) -> None:
        precision = _PRECISIONS_ALSO.get(precision, precision)
        if precision not in PRECISIONS:
            raise UsageError(f"precision {precision!r}: take one of {', '.join([*PRECISIONS, *_PRECISIONS_ALSO])}")
        self.device, self.dtype = torch.device(device), PRECISIONS[precision]
        self.scale = generator.scale
        self.match_input, self.self_ensemble = match_input, self_ensemble
        self.rounds_itself = isinstance(generator, bicubic_tensors.Bicubic)
        if isinstance(generator, bicubic_tensors.Bicubic):
            self.dtype = torch.float32  # its sums are exact in float32, and it costs nothing
            network: nn.Module = nn.Identity()  # see _run
            features = 16
        else:
            network = accelerate(generator, dtype=self.dtype)
            inner = generator.generator if isinstance(generator, Ranged) else generator
            said = getattr(inner, "features", None)
            features = said if isinstance(said, int) else 64  # a user's own network may say nothing, or something else
        self.network = network.to(self.device)
        radius = generator.receptive_radius + 3  # 3: the colours under a transparent edge
        if match_input:
            radius += bicubic_tensors.MATCH_REACH
        self.halo = int(-(-radius // 1))
        # Tensors of the trunk, and the result with its copies for ensemble and projection.
        self.bytes_per_pixel = 4 * (5 * features + (9 if match_input or self_ensemble else 4) * 3 * self.scale**2)

    def tile(self, choice: str | int, height: int, width: int) -> int:
        """Tile side in input pixels: ``choice`` itself; for 0 the longest side; for ``auto`` by free memory."""
        longest = max(height, width)
        if choice != "auto":
            return min(int(choice), longest) or longest
        budget = _free_bytes(self.device) // 3
        if self.device.type == "cpu":
            budget = min(budget, _CPU_BUDGET)
        side = int((budget / self.bytes_per_pixel) ** 0.5) - 2 * self.halo
        return min(max(side, 4 * _SMALLEST_TILE), longest)

    def _run(self, lr: Tensor, levels: int) -> Tensor:
        """(1, 3, h, w) in [0, 1] to (1, 3, scale*h, scale*w), float32, clamped to [0, 1]."""
        lr = lr.contiguous(memory_format=torch.channels_last)

        def once(lr: Tensor) -> Tensor:
            if self.rounds_itself:
                return bicubic_tensors.enlarge(lr, self.scale, levels=levels if levels > 1 else None)
            sr = self.network(lr.to(self.dtype))
            assert isinstance(sr, Tensor)
            return sr.float()

        if self.self_ensemble:
            sr = torch.zeros((), device=lr.device)
            for turns in range(4):
                for flip in (False, True):
                    turned = torch.rot90(lr.flip(-1) if flip else lr, turns, (-2, -1))
                    back = torch.rot90(once(turned.contiguous(memory_format=torch.channels_last)), -turns, (-2, -1))
                    sr = sr + (back.flip(-1) if flip else back) / 8
        else:
            sr = once(lr)
        sr = sr.clamp(0, 1)
        if self.match_input:
            sr = bicubic_tensors.match_input(sr, lr, self.scale, levels=levels if levels > 1 else None)
        return sr

    def _grey(self, plane: Tensor, levels: int) -> Tensor:
        """(1, 1, h, w) to (1, 1, scale*h, scale*w): as a picture with three equal channels."""
        return self._run(plane.expand(-1, 3, -1, -1), levels).mean(dim=1, keepdim=True)

    def _alpha(self, alpha: Tensor, levels: int) -> Tensor:
        """As ``_grey``, and no pixel leaves the range of the 3x3 around it: what is opaque stays opaque."""
        low, high = -F.max_pool2d(-alpha, 3, 1, 1), F.max_pool2d(alpha, 3, 1, 1)
        low, high = (plane.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3) for plane in (low, high))
        if torch.equal(low, high):
            return low
        return torch.minimum(torch.maximum(self._grey(alpha, levels), low), high)

    @torch.inference_mode()
    def window(self, pixels: Pixels) -> Pixels:
        """Enlarge a (h, w, C) array at once; the result has its dtype."""
        levels = pixels_.levels(pixels)
        planes = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)).to(self.device)
        planes = planes.permute(2, 0, 1)[None] / levels  # (1, C, h, w)
        channels = planes.shape[1]
        colour = planes[:, : channels - (channels % 2 == 0)]
        parts = []
        if channels % 2 == 0:
            alpha = planes[:, -1:]
            colour = _colour_beneath(colour, alpha)
            parts.append(self._alpha(alpha, levels))
        parts.insert(0, self._run(colour, levels) if colour.shape[1] == 3 else self._grey(colour, levels))
        result = torch.cat(parts, dim=1)[0].permute(1, 2, 0)
        if levels == 1:
            return result.cpu().numpy().astype(pixels.dtype)
        result = result.mul(levels).round_().to(torch.uint8 if levels == 255 else torch.int32)
        return result.cpu().numpy().astype(pixels.dtype, copy=False)


def _colour_beneath(colour: Tensor, alpha: Tensor) -> Tensor:
    """Colour (1, C, h, w), where wholly transparent, replaced by that of what is visible within 3 pixels.

    Files hold any colour (mostly black) where nothing shows; it would bleed into the edge.
    """
    hidden = alpha == 0
    if not hidden.any():
        return colour
    weight = F.avg_pool2d(alpha, 7, 1, 3)
    nearby = F.avg_pool2d(colour * alpha, 7, 1, 3) / weight.clamp(min=1e-6)
    return torch.where(hidden & (weight > 1e-6), nearby, colour)


def bands(
    pixels: Pixels,
    enlarger: Enlarger,
    *,
    size: tuple[int, int] | None = None,
    tile: str | int = "auto",
    on_progress: Callable[[int], object] | None = None,
) -> Iterator[Pixels]:
    """Yield the enlarged picture from top to bottom, in bands (rows, width, C) with the dtype of ``pixels``.

    Memory is that of one band and one tile, whatever the picture's size.

    Args:
        pixels: (H, W, C); see above.
        enlarger: what enlarges.
        size: height and width of the result, None for ``scale`` times the picture's. A smaller one is made of that by
            exact bicubic reduction; one that is no larger than the picture, of the picture itself.
        tile: side in input pixels; 0 is the whole picture at once; ``auto`` goes by free memory and halves
            the side whenever memory runs out.
        on_progress: called with the number of input pixels done, after each tile.

    Raises:
        SRGANError: memory ran out, with a given tile or with the smallest.
    """
    height, width, channels = pixels.shape
    whole = height * enlarger.scale, width * enlarger.scale
    if size is not None and size[0] <= height and size[1] <= width:
        yield from bicubic_bands.resize([pixels], (height, width), size)
        if on_progress:
            on_progress(height * width)
        return
    if channels > 2 and _is_grey(pixels):  # colours would be made up
        grey = pixels[..., [0, *range(3, channels)]]
        for band in bands(grey, enlarger, size=size, tile=tile, on_progress=on_progress):
            yield band[..., [0, 0, 0, *range(1, band.shape[2])]]
        return
    yield from bicubic_bands.resize(_bands(pixels, enlarger, tile, on_progress), whole, size or whole)


def _is_grey(pixels: Pixels) -> bool:
    """Whether the red, green and blue of every pixel are the same."""
    some = (pixels[top : top + 256] for top in range(0, len(pixels), 256))
    return all((rows[..., 1:3] == rows[..., :1]).all() for rows in some)


def _bands(
    pixels: Pixels, enlarger: Enlarger, tile: str | int, on_progress: Callable[[int], object] | None
) -> Iterator[Pixels]:
    height, width, channels = pixels.shape
    scale, side, top = enlarger.scale, enlarger.tile(tile, height, width), 0
    while top < height:
        try:
            for row in tiling.rows_of_windows(height, width, tile=side, halo=enlarger.halo, top=top):
                start, stop = row[0].rows
                band = np.empty(((stop - start) * scale, width * scale, channels), dtype=pixels.dtype)
                for window in row:
                    part = enlarger.window(pixels[window.read_rows, window.read_columns])
                    band[window.place(scale, top=start)] = part[window.keep(scale)]
                    if on_progress:
                        on_progress((window.columns[1] - window.columns[0]) * (stop - start))
                yield band
                top = stop
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if tile != "auto" or side <= _SMALLEST_TILE:
                raise SRGANError(f"out of memory with tiles of {side} pixels: take a smaller --tile") from error
            side = max(side // 2, _SMALLEST_TILE)
            if enlarger.device.type == "cuda":
                torch.cuda.empty_cache()


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def seconds_per_pixel(enlarger: Enlarger) -> float:
    """Seconds for one input pixel on this machine, from a trial on a small tile. Halos are not counted."""
    side = 96
    pixels = np.zeros((side, side, 3), dtype=np.uint8)
    enlarger.window(pixels)  # warm-up: the first call allocates and initialises
    started = time.perf_counter()
    enlarger.window(pixels)
    return (time.perf_counter() - started) / side**2


def enlarge(
    image: AnyImage,
    generator: nn.Module | bicubic_tensors.Bicubic | str | os.PathLike[str] | None = None,
    *,
    network: Own | None = None,
    size: TargetSize = TargetSize(),  # noqa: B008  # frozen
    fidelity: float | None = None,
    tile: str | int = "auto",
    device: str | torch.device | None = None,
    precision: str = "float32",
    match_input: bool = False,
    self_ensemble: bool = False,
) -> AnyImage:
    """Return ``image`` enlarged by ``generator``, as the same kind of object, clamped to its range.

    Args:
        image: a PIL image (grey and RGB, 8 bits or 16-bit grey, with or without alpha; palettes and CMYK
            become RGB), turned as its EXIF says; an array (H, W) or (H, W, C), C from 1 to 4; or a tensor
            (C, H, W) or (B, C, H, W). Arrays and tensors are uint8, uint16, or floating point in [0, 1]. Channels are
            grey; grey and alpha; RGB; RGB and alpha.
        generator: from ``load_generator``; or what it takes, or ``bicubic``; ``auto`` or None for ``everyday`` or
            ``srgan``, by the image, of a batch by its first. A name or a path is read from the disk each time: load it
            once for many images. A network of your own has ``scale`` and ``receptive_radius``.
        network: the class of your own that ``generator``, a path, holds; see ``load_generator``.
        size: of the result; see ``TargetSize``.
        fidelity: 0 to 1, blends the weights with those of the model's SRResNet, ``srresnet`` for ``srgan`` (1 is that).
            ``generator`` must then be a name or a path.
        tile: side of a tile in input pixels, 0 for none, or ``auto`` by free memory. It does not change
            the result.
        device: where to compute: as ``pick_device`` takes; None for that of the generator, which is the CPU for a name.
        precision: float32, bfloat16 or float16.
        match_input: see ``Enlarger``.
        self_ensemble: see ``Enlarger``.

    Returns:
        ``scale`` times as high and wide, or of ``size``; same type, dtype, device and number of channels. Of a PIL
        image also what it says beside its pixels: see ``full_files.described``.

    Raises:
        UsageError: an image of another kind, shape, dtype or range; a tile, precision or fidelity that is none.
        SRGANError: no such generator, or the result is to be larger than it makes.
    """
    if tile != "auto" and (not isinstance(tile, int) or tile < 0):
        raise UsageError(f"tile must be auto or a number of pixels from 0, not {tile!r}")
    arrays = _arrays(image)
    if generator is None or model_choice.is_auto(generator):
        generator = box.path_of(model_choice.for_pixels(arrays[0]).name)
    loaded = _loaded(generator, fidelity, network)
    weights = () if isinstance(loaded, bicubic_tensors.Bicubic) else loaded.parameters()
    first = next(iter(weights), None)
    own_device: torch.device | str = "cpu" if first is None else first.device
    enlarger = Enlarger(
        loaded,
        device=own_device if device is None else pick_device(str(device)),
        precision=precision,
        match_input=match_input,
        self_ensemble=self_ensemble,
    )

    def enlarged(array: Pixels) -> Pixels:
        sides = size.of(*array.shape[:2], own_scale=enlarger.scale)
        return np.concatenate(list(bands(array, enlarger, size=sides, tile=tile)))

    if isinstance(image, Image.Image):
        larger = pixels_.to_image(enlarged(arrays[0]))
        return full_files.described(larger, image, scale=larger.height / arrays[0].shape[0])
    if isinstance(image, Tensor):
        stacked = torch.stack([_like(enlarged(each), image) for each in arrays])
        return stacked if image.dim() == 4 else stacked[0]
    result = enlarged(arrays[0])
    return result.reshape(*result.shape[:2], *image.shape[2:]).astype(image.dtype, copy=False)  # of its byte order


def _loaded(
    generator: nn.Module | bicubic_tensors.Bicubic | str | os.PathLike[str], fidelity: float | None, network: Own | None
) -> Generator | Ranged | bicubic_tensors.Bicubic:
    if isinstance(generator, str | os.PathLike):
        return named_models.load(generator, fidelity=fidelity, network=network)
    if fidelity is not None:
        raise UsageError("fidelity blends two files' weights: give the model as a name or a path")
    if network is not None:
        raise UsageError("network is the class that a file holds: give the model as a path")
    if isinstance(generator, bicubic_tensors.Bicubic):
        return generator
    if not isinstance(generator, nn.Module):
        raise UsageError(f"generator must be a model's name, its path, or a loaded one, not {type(generator).__name__}")
    architectures.refuse_unless_generator(generator, f"generator: {type(generator).__name__}")
    return cast(Generator, generator)


def _arrays(image: object) -> list[Pixels]:
    """The pixels (H, W, C) of an image, or of each image of a batch.

    Raises:
        UsageError: an image of another kind, shape, dtype or range.
    """
    if isinstance(image, Image.Image):
        return [full_files.pixels_of(image)]
    if isinstance(image, Tensor):
        if not len(image):
            raise UsageError(f"a tensor without images: {tuple(image.shape)}")
        return [_checked(_hwc(each)) for each in (image if image.dim() == 4 else image[None])]
    if isinstance(image, np.ndarray):
        image = image.astype(image.dtype.newbyteorder("="), copy=False)
        return [_checked(image[..., None] if image.ndim == 2 else image)]
    raise UsageError(f"image must be a PIL image, a numpy array or a tensor, not {type(image).__name__}")


def _hwc(image: Tensor) -> Pixels:
    image = image.detach().cpu()
    if image.dim() != 3:
        raise UsageError(f"a tensor must be (C, H, W) or (B, C, H, W); one image of it is {tuple(image.shape)}")
    return (image.float() if image.is_floating_point() else image).permute(1, 2, 0).numpy()


def _like(array: Pixels, image: Tensor) -> Tensor:
    return torch.from_numpy(array).permute(2, 0, 1).to(device=image.device, dtype=image.dtype)


def _checked(array: Pixels) -> Pixels:
    known_dtype = array.dtype in (np.uint8, np.uint16) or np.issubdtype(array.dtype, np.floating)
    if not known_dtype or array.ndim != 3 or not 1 <= array.shape[2] <= 4 or array.size == 0:
        raise UsageError(
            f"an image must be uint8, uint16 or floating point with 1 to 4 channels, not {array.dtype} {array.shape}"
        )
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        # Bicubic and networks overshoot a little; an image in [0, 255] or [-1, 1] is far outside.
        if not (low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):
            raise UsageError(
                f"a floating-point image must be in [0, 1], and this one reaches from {low:g} to {high:g}: "
                "scale it, or give uint8"
            )
    return array
