"""Picture files with all that they carry: depth, alpha, frames, colour profile, EXIF, resolution. No torch.

Reading gives upright pixels (the EXIF orientation is applied and its tag removed); writing takes bands, so
that a large result is never whole in memory (PNG, TIFF, JPEG; other formats are limited in size anyway).
"""

import contextlib
import functools
import itertools
import logging
import os
import re
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
from PIL import ExifTags, Image, TiffImagePlugin, TiffTags, UnidentifiedImageError

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import SRGANError
from srgan_lit.pictures import (
    colour_codes,
    formats,
    gif_frames,
    jpeg_in_bands,
    pil_arrays,
    png_in_bands,
    sixteen_bits,
    stated,
)

logging.getLogger("PIL").setLevel(logging.CRITICAL)  # both log what they then raise
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

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
_GEO_PIXEL, _GEO_TIES, _GEO_MATRIX, _GEO_KEYS = 33550, 33922, 34264, 34735
_GEOGRAPHY = {_GEO_PIXEL, _GEO_TIES, _GEO_MATRIX, _GEO_KEYS, 34736}  # and a text, 34737
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
        png_colours: a PNG's chunks gAMA, cHRM, sRGB and cICP, by name; cICP also of other files of high dynamic range.
        xmp: their packet, with the orientation applied.
        others: what else the file holds and no result does, in words.
    """

    frames: int
    icc_profile: bytes | None
    exif: Image.Exif
    dpi: tuple[float, float] | None
    durations_ms: list[int]
    loop: int | None
    lossless: bool
    png_colours: dict[bytes, bytes] = field(default_factory=dict)
    xmp: bytes | None = None
    others: tuple[str, ...] = ()

    @property
    def high_dynamic_range(self) -> bool:
        """Whether its colours are those of PQ or HLG."""
        return self.png_colours.get(b"cICP", b"\0\0")[1] in (colour_codes.PQ, colour_codes.HLG)


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
    """An open picture file: ``info``, ``frame(n)``, its ``format`` and whether it is ``grey``."""

    def __init__(self, path: Path, image: Image.Image, *, max_pixels: int, together: bool, first_only: bool) -> None:
        self._path, self._image, self._max_pixels = path, image, max_pixels
        _refuse_if_larger(image, max_pixels)
        self._exif = image.getexif()  # of a PNG this decodes
        # Pillow turns a TIFF itself, page by page, and goes by this tag.
        self._turn = 1 if image.format == "TIFF" else self._exif.pop(ExifTags.Base.Orientation, 1)
        self.format = image.format or ""
        self.grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F"))
        frames = 1 if first_only and self.format in ("GIF", "TIFF") else _frames(image)  # which cost as many seeks
        self._first = int(bool(frames > 1 and image.info.get("default_image")))  # of an animated PNG, and no frame
        frames = 1 if first_only else frames - self._first
        if frames > 1 and (together or self.format != "TIFF"):  # animations are decoded at once
            _refuse_if_larger(image, max_pixels, frames)
        self._animated = frames > 1 and self.format != "TIFF"
        self._frames = frames
        self._drawn = gif_frames.drawn(path, image)

    @functools.cached_property
    def info(self) -> Info:
        """What the file holds besides pixels.

        Raises:
            SRGANError: it is damaged, or holds bands that would be lost.
        """
        with _readable():
            return self._info()

    def _info(self) -> Info:
        image, path = self._image, self._path
        if self.format == "TIFF":
            _refuse_more_bands(image)
        durations = self._durations() if self._animated else []
        dpi = image.info.get("dpi")
        profile = None if image.mode == "CMYK" else image.info.get("icc_profile")
        chunks = _png_colours(image.info) if self.format == "PNG" else {}
        if codes := stated.colour_codes(path, self.format):
            if self.format == "PNG" or codes[1] in (colour_codes.PQ, colour_codes.HLG):
                chunks[b"cICP"] = bytes([*codes, 0, 1])  # of full range, as Pillow reads it
            if codes[1] not in (colour_codes.PQ, colour_codes.HLG) and (self.format == "PNG" or not profile):
                with contextlib.suppress(ValueError):  # numbers that are reserved: as if there were none
                    made = None if image.mode[:1] in "1LI" else colour_codes.profile(*codes)
                    profile = made or profile
        xmp, others = _beside(path, image)
        return Info(
            frames=self._frames,
            icc_profile=profile,
            exif=_writable(self._exif),
            dpi=(float(dpi[0]), float(dpi[1])) if dpi and all(1 < each < _FINEST for each in dpi) else None,
            durations_ms=durations,
            loop=image.info.get("loop"),
            lossless=self.format == "WEBP" and stated.webp_is_lossless(path),
            png_colours=chunks,
            xmp=xmp,
            others=others,
        )

    def _durations(self) -> list[int]:
        durations = []
        for number in range(self._frames):
            self._image.seek(self._first + number)
            self._image.load()
            durations.append(round(self._image.info.get("duration", 100)))
        self._image.seek(0)
        return durations

    @property
    def pixels(self) -> int:
        """Of all frames together, were they all as large as the first."""
        return self._image.width * self._image.height * self._frames

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
            image = self._image.convert("RGBA") if self._animated else self._image
            return pil_arrays.upright(pil_arrays.from_image(image), self._turn)


def _writable(exif: Image.Exif) -> Image.Exif:
    """The same, of classic TIFF where it was of BigTIFF; an empty one for what Pillow reads and cannot write."""
    try:
        if exif.bigtiff:
            classic = Image.Exif()
            classic.update(dict(exif))
            for group in _PLACEHOLDERS:
                if found := exif.get_ifd(group):
                    classic.get_ifd(group).update(found)
            exif = classic
        _keep_letters(exif)
        exif.tobytes()
    except Exception:  # of many kinds: damaged, and treated as missing
        return Image.Exif()
    return exif


def _refuse_more_bands(image: Image.Image) -> None:
    """Raise SRGANError for a TIFF with bands beside its colours and alpha, of which Pillow would give nothing."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    bands, colours = tags.get(277, 1), {2: 3, 5: 4, 6: 3, 8: 3}.get(tags.get(262, 1), 1)
    extra = bands - colours
    if extra > 1 or (extra == 1 and tags.get(338, (0,))[:1] == (0,) and colours != 4):
        colour = {1: "grey", 3: "RGB", 4: "CMYK"}[colours]
        raise SRGANError(
            f"{bands} bands, of which only those of {colour} would stay: save them apart, or without the others"
        )


