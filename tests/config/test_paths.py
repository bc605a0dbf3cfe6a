"""Paths as people type them: a home folder, letters of any language, and nothing where a path is meant."""

import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from helpers.in_process import until_it_trains
from srgan_lit import evaluate, prepare, upscale
from srgan_lit.config import quoting


def meant(argument):
    return OverridesParser.create().parse_override(quoting.as_meant(argument)).value()


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("~/photos", str(Path.home() / "photos")),
        ("/data/ünï", "/data/ünï"),
        ("/data/写真 2024", "/data/写真 2024"),
        ("a;b", "a;b"),
        ("#1/a&b", "#1/a&b"),
        ("plain/folder", "plain/folder"),
        ("[a,b]", ["a", "b"]),
        ("'ünï'", "ünï"),
        ("5", 5),
        ("null", None),
    ],
)
def test_a_path_is_read_as_it_is_typed(typed, value):
    read = meant(f"data.root={typed}")
    assert (list(read) if isinstance(value, list) else getattr(read, "text", read)) == value
    assert quoting.as_meant(quoting.as_meant(f"data.root={typed}")) == quoting.as_meant(f"data.root={typed}")


def test_what_is_no_override_stays_as_it_is():
    for argument in ("-m", "--config-dir=~/conf", "resume", "~data.root"):
        assert quoting.as_meant(argument) == argument


def test_training_finds_such_folders_and_says_how_others_are_written(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, folder in (("~/photos", tmp_path / "photos"), (f"{tmp_path}/ünï", "ünï")):
        status, errors = until_it_trains(capsys, "experiment=demo", "data=folder", f"data.root={given}")
        assert status == 2
        assert f"{folder}: no such folder" in errors[0]
    status, errors = until_it_trains(capsys, "experiment=demo", "data=folder", f"data.root={tmp_path}/my (1)")
    assert status == 2
    assert "( has a meaning of its own" in errors[0]
    (argument,) = shlex.split(errors[0].rpartition("it is written ")[2])
    status, errors = until_it_trains(capsys, "experiment=demo", "data=folder", argument)
    assert f"{tmp_path}/my (1): no such folder" in errors[0]


@pytest.mark.parametrize("key", ["data.root", "data.test_root", "data.validation_root", "data.cache", "init_from"])
def test_training_refuses_an_empty_path(capsys, key):
    status, errors = until_it_trains(capsys, "experiment=demo", "data=folder", "data.root=.", f"{key}=")
    assert status == 2
    assert f"{key}=: is empty" in errors[0]
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (upscale.main, [""]),
        (upscale.main, ["a.png", "-o", ""]),
        (prepare.main, ["folder", "--root", ""]),
        (prepare.main, ["folder", "--root="]),
        (evaluate.main, ["--model", "bicubic", "--data", "", "--out", "x"]),
    ],
)
def test_a_command_refuses_an_empty_path(main, arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "an argument is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
