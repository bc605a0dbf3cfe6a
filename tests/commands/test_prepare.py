"""The command: what it fetches, finds and says, and that it can be killed and started again."""

import dataclasses
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import warm_python
from srgan_lit import prepare
from srgan_lit.common.errors import UsageError
from srgan_lit.config.schema import DataConfig
from srgan_lit.data import inspection, layouts, packed_cache, sets


def cufed(folder, pairs=6, side=160):
    for part in ("input", "ref"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for number in range(pairs):
            pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / part / f"H_0_759{number}@N07_31_0_105matches93_raw_01.png")


def cufed5(folder, groups=3):
    folder.mkdir(parents=True, exist_ok=True)
    for group in range(groups):
        for number in range(6):
            Image.new("RGB", (50 + group, 40)).save(folder / f"{group:03}_{number}.png")


def zipped(folder, path, top=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, f"{top}{file.relative_to(folder).as_posix()}")
    return path


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(inspection, "CUFED_PAIRS", 6)
    monkeypatch.setattr(layouts, "CUFED5_GROUPS", 3)


@pytest.mark.parametrize("top", ["", "CUFED/", "train/CUFED/", "some release/CUFED/"])
def test_an_archive_in_any_layout_ends_as_the_same_folder_packed_and_ready(tmp_path, capsys, top):
    cufed(tmp_path / "made")
    archive = zipped(tmp_path / "made", tmp_path / "archive.zip", top)
    assert prepare.main(["cufed", "--archive", str(archive)]) == 0
    assert tree(tmp_path / "data" / "CUFED") == tree(tmp_path / "made")
    output, errors = capsys.readouterr()
    assert "160x160 (12)" in output
    assert "data.root=data/CUFED" in output
    assert errors == ""
    config = DataConfig(name="cufed", root="data/CUFED")
    packed_before = list((tmp_path / "cache").rglob("pixels.*"))
    found = sets.training_sources(config)
    assert len(packed_cache.open_packed(found, scale=4, label=sets.label(config), cache=None)) == 6
    assert list((tmp_path / "cache").rglob("pixels.*")) == packed_before  # training finds what was packed
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".CUFED.lock", "CUFED"]


def test_everything_wrong_is_named_in_one_go(tmp_path, capsys):
    cufed(tmp_path / "set")
    (tmp_path / "set" / "ref" / "H_0_7590@N07_31_0_105matches93_raw_01.png").unlink()
    truncated = tmp_path / "set" / "input" / "H_0_7591@N07_31_0_105matches93_raw_01.png"
    truncated.write_bytes(truncated.read_bytes()[:5000])
    (tmp_path / "set" / "input" / "H_0_7592@N07_31_0_105matches93_raw_01.png").write_bytes(b"")
    (tmp_path / "set" / "ref" / "H_0_7593@N07_31_0_105matches93_raw_01.png").write_text("no picture")
    for part, sides in (("ref", (159, 160)), ("input", (90, 160))):
        Image.new("RGB", sides).save(tmp_path / "set" / part / "H_0_7594@N07_31_0_105matches93_raw_01.png")
    assert prepare.main(["cufed", "--root", "set"]) == 1
    output, errors = capsys.readouterr()
    lines = errors.splitlines()
    for number, reason in (
        (1, "not a readable picture"),
        (2, "not a readable picture"),
        (3, "not a readable picture"),
        (4, "90x160, smaller than the crops of 96"),
    ):
        assert sum(f"759{number}@" in line and reason in line for line in lines) == 1
    assert "set: 1 pictures have no partner of their name (input/H_0_7590@" in errors
    assert len(lines) == 5
    assert "159x160 (1)" in output, "a size of the authors' own is counted, and no fault"
    (row,) = [line.replace("|", " ").split() for line in output.splitlines() if "unreadable" in line]
    assert row == ["unreadable", "3", "0"]


