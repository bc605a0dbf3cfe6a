"""What commands compute on a GPU is what they compute on the processor."""

import json

import numpy as np
import pytest
from PIL import Image

from srgan_lit import benchmark, evaluate, export, upscale
from srgan_lit.data import sets
from srgan_lit.model_files import box
from srgan_lit.upscaling import engine
from srgan_lit.web.jobs import Options
from srgan_lit.web.work import Work

pytestmark = pytest.mark.gpu


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = Image.open(sets.SAMPLE / "test" / "astronaut.png").convert("RGB").crop((64, 64, 160, 144))
    photo.save(folder / "rgb.png")
    photo.convert("L").save(folder / "grey.png")
    transparent = photo.copy()
    transparent.putalpha(photo.convert("L"))
    transparent.save(folder / "alpha.png")
    return folder


def levels_apart(one, other):
    return np.abs(np.asarray(Image.open(one)).astype(int) - np.asarray(Image.open(other)).astype(int)).max()


@pytest.mark.parametrize(
    "options", [[], ["--match-input", "--tile", "24"], ["--self-ensemble"]], ids=["plain", "tiles", "ensemble"]
)
def test_upscale_gives_the_same_pictures_to_a_level(tmp_path, device, photos, options):
    for name in ("cpu", device.type):
        given = [str(photos), "-o", str(tmp_path / name), "--model", "srgan-fast", "--device", name, "--overwrite"]
        assert upscale.main([*given, *options]) == 0
    for path in photos.iterdir():
        assert levels_apart(tmp_path / "cpu" / path.name, tmp_path / device.type / path.name) <= 1, path.name


def test_half_precision_differs_by_few_levels(tmp_path, device, photos):
    for name, precision in (("cpu", "float32"), (device.type, "bfloat16")):
        given = [str(photos / "rgb.png"), "-o", str(tmp_path / f"{name}_{precision}"), "--device", name]
        assert upscale.main([*given, "--precision", precision]) == 0
    assert levels_apart(tmp_path / "cpu_float32" / "rgb.png", tmp_path / f"{device.type}_bfloat16" / "rgb.png") <= 16


@pytest.mark.parametrize("scale", [4, 8])
def test_bicubic_is_the_definition_to_the_last_bit(device, scale):
    random, bicubic = np.random.default_rng(0), engine.bicubic_tensors.Bicubic(scale)
    for dtype in (np.uint8, np.uint16):
        picture = random.integers(0, np.iinfo(dtype).max + 1, (24, 20, 3), dtype=dtype)
        one, other = (engine.enlarge(picture, bicubic, device=each) for each in (device, "cpu"))
        assert np.array_equal(one, other)


def test_evaluate_gives_the_same_scores(tmp_path, device):
    found = []
    for name in ("cpu", device.type):
        given = ["--model", "srgan-fast", "bicubic", "--data", "sample", "--out", str(tmp_path / name)]
        assert evaluate.main([*given, "--device", name, "--overwrite"]) == 0
        found.append(json.loads((tmp_path / name / "results.json").read_text())["rows"])
    for one, other in zip(*found, strict=True):
        assert one["psnr"] == pytest.approx(other["psnr"], abs=0.02), one["model"]
        assert one["ssim"] == pytest.approx(other["ssim"], abs=5e-4), one["model"]


def test_the_page_s_work_is_done_on_the_device(tmp_path, device, photos, monkeypatch):
    class Job:
        source, result, folder, suffix = photos / "rgb.png", tmp_path / "result.png", tmp_path, ".png"
        facts, progress = {}, 0.0
        options = Options(model="srgan-fast")

        def go_on(self):
            pass

    asked = []
    enlarger = engine.Enlarger
    monkeypatch.setattr(
        engine, "Enlarger", lambda *a, device, **k: asked.append(device) or enlarger(*a, device=device, **k)
    )
    job = Job()
    Work(["srgan-fast"], device=device.type, max_pixels=10**6)(job)
    assert [each.type for each in asked] == [device.type]
    assert Image.open(job.result).size == (384, 320)


def test_what_was_trained_there_is_exported(tmp_path):
    pytest.importorskip("onnxruntime")
    assert export.main([str(box.path_of("srgan-fast")), "-o", str(tmp_path / "model.onnx")]) == 0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_benchmark_measures_steps_their_share_and_memory(tmp_path, device, capsys, precision):
    given = ["--quick", "--only", "pretrain", "--batch", "1", "--device", device.type, "--precision", precision]
    assert benchmark.main([*given, "--json", str(tmp_path / "speed.json")]) == 0
    written = json.loads((tmp_path / "speed.json").read_text())
    (step,) = written["results"]
    assert list(step["ways"]) == ["ours", "textbook", "lean"]
    assert min(value for way in step["ways"].values() for value in way["seconds"] + way["share"]) > 0
    assert written["settings"]["precision"] == precision
    if device.type == "cuda":
        assert step["details"]["peak_bytes"] > 10 * 2**20
        assert "bfloat16" in written["matrix_product"]
        assert "GB of the GPU" in capsys.readouterr().out
