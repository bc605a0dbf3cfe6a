"""The keys that say where pictures are: in the fingerprint of a training, and absolute in its configuration."""

import dataclasses

import pytest

from helpers.configurations import tiny
from srgan_lit.training import build, run_directory


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("run"), "data=folder", "data.root=photos")


def changed(config, **changes):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"root": ("a", "b"), "shares": (1.0, 2.0)},
        {"root": None, "hr": "hr"},
        {"root": None, "hr": "hr", "lr": "lr"},
        {"meta_info": "list.txt"},
        {"validation_root": "val"},
        {"reading": 1},
    ],
)
def test_what_is_trained_on_is_in_the_fingerprint_and_where_it_lies_is_not(config, changes):
    def fingerprint(**more):
        return build.trained(changed(config, **changes, **more))["config_sha256"]

    assert fingerprint() != build.trained(config)["config_sha256"]
    moved = {key: f"elsewhere/{value}" for key, value in changes.items() if isinstance(value, str)}
    assert build.trained(changed(config, **{**changes, **moved}))["config_sha256"] == fingerprint()


def test_a_run_keeps_whole_paths_of_all_of_them(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "val", "list.txt"):
        (tmp_path / name).mkdir()
    whole = run_directory.whole_paths(
        changed(config, root=("a", "./b"), validation_root="val", test_root="~/photos", cache="~/cache")
    ).data
    assert whole.root == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert whole.validation_root == str(tmp_path / "val")
    assert whole.test_root.endswith("/photos")
    assert not whole.test_root.startswith("~")
    pairs = run_directory.whole_paths(changed(config, root=None, hr="a", lr="b", meta_info="list.txt")).data
    assert [pairs.hr, pairs.lr, pairs.meta_info] == [str(tmp_path / name) for name in ("a", "b", "list.txt")]
