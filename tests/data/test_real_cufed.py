"""The researcher's first ten minutes with pictures that CUFED's authors publish, where they are at hand."""

import json
import os
from pathlib import Path

import pytest

from helpers import tiny_runs
from srgan_lit import evaluate, prepare

DATA = Path(os.environ.get("SRGAN_LIT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(not (DATA / "CUFED5").is_dir(), reason="CUFED is not at hand (SRGAN_LIT_DATA)")


@pytest.mark.long
def test_it_is_prepared_trained_on_and_scored(tmp_path, capsys):
    cufed, cufed5 = DATA / "CUFED", DATA / "CUFED5"
    assert prepare.main(["cufed", "--root", str(cufed), "--cache", str(tmp_path / "cache")]) == 0
    said = capsys.readouterr()
    table = {
        row[0]: row[1]
        for line in said.out.splitlines()
        if len(row := [*map(str.strip, line.strip("|").split("|"))]) == 3
    }
    assert (table["pairs"], table["albums"], table["sizes"]) == ("10", "4", "160x160 (18), 159x160 (2)")
    assert (table["unreadable"], table["duplicates"]) == ("0", "0")
    assert len(said.err.splitlines()) == 1, "that it is not whole"
    run = tmp_path / "run"
    tiny_runs.train(
        run, "data=cufed", f"data.root={cufed}", f"data.test_root={cufed5}", f"data.cache={tmp_path}/cache",
        "phase=pretrain", "phase.pretrain.iterations=20", "phase.pretrain.warmup=0", "validate_every=20",
    )  # fmt: skip
    notes = json.loads((run / "report" / "results.json").read_text())["notes"]
    assert notes == ["CUFED5: 1 of 126 groups: not comparable with the papers' rows."]
    command = ["--model", "bicubic", str(run), "--data", str(cufed5), "--lr", "pil", "--protocol", "y_full"]
    assert evaluate.main([*command, "--out", str(tmp_path / "scores")]) == 0
    results = json.loads((tmp_path / "scores" / "results.json").read_text())
    bicubic = results["rows"][0]
    assert (round(bicubic["psnr"], 3), round(bicubic["ssim"], 4)) == (22.377, 0.6477)
    assert results["notes"] == ["CUFED5 (LR by Pillow): 1 of 126 groups: not comparable with the papers' rows."]
    assert "Quoted" not in capsys.readouterr().out, "the papers' rows do not stand beside it"
