"""Layouts, albums, the split, and what is refused from headers alone."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import layouts, sets

CUFED_NAME = "H_{}_{}@N07_{}_0_105matches93_raw_01.png"


def picture(path, width=32, height=24, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def folder_config(root, **changes):
    return DataConfig(name="folder", root=str(root), crop=16, **changes)


@pytest.mark.parametrize("place", layouts.CUFED_PLACES)
def test_cufed_is_found_in_every_layout_and_split_by_album(tmp_path, place):
    for album in range(30):
        for number in range(3):
            for part in ("input", "ref"):
                picture(tmp_path / place / part / CUFED_NAME.format(number, 7595000 + album, 31))
    config = DataConfig(name="cufed", root=str(tmp_path), crop=16)
    found = sets.training_sources(config)
    assert len(found) == 90
    assert {source.album for source in found} == {f"{7595000 + album}@N07_31" for album in range(30)}
    both = sets.training_sources(DataConfig(name="cufed", root=str(tmp_path), crop=16, use_ref=True))
    assert len(both) == 180
    assert {source.album for source in both} == {source.album for source in found}
    assert len({source.name for source in both}) == 180


def test_cufed_that_is_not_there_names_the_next_command(tmp_path):
    picture(tmp_path / "a.png")
    with pytest.raises(UsageError, match="prepare cufed"):
        sets.training_sources(DataConfig(name="cufed", root=str(tmp_path)))
    picture(tmp_path / "input" / "a.png")
    with pytest.raises(UsageError, match="no folder ref/"):
        sets.training_sources(DataConfig(name="cufed", root=str(tmp_path), use_ref=True))
    with pytest.raises(UsageError, match="prepare cufed"):
        sets.training_sources(DataConfig(name="cufed"))


def test_a_folder_is_searched_below_and_junk_passed_over(tmp_path):
    for name in ("b.png", "sub/deeper/a.JPG", "sub/c.webp"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    picture(tmp_path / ".hidden" / "x.png")
    picture(tmp_path / "__MACOSX" / "y.png")
    picture(tmp_path / "._b.png")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    picture(elsewhere / "linked.png")
    (tmp_path / "more").symlink_to(elsewhere)
    names = [source.name for source in sets.training_sources(folder_config(tmp_path))]
    assert names == ["b.png", "more/linked.png", "sub/c.webp", "sub/deeper/a.JPG"]


def test_hr_with_lr_uses_the_files_and_finds_both_ways_of_naming(tmp_path):
    for name in ("baby", "bird"):
        picture(tmp_path / "HR" / f"{name}.png", 33, 26)
    small = {
        "baby": picture(tmp_path / "LRx4" / "baby.png", 8, 6, seed=5),
        "bird": picture(tmp_path / "LRx4" / "birdx4.png", 8, 6, seed=6),
    }
    found = sets.test_pairs(tmp_path, 4)
    assert found.names == ["baby", "bird"]
    for at, name in enumerate(found.names):
        pair = found.load(at)
        assert np.array_equal(pair.lr, small[name])
        assert pair.hr.shape == (24, 32, 3)


def test_hr_without_lr_makes_it_and_a_wrong_or_missing_lr_fails_alone(tmp_path):
    picture(tmp_path / "HR" / "a.png")
    picture(tmp_path / "HR" / "b.png")
    picture(tmp_path / "HR" / "c.png")
    made = sets.test_pairs(tmp_path, 4)
    assert made.load(0).lr.shape == (6, 8, 3)
    picture(tmp_path / "LRx4" / "a.png", 8, 6)
    picture(tmp_path / "LRx4" / "b.png", 9, 6)
    found = sets.test_pairs(tmp_path, 4)
    assert found.load(0).lr.shape == (6, 8, 3)
    with pytest.raises(SRGANError, match=r"LRx4/b\.png: 9x6, but 1/4 of its HR is 8x6"):
        found.load(1)
    with pytest.raises(SRGANError, match=r"LRx4/c\.png"):
        found.load(2)
    assert sets.test_pairs(tmp_path, 2).load(1).lr.shape == (12, 16, 3)  # no LRx2: made


@pytest.mark.parametrize("place", layouts.CUFED5_PLACES)
def test_cufed5_takes_the_first_of_each_group(tmp_path, place):
    for group in range(3):
        for number in range(6):
            picture(tmp_path / place / f"{group:03}_{number}.png", 31, 21)
    found = sets.test_pairs(tmp_path, 4)
    assert found.names == ["000_0", "001_0", "002_0"]
    assert found.load(2).hr.shape == (20, 28, 3)


def test_one_unreadable_picture_fails_alone(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    found = sets.test_pairs(tmp_path, 4)
    assert found.load(0).name == "a"
    with pytest.raises(SRGANError, match=r"b\.png: not a readable picture"):
        found.load(1)


def test_names_that_differ_in_the_suffix_alone_keep_it(tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        picture(tmp_path / name)
    assert sets.test_pairs(tmp_path, 4).names == ["a.jpg", "a.png", "b"]


def test_the_embedded_pictures():
    found = sets.test_pairs("sample", 4)
    trained_on = {source.album for source in sets.training_sources(DataConfig(name="sample"))}
    assert len(found) == 4
    assert found.name == "sample"
    assert trained_on.isdisjoint(found.names)
    assert [found.load(at).grey for at in range(4)] == [name == "camera" for name in found.names]
    described = (sets.SAMPLE / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for photograph in {*trained_on, *found.names}:
        assert photograph in described
    assert sum(path.stat().st_size for path in sets.SAMPLE.rglob("*.png")) < 4e6
    sets.check(DataConfig(name="sample"), 4)


@pytest.mark.parametrize(
    ("make", "changes", "said"),
    [
        (lambda root: None, {"root": None}, "data.root is not set"),
        (lambda root: None, {"root": "nowhere"}, "no such folder"),
        (lambda root: picture(root / "f.png"), {"root": "f.png"}, "not a folder"),
        (lambda root: (root / "a.txt").write_text(""), {}, "no pictures there"),
        (lambda root: picture(root / "a.png"), {}, "not enough"),
        (lambda root: (picture(root / "a.png"), picture(root / "b.png")), {"crop": 18}, "data.crop=16"),
        (
            lambda root: (picture(root / "a.png"), picture(root / "b.png", 90, 90)),
            {"crop": 32},
            r"a\.png is 32x24\. Try data\.crop=24 or",
        ),
        (lambda root: (picture(root / "a.png"), picture(root / "b.png")), {"test_root": "t"}, "t: no such folder"),
    ],
)
def test_what_training_could_not_use_is_refused_before_anything_starts(tmp_path, monkeypatch, make, changes, said):
    monkeypatch.chdir(tmp_path)
    make(tmp_path)
    config = DataConfig(**{"name": "folder", "root": str(tmp_path), "crop": 16, **changes})
    with pytest.raises(UsageError, match=said) as refusal:
        sets.check(config, 4)
    assert "\n" not in str(refusal.value)


def test_all_unreadable_files_are_named_at_once(tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UsageError, match="skip_bad=true") as refusal:
        sets.check(folder_config(tmp_path), 4)
    assert "zero.png" in str(refusal.value)
    assert "text.png" in str(refusal.value)
    sets.check(folder_config(tmp_path, skip_bad=True), 4)


def test_names_that_are_no_unicode(tmp_path):
    picture(tmp_path / os.fsdecode(b"caf\xe9.png"))
    picture(tmp_path / "b.png")
    sets.check(folder_config(tmp_path), 4)


def test_no_torch():
    code = "import sys, srgan_lit.data.sets, srgan_lit.data.packed_cache; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
