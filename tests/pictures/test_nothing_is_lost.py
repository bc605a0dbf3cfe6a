"""What a file states beside its pixels is in the result, or the result says that it is not."""

import io
import struct
import subprocess
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from srgan_lit import upscale
from srgan_lit.common.errors import SRGANError
from srgan_lit.pictures import colour_codes, full_files, rgb8

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 9, 3), dtype=np.uint8)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="a"/></x:xmpmeta>'


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    return png[:33] + chunk(kind, content) + png[33:]


def enlarge(source, target, *options, status=0):
    assert upscale.main([str(source), "-o", str(target), "--model", "bicubic", *options]) == status


def encoded(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_the_clear_level_of_a_grey_png_is_in_units_of_its_depth(depth, tmp_path):
    levels = [number % 2**depth for number in range(8)]
    bits = "".join(f"{level:0{depth}b}" for level in levels)
    row = b"\0" + int(bits, 2).to_bytes(depth, "big")
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 4, depth, 0, 0, 0, 0))
    content += chunk(b"tRNS", b"\0\1") + chunk(b"IDAT", zlib.compress(row * 4)) + chunk(b"IEND", b"")
    (tmp_path / "in.png").write_bytes(content)
    with full_files.opened(tmp_path / "in.png") as opened:
        pixels = opened.frame(0)
    assert pixels[0, :, 1].tolist() == [0 if level == 1 else 255 for level in levels]
    seen = rgb8.read_picture(tmp_path / "in.png").pixels[0, :, 0]
    assert seen.tolist() == [255 if level == 1 else level * 255 // (2**depth - 1) for level in levels]


def test_a_profile_made_of_codes_is_the_colour_space_that_they_name():
    def shown(profile, colour):
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        image = Image.new("RGB", (1, 1), colour)
        return ImageCms.profileToProfile(image, opened, ImageCms.createProfile("sRGB")).getpixel((0, 0))

    display_p3 = colour_codes.profile(12, 13)
    assert np.abs(np.subtract(shown(display_p3, (200, 100, 50)), (215, 93, 31))).max() <= 1  # by CSS Color 4's matrices
    assert np.abs(np.subtract(shown(display_p3, (128, 128, 128)), 128)).max() <= 1
    assert np.abs(np.subtract(shown(colour_codes.profile(1, 4), (128, 128, 128)), 128)).max() <= 2
    assert colour_codes.profile(1, 13) is None
    assert colour_codes.profile(2, 2) is None
    with pytest.raises(ValueError, match="9/16"):
        colour_codes.profile(9, 16)


def test_display_p3_stays_itself(tmp_path):
    (tmp_path / "in.png").write_bytes(with_chunk(encoded(RGB, "PNG"), b"cICP", b"\x0c\x0d\0\1"))
    enlarge(tmp_path / "in.png", tmp_path / "out.png")
    assert with_chunk(b"", b"cICP", b"\x0c\x0d\0\1") in (tmp_path / "out.png").read_bytes()
    enlarge(tmp_path / "in.png", tmp_path / "out.webp")
    for name in ("out.png", "out.webp"):
        with Image.open(tmp_path / name) as result:
            assert result.info["icc_profile"] == colour_codes.profile(12, 13)


def test_colours_of_heic_and_avif_stay_themselves(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="HEIC needs pillow-heif")
    pillow_heif.register_heif_opener()
    for kind in ("HEIF", "AVIF"):
        name = f"in.{kind.lower()}"
        content = encoded(np.kron(RGB, np.ones((8, 8, 1), np.uint8)), kind)
        at = content.index(b"colrnclx") + 8
        (tmp_path / name).write_bytes(content[:at] + struct.pack(">HH", 12, 13) + content[at + 4 :])
        enlarge(tmp_path / name, tmp_path / f"{kind}.jpg")
        with Image.open(tmp_path / f"{kind}.jpg") as result:
            assert result.info["icc_profile"] == colour_codes.profile(12, 13)


@pytest.mark.parametrize("transfer", [16, 18])
def test_high_dynamic_range_is_kept_or_refused(transfer, tmp_path, capsys):
    (tmp_path / "in.png").write_bytes(with_chunk(encoded(RGB, "PNG"), b"cICP", bytes([9, transfer, 0, 1])))
    enlarge(tmp_path / "in.png", tmp_path / "out.png")
    assert with_chunk(b"", b"cICP", bytes([9, transfer, 0, 1])) in (tmp_path / "out.png").read_bytes()
    enlarge(tmp_path / "in.png", tmp_path / "out.jpg", status=1)
    assert "high dynamic range (PQ or HLG), which JPEG would not say: take --format png" in capsys.readouterr().err
    assert not (tmp_path / "out.jpg").exists()


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg", "webp"])
def test_a_bigtiff_is_a_tiff(suffix, tmp_path):
    tags = [(271, "s", 0, "maker", True)]
    tifffile.imwrite(tmp_path / "in.tif", RGB, photometric="rgb", bigtiff=True, metadata=None, extratags=tags)
    enlarge(tmp_path / "in.tif", tmp_path / f"out.{suffix}")
    with Image.open(tmp_path / f"out.{suffix}") as result:
        assert result.size == (36, 48)
        assert result.getexif()[271] == "maker"
    assert np.array_equal(rgb8.read_picture(tmp_path / "in.tif").pixels, RGB)


@pytest.mark.parametrize(("bands", "colour"), [(4, "rgb"), (5, "rgb"), (4, "minisblack")])
def test_bands_that_would_vanish_are_refused(bands, colour, tmp_path, capsys):
    pixels = RNG.integers(0, 256, (12, 9, bands), dtype=np.uint8)
    more = [0] * (bands - (3 if colour == "rgb" else 1))
    for plane in ("contig", "separate"):
        planes = pixels if plane == "contig" else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
        tifffile.imwrite(tmp_path / "in.tif", planes, photometric=colour, planarconfig=plane, extrasamples=more)
        enlarge(tmp_path / "in.tif", tmp_path / "out.tif", status=1)
        assert f"{bands} bands" in capsys.readouterr().err
        assert not (tmp_path / "out.tif").exists()


def geotiff(path, *, point):
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, 2 if point else 1)
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 500_000.0, 4_000_000.0, 0.0), True),
        (34735, "H", len(keys), keys, True),
        (42113, "s", 0, "0", True),
    ]
    tifffile.imwrite(path, RGB, photometric="rgb", metadata=None, extratags=tags)


