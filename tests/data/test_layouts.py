"""Folders as projects and archives lay them out: originals and LR files told apart, or refused, never mixed up."""

import numpy as np
import pytest
from PIL import Image

from srgan_lit import evaluate, prepare
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import sets
from srgan_lit.pictures import bicubic

SIDE = 48


def original(seed):
    small = np.random.default_rng(seed).integers(0, 256, (SIDE // 8, SIDE // 8, 3)).astype(np.uint8)
    return bicubic.resize(small, SIDE, SIDE)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_pairs(root, hr, lr, *, scales=(4,), names=("a", "b", "c")):
    """``hr`` and ``lr`` are paths with {name} and {scale}. LR is marked in a corner: it is no bicubic of HR."""
    for seed, name in enumerate(names):
        for scale in scales:
            write(root / hr.format(name=name, scale=scale), original(seed))
            small = bicubic.shrink(original(seed), scale)
            small[0, 0] = 255 - small[0, 0]
            write(root / lr.format(name=name, scale=scale), small)


def marked(pair):
    plain = bicubic.shrink(pair.hr, 4)
    return not np.array_equal(pair.lr, plain) and np.array_equal(pair.lr[1:], plain[1:])


LAYOUTS = {
    "HR": ("HR/{name}.png", "LRx{scale}/{name}.png"),
    "lower case": ("hr/{name}.png", "lrx{scale}/{name}x{scale}.png"),
    "EDSR": ("HR/{name}.png", "LR_bicubic/X{scale}/{name}x{scale}.png"),
    "BasicSR": ("GTmod12/{name}.png", "LRbicx{scale}/{name}.png"),
    "MATLAB": ("HR/{name}.bmp", "LR/x{scale}/{name}.bmp"),
    "DIV2K": ("DIV2K_train_HR/{name}.png", "DIV2K_train_LR_bicubic/X{scale}/{name}x{scale}.png"),
    "DIV2K mild": ("DIV2K_train_HR/{name}.png", "DIV2K_train_LR_mild/{name}x{scale}m.png"),
    "Flickr2K": ("Flickr2K_HR/{name}.png", "Flickr2K_LR_bicubic/X{scale}/{name}x{scale}.png"),
    "SelfExSR": ("image_SRF_{scale}/img_{name}_SRF_{scale}_HR.png", "image_SRF_{scale}/img_{name}_SRF_{scale}_LR.png"),
    "SelfExSR, an archive": ("Set5/image_SRF_{scale}/img_{name}_SRF_{scale}_HR.png",
                             "Set5/image_SRF_{scale}/img_{name}_SRF_{scale}_LR.png"),
    "suffixes": ("{name}_HR.png", "{name}_LR.png"),
    "RealSR": ("{name}_HR.png", "{name}_LR{scale}.png"),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scales", [(4,), (2, 4, 8)])
def test_a_layout_in_use_is_paired_for_testing_and_its_lr_files_are_no_originals(tmp_path, layout, scales):
    root = tmp_path / "set"
    if "{scale}" not in LAYOUTS[layout][1] or "mild" in layout:
        scales = (4,)  # its names can hold one
    write_pairs(root, *LAYOUTS[layout], scales=scales)
    found = sets.test_pairs(root, 4)
    assert len(found) == 3
    pairs = [found.load(at) for at in range(3)]
    assert all(marked(pair) for pair in pairs), "the LR files are used"
    assert [np.array_equal(pair.hr, original(seed)) for seed, pair in enumerate(pairs)] == [True] * 3
    assert found.understood.startswith("3 pairs: ")
    assert "\n" not in found.understood
    if len(scales) > 1:
        assert "left out: " in found.understood


@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_sees_the_originals_alone_and_uses_their_lr_files(tmp_path, layout):
    root = tmp_path / "set"
    write_pairs(root, *LAYOUTS[layout], scales=(4,))
    config = DataConfig(name="folder", root=str(root), crop=16)
    found = sets.training_sources(config, 4)
    assert len(found) == 3
    assert all(marked(sets.load_pair(source, 4)) for source in found)
    assert len(sets.training_sources(config)) == 3
    assert all(source.name == source.path.relative_to(root).as_posix() for source in found), "splits stay as they are"
    sets.check(config, 4)


def test_a_degradation_makes_lr_where_there_are_files_too_and_says_so(tmp_path):
    write_pairs(tmp_path, *LAYOUTS["HR"])
    config = DataConfig(name="folder", root=str(tmp_path), crop=16, degradation="jpeg")
    training = sets.training_set(config, 4)
    assert all(source.lr_path is None for source in training.sources)
    assert training.understood.endswith("data.degradation=jpeg makes LR, the LR files are passed over")


def test_lr_of_another_scale_is_no_lr_and_no_original(tmp_path):
    write_pairs(tmp_path / "set", "HR/{name}.png", "LRx{scale}/{name}.png", scales=(4,))
    found = sets.test_pairs(tmp_path / "set", 2)
    assert np.array_equal(found.load(0).lr, bicubic.shrink(original(0), 2))
    assert found.understood == "3 pictures: HR/, LR is made; left out: LRx4/ (3)"
    write_pairs(tmp_path / "other", *LAYOUTS["SelfExSR"], scales=(4,))
    with pytest.raises(UsageError, match=r"pairs, but none for x2 .*--hr"):
        sets.test_pairs(tmp_path / "other", 2)


def test_results_of_other_methods_and_copies_of_the_originals_are_left_out(tmp_path):
    write_pairs(tmp_path / "a", *LAYOUTS["SelfExSR"])
    for name in "abc":
        write(tmp_path / "a" / "image_SRF_4" / f"img_{name}_SRF_4_bicubic.png", original(0))
    write_pairs(tmp_path / "b", *LAYOUTS["BasicSR"])
    for name in "abc":
        write(tmp_path / "b" / "original" / f"{name}.png", original(0))
    for root, place in ((tmp_path / "a", "image_SRF_4/ (3)"), (tmp_path / "b", "original/ (3)")):
        found = sets.test_pairs(root, 4)
        assert len(found) == 3
        assert found.understood.endswith(f"left out: {place}")
        assert len(sets.training_sources(DataConfig(name="folder", root=str(root)), 4)) == 3


def test_two_sets_and_pictures_beside_them_in_one_folder(tmp_path):
    for part in ("train", "valid"):
        write_pairs(tmp_path / "DIV2K", *(name.replace("train", part) for name in LAYOUTS["DIV2K"]))
    write(tmp_path / "photos" / "x.png", original(7))
    found = sets.test_pairs(tmp_path, 4)
    assert len(found) == 7
    assert sum(marked(found.load(at)) for at in range(7)) == 6
    assert "DIV2K/DIV2K_train_HR/ with DIV2K/DIV2K_train_LR_bicubic/X4/" in found.understood
    assert found.understood.startswith("7 pictures, 6 of them with LR files: ")
    assert found.understood.endswith("; 1 others, LR is made")


@pytest.mark.parametrize("layout", ["HR", "EDSR", "suffixes"])
def test_one_of_a_pair_that_is_missing_fails_alone_by_name(tmp_path, layout):
    write_pairs(tmp_path, *LAYOUTS[layout])
    hr, lr = LAYOUTS[layout]
    (tmp_path / hr.format(name="a", scale=4)).unlink()
    (tmp_path / lr.format(name="b", scale=4)).unlink()
    found = sets.test_pairs(tmp_path, 4)
    assert len(found) == 3
    wrong = []
    for at in range(3):
        try:
            assert marked(found.load(at))
        except SRGANError as error:
            wrong.append(str(error))
    assert len(wrong) == 2
    gone = (hr.format(name="a", scale=4), lr.format(name="b", scale=4))
    assert all(any(str(tmp_path / name).removesuffix("x4.png") in each for each in wrong) for name in gone)


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("big/{name}.png", "small/{name}.png"),
        ("{name}.png", "{name}x4.png"),
        ("{name}.png", "quarter/{name}.png"),
        ("{name}-high.png", "{name}-low.png"),
    ],
)
def test_what_looks_like_pairs_in_no_known_layout_is_refused(tmp_path, hr, lr):
    write_pairs(tmp_path, hr, lr, names=("one", "two", "three"))
    with pytest.raises(UsageError, match=r"looks like pairs, .* --hr DIR --lr DIR") as refusal:
        sets.test_pairs(tmp_path, 4)
    assert "\n" not in str(refusal.value)
    with pytest.raises(UsageError, match=r"looks like pairs, .* data\.root="):
        sets.check(DataConfig(name="folder", root=str(tmp_path), crop=16), 4)


def test_pairs_with_a_stranger_among_them_or_of_other_names_are_refused(tmp_path):
    write_pairs(tmp_path / "a", *LAYOUTS["suffixes"])
    write(tmp_path / "a" / "holiday.png", original(9))
    with pytest.raises(UsageError, match=r"holiday\.png is neither HR nor LR"):
        sets.test_pairs(tmp_path / "a", 4)
    write_pairs(tmp_path / "b", "HR/{name}.png", "LRx4/other-{name}.png")
    with pytest.raises(UsageError, match="no file of one is called like any of the other"):
        sets.test_pairs(tmp_path / "b", 4)
    write_pairs(tmp_path / "c", *LAYOUTS["HR"])
    write(tmp_path / "c" / "LRx4" / "a.bmp", original(0)[:12, :12])
    with pytest.raises(UsageError, match="two LR files"):
        sets.test_pairs(tmp_path / "c", 4)


def test_photographs_that_share_names_and_camera_sizes_are_no_pairs(tmp_path):
    for year, side in ((2019, SIDE), (2020, SIDE // 2)):
        for number in range(5):
            pixels = np.full((side, side, 3), (number * 50 + (year == 2020) * 120) % 256, np.uint8)
            write(tmp_path / str(year) / f"IMG_{number:04}.png", pixels)
    (tmp_path / "2020" / "IMG_0000.png").write_text("damaged")
    assert len(sets.test_pairs(tmp_path, 4)) == 10
    assert len(sets.training_sources(DataConfig(name="folder", root=str(tmp_path)), 4)) == 10


def test_names_like_those_of_cufed5_are_cufed5_only_where_its_groups_are_whole(tmp_path):
    for number in range(12):
        write(tmp_path / "mine" / f"{number:03}_{number % 3}.png", original(number))
    found = sets.test_pairs(tmp_path / "mine", 4)
    assert len(found) == 12
    assert found.understood == "12 pictures: each is an original, LR is made of it"
    for group in range(3):
        for member in range(6):
            write(tmp_path / "CUFED5" / f"{group:03}_{member}.png", original(member))
    found = sets.test_pairs(tmp_path / "CUFED5", 4)
    assert found.names == ["000_0", "001_0", "002_0"]
    assert "CUFED5, whose …_0.png are the originals and the other 15 references" in found.understood
    (tmp_path / "CUFED5" / "001_3.png").unlink()
    assert sets.test_pairs(tmp_path / "CUFED5", 4).names == ["000_0", "001_0", "002_0"], "references are not scored"
    (tmp_path / "CUFED5" / "001_3.png").symlink_to(tmp_path / "CUFED5" / "001_2.png")
    write(tmp_path / "CUFED5" / "mine.png", original(1))
    assert len(sets.test_pairs(tmp_path / "CUFED5", 4)) == 19


def test_the_set_in_the_box_and_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "sample" / "mine.png", original(0))
    with pytest.raises(UsageError, match=r"sample: both the set in the box and a folder here; write \./sample"):
        sets.test_pairs("sample", 4)
    assert sets.test_pairs("./sample", 4).names == ["mine"]
    assert len(sets.embedded(4)) == 4


# ---------------------------------------------------------------------- the commands


def test_evaluate_says_what_it_understood_and_takes_any_two_folders(tmp_path, monkeypatch, capsys):
    import json

    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "Set5", *LAYOUTS["BasicSR"])
    write_pairs(tmp_path / "odd", "big/{name}.png", "small/{name}x4.png")
    command = ["--model", "bicubic", "--show", "0", "--data", "Set5", "--hr", "odd/big", "--out"]
    assert evaluate.main([*command, "both", "--lr", "odd/small"]) == 0
    said = capsys.readouterr().err
    assert "Set5: 3 pairs: GTmod12/ with LRbicx4/" in said
    assert "big: 3 pairs: odd/big with odd/small" in said
    assert evaluate.main([*command, "made"]) == 0
    assert "big: 3 pictures: all are originals, LR is made" in capsys.readouterr().err
    scores = {
        out: {row["dataset"]: row["psnr"] for row in json.loads((tmp_path / out / "results.json").read_text())["rows"]}
        for out in ("both", "made")
    }
    assert scores["both"].keys() == {"Set5", "big"}
    assert scores["both"]["Set5"] == scores["both"]["big"] == scores["made"]["Set5"]
    assert scores["made"]["big"] != scores["both"]["big"], "the LR files are used"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --data D [D …], --held-out D [D …], or --hr DIR"),
        (["--lr", "Set5/LRx4", "--data", "Set5"], "--lr has no effect without --hr"),
        (["--hr", "nowhere"], "nowhere: no such folder"),
        (["--hr", "Set5/HR", "--lr", "nowhere"], "nowhere: no such folder"),
        (["--hr", "Set5/HR", "--lr", "other"], "no file of one is called like"),
    ],
)
def test_folders_that_cannot_be_are_refused(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path, "Set5/HR/{name}.png", "Set5/LRx4/{name}.png")
    write(tmp_path / "other" / "z.png", original(0))
    assert evaluate.main(["--model", "bicubic", "--out", "out", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_prepare_checks_and_packs_originals_with_their_lr_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "DIV2K", *LAYOUTS["DIV2K"], scales=(2, 4))
    (tmp_path / "DIV2K" / "DIV2K_train_LR_bicubic" / "X4" / "bx4.png").write_text("damaged")
    assert prepare.main(["folder", "--root", "DIV2K", "--cache", "cache"]) == 1
    output, errors = capsys.readouterr()
    assert "3 pairs: DIV2K_train_HR/ with DIV2K_train_LR_bicubic/X4/" in output
    assert "bx4.png: not a readable picture" in errors
    assert len(errors.splitlines()) == 1
