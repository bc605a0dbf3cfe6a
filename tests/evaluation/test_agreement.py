"""The generators in the box score the same wherever they run: evaluate, the upscaler's files, ONNX."""

import csv

import numpy as np
import pytest

from srgan_lit import evaluate, export, upscale
from srgan_lit.data.sets import SAMPLE
from srgan_lit.evaluation import metrics
from srgan_lit.pictures import bicubic, rgb8, tensors

PHOTOS = [SAMPLE / "test" / f"{name}.png" for name in ("chelsea", "coffee")]


@pytest.mark.long
@pytest.mark.parametrize("model", ["srresnet", "srgan"])
def test_files_and_onnx_score_what_evaluate_does(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    (tmp_path / "hr").mkdir()
    (tmp_path / "lr").mkdir()
    photos = {}
    for path in PHOTOS:
        hr = rgb8.read_picture(path).pixels[:160, :200]
        lr = bicubic.shrink(hr, 4)
        photos[path.stem] = hr, lr
        rgb8.write_png(tmp_path / "hr" / path.name, hr)
        rgb8.write_png(tmp_path / "lr" / path.name, lr)

    arguments = ["--model", model, "--data", tmp_path / "hr", "--out", tmp_path / "scores"]
    assert evaluate.main([str(argument) for argument in arguments]) == 0
    with (tmp_path / "scores" / "images.csv").open(newline="") as opened:
        scored = {row["image"]: float(row["psnr"]) for row in csv.DictReader(opened)}
    assert upscale.main([str(tmp_path / "lr"), "-o", str(tmp_path / "sr"), "--model", model]) == 0
    assert export.main([model, "-o", str(tmp_path / "model.onnx")]) == 0
    session = onnxruntime.InferenceSession((tmp_path / "model.onnx").read_bytes())

    rule = metrics.protocol("y_shave4")
    assert set(scored) == set(photos)
    for name, (hr, lr) in photos.items():
        (written,) = (tmp_path / "sr").rglob(f"{name}*.png")
        given = tensors.from_pixels(lr).numpy()
        (computed,) = session.run(None, {session.get_inputs()[0].name: given})
        exported = (computed[0].transpose(1, 2, 0).clip(0, 1) * 255).round().astype(np.uint8)
        for sr in (rgb8.read_picture(written).pixels, exported):
            psnr = metrics.psnr(tensors.from_pixels(sr), tensors.from_pixels(hr), rule).item()
            assert psnr == pytest.approx(scored[name], abs=0.005), name
