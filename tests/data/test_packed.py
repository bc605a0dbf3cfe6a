"""The cache holds what decoding gives, is rebuilt when and only when it must be, and survives what happens to it."""

import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys

import imagecodecs
import numpy as np
import psutil
import pytest
from PIL import Image

from helpers import colour_profiles, warm_python
from helpers.patience import HANGS_SECONDS, until
from srgan_lit.common.errors import SRGANError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import packed_cache, sets
from srgan_lit.pictures import bicubic, full_files, rgb8


def fill(folder, count=6, side=40):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        size = (side + number, side - number % 5, 3)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(folder / f"p{number:03}.png")


def found_in(folder):
    return sets.training_sources(DataConfig(name="folder", root=str(folder)))


def opened(folder, cache, scale=4):
    return packed_cache.open_packed(found_in(folder), scale=scale, label="set", cache=cache)


def pixel_files(cache):
    return sorted(path.name for path in cache.rglob("pixels.*"))


def assert_right(cache, folder, scale=4):
    for at, source in enumerate(found_in(folder)):
        picture = rgb8.read_picture(source.path)
        hr = bicubic.crop_to_multiple(picture.pixels, scale)
        assert cache.names[at] == source.name
        assert np.array_equal(cache.hr(at), hr)
        assert np.array_equal(cache.lr(at), bicubic.shrink(hr, scale))
        assert cache.grey[at] == picture.grey


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_holds_hr_and_lr_of_every_picture(tmp_path, scale):
    fill(tmp_path / "photos")
    cache = opened(tmp_path / "photos", tmp_path / "cache", scale)
    assert len(cache) == 6
    assert not cache.bad
    assert_right(cache, tmp_path / "photos", scale)
    with pytest.raises(ValueError, match="read-only"):
        cache.hr(0)[0] = 0