@pytest.mark.parametrize("point", [False, True])
def test_a_geotiff_lies_where_it_lay(point, tmp_path, capsys):
    geotiff(tmp_path / "in.tif", point=point)
    enlarge(tmp_path / "in.tif", tmp_path / "out.tif")
    assert capsys.readouterr().err == ""
    with tifffile.TiffFile(tmp_path / "out.tif") as result:
        tags = {tag.code: tag.value for tag in result.pages.first.tags}
    assert tags[33550] == (2.5, 2.5, 0.0)
    # Of points, the centre of the first pixel lies 1.5 of the new pixels within.
    assert tags[33922] == ((1.5, 1.5) if point else (0.0, 0.0)) + (0.0, 500_000.0, 4_000_000.0, 0.0)
    assert tags[34735][-1] == (2 if point else 1)
    enlarge(tmp_path / "in.tif", tmp_path / "out.png")
    assert "out.png: without its place on the map (GeoTIFF)" in capsys.readouterr().err


def test_a_float_tiff_that_is_trained_on_is_enlarged(tmp_path):
    Image.fromarray(np.linspace(0, 1, 108, dtype=np.float32).reshape(12, 9)).save(tmp_path / "in.tif")
    enlarge(tmp_path / "in.tif", tmp_path / "out.tif")
    result = tifffile.imread(tmp_path / "out.tif")
    assert result.dtype == np.uint16
    assert result.max() > 65000
    assert rgb8.read_picture(tmp_path / "in.tif").pixels.max() == 255
    Image.fromarray(np.full((12, 9), 7.0, dtype=np.float32)).save(tmp_path / "bad.tif")
    with pytest.raises(SRGANError, match=r"floating point in \[0, 1\]"):
        rgb8.read_picture(tmp_path / "bad.tif")


def test_a_lossless_webp_with_a_large_profile_stays_lossless(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(100_000)
    Image.fromarray(RGB).save(tmp_path / "in.webp", lossless=True, icc_profile=profile)
    enlarge(tmp_path / "in.webp", tmp_path / "out.webp")
    with full_files.opened(tmp_path / "out.webp") as opened:
        assert opened.info.lossless
    Image.fromarray(RGB).save(tmp_path / "lossy.webp", icc_profile=profile)
    with full_files.opened(tmp_path / "lossy.webp") as opened:
        assert not opened.info.lossless


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "avif"])
def test_xmp_stays_and_says_that_the_picture_is_upright(kind, tmp_path):
    if kind == "png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        Image.fromarray(RGB).save(tmp_path / "in.png", pnginfo=text)
    elif kind == "tif":
        tifffile.imwrite(tmp_path / "in.tif", RGB, photometric="rgb", extratags=[(700, "B", len(XMP), XMP, True)])
    else:
        Image.fromarray(RGB).save(tmp_path / f"in.{kind}", xmp=XMP)
    enlarge(tmp_path / f"in.{kind}", tmp_path / f"out.{kind}")
    with Image.open(tmp_path / f"out.{kind}") as result:
        assert bytes(result.info["xmp"]).replace(b'="1"', b'="6"').rstrip(b"\0") == XMP


def test_what_is_dropped_is_said(tmp_path, capsys):
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "someone")
    Image.fromarray(RGB).save(tmp_path / "text.png", pnginfo=text)
    motion = XMP.replace(b"dc:title", b"GCamera:MotionPhoto")
    motion = motion.replace(b'="a"', b'="1"')
    Image.fromarray(RGB).save(tmp_path / "phone.jpg", xmp=motion)
    Image.fromarray(RGB).save(tmp_path / "comment.gif", comment=b"hello")
    Image.fromarray(RGB).save(
        tmp_path / "exif.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x0f\0\2\0\0\0\3ab\0\0\0\0\0\0"
    )
    for name, suffix, said in [
        ("text.png", "png", "without text (Author)"),
        ("phone.jpg", "jpg", "without motion part, XMP"),
        ("comment.gif", "png", "without comment"),
        ("exif.jpg", "bmp", "without EXIF"),
    ]:
        enlarge(tmp_path / name, tmp_path / f"{name}_out.{suffix}")
        assert f"{name}_out.{suffix}: {said}" in capsys.readouterr().err


def test_an_independent_reader_finds_what_was_kept(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = Image.Exif()
    made[0x010F] = "maker"
    Image.fromarray(RGB).save(tmp_path / "in.jpg", exif=made, icc_profile=profile, dpi=(72, 72))
    for suffix in ("png", "tif", "jpg", "webp", "avif"):
        enlarge(tmp_path / "in.jpg", tmp_path / f"out.{suffix}")
        command = ["exiftool", "-s3", "-Make", "-ICC_Profile:ProfileClass#", str(tmp_path / f"out.{suffix}")]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["maker", "mntr"]
