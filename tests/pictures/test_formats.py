import zipfile

import numpy as np
import pytest
from PIL import Image, ImageCms

from srgan_lit import upscale
from srgan_lit.common.errors import SRGANError
from srgan_lit.data import archives
from srgan_lit.pictures import find, formats, full_files
from srgan_lit.pictures.full_files import Frame, Info

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SUFFIXES = sorted(formats.WRITTEN)


def written(path, pixels, *, frames=1, scale=1):
    exif = Image.Exif()
    exif[0x010F] = "maker"
    durations_ms = [40] * frames if frames > 1 else []
    info = Info(
        frames=frames, icc_profile=PROFILE, exif=exif, dpi=(72, 72), durations_ms=durations_ms, loop=0, lossless=False
    )
    all_frames = (Frame(shape=pixels.shape, bands=iter([np.roll(pixels, n)]), scale=scale) for n in range(frames))
    full_files.write(path, all_frames, info)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_the_table_says_of_a_format_is_so(tmp_path, suffix):
    """Found in folders and archives, offered, written and read back, with what it is said to carry and hold."""
    kind = formats.BY_SUFFIX[suffix]
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    path = tmp_path / "pictures" / f"a{suffix.upper()}"
    path.parent.mkdir()
    written(path, noise, scale=4)

    assert find.contents(path.parent).pictures == [path]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, path.name)
    assert archives.unpack(tmp_path / "a.zip", tmp_path / "unpacked") == 1
    assert f"{suffix[1:]}," in upscale.build_parser().format_help().replace("}", ",")

    with full_files.opened(path) as opened:
        info = opened.info
        pixels = opened.frame(0)
        assert opened.format == kind.name
        assert pixels.shape == noise.shape
        carried = kind.carries if kind.name != "TIFF" else {"icc_profile", "exif", "dpi"}  # not Pillow's to write
        assert (info.icc_profile == PROFILE) == ("icc_profile" in carried)
        assert (info.exif.get(0x010F) == "maker") == ("exif" in carried)
        assert (info.dpi is not None) == ("dpi" in carried)
        if info.dpi:
            assert info.dpi == pytest.approx((288, 288), abs=0.1)

    deep = (12, 20, 3), np.dtype(np.uint16)
    if kind.deep:
        full_files.refuse_unless_it_fits(kind, *deep)
        written(tmp_path / f"deep{suffix}", noise.astype(np.uint16) * 257 + 5)
        with full_files.opened(tmp_path / f"deep{suffix}") as opened:
            assert opened.frame(0).dtype == np.uint16
    else:
        with pytest.raises(SRGANError, match="holds 8 bits"):
            full_files.refuse_unless_it_fits(kind, *deep)

    if kind.frames:
        written(tmp_path / f"moving{suffix}", noise, frames=3)
        with full_files.opened(tmp_path / f"moving{suffix}") as opened:
            assert opened.info.frames == 3
    else:
        with pytest.raises(SRGANError, match="3 frames"):
            written(tmp_path / f"moving{suffix}", noise, frames=3)

    clear = (12, 20, 4), np.dtype(np.uint8)
    if kind.alpha:
        full_files.refuse_unless_it_fits(kind, *clear)
    else:
        with pytest.raises(SRGANError, match="no transparency"):
            full_files.refuse_unless_it_fits(kind, *clear)
    with pytest.raises(SRGANError, match="more than"):
        full_files.refuse_unless_it_fits(kind, (1, kind.longest_px + 1, 3), np.dtype(np.uint8))


def test_results_kept_inside_and_hidden_files_are_passed_over_and_a_broken_link_is_not(tmp_path):
    for name in ("a.png", "out/a.png", ".b.png", "__MACOSX/c.png", "sub/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")

    def names(**besides):
        return [path.relative_to(tmp_path).as_posix() for path in find.contents(tmp_path, **besides).pictures]

    assert names() == ["a.png", "gone.png", "out/a.png"]
    assert names(besides=tmp_path / "out") == ["a.png", "gone.png"]
    assert names(besides=tmp_path) == names(), "results beside the pictures hide none of them"