def test_whatever_kind_of_file_a_camera_or_program_writes(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rgb = np.random.default_rng(0).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    image = Image.fromarray(rgb)
    grey = image.convert("L")
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(folder / "turned.png", exif=turned)
    image.save(folder / "turned.jpg", exif=turned)
    image.convert("P").save(folder / "palette.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("RGBA").save(folder / "alpha.png")
    grey.save(folder / "grey.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder / "wide.png")
    deep = np.maximum(rgb.astype(np.int32) * 257 - 100, 0).astype(np.uint16)  # nearer to these than to one less
    (folder / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    Image.fromarray(np.asarray(grey).astype(np.float32) / 255).save(folder / "float.tif")
    image.save(folder / "progressive.jpg", progressive=True)
    cache = opened(folder, tmp_path / "cache")
    assert not cache.bad
    assert_right(cache, folder)
    by_name = dict(zip(cache.names, range(len(cache)), strict=True))
    assert np.array_equal(cache.hr(by_name["turned.png"]), np.rot90(rgb, -1))
    assert np.array_equal(cache.hr(by_name["deep.png"]), rgb)
    assert np.array_equal(cache.hr(by_name["wide.png"]), cache.hr(by_name["grey.png"]))
    assert np.array_equal(cache.hr(by_name["float.tif"]), cache.hr(by_name["grey.png"]))
    assert [name for name in cache.names if cache.grey[by_name[name]]] == ["float.tif", "grey.png", "wide.png"]


def test_a_picture_that_could_not_be_read_is_tried_again(tmp_path, monkeypatch):
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    fill(folder, 3)
    decode = rgb8.read_picture

    def short_of_memory(path):
        if "p001" in str(path):
            raise SRGANError(f"{path}: not a readable picture (MemoryError)")
        return decode(path)

    with monkeypatch.context() as patch:
        patch.setattr(rgb8, "read_picture", short_of_memory)
        assert list(opened(folder, cache).bad) == ["p001.png"]
        before = pixel_files(cache)
        assert list(opened(folder, cache).bad) == ["p001.png"]
        assert pixel_files(cache) == before, "still bad: nothing is packed again"
    assert not opened(folder, cache).bad
    assert_right(opened(folder, cache), folder)


def test_cmyk_is_seen_through_its_profile_as_upscale_sees_it(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    inks = np.random.default_rng(0).integers(0, 256, (40, 24, 4), dtype=np.uint8)
    image = Image.fromarray(inks, mode="CMYK")
    image.save(folder / "print.tif", icc_profile=colour_profiles.cmyk())
    cache = opened(folder, tmp_path / "cache")
    with full_files.opened(folder / "print.tif") as picture:
        assert np.array_equal(cache.hr(0), picture.frame(0))
    plain = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(cache.hr(0) - plain).mean() > 20


def test_a_picture_that_is_no_regular_file_is_named_and_never_waited_for(tmp_path):
    folder = tmp_path / "photos"
    fill(folder, 3)
    os.mkfifo(folder / "pipe.png")
    (folder / "linked.png").symlink_to(folder / "pipe.png")
    cache = opened(folder, tmp_path / "cache")
    assert len(cache) == 3
    assert set(cache.bad) == {"pipe.png", "linked.png"}
    assert all("no regular file" in reason for reason in cache.bad.values())


def test_bad_files_are_named_and_the_others_are_there(tmp_path):
    folder = tmp_path / "photos"
    fill(folder, 4)
    whole = (folder / "p001.png").read_bytes()
    (folder / "p001.png").write_bytes(whole[: len(whole) // 2])
    (folder / "p002.png").write_text("no picture")
    (folder / "zero.png").touch()
    Image.new("RGB", (3, 90)).save(folder / "thin.png")
    levels = np.arange(40 * 24).reshape(40, 24) % 256
    Image.fromarray(levels.astype(np.float32)).save(folder / "float.tif")  # would be white, but for the first column
    Image.fromarray(levels.astype(np.int32)).save(folder / "wide.tif")  # would be black
    cache = opened(folder, tmp_path / "cache")
    assert set(cache.bad) == {"p001.png", "p002.png", "zero.png", "thin.png", "float.tif", "wide.tif"}
    assert all(str(folder / name) in reason for name, reason in cache.bad.items())
    assert cache.names == ["p000.png", "p003.png"]
    with pytest.raises(SRGANError, match=r"gone\.png: not a readable picture \(No such file or directory\)$"):
        rgb8.read_picture(folder / "gone.png")
    assert np.array_equal(cache.hr(1), bicubic.crop_to_multiple(rgb8.read_picture(folder / "p003.png").pixels, 4))
    (folder / "p001.png").write_bytes(whole)
    assert "p001.png" in opened(folder, tmp_path / "cache").names


def test_is_rebuilt_when_and_only_when_it_must_be(tmp_path, monkeypatch):
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    fill(folder)
    opened(folder, cache)
    first = pixel_files(cache)

    opened(folder, cache)
    assert pixel_files(cache) == first

    os.utime(folder / "p000.png", (1, 1))  # touched: the same content
    opened(folder, cache)
    shutil.copy(folder / "p001.png", tmp_path / "copy.png")
    (tmp_path / "copy.png").replace(folder / "p001.png")  # another file: the same content
    opened(folder, cache)
    assert pixel_files(cache) == first

    before = (folder / "p000.png").stat()
    Image.new("RGB", (40, 40), "red").save(folder / "p000.png")
    os.utime(folder / "p000.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert_right(opened(folder, cache), folder)
    second = pixel_files(cache)
    assert len(second) == 1  # the old one is gone
    assert second != first

    (folder / "p003.png").unlink()
    assert_right(opened(folder, cache), folder)
    third = pixel_files(cache)
    assert third != second

    monkeypatch.setattr(packed_cache, "VERSION", packed_cache.VERSION + 1)
    opened(folder, cache)
    assert pixel_files(cache) != third


def test_another_scale_is_another_cache(tmp_path):
    fill(tmp_path / "photos")
    opened(tmp_path / "photos", tmp_path / "cache", 4)
    opened(tmp_path / "photos", tmp_path / "cache", 2)
    assert len(pixel_files(tmp_path / "cache")) == 2
    assert_right(opened(tmp_path / "photos", tmp_path / "cache", 4), tmp_path / "photos", 4)


@pytest.mark.parametrize("harm", ["no pixels", "half an index", "empty index", "short pixels"])
def test_a_damaged_cache_is_made_again(tmp_path, harm):
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    fill(folder)
    opened(folder, cache)
    index = next(cache.rglob("index.json"))
    pixels = next(cache.rglob("pixels.*"))
    if harm == "no pixels":
        pixels.unlink()
    elif harm == "short pixels":
        os.truncate(pixels, 1000)
    else:
        index.write_text(index.read_text()[:100] if harm == "half an index" else "{}")
    assert_right(opened(folder, cache), folder)


def test_a_fresh_process_can_be_handed_the_cache(tmp_path):
    fill(tmp_path / "photos")
    cache = opened(tmp_path / "photos", tmp_path / "cache")
    assert len(pickle.dumps(cache)) < 5000  # the map is not in it
    assert_right(pickle.loads(pickle.dumps(cache)), tmp_path / "photos")


def test_too_small_a_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    fill(tmp_path / "photos")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(SRGANError, match=r"needs 0\.00 GB and 0\.00 GB are free; .*data\.cache="):
        opened(tmp_path / "photos", tmp_path / "cache")
    assert pixel_files(tmp_path / "cache") == []


def test_a_cache_folder_that_cannot_be_written(tmp_path):
    fill(tmp_path / "photos")
    (tmp_path / "file").touch()
    with pytest.raises(SRGANError, match=r"cannot write the packed cache .*data\.cache="):
        opened(tmp_path / "photos", tmp_path / "file")


def test_the_default_place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert packed_cache.default_folder() == tmp_path / "srgan_lit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert packed_cache.default_folder() == tmp_path / ".cache" / "srgan_lit"


PACK = """
import sys
from srgan_lit.data import packed_cache, sets
from srgan_lit.config.schema import DataConfig
found = sets.training_sources(DataConfig(name="folder", root=sys.argv[1]))
packed_cache._POOL_FROM = int(sys.argv[3])
print(len(packed_cache.open_packed(found, scale=4, label="set", cache=sys.argv[2])), flush=True)
"""


def start(folder, cache, pool_from=0):
    return warm_python.Popen(
        [sys.executable, "-c", PACK, str(folder), str(cache), str(pool_from)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def running(group):
    """Processes of a group that are not just waiting to be collected."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


@pytest.mark.long
def test_a_kill_in_the_middle_leaves_no_cache_that_looks_whole_and_no_process(tmp_path):
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    fill(folder, 24, side=700)
    process = start(folder, cache)
    until(lambda: any(name.endswith(".part") for name in pixel_files(cache)) or process.poll() is not None, every=0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(cache.rglob("index.json"))
    assert_right(opened(folder, cache), folder)
    assert [name.rpartition(".")[2] for name in pixel_files(cache)] == ["bin"]
    until(lambda: not running(process.pid))


@pytest.mark.long
def test_two_processes_at_once_pack_once(tmp_path):
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    fill(folder, 24, side=500)
    both = [start(folder, cache), start(folder, cache)]
    for process in both:
        output, errors = process.communicate(timeout=HANGS_SECONDS)
        assert (process.returncode, output) == (0, b"24\n"), errors
    assert len(pixel_files(cache)) == 1
    assert_right(opened(folder, cache), folder)


def test_decoding_in_processes_and_in_one_give_the_same(tmp_path):
    folder = tmp_path / "photos"
    fill(folder, 9)
    (folder / "bad.png").touch()
    stored = []
    for name, pool_from in (("pool", 0), ("one", 10**9)):
        process = start(folder, tmp_path / name, pool_from)
        assert process.communicate(timeout=HANGS_SECONDS)[0] == b"9\n"
        index = json.loads(next((tmp_path / name).rglob("index.json")).read_text())
        stored.append((index | {"pixels": ""}, next((tmp_path / name).rglob("pixels.*")).read_bytes()))
    assert stored[0] == stored[1]
