"""Picture files with all that they carry: depth, alpha, frames, colour profile, EXIF, resolution. No torch.

Reading gives upright pixels (the EXIF orientation is applied and its tag removed); writing takes bands, so
that a large result is never whole in memory (PNG, TIFF, JPEG; other formats are limited in size anyway).
"""

import contextlib
import itertools
import logging
import os
import struct
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import SRGANError
from srgan_lit.pictures import formats, gif_frames, jpeg_in_bands, pil_arrays, png_in_bands, rgb8, sixteen_bits

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs what it then raises

Pixels = NDArray[Any]

_ENCODERS_RAISE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, SyntaxError, struct.error)
MAX_PIXELS = 200_000_000
MOST_FRAMES = 10_000  # of a file; each costs, however small it is
_FINEST = 8192  # dots per inch: more is damage, and 8 times as much does not fit into files; Pillow says 1 for none
_pillows_limit = threading.Lock()  # Image.MAX_IMAGE_PIXELS is global
_TILE = 256  # pixels a side, of the TIFFs written
# Of the directories that tifffile does not write: a tag right before each, in whose place it comes.
_PLACEHOLDERS: dict[int, int] = {ExifTags.IFD.Exif: 34664, ExifTags.IFD.GPSInfo: 34852}

# Tags of a TIFF's first directory that say how its pixels are stored, or that are written another way.
_STRUCTURAL = {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 296}
_STRUCTURAL |= {317, 320, 322, 323, 324, 325, 330, 338, 339, 340, 341, 347, *range(512, 533), 700, 33723, 34377, 34675}


@dataclass(frozen=True, kw_only=True)
class Info:
    """What a file holds besides pixels.

    Attributes:
        frames: how many.
        icc_profile: the colour profile; None where there is none, or where the pixels are converted by it (CMYK).
        exif: without the orientation, which is applied.
        dpi: horizontal and vertical resolution.
        durations_ms: of each frame of an animation; empty for a still picture or the pages of a TIFF.
        loop: how often an animation is played; 0 is for ever, None is not said.
        lossless: whether a WebP is.
        png_colours: a PNG's chunks gAMA, cHRM and sRGB, by name.
    """

    frames: int
    icc_profile: bytes | None
    exif: Image.Exif
    dpi: tuple[float, float] | None
    durations_ms: list[int]
    loop: int | None
    lossless: bool
    png_colours: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Saving:
    """How results are saved, where it is not left to the format; ``quality`` is 1 to 100."""

    quality: int | None = None
    lossless: bool = False


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A frame to write: ``shape`` (H, W, C), and its ``bands`` (rows, W, C) from top to bottom.

    It is ``scale`` times as high as the one that it was made of, and its resolution is multiplied by that: more pixels
    on the same paper.
    """

    shape: tuple[int, int, int]
    bands: Iterator[Pixels]
    scale: float


class Opened:
    """An open picture file: ``info``, and ``frame(n)``."""

    def __init__(self, path: Path, image: Image.Image, *, max_pixels: int, together: bool) -> None:
        self._path, self._image, self._max_pixels = path, image, max_pixels
        _refuse_if_larger(image, max_pixels)
        self._exif = image.getexif()  # of a PNG this decodes
        # Pillow turns a TIFF itself, page by page, and goes by this tag.
        self._turn = 1 if image.format == "TIFF" else self._exif.pop(ExifTags.Base.Orientation, 1)
        _keep_letters(self._exif)
        try:
            self._exif.tobytes()
        except Exception:  # Pillow raises many kinds for EXIF that it read and cannot write
            self._exif = Image.Exif()  # damaged: treated as missing
        self.format = image.format or ""
        frames = _frames(image)
        self._first = int(bool(frames > 1 and image.info.get("default_image")))  # of an animated PNG, and no frame
        frames -= self._first
        if frames > 1 and (together or self.format != "TIFF"):  # animations are decoded at once
            _refuse_if_larger(image, max_pixels, frames)
        durations = []
        if frames > 1 and self.format != "TIFF":
            for number in range(frames):
                image.seek(self._first + number)
                image.load()
                durations.append(round(image.info.get("duration", 100)))
            image.seek(0)
        self._drawn = gif_frames.drawn(path, image)
        dpi = image.info.get("dpi")
        self.info = Info(
            frames=frames,
            icc_profile=None if image.mode == "CMYK" else image.info.get("icc_profile"),
            exif=self._exif,
            dpi=(float(dpi[0]), float(dpi[1])) if dpi and all(1 < each < _FINEST for each in dpi) else None,
            durations_ms=durations,
            loop=image.info.get("loop"),
            lossless=self.format == "WEBP" and b"VP8L" in path.open("rb").read(64 * 1024),
            png_colours=_png_colours(image.info) if self.format == "PNG" else {},
        )

    @property
    def pixels(self) -> int:
        """Of all frames together, were they all as large as the first."""
        return self._image.width * self._image.height * self.info.frames

    def frame(self, number: int) -> Pixels:
        """Pixels (H, W, C), upright.

        Raises:
            SRGANError: the file is damaged or truncated, or of a kind that cannot be enlarged.
        """
        with _readable():
            if self._drawn is not None:
                return self._drawn.frame(number)
            if self._first + number != self._image.tell():
                self._image.seek(self._first + number)
                _refuse_if_larger(self._image, self._max_pixels)  # pages of a TIFF have sizes of their own
            array = sixteen_bits.pixels(self._path, self._image, orientation=self._turn)
            if array is not None:
                return array
            self._image.load()
            image = self._image.convert("RGBA") if self.info.durations_ms else self._image
            return pil_arrays.upright(pil_arrays.from_image(image), self._turn)


def _png_colours(known: dict[str | tuple[int, int], Any]) -> dict[bytes, bytes]:
    """The colour chunks of a PNG (ISO/IEC 15948, 11.3.3), built again from Pillow's values."""
    chunks: dict[bytes, bytes] = {}
    for name, kind in (("gamma", b"gAMA"), ("chromaticity", b"cHRM")):
        values = known.get(name, ())
        numbers = [round(value * 100_000) for value in (values if isinstance(values, tuple) else (values,))]
        if numbers and all(0 <= number < 2**31 for number in numbers):
            chunks[kind] = struct.pack(f">{len(numbers)}I", *numbers)
    if "srgb" in known:
        chunks[b"sRGB"] = bytes([known["srgb"]])
    return chunks