def test_without_any_ref_one_line_says_so(tmp_path, capsys):
    cufed(tmp_path / "set")
    for path in (tmp_path / "set" / "ref").iterdir():
        path.unlink()
    assert prepare.main(["cufed", "--root", "set"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "set: no pictures in ref/: training needs input/ alone" in line


def test_cufed5_and_what_is_missing_of_it(tmp_path, capsys):
    cufed5(tmp_path / "made" / "test" / "CUFED5")
    archive = zipped(tmp_path / "made", tmp_path / "archive.zip")
    assert prepare.main(["cufed5", "--archive", str(archive), "--to", "here/set 5"]) == 0
    output = capsys.readouterr().out
    assert "50x40 (6), 51x40 (6), 52x40 (6)" in output
    assert "--data 'here/set 5'" in output
    (tmp_path / "here" / "set 5" / "001_3.png").unlink()
    assert prepare.main(["cufed5", "--root", "here/set 5"]) == 0
    assert "1 pictures of these groups are missing (001_3.png)" in capsys.readouterr().err


def test_a_folder_of_ones_own(tmp_path, capsys):
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    Image.new("L", (64, 48)).save(tmp_path / "photos" / "grey.png")
    Image.new("CMYK", (48, 48)).save(tmp_path / "photos" / "sub" / "print.jpg")
    assert prepare.main(["folder", "--root", "photos"]) == 0
    output = capsys.readouterr().out
    assert "L (1), CMYK (1)" in output or "CMYK (1), L (1)" in output
    assert "data=folder data.root=photos" in output
    assert len(list((tmp_path / "cache").rglob("pixels.*"))) == 1


def test_files_of_a_folder_that_are_passed_over_are_counted_and_named(tmp_path, capsys):
    for name in ("a.png", "b.jfif"):
        Image.new("RGB", (100, 100)).save(tmp_path / name, {".jfif": "JPEG"}.get(Path(name).suffix))
    for name in ("notes.txt", "layers.psd", "clip.mp4"):
        (tmp_path / name).write_bytes(b"x")
    assert prepare.main(["folder", "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "3: clip.mp4 (a video, which takes long: name it if it is meant); notes.txt (no picture by its name)" in said
    assert "layers.psd (psd is not read: save it as png or jpg)" in said


def test_a_pipe_called_like_a_picture_is_named_by_prepare_and_training_and_never_waited_for(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48 + number)).save(tmp_path / "photos" / f"{number}.png")
    os.mkfifo(tmp_path / "photos" / "pipe.png")
    assert prepare.main(["folder", "--root", "photos"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "photos/pipe.png: not a readable picture (a FIFO, socket or device, and no regular file)" in said[0]
    config = DataConfig(name="folder", root="photos", crop=48)
    with pytest.raises(UsageError, match=r"pipe\.png: not a readable picture \(a FIFO"):
        sets.check(config, 4)
    sets.check(dataclasses.replace(config, skip_bad=True), 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["folder"], "needs --root DIR"),
        (["folder", "--root", "nowhere"], "no such folder"),
        (["cufed", "--archive", "nowhere.zip"], "no such file"),
        (["cufed", "--root", "."], "no CUFED there"),
        (["cufed5", "--root", "."], "no CUFED5 there"),
        (["cufed", "--root", ".", "--to", "x"], "--to has no effect"),
        (["cufed", "--root", ".", "--url", "https://x"], "--url has no effect"),
        (["cufed", "--ref", "ref.zip"], "--ref alone is not enough"),
        (["cufed5", "--input", "a.zip"], "--input is of cufed"),
        (["cufed5", "--archive", "a.zip", "--archive", "b.zip"], "cufed5 is in one archive"),
        (["cufed", "--archive", "a.zip", "--url", "https://x"], "--url has no effect with archives"),
        (["folder", "--url", "ftp://somewhere/a.zip"], "not a link that begins with https://"),
        (["cufed5", "--cache", "x"], "--cache has no effect"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments, said, capsys):
    assert prepare.main(arguments) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_an_archive_of_something_else_leaves_nothing(tmp_path, capsys):
    cufed5(tmp_path / "made")
    archive = zipped(tmp_path / "made", tmp_path / "archive.zip")
    assert prepare.main(["cufed", "--archive", str(archive)]) == 1
    assert "no CUFED in it" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".CUFED.lock"]


def test_a_run_killed_between_moving_and_tidying_up_is_tidied_by_the_next(tmp_path, capsys):
    cufed(tmp_path / "data" / "CUFED")
    (tmp_path / "data" / ".CUFED.unpacking" / "CUFED").mkdir(parents=True)
    archive = zipped(tmp_path / "data" / "CUFED", tmp_path / "archive.zip", "CUFED/")
    prepare.main(["cufed", "--archive", str(archive), "--no-pack"])
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".CUFED.lock", "CUFED"]


def test_killed_at_any_moment_and_started_again_it_ends_in_the_same_state(tmp_path):
    cufed(tmp_path / "made", pairs=150)
    archive = zipped(tmp_path / "made", tmp_path / "archive.zip", "CUFED/")
    command = [sys.executable, "-m", "srgan_lit.prepare", "cufed", "--archive", str(archive), "--cache", "packed"]
    for wait in ("unpacking", "unpacked", "packing"):
        process = warm_python.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            if wait == "unpacking" and any(tmp_path.glob("data/.CUFED.unpacking/**/*.png")):
                break
            if wait == "unpacked" and (tmp_path / "data" / "CUFED").is_dir():
                break
            if wait == "packing" and any(tmp_path.glob("packed/*/pixels.*.part")):
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = warm_python.run(command, capture_output=True, text=True, check=False)
    assert "150 of CUFED's 11871 pictures" in finished.stderr  # another process: its own count
    assert finished.returncode == 0
    assert tree(tmp_path / "data" / "CUFED") == tree(tmp_path / "made")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".CUFED.lock", "CUFED"]
    kept = sorted(path.name.split(".")[0] for path in next((tmp_path / "packed").iterdir()).iterdir())
    assert kept == ["index", "lock", "pixels"]


def test_help_answers_without_torch():
    code = "import sys, srgan_lit.prepare as p; p.build_parser().format_help(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--input", "ref.zip", "--ref", "input.zip"], 1, "ref.zip: --input must hold a folder input/ or CUFED_input/"),
        (["--input", "input.zip", "--ref", "input.zip"], 2, "--input and --ref are one file: take --archive input.zip"),
        (["--archive", "input.zip", "--ref", "input.zip"], 1, "input.zip: --ref must hold a folder ref/"),
        (["--archive", "cut.zip"], 1, "cut.zip: a zip archive whose end is missing: fetch it again"),
        (["--archive", "made"], 2, "made: a folder: take --root"),
        (["--archive", "input.zip", "--sha256", "abc"], 2, "--sha256 abc: a SHA-256 is 64 hexadecimal digits"),
        (["--root", "gone"], 2, "gone: no such folder"),
        (["--archive", "input.zip", "--to", "/proc/set"], 1, "/proc/.set.lock"),
    ],
)
def test_what_cannot_be_a_set_is_said_in_a_line_and_nothing_is_left(arguments, status, said, tmp_path, capsys):
    cufed(tmp_path / "made")
    for part in ("input", "ref"):
        zipped(tmp_path / "made" / part, tmp_path / f"{part}.zip", f"{part}/")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "input.zip").read_bytes()[:-5000])
    assert prepare.main(["cufed", *arguments]) == status
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "data" / "CUFED").exists()


def test_a_set_may_be_put_behind_a_link_and_where_one_is(tmp_path, monkeypatch):
    cufed(tmp_path / "made")
    zipped(tmp_path / "made", tmp_path / "made.zip")
    for name in ("there", "gone"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    (tmp_path / "disk" / "there").mkdir(parents=True)
    for name in ("there", "gone"):
        assert prepare.main(["cufed", "--archive", "made.zip", "--to", name, "--no-pack"]) == 0
        assert tree(tmp_path / "disk" / name) == tree(tmp_path / "made")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert prepare.main(["cufed", "--archive", "../made.zip", "--to", ".", "--no-pack"]) == 0
    assert tree(tmp_path / "empty") == tree(tmp_path / "made")
