"""Folders below the one that is named, of which nobody may list the files: named, and the rest is worked on."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_lit import evaluate, prepare, runs, upscale
from srgan_lit.common.errors import UsageError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import sets


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
    assert "| pictures      | 4 " in printed.out
    assert evaluate.main(["--model", "bicubic", "--data", str(photos), "--out", str(tmp_path / "scores")]) == 0
    assert f"4 pictures: each is an original, LR is made of it; cannot be read: {photos}/b (Permission denied)" in (
        capsys.readouterr().err
    )
    config = DataConfig(name="folder", root=str(photos), crop=24)
    with pytest.raises(UsageError, match=r"folders cannot be read: .*photos/b \(Permission denied\)\. .*skip_bad=true"):
        sets.check(config, 4)
    sets.check(replace(config, skip_bad=True), 4)
    found, understood = sets.training_set(replace(config, skip_bad=True), 4)
    assert [source.name for source in found] == ["0.png", "1.png", "2.png", "a/3.png"]
    assert f"cannot be read: {photos}/b (Permission denied)" in understood


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
    assert ended.value.code == 0
    assert said.err == f"{tmp_path}/runs/b: this folder cannot be read (Permission denied)\n"
    assert "| a " in said.out


def test_one_that_is_named_itself_is_told_as_such(
    photos: Path, close: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    close(photos)
    assert upscale.main([str(photos), "-o", str(tmp_path / "out"), "--model", "bicubic"]) == 1
    assert capsys.readouterr().err == f"{photos}: this folder cannot be read (Permission denied)\n"
    for arguments in (["--data", str(photos)], ["--hr", str(photos)]):
        assert evaluate.main(["--model", "bicubic", "--out", str(tmp_path / "scores"), *arguments]) == 2
        assert f"{photos} cannot be read: Permission denied" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"folders cannot be read: .*photos \(Permission denied\)"):
        sets.check(DataConfig(name="folder", root=str(photos), crop=24), 4)
