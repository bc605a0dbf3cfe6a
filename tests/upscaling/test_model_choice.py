"""``auto`` takes the generator that suits each picture, in every command, and says which and why."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_lit import enlarge, evaluate, upscale
from srgan_lit.common import progress
from srgan_lit.common.errors import UsageError
from srgan_lit.data import sets
from srgan_lit.model_files import generator_file
from srgan_lit.pictures import bicubic, rgb8
from srgan_lit.upscaling import engine, model_choice
from srgan_lit.web import enlarging
from srgan_lit.web.limits import Held

PHOTOS = [rgb8.read_picture(path).pixels for path in sorted((sets.SAMPLE / "test").glob("*.png"))]


def small(photo):
    return bicubic.shrink(bicubic.crop_to_multiple(photo, 4), 4)


def noisy(pixels, sigma=10, *, grey=False):
    shape = (*pixels.shape[:2], 1 if grey else pixels.shape[2])
    return np.clip(pixels + np.random.default_rng(0).normal(0, sigma, shape), 0, 255).round().astype(np.uint8)


def jpeg(pixels, quality):
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
        return np.asarray(Image.open(file))


@pytest.mark.parametrize("photo", PHOTOS)
def test_blocks_and_noise_are_for_everyday_and_what_is_clean_is_not(photo):
    for pixels in (photo, small(photo)):
        assert model_choice.for_pixels(pixels).name == "srgan"
        assert model_choice.for_pixels(jpeg(pixels, 96)).name == "srgan"
        blocks = model_choice.for_pixels(jpeg(pixels, 40))
        assert (blocks.name, blocks.why.split(",")[0]) == ("everyday", "JPEG blocks")
        for sigma in (6, 10):
            noise = model_choice.for_pixels(noisy(pixels, sigma))
            assert (noise.name, noise.why[:8]) == ("everyday", "noise of")
        assert model_choice.for_pixels(noisy(pixels, 3)).name == "srgan"
        grain = model_choice.for_pixels(noisy(pixels, 8, grey=True))
        assert (grain.name, grain.why[:13]) == ("everyday", "grey noise of")
        scan = noisy(np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None], 8)
        assert model_choice.for_pixels(scan).name == "everyday"


def test_texture_without_a_calm_place_is_not_taken_for_noise():
    rng = np.random.default_rng(0)
    strength = np.repeat(np.repeat(rng.uniform(8, 40, (10, 10)), 8, axis=0), 8, axis=1)
    grass = np.array([70, 120, 50]) + (strength * rng.normal(0, 1, (80, 80)))[:, :, None]
    assert model_choice.for_pixels(grass.clip(0, 255).round().astype(np.uint8)).name == "srgan"


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    clean = small(PHOTOS[0])[:40, :48]
    rgb8.write_png(folder / "clean.png", clean)
    rgb8.write_png(folder / "noisy.png", noisy(clean))
    Image.fromarray(clean).save(folder / "web.jpg", quality=30)
    return folder


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_upscale_takes_for_each_picture_what_suits_it_and_says_so(pictures, tmp_path, capsys):
    for out, more in {
        "default": [],
        "auto": ["--model", "auto"],
        "everyday": ["--model", "everyday"],
        "srgan": ["--model", "srgan"],
    }.items():
        assert upscale.main([str(pictures), "-o", str(tmp_path / out), "--format", "png", *more]) == 0
        said = capsys.readouterr().err
        assert ("--model auto: " in said) == (out in ("default", "auto"))
        if out == "default":
            assert "srgan for 1 (clean.png: neither JPEG blocks nor noise)" in said
            assert "everyday for 2 (" in said
            assert "noisy.png: noise of " in said
            assert "web.jpg: JPEG blocks, " in said
    for name, model in {"clean": "srgan", "noisy": "everyday", "web": "everyday"}.items():
        expected = pixels(tmp_path / model / f"{name}.png")
        assert np.array_equal(pixels(tmp_path / "default" / f"{name}.png"), expected)
        assert np.array_equal(pixels(tmp_path / "auto" / f"{name}.png"), expected)
    different = pixels(tmp_path / "everyday" / "noisy.png"), pixels(tmp_path / "srgan" / "noisy.png")
    assert not np.array_equal(*different)


def test_what_is_chosen_is_blended_with_its_srresnet(pictures, tmp_path):
    inputs = [str(pictures / "clean.png"), str(pictures / "noisy.png")]
    for out, more in {
        "auto": ["--fidelity", "1"],
        "srresnet": ["--model", "srresnet"],
        "everyday-faithful": ["--model", "everyday-faithful"],
    }.items():
        assert upscale.main([*inputs, "-o", str(tmp_path / out), *more]) == 0
    for name, model in {"clean": "srresnet", "noisy": "everyday-faithful"}.items():
        expected = pixels(tmp_path / model / f"{name}.png").astype(int)
        assert np.abs(pixels(tmp_path / "auto" / f"{name}.png") - expected).max() <= 1
    half = enlarge(pixels(pictures / "noisy.png"), fidelity=0.5)
    assert np.array_equal(half, enlarge(pixels(pictures / "noisy.png"), "everyday", fidelity=0.5))


def test_in_a_program_too_and_for_every_kind_of_image():
    clean = small(PHOTOS[0])[:40, :48]
    for image in (clean, noisy(clean)):
        name = model_choice.for_pixels(image).name
        expected = enlarge(image, name)
        assert np.array_equal(enlarge(image), expected)
        assert np.array_equal(enlarge(image, "auto"), expected)
        assert np.array_equal(np.asarray(enlarge(Image.fromarray(image))), expected)
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
        assert np.array_equal(enlarge(tensor)[0].permute(1, 2, 0).numpy(), expected)


def test_evaluate_scores_the_choice(pictures, tmp_path):
    hr = tmp_path / "hr"
    hr.mkdir()
    lr = {name: pixels(pictures / f"{name}.png") for name in ("clean", "noisy")}
    (pictures / "web.jpg").unlink()
    for name in lr:
        rgb8.write_png(hr / f"{name}.png", bicubic.enlarge(lr["clean"], 4))
    command = ["--hr", str(hr), "--lr", str(pictures), "--out", str(tmp_path / "o")]
    assert evaluate.main(["--model", "auto", "srgan", "everyday", *command]) == 0
    rows = json.loads((tmp_path / "o" / "results.json").read_text())["rows"]
    auto, srgan, everyday = ({image["name"]: image["psnr"] for image in row["images"]} for row in rows)
    assert auto == {"clean": srgan["clean"], "noisy": everyday["noisy"]}
    assert srgan["noisy"] != everyday["noisy"]


def test_a_file_of_that_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_choice.is_auto("auto")
    assert not model_choice.is_auto("srgan")
    (tmp_path / "auto").write_bytes(b"")
    with pytest.raises(UsageError, match=r"auto: both the choice by the picture and a file here; write \./auto"):
        model_choice.is_auto("auto")


@pytest.fixture
def loaded(monkeypatch):
    """The names of the generators that are loaded, as they are."""
    names = []
    load_generator = generator_file.load_generator

    def recording(name_or_path, **options):
        names.append(Path(name_or_path).stem)
        return load_generator(name_or_path, **options)

    monkeypatch.setattr(generator_file, "load_generator", recording)
    return names


def test_a_model_that_no_picture_takes_is_not_loaded(pictures, loaded):
    assert upscale.main([str(pictures / "noisy.png"), str(pictures / "web.jpg")]) == 0
    assert (pictures / "noisy_x4.png").is_file()
    assert loaded == ["everyday"]


def test_the_page_loads_what_is_given_and_no_other_before_a_picture_takes_it(loaded):
    offered = enlarging.offers(lambda _: None, Held(), models=["srresnet", "auto"], device="cpu")
    assert set(loaded) == {"srresnet"}
    assert {name for name, _, blends in offered["models"] if blends} == {"auto", "srgan", "srgan-fast", "everyday"}


def test_both_choices_have_the_scale_that_is_said():
    assert model_choice.scale() == 4
    for name in (model_choice.CLEAN, model_choice.TREATED):
        assert generator_file.load_generator(name).scale == model_choice.scale()


def test_the_time_is_that_of_the_models_that_the_pictures_take(pictures, tmp_path, monkeypatch, capsys, loaded):
    monkeypatch.setattr(upscale, "_SHORT_MEGAPIXELS", 0)
    monkeypatch.setattr(upscale, "_LONG_SECONDS", 0)
    monkeypatch.setattr(upscale, "_do", lambda *_: None)
    monkeypatch.setattr(engine, "seconds_per_pixel", lambda enlarger: {16: 2.0, 5: 1.0}[len(enlarger.network.trunk)])
    area = 40 * 48
    for names, seconds in {
        ("clean.png",): 2 * area,
        ("web.jpg",): area,
        ("clean.png", "noisy.png", "web.jpg"): 4 * area,
    }.items():
        inputs = [str(pictures / name) for name in names]
        assert upscale.main([*inputs, "-o", str(tmp_path / "out")]) == 0
        said = next(line for line in capsys.readouterr().err.splitlines() if "on this machine" in line)
        faster = "; --model srgan-fast takes less" if "clean.png" in names else ""
        assert said.endswith(f": about {progress.duration(seconds)} on this machine{faster}")
    assert loaded == ["srgan", "everyday", "srgan", "everyday"]