def _beside(path: Path | None, image: Image.Image) -> tuple[bytes | None, tuple[str, ...]]:
    """The XMP packet that a result may have, and what no result has, in words."""
    others = stated.parts(path) if path and image.format in ("JPEG", "MPO", "HEIF") else []
    xmp = image.info.get("xmp") or None
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    if xmp and others:  # it would speak of parts that are not there
        xmp, others = None, [*others, "XMP"]
    if xmp:  # the pixels are upright, in the result
        xmp = re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp.rstrip(b"\0"))
    if "photoshop" in image.info or (image.format == "TIFF" and 33723 in image.tag_v2):  # type: ignore[attr-defined]
        others.append("IPTC")
    text = [name for name in getattr(image, "text", {}) if name != "XML:com.adobe.xmp"] if image.format == "PNG" else []
    if text or image.info.get("comment"):
        others.append("text (" + ", ".join(text[:3]) + ")" if text else "comment")
    return xmp, tuple(others)


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


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """As ``PIL.Image.open``, whatever the name ends with, for the formats that may be read.

    A TIFF's orientation is applied by Pillow when it is loaded; other formats' is not.

    Raises:
        SRGANError: ``path`` is no regular file (opening a FIFO would wait for ever), or it is HEIF and pillow-heif is
            not installed; or a TIFF that Pillow has no mode for.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise SRGANError("a folder" if path.is_dir() else "a FIFO, socket or device, and no regular file")
    if path.exists() and _is_heif(path):
        _read_heif()
        return Image.open(path, formats=["HEIF"])
    try:
        image = Image.open(path, formats=[name for name in formats.BY_NAME if name != "HEIF"])
    except UnidentifiedImageError:
        if kind := sixteen_bits.kind_of_tiff(path):
            raise SRGANError(f"a TIFF of {kind}; only grey and RGB, of 8 and 16 bits, can be read") from None
        raise
    clear = image.info.get("transparency")
    if image.format == "PNG" and image.mode == "L" and isinstance(clear, int):
        with path.open("rb") as file:
            depth = file.read(25)[24]
        if depth in (2, 4) and clear < 2**depth:  # Pillow's samples reach to 255, and this one not
            image.info["transparency"] = clear * (255 // (2**depth - 1))
    if image.format == "TIFF":
        # Pillow maps uncompressed files into memory by their name, with the sides of the upright picture over the
        # pixels as they are stored: scrambled where the orientation exchanges the sides.
        image.filename = ""
    return image


def _is_heif(path: Path) -> bool:
    """Whether a file is HEIF by its first bytes (ISO/IEC 23008-12); AVIF, which begins likewise, is not."""
    with path.open("rb") as file:
        start = file.read(64)
    brands = start[8 : min(int.from_bytes(start[:4], "big"), 64)]
    heif = brands[:4] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    return start[4:8] == b"ftyp" and heif and b"avif" not in brands


def _read_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise SRGANError("HEIC needs pillow-heif: pip install 'srgan_lit[heif]'") from error
    pillow_heif.register_heif_opener()


def size_of(path: Path, *, first_only: bool = False) -> tuple[int, int, int]:
    """Height, width and frames of a picture, upright, from its header alone; a TIFF's first page counts for all.

    ``first_only`` counts no frames.


    Raises:
        SRGANError: no picture, or damaged.
    """
    if (canvas := stated.webp_canvas(path)) and canvas[0] * canvas[1] > MAX_PIXELS:
        return *canvas, 1  # or more, which Pillow counts with all of it in memory
    with _readable(path), _image_of_any_size(path) as image:
        width, height = image.size
        # Of a PNG the EXIF may follow the pixels, which are not decoded for it; a TIFF's size is upright already.
        known = image.format in ("JPEG", "MPO", "WEBP")
        if known and image.getexif().get(ExifTags.Base.Orientation, 1) in pil_arrays.SIDEWAYS:
            width, height = height, width
        return height, width, 1 if first_only else _frames(image)


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str],
    *,
    max_pixels: int | None = MAX_PIXELS,
    together: bool = False,
    first_only: bool = False,
) -> Iterator[Opened]:
    """Open a picture file. Its size is judged from the header, before anything is decoded.

    ``first_only`` leaves out what is asked of frames after the first.

    Raises:
        SRGANError: no picture, damaged, truncated, or of more than ``max_pixels`` in one frame or in all of an
            animation's (``together``: in all pages of a TIFF too, were they as large as the first). The message
            does not name the file.
    """
    path, max_pixels = Path(path), max_pixels or 2**62
    with _readable(path):
        if canvas := stated.webp_canvas(path):  # Pillow opens one with twice its canvas in memory
            _refuse_larger(*canvas, max_pixels)
        image = _image_of_any_size(path)
    with image:
        with _readable():
            picture = Opened(path, image, max_pixels=max_pixels, together=together, first_only=first_only)
        yield picture


def _image_of_any_size(path: Path) -> Image.Image:
    """What Pillow reads of a header, without a limit of its own."""
    with _pillows_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return open_image(path)
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
    if info.high_dynamic_range and not (kind == "PNG" and info.frames == 1):
        raise SRGANError(f"colours of high dynamic range (PQ or HLG), which {kind} would not say: take --format png")
    with atomic_files.replacing(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what an odd file carries beside its pixels
        try:
            if kind == "TIFF":
                _write_tiff(temporary, frames, info)
            elif kind == "PNG" and info.frames == 1:
                frame = next(frames)
                exif = _exif(info.exif, frame.shape).tobytes() if info.exif else None
                with temporary.open("wb") as file:
                    png_in_bands.write(
                        file,
                        frame.shape,
                        frame.bands,
                        icc_profile=info.icc_profile,
                        exif=exif,
                        dpi=_dpi(info, frame.scale),
                        colours=info.png_colours,
                        xmp=info.xmp,
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


def lost(info: Info, suffix: str) -> list[str]:
    """What of its input a result with ``suffix`` lacks, in words; for ``upscale`` to say."""
    target = formats.BY_SUFFIX[suffix]
    in_bands = suffix == ".png" and info.frames == 1
    missing = [] if in_bands or info.icc_profile or b"sRGB" in info.png_colours else _unusual_colours(info)
    held: dict[str, tuple[str, object]] = {
        "icc_profile": ("its colour profile", info.icc_profile),
        "exif": ("EXIF", info.exif),
        "xmp": ("XMP", info.xmp),
        "geography": ("its place on the map (GeoTIFF)", _GEOGRAPHY & set(info.exif)),
    }
    missing += [words for name, (words, found) in held.items() if found and name not in target.carries]
    return [*missing, *info.others]


def _unusual_colours(info: Info) -> list[str]:
    names = [kind.decode() for kind, content in info.png_colours.items() if content != _SRGB_COLOURS.get(kind)]
    return (
        [f"{' and '.join(names)} of its PNG, so that it may look different (--format png keeps them)"] if names else []
    )


def pixels_of(image: Image.Image) -> Pixels:
    """Upright pixels (H, W, C) of a PIL image; see ``pil_arrays.from_image``."""
    image.load()  # first: this turns a TIFF, which must not be turned again
    return pil_arrays.upright(pil_arrays.from_image(image), image.getexif().get(ExifTags.Base.Orientation, 1))


def described(result: Image.Image, image: Image.Image, *, scale: float) -> Image.Image:
    """``result`` with what ``image``, of which it is an upright one ``scale`` times as large, says beside its pixels.

    In ``info``: ``icc_profile``, ``exif``, ``xmp``, ``dpi`` (multiplied), ``gamma``, ``chromaticity``, ``comment``.
    Not: ``transparency`` (it is alpha), times, and how the file was encoded.
    """
    kept: dict[str, Any] = {name: image.info.get(name) for name in ("gamma", "chromaticity", "comment")}
    xmp, _ = _beside(None, image)
    profile = image.info.get("icc_profile") if image.mode not in ("CMYK", "LAB") else None
    exif = image.getexif()
    if content := image.info.get("exif"):  # not the object that ``image`` goes on to use
        exif = Image.Exif()
        exif.load(content)
    exif = _exif(_writable(exif), (result.height, result.width))
    dpi = image.info.get("dpi")
    known = {
        "icc_profile": profile,
        "exif": exif.tobytes() if exif else None,
        "xmp": xmp,
        "dpi": (float(dpi[0]) * scale, float(dpi[1]) * scale) if dpi else None,
    }
    result.info.clear()
    result.info.update({name: value for name, value in (kept | known).items() if value})
    return result


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


def _exif(before: Image.Exif, shape: tuple[int, ...]) -> Image.Exif:
    """The EXIF to write: the input's, with the new size and without its thumbnail."""
    exif = Image.Exif()
    exif.load(before.tobytes())
    _keep_letters(exif)
    for tag in _STRUCTURAL & set(exif):
        del exif[tag]
    details = exif.get_ifd(ExifTags.IFD.Exif)
    for tag, side in ((ExifTags.Base.ExifImageWidth, shape[1]), (ExifTags.Base.ExifImageHeight, shape[0])):
        if tag in details:
            details[tag] = side
    return exif