def size_of(path: Path) -> tuple[int, int, int]:
    """Height, width and frames of a picture, upright, from its header alone; a TIFF's first page counts for all.

    Raises:
        SRGANError: no picture, or damaged.
    """
    if (canvas := _webp_canvas(path)) and canvas[0] * canvas[1] > MAX_PIXELS:
        return *canvas, 1  # or more, which Pillow counts with all of it in memory
    with _readable(path), _image_of_any_size(path) as image:
        width, height = image.size
        # Of a PNG the EXIF may follow the pixels, which are not decoded for it; a TIFF's size is upright already.
        known = image.format in ("JPEG", "MPO", "WEBP")
        if known and image.getexif().get(ExifTags.Base.Orientation, 1) in pil_arrays.SIDEWAYS:
            width, height = height, width
        return height, width, _frames(image)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, together: bool = False) -> Iterator[Opened]:
    """Open a picture file. Its size is judged from the header, before anything is decoded.

    Raises:
        SRGANError: no picture, damaged, truncated, or of more than ``max_pixels`` in one frame or in all of an
            animation's (``together``: in all pages of a TIFF too, were they as large as the first). The message
            does not name the file.
    """
    path = Path(path)
    with _readable(path):
        if canvas := _webp_canvas(path):  # Pillow opens one with twice its canvas in memory
            _refuse_larger(*canvas, max_pixels)
        image = _image_of_any_size(path)
    with image:
        with _readable():
            picture = Opened(path, image, max_pixels=max_pixels, together=together)
        yield picture


