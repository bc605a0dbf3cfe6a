"""Folders below the one that is named, of which nobody may list the files: named, and the rest is worked on."""

import errno
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_lit import evaluate, prepare, runs, upscale
from srgan_lit.common.errors import UsageError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import inspection, sets
from srgan_lit.data.datamodule import SRDataModule
from srgan_lit.upscaling.plan import plan


@pytest.fixture
def close(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """A function that closes a folder: by its rights, or, for root, who needs none, by the call that lists it."""
    closed: list[Path] = []
    scandir = os.scandir

    def refusing(path: str | os.PathLike[str] = ".") -> object:
        if Path(path) in closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return scandir(path)

    def function(folder: Path) -> None:
        closed.append(folder)
        if os.geteuid():
            folder.chmod(0)
        else:
            monkeypatch.setattr(os, "scandir", refusing)

    yield function
    for folder in closed:
        folder.chmod(0o700)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, place in enumerate(("", "", "", "a", "b", "b/c")):
        (folder / place).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / place / f"{number}.png")
    return folder


def test_every_command_names_them_and_works_on_the_rest(
    photos: Path, close: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    close(photos / "b")
    said = f"{photos}/b: this folder cannot be read (Permission denied)"
    assert upscale.main([str(photos), "-o", str(tmp_path / "out"), "--model", "bicubic"]) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [said]
    assert "4 enlarged, 1 failed" in printed.out
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4
    assert prepare.main(["folder", "--root", str(photos), "--no-pack"]) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [said]
    assert re.search(r"\| pictures +\| 4 ", printed.out)
    assert evaluate.main(["--model", "bicubic", "--data", str(photos), "--out", str(tmp_path / "scores")]) == 1
    printed = capsys.readouterr()
    assert [line for line in printed.err.splitlines() if "cannot be read" in line] == [said]
    assert "4 pictures: each is an original, LR is made of it" in printed.err
    assert json.loads((tmp_path / "scores" / "results.json").read_text())["rows"][0]["n"] == 4
    config = DataConfig(name="folder", root=str(photos), crop=24)
    with pytest.raises(UsageError, match=r"photos/b: .*cannot be read \(Permission denied\)\. .*skip_bad=true"):
        sets.check(config, 4)
    with pytest.raises(UsageError, match=r"photos/b: .*cannot be read \(Permission denied\)\. .*skip_bad=true"):
        SRDataModule(config).setup()
    sets.check(replace(config, skip_bad=True), 4)
    training = sets.training_set(replace(config, skip_bad=True), 4)
    assert [source.name for source in training.sources] == ["0.png", "1.png", "2.png", "a/3.png"]
    assert training.unreadable == [said]


def test_the_table_of_runs_names_them_too(
    close: Callable[[Path], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("a", "b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").write_text("objective: psnr\n")
    close(tmp_path / "runs" / "b")
    monkeypatch.setattr("sys.argv", ["srgan-runs", str(tmp_path / "runs")])
    with pytest.raises(SystemExit) as ended:
        runs.main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert said.err == f"{tmp_path}/runs/b: this folder cannot be read (Permission denied)\n"
    assert "| a " in said.out


def test_one_that_is_named_itself_is_told_as_such(
    photos: Path, close: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    close(photos)
    assert upscale.main([str(photos), "-o", str(tmp_path / "out"), "--model", "bicubic"]) == 1
    assert capsys.readouterr().err == f"{photos}: this folder cannot be read (Permission denied)\n"
    for arguments in (["--data", str(photos)], ["--hr", str(photos)], ["--held-out", str(photos)]):
        assert evaluate.main(["--model", "bicubic", "--out", str(tmp_path / "scores"), *arguments]) == 1
        assert f"error: {photos}: this folder cannot be read (Permission denied)" in capsys.readouterr().err
        assert not (tmp_path / "scores").exists()
    for kind in ("folder", "cufed5"):
        assert prepare.main([kind, "--root", str(photos), "--no-pack"]) == 1
        assert capsys.readouterr().err == f"error: {photos}: this folder cannot be read (Permission denied)\n"
    with pytest.raises(UsageError, match=r"photos: this folder cannot be read \(Permission denied\)"):
        sets.check(DataConfig(name="folder", root=str(photos), crop=24), 4)


def test_evaluate_scores_the_sets_beside_one_that_cannot_be_read(
    photos: Path, close: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    close(closed)
    data = ["--data", str(closed), str(photos)]
    assert evaluate.main(["--model", "bicubic", "--out", str(tmp_path / "scores"), *data]) == 1
    assert f"{closed}: this folder cannot be read (Permission denied)" in capsys.readouterr().err.splitlines()
    (row,) = json.loads((tmp_path / "scores" / "results.json").read_text())["rows"]
    assert (row["dataset"], row["n"]) == ("photos", 6)


def test_a_folder_is_listed_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: Counter[Path] = Counter()
    scandir = os.scandir

    def counting(path: str | os.PathLike[str] = ".") -> object:
        listed[Path(path)] += 1
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    once = dict.fromkeys((photos, photos / "a", photos / "b", photos / "b" / "c"), 1)
    readings: dict[str, Callable[[], object]] = {
        "check of a training": lambda: sets.check(DataConfig(name="folder", root=str(photos), crop=24), 4),
        "test set": lambda: sets.test_pairs(photos, 4),
        "originals": lambda: sets.test_pairs_of_two(photos, None, 4),
        "inspection": lambda: inspection.folder(photos, 4),
        "plan of upscale": lambda: plan([str(photos)], tmp_path / "out"),
    }
    for name, read in readings.items():
        listed.clear()
        read()
        assert listed == once, name