def _geography(info: Info, scale: float) -> list[tuple[Any, ...]]:
    """The tags of a GeoTIFF (OGC 19-008r4, 7.1) for a picture ``scale`` times as large, as tifffile takes them."""
    known, tags = dict(info.exif), []
    keys = [int(each) for each in known.get(_GEO_KEYS, ())]
    shift = (
        (scale - 1) / 2 if [1025, 0, 1, 2] in [keys[at : at + 4] for at in range(0, len(keys), 4)] else 0.0
    )  # places are of pixels' centres
    if lengths := known.get(_GEO_PIXEL):
        known[_GEO_PIXEL] = [length / scale if n < 2 else length for n, length in enumerate(lengths)]
    if ties := known.get(_GEO_TIES):
        known[_GEO_TIES] = [tie * scale + shift if n % 6 < 2 else tie for n, tie in enumerate(ties)]
    if matrix := known.get(_GEO_MATRIX):
        moved = np.array(matrix, dtype=np.float64).reshape(4, 4)
        moved[:, :2] /= scale
        moved[:, 3] -= moved[:, :2].sum(axis=1) * shift
        known[_GEO_MATRIX] = moved.ravel().tolist()
    for tag in sorted(_GEOGRAPHY & set(known)):
        values = keys if tag == _GEO_KEYS else [float(each) for each in known[tag]]
        tags.append((tag, "H" if tag == _GEO_KEYS else "d", len(values), values, True))
    return tags


def _dpi(info: Info, scale: float) -> tuple[float, float] | None:
    return (info.dpi[0] * scale, info.dpi[1] * scale) if info.dpi else None


def _carried(target: formats.Format, info: Info, frame: Frame) -> dict[str, Any]:
    """Pillow's options for what is written besides the pixels."""
    exif = _exif(info.exif, frame.shape) if info.exif and "exif" in target.carries else None
    known = {"icc_profile": info.icc_profile, "exif": exif, "dpi": _dpi(info, frame.scale), "xmp": info.xmp}
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
            exif = _exif(info.exif, frame.shape)
            tags: list[tuple[Any, ...]] = [
                (tag, "s", 0, value, True)
                for tag, value in exif.items()
                if (isinstance(value, str) and not value.startswith('{"shape"'))  # tifffile's, of the input
                or (isinstance(value, bytes) and _is_text(tag))
            ]
            tags += _geography(info, frame.scale)
            if info.xmp:
                tags.append((700, "B", len(info.xmp), info.xmp, True))
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
