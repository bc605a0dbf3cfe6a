"""The table of runs: what stands beside what."""

import json

from srgan_lit.model_files.generator_file import save_generator
from srgan_lit.networks.srresnet import Generator
from srgan_lit.sweeps import run_table


def test_scores_stand_beside_the_iterations_of_the_generator_that_has_them(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "config.yaml").write_text("objective: psnr\n")
    rows = [{"dataset": "validation", "model": "SRResNet", "psnr": 30.0, "ssim": 0.9}]
    (tmp_path / "report" / "results.json").write_text(json.dumps({"rows": rows}))
    (tmp_path / "metrics.csv").write_text("step,val/psnr\n1000,29.0\n")
    save_generator(tmp_path / "generator.safetensors", Generator(blocks=1, features=4), trained={"iterations": 1015})
    assert [run.iterations for run in run_table.read([tmp_path])] == [1015]
    (tmp_path / "metrics.csv").write_text("step,val/psnr\n1000,29.0\n2000,29.5\n")  # it is being extended
    assert [run.iterations for run in run_table.read([tmp_path])] == [1015]
    (tmp_path / "report" / "results.json").unlink()
    assert [run.iterations for run in run_table.read([tmp_path])] == [2000], "no scores: how far it is"
