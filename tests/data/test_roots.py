"""Where pictures to train on are: several folders, two folders of pairs, a list of files, names that people have."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from srgan_lit.common.errors import UsageError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import sets
from srgan_lit.data.datamodule import SRDataModule
from srgan_lit.pictures import bicubic


def original(seed, side=48):
    small = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3)).astype(np.uint8)
    return bicubic.resize(small, side, side)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def pairs(root, hr, lr, names=("a", "b", "c")):
    """LR is marked in a corner: it is no bicubic of HR."""
    for seed, name in enumerate(names):
        write(root / hr.format(name), original(seed))
        small = bicubic.shrink(original(seed), 4)
        small[0, 0] = 255 - small[0, 0]
        write(root / lr.format(name), small)


def marked(source):
    pair = sets.load_pair(source, 4)
    return not np.array_equal(pair.lr, bicubic.shrink(pair.hr, 4))


def settings(tmp_path, **changes):
    return DataConfig(**{"name": "folder", "crop": 16, "batch_size": 1, "cache": str(tmp_path / ".cache")} | changes)


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("high_res/{}.png", "low_res/{}.png"),
        ("High-Res/{}.png", "Low-Res/{}.png"),
        ("trainA/{}.png", "trainB/{}.png"),
        ("trainB/{}.png", "trainA/{}.png"),
        ("HR_sub/{}_s001.png", "LRx4_sub/{}_s001.png"),
        ("HR_sub/{}_s001.png", "LR_bicubic/X4_sub/{}_s001.png"),
        ("DIV2K_train_HR_sub/{}_s001.png", "DIV2K_train_LR_bicubic/X4_sub/{}_s001.png"),
        ("gt/{}.png", "lq/{}.png"),
    ],
)
def test_names_that_people_have_for_pairs(tmp_path, hr, lr):
    pairs(tmp_path / "set", hr, lr)
    if "_sub" in hr and "DIV2K" in hr:  # what they were cut of stays beside them
        pairs(tmp_path / "set", "DIV2K_train_HR/{}.png", "DIV2K_train_LR_bicubic/X4/{}x4.png")
        trained = sets.training_sources(settings(tmp_path, root=str(tmp_path / "set")), 4)
        assert len({source.album for source in trained}) == 3
        assert all(map(marked, trained))
        return
    trained = sets.training_sources(settings(tmp_path, root=str(tmp_path / "set")), 4)
    assert [source.path.parent.name for source in trained] == [hr.split("/")[0]] * 3
    assert all(map(marked, trained))
    tested = sets.test_pairs(tmp_path / "set", 4)
    assert len(tested) == 3
    assert all(map(marked, tested.sources))


def test_two_domains_of_one_size_are_refused(tmp_path):
    for seed, name in enumerate(("trainA/1.png", "trainA/2.png", "trainB/1.png", "trainB/2.png")):
        write(tmp_path / "set" / name, original(seed))
    with pytest.raises(UsageError, match=r"trainA and .*trainB .*which is HR.*data\.root="):
        sets.check(settings(tmp_path, root=str(tmp_path / "set")), 4)


def test_any_two_folders_are_trained_on_as_pairs(tmp_path):
    pairs(tmp_path, "big/test/{}.png", "tiny/test/{}x4.png")
    config = settings(tmp_path, hr=str(tmp_path / "big"), lr=str(tmp_path / "tiny"))
    trained = sets.training_sources(config, 4)
    assert [source.name for source in trained] == ["test/a.png", "test/b.png", "test/c.png"]
    assert all(map(marked, trained))
    sets.check(config, 4)
    alone = sets.training_sources(settings(tmp_path, hr=str(tmp_path / "big")), 4)
    assert len(alone) == 3
    assert not any(map(marked, alone))
    assert sets.label(config) != sets.label(settings(tmp_path, hr=str(tmp_path / "big")))


def test_a_list_may_name_links_to_pictures_that_are_elsewhere(tmp_path):
    pairs(tmp_path / "set", "hr/{}.png", "lq/{}.png")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.png").symlink_to(tmp_path / "set" / "hr" / "a.png")
    (tmp_path / "list.txt").write_text("a.png\n")
    config = settings(tmp_path, meta_info=str(tmp_path / "list.txt"), root=str(tmp_path / "links"))
    assert [source.path.name for source in sets.training_sources(config, 4)] == ["a.png"]


def test_a_list_of_files_as_basicsr_has_it(tmp_path):
    pairs(tmp_path / "set", "my hr/{}.png", "lq/{}.png")
    for text, directions, used in (
        ("a.png (48,48,3)\nc.png (48,48,3)\n", {"root": "set/my hr"}, False),
        ("my hr/a.png (48, 48, 3)\nmy hr/c.png (48,48,3)\n", {"root": "set"}, False),
        ("a.png\nc.png\n\n", {"hr": "set/my hr", "lr": "set/lq"}, True),
        ("my hr/a.png, lq/a.png\nmy hr/c.png, lq/c.png\n", {"root": "set"}, True),
    ):
        (tmp_path / "list.txt").write_text(text)
        folders = {key: str(tmp_path / place) for key, place in directions.items()}
        trained = sets.training_sources(settings(tmp_path, meta_info=str(tmp_path / "list.txt"), **folders), 4)
        assert [source.path.name for source in trained] == ["a.png", "c.png"]
        assert [marked(source) for source in trained] == [used] * 2
    for text, said in (("a.png\nz.png\ny.png", r"z\.png \(and 1 more\)"), ("", "nothing"), ("../lq/a.png", "lq/a.png"),
                       ("a.png, ../lq/a.png", "lq/a.png")):  # fmt: skip
        (tmp_path / "list.txt").write_text(text)
        config = settings(tmp_path, meta_info=str(tmp_path / "list.txt"), root=str(tmp_path / "set" / "my hr"))
        with pytest.raises(UsageError, match=rf"data\.meta_info=.*names .*{said}"):
            sets.training_sources(config, 4)


def test_several_roots_are_drawn_from_by_size_or_as_given(tmp_path):
    for folder, count in (("a", 30), ("b", 10)):
        for number in range(count):
            write(tmp_path / folder / f"{number:02}.png", original(1000 * (folder == "a") + number))
    roots = tuple(str(tmp_path / folder) for folder in "ab")

    def drawn(**changes):
        data = SRDataModule(settings(tmp_path, root=roots, **changes), scale=4, iterations=400)
        data.setup()
        names = [name for batch in data.train_dataloader() for name in batch["name"]]
        return data.material(), Counter(names)

    material, counts = drawn()
    of_b = sum(count for name, count in counts.items() if name.startswith("2/"))
    assert 80 < of_b < 120, "10 of 40"
    assert {*material["trained"], *material["validated"]} >= counts.keys()
    same, shared = drawn(shares=(0.25, 0.75))
    assert same == material
    assert 290 <= sum(count for name, count in shared.items() if name.startswith("2/")) <= 310
    assert shared.keys() == material["trained"].keys()
    alone = SRDataModule(settings(tmp_path, root=roots[0]), scale=4)
    alone.setup()
    together = {name.removeprefix("1/") for name in material["validated"] if name.startswith("1/")}
    assert together <= set(alone.material()["validated"]), "a folder is split as by itself"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"root": "a", "hr": "b"}, "data.root has no effect"),
        ({"lr": "b"}, "data.lr has no effect without data.hr"),
        ({"root": ("a", "b"), "shares": (1.0,)}, "one number for each"),
        ({"root": "a", "shares": (1.0,)}, "one number for each"),
        ({"root": ("a", "b"), "meta_info": "x"}, "with data.meta_info, one"),
        ({"root": ("a", "b"), "name": "cufed"}, "with cufed, one"),
        ({"root": ""}, "is empty"),
        ({"root": ("a", "")}, "is empty"),
        ({"test_root": ""}, "is empty"),
    ],
)
def test_what_cannot_act_together_is_refused(tmp_path, changes, said):
    with pytest.raises((UsageError, ValidationError), match=said.replace(".", r"\.")):
        settings(tmp_path, **changes)
