"""TIFFs of every orientation, compression, mode and depth, read as upright pixels by all that reads pictures."""

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from srgan_lit import upscale
from srgan_lit.data import packed_cache, sets
from srgan_lit.pictures import bicubic, full_files, rgb8

HEIGHT, WIDTH = 12, 20
# Where TIFF 6.0 (page 36) says that a stored row and column are seen: (row is seen at the, column is seen at the).
PLACES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """What a file of that orientation holds: element by element, by the words of the specification."""
    row_at, column_at = PLACES[orientation]
    height, width = upright.shape[:2]
    shape = (height, width) if row_at in ("top", "bottom") else (width, height)
    result = np.empty((*shape, *upright.shape[2:]), dtype=upright.dtype)
    for row in range(shape[0]):
        for column in range(shape[1]):
            at = {row_at: row, column_at: column}
            seen_row = at["top"] if "top" in at else height - 1 - at["bottom"]
            seen_column = at["left"] if "left" in at else width - 1 - at["right"]
            result[row, column] = upright[seen_row, seen_column]
    return result


def picture(channels: int, bits: int) -> np.ndarray:
    """A picture (H, W[, C]) without symmetry, smooth enough for JPEG."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [rows * 9 + columns * 5 + 17 * number for number in range(channels)]
    if channels in (2, 4):
        planes[-1] = 255 - rows * 3 - columns
    pixels = np.stack(planes, axis=-1).astype(np.uint8)
    if bits == 16:
        pixels = pixels.astype(np.uint16) * 257 - np.where(pixels > 0, 3, 0).astype(np.uint16)
    return pixels[..., 0] if channels == 1 else pixels


PHOTOMETRIC = {1: "minisblack", 2: "minisblack", 3: "rgb", 4: "rgb"}
LAYOUTS = {"strips": {}, "one strip": {"rowsperstrip": 1000}, "tiles": {"tile": (16, 16)}}


def written(folder: Path) -> dict[str, np.ndarray]:
    """Files of all kinds that tifffile and Pillow write, and the upright pixels of each by its name."""
    expected: dict[str, np.ndarray] = {}
    for orientation in PLACES:
        for channels, bits in ((1, 8), (2, 8), (3, 8), (4, 8), (1, 16), (3, 16), (4, 16)):
            pixels = picture(channels, bits)
            kept = np.ascontiguousarray(stored(pixels, orientation))
            for layout, options in LAYOUTS.items():
                for compression in (None, "lzw", "zlib", "packbits") if layout == "strips" else (None, "zlib"):
                    for byteorder in "<>" if bits == 16 and layout == "strips" else "<":
                        order = {"<": "le", ">": "be"}[byteorder]
                        name = f"{orientation} {channels}x{bits} {layout} {compression} {order}.tif"
                        tifffile.imwrite(
                            folder / name,
                            kept,
                            byteorder=byteorder,
                            photometric=PHOTOMETRIC[channels],
                            planarconfig="contig" if channels > 1 else None,
                            extrasamples=["unassalpha"] if channels in (2, 4) else None,
                            compression=compression,
                            extratags=[(274, "H", 1, orientation, True)],
                            **options,
                        )
                        expected[name] = pixels
        # Planes apart, JPEG within TIFF, palettes, two levels, CMYK.
        planes = np.ascontiguousarray(np.moveaxis(stored(picture(3, 8), orientation), -1, 0))
        name = f"{orientation} planes.tif"
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(folder / name, planes, photometric="rgb", planarconfig="separate", extratags=tags)
        expected[name] = picture(3, 8)
        exif = Image.Exif()
        exif[274] = orientation
        grey = picture(1, 8)
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
            for mode in ("L", "RGB", "P", "CMYK"):
                if (mode, compression) == ("P", "jpeg"):
                    continue
                upright = Image.fromarray(picture(3, 8) if mode != "L" else grey)
                upright = upright.quantize(64) if mode == "P" else upright.convert(mode)
                kept = Image.fromarray(stored(np.asarray(upright), orientation), mode if mode != "P" else None)
                if mode == "P":
                    kept.putpalette(upright.getpalette())
                name = f"{orientation} {mode} {compression}.tif"
                kept.save(
                    folder / name,
                    compression=compression,
                    tiffinfo=exif,
                    **({"quality": 100} if compression == "jpeg" else {}),
                )
                expected[name] = np.asarray(upright.convert("L" if mode == "L" else "RGB"))
        for compression in ("raw", "group4", "tiff_lzw"):
            two = grey > 100
            name = f"{orientation} two levels {compression}.tif"
            Image.fromarray(stored(two, orientation)).save(folder / name, compression=compression, tiffinfo=exif)
            expected[name] = two.astype(np.uint8) * 255
    return expected


def difference(result: np.ndarray, expected: np.ndarray, name: str) -> str | None:
    if result.shape != expected.shape:
        return f"{name}: {result.shape}, not {expected.shape}"
    off = np.abs(result.astype(int) - expected.astype(int)).max()
    # JPEG loses some; the picture's neighbouring pixels differ by 5 and 9, its far ones by hundreds.
    return f"{name}: off by {off}" if off > (8 if "jpeg" in name else 0) else None


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("tiffs")
    return folder, written(folder)


@pytest.mark.long
def test_upscale_sees_every_tiff_upright(files: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    folder, expected = files
    assert len(expected) > 600
    assert upscale.main([str(folder), "-o", str(tmp_path / "out"), "--model", "bicubic"]) == 0
    wrong = []
    for name, upright in expected.items():
        result = tifffile.imread(tmp_path / "out" / name)
        if upright.dtype == np.uint8 and "jpeg" not in name:
            wrong.append(difference(result, bicubic.enlarge(upright, 4), name))
        else:  # every fourth pixel of a smooth picture's double is the picture, nearly
            small = bicubic.shrink((result // 257).astype(np.uint8) if result.dtype == np.uint16 else result, 4)
            eight = (upright // 257).astype(np.uint8) if upright.dtype == np.uint16 else upright
            off = np.abs(small.astype(int) - eight).max() if small.shape == eight.shape else 999
            wrong.append(f"{name}: off by {off}" if off > 12 else None)
    assert not [each for each in wrong if each]


def test_training_and_prepare_see_every_tiff_upright(files: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    folder, expected = files
    wrong = []
    for name, upright in expected.items():
        seen = rgb8.read_picture(folder / name).pixels
        eight = np.floor(upright / 257 + 0.5).astype(np.uint8) if upright.dtype == np.uint16 else upright
        if eight.ndim == 2 or eight.shape[2] == 2:
            flat = eight if eight.ndim == 2 else eight[..., 0]
            colours = np.repeat(flat[..., None], 3, axis=-1)
        else:
            colours = eight[..., :3]
        if upright.ndim == 3 and upright.shape[2] in (2, 4):  # laid over white
            alpha = eight[..., -1:].astype(float) / 255
            laid = np.round(colours * alpha + 255 * (1 - alpha)).astype(np.uint8)
            off = np.abs(seen.astype(int) - laid).max() if seen.shape == laid.shape else 999
            wrong.append(f"{name}: off by {off}" if off > 1 else None)
        else:
            wrong.append(difference(seen, colours, name))
    assert not [each for each in wrong if each]
    some = [sets.Source(name=name, path=folder / name, album=name) for name in expected if "1x8" in name]
    cache = packed_cache.open_packed(some, scale=4, label="set", cache=tmp_path)
    assert not cache.bad
    for at, name in enumerate(cache.names):
        assert np.array_equal(cache.hr(at)[..., 0], expected[name]), name


def with_exif(png: bytes, orientation: int) -> bytes:
    """A PNG with the chunk eXIf right behind its header."""
    exif = Image.Exif()
    exif[274] = orientation
    content = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:33] + chunk + png[33:]


def exif_files(folder: Path) -> dict[str, np.ndarray]:
    """PNG, WebP, JPEG and AVIF of every orientation, in the modes and depths that they have."""
    expected: dict[str, np.ndarray] = {}
    lossless = {"lossless": True, "exact": True}
    for orientation in PLACES:
        for channels, bits in ((1, 8), (2, 8), (3, 8), (4, 8), (1, 16), (2, 16), (3, 16), (4, 16)):
            upright = picture(channels, bits)
            kept = np.ascontiguousarray(stored(upright, orientation))
            name = f"{orientation} {channels}x{bits}.png"
            (folder / name).write_bytes(with_exif(imagecodecs.png_encode(kept), orientation))
            expected[name] = upright
            kinds = {
                "lossless.webp": (lossless, (3, 4)),
                "jpeg.jpg": ({"quality": 100, "subsampling": 0}, (1, 3)),
                "no jpeg.avif": ({"quality": 100, "subsampling": "4:4:4"}, (3, 4)),
            }
            for kind, (options, possible) in kinds.items():
                if bits == 8 and channels in possible:
                    exif = Image.Exif()  # Pillow takes the orientation out of it when it saves AVIF
                    exif[274] = orientation
                    name = f"{orientation} {channels} {kind}"
                    Image.fromarray(kept).save(folder / name, exif=exif, **options)
                    expected[name] = upright
    return expected


def test_other_formats_are_seen_upright_in_every_mode_and_depth(tmp_path: Path) -> None:
    """By ``upscale``, and by training, which lays over white what is transparent and keeps eight bits."""
    wrong = []
    for name, upright in exif_files(tmp_path).items():
        with full_files.opened(tmp_path / name) as opened:
            seen = opened.frame(0)
        shown = upright if upright.ndim == 3 else upright[..., None]
        wrong.append(
            difference(seen, shown, name) or (f"{name}: {seen.dtype}" if seen.dtype != upright.dtype else None)
        )
        eight = shown // 257 if shown.dtype == np.uint16 else shown
        alpha = eight[..., -1:] / 255 if eight.shape[2] in (2, 4) else np.ones((HEIGHT, WIDTH, 1))
        colours = eight[..., :1] if eight.shape[2] < 3 else eight[..., :3]
        laid = np.broadcast_to(colours * alpha + 255 * (1 - alpha), (HEIGHT, WIDTH, 3))
        trained_on = rgb8.read_picture(tmp_path / name).pixels
        off = np.abs(trained_on - laid).max() if trained_on.shape == laid.shape else 999
        wrong.append(f"{name}: training is off by {off}" if off > (10 if "jpeg" in name else 2) else None)
    assert len(wrong) > 200
    assert not [each for each in wrong if each]


def test_each_page_has_an_orientation_of_its_own(tmp_path: Path) -> None:
    for bits in (8, 16):
        pages = picture(3, bits)
        with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
            for orientation in (6, 1, 3, 8):
                kept = np.ascontiguousarray(stored(pages, orientation))
                writer.write(kept, photometric="rgb", metadata=None, extratags=[(274, "H", 1, orientation, True)])
        with full_files.opened(tmp_path / "pages.tif") as opened:
            for number in (0, 1, 2, 3, 0):
                assert np.array_equal(opened.frame(number), pages), (bits, number)
