"""No picture is trained on that scores are taken of: parts of sets, copies, pieces of one photograph, other roots."""

import shutil

import numpy as np
import pytest
from PIL import Image

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import sets, splits
from srgan_lit.data.datamodule import SRDataModule
from srgan_lit.pictures import rgb8


def picture(path, seed, side=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)


def config(root, tmp_path, **changes):
    return DataConfig(**{"name": "folder", "root": str(root), "crop": 16, "cache": str(tmp_path / ".cache")} | changes)


def divided(settings):
    """The names of what is trained on, and of what is validated with."""
    data = SRDataModule(settings, scale=4)
    sets.check(settings, 4)
    data.setup()
    return tuple(sorted(data.material()[role]) for role in ("trained", "validated"))


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("train", "val", "test"),
        ("Train", "validation", "testing"),
        ("a/train", "a/valid", "a/test"),
        ("DIV2K_train_HR", "DIV2K_valid_HR", "DIV2K_test_HR"),
        ("train_HR", "valid_HR", "test_HR"),
    ],
)
def test_parts_are_validated_with_or_left_out_and_never_trained_on(tmp_path, train, valid, test):
    root = tmp_path / "set"
    for seed, (folder, side) in enumerate(((train, 40), (valid, 40), (test, 40))):
        for number in range(3):
            picture(root / folder / f"{number}.png", 10 * seed + number, side)
    if "DIV2K" in train:  # their LR files are no originals
        for name in ("train", "valid"):
            for number in range(3):
                picture(root / f"DIV2K_{name}_LR_bicubic" / "X4" / f"{number}x4.png", number, 10)
    settings = config(root, tmp_path)
    trained, validated = divided(settings)
    assert trained == [f"{train}/{number}.png" for number in range(3)]
    assert validated == [f"{valid}/{number}.png" for number in range(3)]
    said = sets.training_set(settings, 4).understood
    assert f"validated with, and not trained on: {valid}/ (3)" in said
    assert f"{test}/ (3)" in said.partition("left out: ")[2]
    with pytest.raises(UsageError, match="validation_share has no effect"):
        sets.check(settings, 4, set_by_user=["data.validation_share"])
    own = tmp_path / "own"
    for number in range(3):
        picture(own / f"{number}.png", 50 + number)
    trained, validated = divided(config(root, tmp_path, validation_root=str(own)))
    assert trained == [f"{train}/{number}.png" for number in range(3)]
    assert validated == [f"validation_root/{number}.png" for number in range(3)]


def test_a_folder_of_nothing_but_such_parts_is_trained_on_only_where_it_is_named_itself(tmp_path):
    for number in range(3):
        picture(tmp_path / "set" / "test" / f"{number}.png", number)
    with pytest.raises(UsageError, match=r"not trained on; .*data\.root=.*set/test"):
        sets.check(config(tmp_path / "set", tmp_path), 4)
    assert len(sets.training_sources(config(tmp_path / "set" / "test", tmp_path))) == 3


def test_a_run_that_began_before_reads_its_folder_as_it_did(tmp_path):
    for seed, name in enumerate(("train/a.png", "val/b.png", "test/c.png", "test/d.png")):
        picture(tmp_path / "set" / name, seed)
    shutil.copy(tmp_path / "set" / "train" / "a.png", tmp_path / "set" / "train" / "copy.png")
    trained, validated = divided(config(tmp_path / "set", tmp_path, reading=1, validation_share=0.5))
    names = ["test/c.png", "test/d.png", "train/a.png", "train/copy.png", "val/b.png"]
    assert sorted(trained + validated) == names
    assert set(validated) == splits.held_out(names, 0.5)


def test_the_same_content_under_two_names_is_one_album_and_other_splits_stay(tmp_path):
    root = tmp_path / "set"
    names = [f"{number:02}.png" for number in range(40)]
    for number, name in enumerate(names):
        picture(root / name, number)
    before = divided(config(root, tmp_path, validation_share=0.3))
    assert set(before[1]) == splits.held_out(names, 0.3), "without copies as ever"
    trained, validated = before[0][0], before[1][0]
    for copied, name in ((validated, "zz1.png"), (trained, "zz2.png"), (trained, "zz3.png"), (validated, "zz4.bmp")):
        with Image.open(root / copied) as opened:  # as other bytes
            opened.save(root / name, **({} if name.endswith("bmp") else {"compress_level": 1}))
    after = divided(config(root, tmp_path, validation_share=0.3))
    assert after == (sorted([*before[0], "zz2.png", "zz3.png"]), sorted([*before[1], "zz1.png", "zz4.bmp"]))
    held_out = sets.held_out_pairs(str(root), 4, 0.3)
    assert sorted(source.path.name for source in held_out.sources) == after[1]


