"""CUFED5 as its papers score it: their protocol, their bicubic, in tables and in a run's report."""

import json
import re

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from PIL import Image

from helpers.tiny_runs import PRETRAIN, TINY
from srgan_lit import evaluate
from srgan_lit.config.composition import CONF, configuration
from srgan_lit.data import layouts
from srgan_lit.data.sets import SAMPLE
from srgan_lit.pictures import bicubic
from srgan_lit.training import run


@pytest.fixture
def cufed5(tmp_path, monkeypatch):
    """Three whole groups, in sizes that 4 does not divide, as if they were all."""
    monkeypatch.setattr(layouts, "CUFED5_GROUPS", 3)
    folder = tmp_path / "CUFED5"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for group in range(3):
        for member in range(6):
            small = Image.fromarray(noise.integers(0, 256, (13, 11, 3), dtype=np.uint8))
            small.resize((50, 61), Image.Resampling.BICUBIC).save(folder / f"{group:03}_{member}.png")
    return folder


def evaluated(out, *arguments):
    assert evaluate.main(["--model", "bicubic", "--out", str(out), *map(str, arguments)]) == 0
    return json.loads((out / "results.json").read_text())


def of_the_papers(path, shrink):
    """PSNR as the evaluation of TTSR computes it: luma of rounded values, no border cut; SR is our bicubic."""
    with Image.open(path) as opened:
        hr = np.asarray(opened)[:60, :48]
    sr = bicubic.enlarge(shrink(hr), 4)
    luma = (sr.astype(float) - hr) / 255 @ (np.array([65.738, 129.057, 25.064]) / 256)
    return -10 * np.log10(np.mean(luma**2))


def by_pillow(hr):
    return np.asarray(Image.fromarray(hr).resize((12, 15), Image.Resampling.BICUBIC))


def test_cufed5_is_scored_in_its_papers_protocol_too_by_either_bicubic(cufed5, tmp_path, capsys):
    files = [cufed5 / f"{group:03}_0.png" for group in range(3)]
    means = {}
    for name, shrink, options in (
        ("matlab", lambda hr: bicubic.shrink(hr, 4), ()),
        ("pillow", by_pillow, ("--lr", "pil")),
    ):
        results = evaluated(tmp_path / name, "--data", cufed5, *options)
        (row,) = results["rows"]
        expected = np.mean([of_the_papers(path, shrink) for path in files])
        assert row["psnr_y_full"] == pytest.approx(expected, abs=2e-3), "their coefficients have five digits"
        assert row["psnr"] != row["psnr_y_full"], "the border is cut there"
        assert (row["protocol"], row["n"]) == ("y_shave4", 3)
        assert {"PSNR y_full ↑", "SSIM y_full ↑"} <= {column["heading"] for column in results["columns"]}
        means[name] = row["psnr_y_full"]
    assert means["matlab"] != means["pillow"]
    said = capsys.readouterr()
    assert "LR is made by MATLAB's bicubic; its papers: --lr pil" in said.err
    assert "LR is made by Pillow's bicubic, as in its papers" in said.err
    assert "CUFED5 (LR by Pillow)" in said.out
    papers = re.findall(r"^\| (\S+) +\| +(\d\d\.\d\d) \| +(0\.\d{3}) \|$", said.out, re.MULTILINE)
    assert papers[: len(papers) // 2] == papers[len(papers) // 2 :], "under each of the two tables"
    assert {("bicubic", "24.18", "0.684"), ("SRGAN", "24.40", "0.702"), ("TTSR-rec", "27.09", "0.804")} <= set(papers)
    assert "Quoted from Yang et al. 2020 (TTSR), table 1." in said.out


def test_other_sets_have_no_columns_of_its_papers_and_each_scale_its_own_protocol(cufed5, tmp_path, capsys):
    for scale in (2, 8):
        (row,) = evaluated(tmp_path / str(scale), "--data", "sample", "--scale", scale)["rows"]
        assert row["protocol"] == f"y_shave{scale}"
        assert "psnr_y_full" not in row
    evaluated(tmp_path / "x2", "--data", cufed5, "--scale", 2)
    assert "Quoted" not in capsys.readouterr().out, "the papers' rows are of x4"
    (row,) = evaluated(tmp_path / "full", "--data", cufed5, "--protocol", "y_full")["rows"]
    assert row["protocol"] == "y_full"
    assert "psnr_y_full" not in row, "it is the first column"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--data", "CUFED5", "--lr", "pil", "--degradation", "jpeg"],
            "--lr pil makes LR another way than --degradation",
        ),
        (["--data", "CUFED5", "--lr", "./pil"], "--lr has no effect without --hr"),
        (["--data", "CUFED5", "--lr", "pil"], "pil: both Pillow's bicubic and a folder here"),
    ],
)
def test_what_is_unclear_is_refused(arguments, said, cufed5, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if "both" in said:
        (tmp_path / "pil").mkdir()
    assert evaluate.main(["--model", "bicubic", "--out", "scores", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_run_that_tests_on_cufed5_reports_both_protocols(cufed5, tmp_path):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        folder = ["data=folder", f"data.root={SAMPLE / 'train'}", f"data.test_root={cufed5}"]
        cfg = compose("train", overrides=[*TINY, "phase=pretrain", *PRETRAIN, *folder, f"data.cache={tmp_path}"])
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = str(tmp_path / "run")
    run.train(configuration(cfg))
    rows = json.loads((tmp_path / "run" / "report" / "results.json").read_text())["rows"]
    row = next(row for row in rows if (row["dataset"], row["model"]) == ("CUFED5", "SRResNet"))
    assert np.isfinite([row["psnr"], row["psnr_y_full"], row["ssim_y_full"]]).all()