def _image_of_any_size(path: Path) -> Image.Image:
    """What Pillow reads of a header, without a limit of its own."""
    with _pillows_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return rgb8.open_image(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _frames(image: Image.Image) -> int:
    """How many there are, of formats of which more than the first is enlarged (of MPO it is not).

    They are counted as they are read, and without their pixels.

    Raises:
        SRGANError: more than ``MOST_FRAMES``.
    """
    if image.format not in formats.BY_NAME or not formats.BY_NAME[image.format].frames:
        return 1
    if image.format not in ("GIF", "TIFF"):  # their headers say the number
        count = getattr(image, "n_frames", 1)
    else:
        skipping = {"update_image": False} if image.format == "GIF" else {}
        count = 1
        with contextlib.suppress(EOFError):
            while count <= MOST_FRAMES:
                image._seek(count, **skipping)  # type: ignore[attr-defined]
                count += 1
        image.seek(0)
    if count > MOST_FRAMES:
        raise SRGANError(f"more than {MOST_FRAMES:,} frames or pages: cut it into several files")
    return count


def _webp_canvas(path: Path) -> tuple[int, int] | None:
    """Height and width of a WebP file by its first bytes (RFC 9649, RFC 6386); None of any other."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(30)
    if len(start) < 30 or start[:4] != b"RIFF" or start[8:12] != b"WEBP":
        return None
    if start[12:16] == b"VP8X":
        return int.from_bytes(start[27:30], "little") + 1, int.from_bytes(start[24:27], "little") + 1
    if start[12:16] == b"VP8L":
        sides = int.from_bytes(start[21:25], "little")
        return (sides >> 14) % 2**14 + 1, sides % 2**14 + 1
    return int.from_bytes(start[28:30], "little") % 2**14, int.from_bytes(start[26:28], "little") % 2**14


def _refuse_if_larger(image: Image.Image, max_pixels: int, frames: int = 1) -> None:
    _refuse_larger(image.height, image.width, max_pixels, frames)


def _refuse_larger(height: int, width: int, max_pixels: int, frames: int = 1) -> None:
    if width * height * frames > max_pixels:
        many = f"{frames} frames of " if frames > 1 else ""
        raise SRGANError(
            f"{many}{width}x{height} pixels are over the limit of {max_pixels / 1e6:g} million; "
            "if it is no decompression bomb, raise --max-megapixels"
        )


@contextlib.contextmanager
def _readable(path: Path | None = None) -> Iterator[None]:
    """Turn decoders' errors, which are of many kinds, into SRGANError; their warnings are not shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (SRGANError, FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:
        # Image.open names the file in its message; once is enough.
        reason = str(error).replace(f" {str(path)!r}", "").strip() or type(error).__name__
        raise SRGANError(f"not a readable picture ({reason})") from error


def write(path: Path, frames: Iterator[Frame], info: Info, *, saving: Saving = Saving()) -> None:
    """Write a picture file, whole or not at all, in the format of its suffix.

    Raises:
        SRGANError: the format cannot hold the picture; says which can.
    """
    target = formats.BY_SUFFIX[path.suffix.lower()]
    kind = target.name
    if info.frames > 1 and not info.durations_ms and kind != "TIFF":
        raise SRGANError(f"{info.frames} pages, and {kind} holds one: take --format tiff")
    if info.frames > 1 and not target.frames:
        raise SRGANError(f"{info.frames} frames, and {kind} holds one: take --format webp, gif or png")
    with atomic_files.replacing(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what an odd file carries beside its pixels
        try:
            if kind == "TIFF":
                _write_tiff(temporary, frames, info)
            elif kind == "PNG" and info.frames == 1:
                frame = next(frames)
                exif = _exif(info, frame.shape).tobytes() if info.exif else None
                with temporary.open("wb") as file:
                    png_in_bands.write(
                        file,
                        frame.shape,
                        frame.bands,
                        icc_profile=info.icc_profile,
                        exif=exif,
                        dpi=_dpi(info, frame.scale),
                        colours=info.png_colours,
                    )
            elif kind == "JPEG":
                frame = next(frames)
                with temporary.open("wb") as file:
                    options = _carried(target, info, frame)
                    jpeg_in_bands.write(file, frame.shape, frame.bands, quality=saving.quality, **options)
            else:
                _write_with_pillow(temporary, target, frames, info, saving)
        except SRGANError:
            raise
        except _ENCODERS_RAISE as error:
            raise SRGANError(f"cannot be written as {kind} ({error})") from error


_SRGB_COLOURS = {  # what a viewer assumes without these chunks
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
}


def colours_lost(info: Info, suffix: str) -> str:
    """What of its input's colour chunks a result with ``suffix`` cannot hold, as a message; "" if nothing is lost."""
    if (suffix == ".png" and info.frames == 1) or info.icc_profile or b"sRGB" in info.png_colours:
        return ""
    unusual = [kind.decode() for kind, content in info.png_colours.items() if content != _SRGB_COLOURS.get(kind)]
    if not unusual:
        return ""
    return f"without {' and '.join(unusual)} of its PNG, so that it may look different; --format png keeps them"


def refuse_unless_it_fits(
    target: formats.Format,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    *,
    frames: int = 1,
    lossless: bool = False,
) -> None:
    """Raise SRGANError if format ``target`` cannot hold a picture of ``shape`` (H, W, C), or memory cannot.

    PNG (of one frame), JPEG and TIFF are written in bands, which fit always.
    """
    longest_px = max(shape[:2])
    if longest_px > target.longest_px:
        raise SRGANError(
            f"a side of {longest_px} pixels is more than {target.name} holds ({target.longest_px}): take --format png"
        )
    if shape[2] in (2, 4) and not target.alpha:
        raise SRGANError(f"{target.name} holds no transparency: take --format png or webp")
    if dtype == np.uint16 and not target.deep:
        raise SRGANError(f"{target.name} holds 8 bits, and this picture has 16: take --format png or tiff")
    per_pixel = (target.bytes_per_pixel_lossless if lossless else 0) or target.bytes_per_pixel
    if frames > 1 and target.name == "PNG":
        per_pixel = 8 * frames  # Pillow looks through all of them before it writes
    needed, free = shape[0] * shape[1] * per_pixel, psutil.virtual_memory().available if per_pixel else 0
    if needed > free:
        way = "webp" if frames > 1 else "png" if shape[2] in (2, 4) else "jpeg"
        raise SRGANError(
            f"{shape[1]}x{shape[0]} pixels as {target.name} take {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free: take --format {way}, which needs little, or a smaller --scale"
        )


def _keep_letters(exif: Image.Exif) -> None:
    """Have text written as the bytes that it was read from; of letters beyond ASCII Pillow writes question marks."""
    for tag, value in list(exif.items()):
        if isinstance(value, str) and not value.isascii() and _is_text(tag):
            exif[tag] = value.encode("latin-1")  # as Pillow reads it


def _is_text(tag: int) -> bool:
    return TiffTags.lookup(tag).type == TiffTags.ASCII


def _exif(info: Info, shape: tuple[int, int, int]) -> Image.Exif:
    """The EXIF to write: the input's, with the new size and without its thumbnail."""
    exif = Image.Exif()
    exif.load(info.exif.tobytes())
    _keep_letters(exif)
    for tag in _STRUCTURAL & set(exif):
        del exif[tag]
    details = exif.get_ifd(ExifTags.IFD.Exif)
    for tag, side in ((ExifTags.Base.ExifImageWidth, shape[1]), (ExifTags.Base.ExifImageHeight, shape[0])):
        if tag in details:
            details[tag] = side
    return exif


def _dpi(info: Info, scale: float) -> tuple[float, float] | None:
    return (info.dpi[0] * scale, info.dpi[1] * scale) if info.dpi else None


def _carried(target: formats.Format, info: Info, frame: Frame) -> dict[str, Any]:
    """Pillow's options for what is written besides the pixels."""
    exif = _exif(info, frame.shape) if info.exif and "exif" in target.carries else None
    known = {"icc_profile": info.icc_profile, "exif": exif, "dpi": _dpi(info, frame.scale)}
    return {name: value for name, value in known.items() if value and name in target.carries}


def _write_with_pillow(path: Path, target: formats.Format, frames: Iterator[Frame], info: Info, saving: Saving) -> None:
    first_frame = next(frames)
    first = _whole(first_frame)
    images = (_whole(frame) for frame in frames)
    following = list(images) if target.name == "PNG" else images  # Pillow reads them twice for PNG
    options = target.options | _carried(target, info, first_frame)
    if target.lossy and saving.quality is not None:
        options["quality"] = saving.quality
    if target.lossless:
        options["lossless"] = saving.lossless or (info.lossless and saving.quality is None)
    if info.durations_ms:
        options |= {"save_all": True, "append_images": following, "duration": info.durations_ms}
        options |= target.animation_options
        if info.loop is not None:
            options["loop"] = info.loop
    first.save(path, format=target.name, **options)


def _whole(frame: Frame) -> Image.Image:
    image: Image.Image | None = None
    top = 0
    for band in frame.bands:
        part = pil_arrays.to_image(band)
        if image is None:
            image = Image.new(part.mode, (frame.shape[1], frame.shape[0]))
        image.paste(part, (0, top))
        top += part.height
    assert image is not None
    return image


def _write_tiff(path: Path, frames: Iterator[Frame], info: Info) -> None:
    import tifffile

    first_frame = next(frames)
    height, width, channels = first_frame.shape
    large = height * width * channels * 2 * info.frames > 3 * 2**30  # a classic TIFF ends at 4 GiB
    directories: dict[int, dict[int, Any]] = {}
    with tifffile.TiffWriter(path, bigtiff=large, byteorder="<") as writer:
        for frame in itertools.chain([first_frame], frames):
            exif = _exif(info, frame.shape)
            tags: list[tuple[Any, ...]] = [
                (tag, "s", 0, value, True)
                for tag, value in exif.items()
                if (isinstance(value, str) and not value.startswith('{"shape"'))  # tifffile's, of the input
                or (isinstance(value, bytes) and _is_text(tag))
            ]
            if frame is first_frame and not large:  # Pillow writes classic directories only
                directories = {tag: found for tag in _PLACEHOLDERS if (found := dict(exif.get_ifd(tag)))}
                tags += [(_PLACEHOLDERS[tag], "I", 1, 0, True) for tag in directories]
            first, dpi = next(frame.bands), _dpi(info, frame.scale)
            channels = frame.shape[2]
            writer.write(
                _tiles(first, frame.bands),
                shape=frame.shape if channels > 1 else frame.shape[:2],
                dtype=first.dtype,
                photometric="rgb" if channels > 2 else "minisblack",
                planarconfig="contig" if channels > 1 else None,
                extrasamples=["unassalpha"] if channels in (2, 4) else None,
                tile=(_TILE, _TILE),
                compression="zlib",
                predictor=True,
                iccprofile=info.icc_profile,
                resolution=dpi,
                resolutionunit="inch" if dpi else None,
                metadata=None,
                software=False,
                extratags=tags,
            )
    if directories:
        _append(path, directories)


def _tiles(first: Pixels, bands: Iterator[Pixels]) -> Iterator[Pixels]:
    """The bands cut into tiles, row by row of tiles; those at the right and bottom edge are smaller."""
    rest = first
    while True:
        while rest.shape[0] < _TILE and (following := next(bands, None)) is not None:
            rest = np.concatenate([rest, following])
        if not rest.shape[0]:
            return
        for column in range(0, rest.shape[1], _TILE):
            tile = rest[:_TILE, column : column + _TILE]
            yield tile[:, :, 0] if tile.shape[2] == 1 else tile
        rest = rest[_TILE:]


def _append(path: Path, directories: dict[int, dict[int, Any]]) -> None:
    """Append directories and let the first page point to each by its tag: tifffile cannot write them."""
    import tifffile

    with tifffile.TiffFile(path) as opened:
        entries = {tag: opened.pages.first.tags[_PLACEHOLDERS[tag]] for tag in directories}
    with path.open("r+b") as file:
        for tag, values in directories.items():
            directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II", group=tag)
            for key, value in values.items():
                directory[key] = value
            offset = file.seek(0, os.SEEK_END)
            offset += file.write(b"\0" * (offset % 2))  # directories begin at even positions
            file.write(directory.tobytes(offset))
            file.seek(entries[tag].offset)
            file.write(struct.pack("<H", tag))
            file.seek(entries[tag].valueoffset)
            file.write(struct.pack("<I", offset))