def test_albums_that_share_a_picture_are_one_however_long_the_chain():
    albums = {"p1": "c", "p2": "b", "p3": "b", "p4": "a", "p5": "z"}
    contents = {"p1": "x", "p2": "x", "p3": "y", "p4": "y", "p5": "w"}
    assert splits.joined(albums, contents) == {"p1": "a", "p2": "a", "p3": "a", "p4": "a", "p5": "z"}
    assert splits.joined(albums, {}) == albums


def test_pieces_of_one_photograph_are_one_album_and_so_are_cufeds_patches_with_a_common_one(tmp_path):
    for photo in range(12):
        for piece in range(1, 4):
            picture(tmp_path / "set" / "DIV2K_train_HR_sub" / f"{photo:04}_s{piece:03}.png", 10 * photo + piece)
    trained, validated = divided(config(tmp_path / "set", tmp_path, validation_share=0.4))
    photos = [{name.partition("_s0")[0] for name in names} for names in (trained, validated)]
    assert photos[0].isdisjoint(photos[1])
    assert all(photos)
    for album in range(8):
        name = f"H_0_759{album}@N07_31_0_105matches93_raw_0"
        for patch in range(2):
            picture(tmp_path / "cufed" / "input" / f"{name}{patch}.png", 0 if not patch else album)
    with pytest.raises(SRGANError, match="not enough"):  # all albums have one patch in common
        divided(config(tmp_path / "cufed", tmp_path, name="cufed"))


@pytest.mark.parametrize("key", ["test_root", "validation_root"])
def test_a_root_with_pictures_that_are_trained_on_is_refused_by_name(tmp_path, key):
    for number in range(6):
        picture(tmp_path / "set" / f"{number}.png", number)
        picture(tmp_path / "other" / f"{number}.png", 100 + number)
    fine = config(tmp_path / "set", tmp_path, **{key: str(tmp_path / "other")})
    trained, validated = divided(fine)
    if key == "test_root":  # what is validated with may be tested on: that is said by the table
        shutil.copy(tmp_path / "set" / validated[0], tmp_path / "other" / "held_out.png")
        divided(fine)
    with Image.open(tmp_path / "set" / trained[-1]) as opened:
        opened.save(tmp_path / "other" / "renamed.bmp")
    with pytest.raises(
        UsageError, match=rf"data\.{key}: 1 of its [78] pictures are trained on \(.*renamed.* is {trained[-1]}"
    ):
        divided(fine)


def test_a_run_that_began_before_is_told_and_not_refused(tmp_path, caplog):
    for number in range(4):
        picture(tmp_path / "set" / f"{number}.png", number)
    divided(config(tmp_path / "set", tmp_path, test_root=str(tmp_path / "set"), reading=1))
    assert "data.test_root: 3 of its 4 pictures are trained on" in caplog.text


def test_the_content_of_a_picture_is_its_pixels_and_its_sides():
    pixels = np.arange(2 * 6 * 3, dtype=np.uint8).reshape(2, 6, 3)
    assert rgb8.content(pixels) == rgb8.content(np.asfortranarray(pixels))
    assert len({rgb8.content(pixels.reshape(sides)) for sides in ((2, 6, 3), (6, 2, 3), (3, 4, 3))}) == 3


def test_the_pictures_that_are_shown_first_are_of_different_albums(tmp_path):
    for album in range(10):
        for patch in range(3):
            picture(
                tmp_path / "set" / "input" / f"H_0_759{album}@N07_31_0_105matches93_raw_0{patch}.png", 3 * album + patch
            )
    data = SRDataModule(config(tmp_path / "set", tmp_path, name="cufed", validation_share=0.5), scale=4)
    data.setup()
    shown = data.validation_set()
    count = len(set(shown.albums))
    assert count > 3
    assert len(set(shown.albums[:count])) == count
    assert len(shown) == 3 * count
