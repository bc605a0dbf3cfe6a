"""Output that is closed, full, piped into ``head`` or in another encoding: the process as a shell starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_lit import upscale

RUN = Path(__file__).parents[1] / "training" / "run_of_0_1"
BUFFERING = pytest.mark.parametrize(
    "buffering", [{"PYTHONUNBUFFERED": ""}, {"PYTHONUNBUFFERED": "1"}], ids=["held", "sent"]
)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", *map(str, arguments)]


@pytest.mark.long
def test_with_nothing_open_a_picture_is_enlarged_all_the_same(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    (tmp_path / "bad.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:200])
    options = ["--model", "bicubic", "-o"]
    assert upscale.main([str(tmp_path / "a.tif"), *options, str(tmp_path / "whole.tif")]) == 0
    inputs = [tmp_path / "bad.tif", tmp_path / "a.tif"]
    closed = [
        "sh",
        "-c",
        'exec "$0" "$@" <&- >&- 2>&-',
        *command("srgan_lit.upscale", *inputs, *options, tmp_path / "out"),
    ]
    assert subprocess.run(closed, check=False).returncode == 1, "the one that is no good"
    assert (tmp_path / "out" / "a.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


@BUFFERING
def test_a_reader_that_has_enough_ends_it_quietly(buffering):
    end, start = os.pipe()
    os.close(end)
    listed = command("srgan_lit.upscale", "--list-models")
    result = subprocess.run(listed, stdout=start, stderr=subprocess.PIPE, env=os.environ | buffering, check=False)
    os.close(start)
    assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@BUFFERING
def test_output_onto_a_full_disk_is_said_in_one_line(buffering):
    with Path("/dev/full").open("wb") as full:
        listed = command("srgan_lit.runs", RUN)
        result = subprocess.run(listed, stdout=full, stderr=subprocess.PIPE, env=os.environ | buffering, check=False)
    assert result.returncode == 1
    assert b"No space left on device" in result.stderr
    assert result.stderr.count(b"\n") == 1


def test_what_the_output_s_encoding_lacks_is_written_by_its_number(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "config.yaml").write_text("objective: psnr\n")
    rows = [{"model": "SRResNet", "dataset": "validation", "psnr": 30.0, "ssim": 0.9}]
    (tmp_path / "report" / "results.json").write_text(json.dumps({"rows": rows}))
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    result = subprocess.run(
        command("srgan_lit.runs", tmp_path), capture_output=True, text=True, env=ascii_only, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "PSNR \\u2191" in result.stdout


TABLE_IN_THE_LOG = """
import logging.config
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from srgan_lit.common import command_line
from srgan_lit.config.shipped import CONF

command_line.make_streams_usable()
with initialize_config_dir(str(CONF), version_base="1.3"):
    config = compose("train", return_hydra_config=True)
settings = OmegaConf.to_container(config.hydra.job_logging)
settings["handlers"]["file"]["filename"] = "train.log"
logging.config.dictConfig(settings)
logging.info("PSNR \\u2191 of \\udcff.png")
"""


def test_the_log_of_a_training_holds_arrows_and_any_name_whatever_the_machine_s_encoding(tmp_path):
    posix = os.environ | {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    logged = [sys.executable, "-c", TABLE_IN_THE_LOG]
    result = subprocess.run(logged, cwd=tmp_path, env=posix, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == "PSNR \u2191 of \\udcff.png\n"
    assert result.stdout == "PSNR \\u2191 of \\udcff.png\n"


def test_a_file_whose_name_begins_like_an_option_says_how_to_write_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("-x.png").touch()
    with pytest.raises(SystemExit) as ended:
        upscale.main(["-x.png", "-o", "out"])
    assert ended.value.code == 2
    assert "write ./-x.png" in capsys.readouterr().err


def test_a_complaint_is_one_line_whatever_the_name_of_the_file(tmp_path, capsys):
    (tmp_path / "no\npicture\x1b[2J.png").write_bytes(b"no picture")
    assert upscale.main([str(tmp_path), "-o", str(tmp_path / "out"), "--model", "bicubic"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no picture\N{REPLACEMENT CHARACTER}[2J.png: " in said
