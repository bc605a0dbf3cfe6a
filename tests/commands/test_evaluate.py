"""What evaluate scores and writes, in this process with pictures in memory and as a command with real files."""

import csv
import json
import math
import os
import re
import subprocess
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from helpers import warm_python
from srgan_lit import evaluate
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.data.datamodule import SRDataModule
from srgan_lit.evaluation import columns, metrics, results, scoring
from srgan_lit.model_files.generator_file import save_generator
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures import bicubic, rgb8, tensors
from srgan_lit.pictures.bicubic_tensors import Bicubic
from srgan_lit.pictures.rgb8 import Pair
from srgan_lit.upscaling.upscalers import Network

DATA = Path(os.environ.get("SRGAN_LIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
SQUEEZENET = DATA.parent / "models" / "squeezenet1_1_features.safetensors"


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth and in colour, so that bicubic does well but not perfectly."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 6 + 2, width // 6 + 2, 3)).astype(np.uint8)
    return bicubic.resize(small, height, width)


class Pictures:
    """A test set in memory; None stands for a file that cannot be read."""

    def __init__(self, name: str, **hr: np.ndarray | None) -> None:
        self.name, self.hr = name, hr
        self.names = list(hr)

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> Pair:
        name = self.names[index]
        hr = self.hr[name]
        if hr is None:
            raise SRGANError(f"{name}.png: not a readable picture")
        hr = bicubic.crop_to_multiple(hr, 4)
        return Pair(name=name, lr=bicubic.shrink(hr, 4), hr=hr, grey=False)


class Original:
    """A model that knows the answer, and whose memory runs out on one picture."""

    scale = 4

    def __init__(self, answers: list[np.ndarray]) -> None:
        self.answers = {bicubic.shrink(answer, 4).tobytes(): answer for answer in answers}

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        if lr.tobytes() not in self.answers:
            raise MemoryError
        return self.answers[lr.tobytes()]


def generator(path: Path | None = None, **architecture: int) -> Generator:
    torch.manual_seed(len(architecture))
    made = Generator(**{"blocks": 1, "features": 8, **architecture}).eval()
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_generator(path, made)
    return made


def test_rows_hold_the_mean_of_each_pictures_own_score(tmp_path):
    a, b = picture(64, 80), picture(48, 52, seed=1)
    [row] = scoring.evaluate({"bicubic": Bicubic(4)}, [Pictures("set", a=a, b=b)], "y_shave4", tmp_path)
    rule = metrics.protocol("y_shave4")
    expected = [
        metrics.psnr(
            tensors.from_pixels(bicubic.enlarge(bicubic.shrink(hr, 4), 4)), tensors.from_pixels(hr), rule
        ).item()
        for hr in (a, b)
    ]
    assert [score.values["psnr"] for score in row.images] == expected
    assert row.psnr == pytest.approx(sum(expected) / 2)
    assert (row.model, row.dataset, row.n, row.protocol) == ("bicubic", "set", 2, "y_shave4")
    assert row.seconds == sum(score.seconds for score in row.images) > 0


def test_results_json_has_the_promised_keys_and_is_strict_json(tmp_path):
    exact = Original([picture(64, 64)])
    models = {"bicubic": Bicubic(4), "exact": exact}
    scoring.evaluate(models, [Pictures("set", a=picture(64, 64))], "rgb_full", tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    rows = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)["rows"]
    assert [row["model"] for row in rows] == ["bicubic", "exact"]
    for key in ("model", "dataset", "n", "protocol", "psnr", "ssim", "seconds", "images"):
        assert key in rows[0]
    assert set(rows[0]["images"][0]) >= {"name", "psnr", "ssim"}
    assert rows[1]["psnr"] is None  # infinite
    assert rows[1]["ssim"] == pytest.approx(1)
    assert "∞" in (tmp_path / "results.md").read_text()


def test_names_that_are_no_unicode_are_in_every_file(tmp_path, capsys):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    Image.fromarray(picture(64, 64)).save(folder / os.fsdecode(b"\xff.png"))
    out = tmp_path / "out"
    assert evaluate.main(["--model", "bicubic", "--data", str(folder), "--out", str(out), "--save-images"]) == 0
    (row,) = json.loads((out / "results.json").read_text(encoding="utf-8"))["rows"]
    assert (row["dataset"], row["images"][0]["name"]) == ("caf\udce9", "\udcff")
    for name in ("results.md", "results.tex", "images.csv", "report.html"):
        assert "caf" in (out / name).read_text(encoding="utf-8"), name
    assert (out / "images" / folder.name / "bicubic" / os.fsdecode(b"\xff.png")).is_file()


def test_a_broken_picture_is_named_and_the_others_are_scored(tmp_path):
    sets = [Pictures("one", a=picture(40, 40), bad=None, c=picture(44, 40)), Pictures("two", d=picture(40, 40))]
    models = {"bicubic": Bicubic(4), "exact": Original([picture(40, 40)])}
    rows = scoring.evaluate(models, sets, "y_full", tmp_path)
    assert [(row.model, row.dataset, row.n) for row in rows] == [
        ("bicubic", "one", 2),
        ("exact", "one", 1),
        ("bicubic", "two", 1),
        ("exact", "two", 1),
    ]
    assert rows[0].failed == {"bad": "bad.png: not a readable picture"}
    assert rows[1].failed == {"bad": "bad.png: not a readable picture", "c": "exact: out of memory"}


def test_a_picture_too_small_for_the_protocol_is_named(tmp_path):
    [row] = scoring.evaluate({"bicubic": Bicubic(4)}, [Pictures("set", tiny=picture(8, 8))], "y_shave4", tmp_path)
    assert row.n == 0
    assert math.isnan(row.psnr)
    assert "nothing is left" in row.failed["tiny"]
    assert json.loads((tmp_path / "results.json").read_text())["rows"][0]["psnr"] is None


def test_one_picture_at_a_time_is_held(tmp_path):
    alive: list[Pair] = []

    class Counting(Pictures):
        def load(self, index: int) -> Pair:
            import gc
            import weakref

            gc.collect()
            assert (
                sum(reference() is not None for reference in alive) <= 2
            )  # the last one, and the hardest for the strip
            pair = super().load(index)
            alive.append(weakref.ref(pair.hr))
            return pair

    many = {f"p{i}": picture(40, 40, seed=i) for i in range(12)}
    [row] = scoring.evaluate({"bicubic": Bicubic(4)}, [Counting("set", **many)], "y_full", tmp_path, show=2)
    assert row.n == 12


def test_the_csv_has_a_line_per_picture_and_model(tmp_path):
    models = {"bicubic": Bicubic(4), "net": Network(generator())}
    rows = scoring.evaluate(models, [Pictures("s,et", a=picture(40, 40), b=picture(40, 44))], "y_full", tmp_path)
    with (tmp_path / "images.csv").open(newline="") as opened:
        lines = list(csv.DictReader(opened))
    assert [(line["dataset"], line["image"], line["model"]) for line in lines] == [
        ("s,et", "a", "bicubic"),
        ("s,et", "b", "bicubic"),
        ("s,et", "a", "net"),
        ("s,et", "b", "net"),
    ]
    assert float(lines[2]["psnr"]) == rows[1].images[0].values["psnr"]


def test_models_of_different_scales_are_refused(tmp_path):
    with pytest.raises(UsageError, match="bicubic x4, two x2"):
        scoring.evaluate({"bicubic": Bicubic(4), "two": Bicubic(2)}, [], "y_full", tmp_path)


def test_a_network_gives_what_its_generator_computes_and_leaves_it_alone():
    made = generator().train()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    lr = picture(13, 17)
    sr = Network(made)(lr)
    assert made.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    with torch.no_grad():
        expected = tensors.to_pixels(made.eval()(tensors.from_pixels(lr)))
    # The folded network rounds differently in the last digit: a level where that crosses a half.
    assert np.abs(sr.astype(int) - expected).max() <= 1
    assert (sr == expected).mean() > 0.99


def test_weights_that_diverged_are_said_not_scored_as_black(tmp_path):
    made = generator()
    with torch.no_grad():
        made.tail.weight[0, 0, 0, 0] = math.nan
    models = {"bicubic": Bicubic(4), "net": Network(made)}
    rows = scoring.evaluate(models, [Pictures("set", a=picture(40, 40))], "y_full", tmp_path)
    assert [row.n for row in rows] == [1, 0]
    assert "diverged" in rows[1].failed["a"]


def test_the_table_is_aligned_markdown_whatever_the_names():
    score = results.Score(name="x", values={"psnr": 28.43, "ssim": math.nan}, seconds=0.1)
    headings = columns.standard("y_full", 4)[:2]
    rows = [results.Row(model=name, dataset="a|b\nc", protocol="y_full", images=[score]) for name in ("m", "日本語")]
    lines = results.table(rows, headings).splitlines()
    assert len(lines) == 4
    assert all(line.replace("\\|", "").count("|") == 8 for line in lines)
    assert "28.430" in lines[2]
    assert "–" in lines[2]
    assert all(set(cell.strip()) <= {"-", ":"} and len(cell.strip()) >= 3 for cell in lines[1].strip("|").split("|"))


def test_the_latex_table_holds_the_same_with_the_best_in_bold(tmp_path):
    names = {"bicubic": Bicubic(4), "100% mine_{v2} & \\yours": Original([picture(40, 40), picture(48, 48)])}
    sets = [Pictures("a_b", a=picture(40, 40)), Pictures("c~d", a=picture(48, 48))]
    scoring.evaluate(names, sets, "y_full", tmp_path)
    text = (tmp_path / "results.tex").read_text()
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 5
    unescaped = [re.sub(r"\\[&%$#_{}]", "", row) for row in rows]
    assert {row.count("&") for row in unescaped} == {rows[0].count("&")}
    assert all(row.count("{") == row.count("}") and not re.search(r"(?<!\\)[%#_~]", row) for row in unescaped)
    assert r"100\% mine\_\{v2\} \& \textbackslash{}yours" in rows[2]
    assert r"PSNR $\uparrow$" in rows[0]
    assert r"\textbf{$\infty$}" in rows[2]
    assert r"c\textasciitilde{}d" in rows[4]
    assert text.count(r"\midrule") == 2, "one below the heading, one between the data sets"
    assert r"\begin{tabular}{llrl" in text


@pytest.mark.parametrize("name", ["rgb", "y_shave", "psnr"])
def test_an_unknown_protocol_is_wrong_usage(name):
    with pytest.raises(UsageError, match="take y_shave4"):
        columns.standard(name, 4)


@pytest.mark.parametrize(("backbone", "last"), [("vgg16", "5_3"), ("vgg19", "5_4")])
def test_perceptual_distance_is_the_loss_with_the_files_own_network(tmp_path, backbone, last):
    features = vgg_features(backbone=backbone, layer=last, weights="random")
    torch.save(features.features.state_dict(), tmp_path / "weights.pth")
    measure = columns.perceptual(str(tmp_path / "weights.pth"))
    sr, hr = tensors.from_pixels(picture(48, 48)), tensors.from_pixels(picture(48, 48, seed=1))
    pair = Pair(name="a", lr=picture(12, 12), hr=picture(48, 48), grey=False)
    expected = (features(sr) - features(hr)).square().mean().item()
    assert measure.key == f"{backbone}_{last}"
    assert measure.compute(sr, hr, pair) == pytest.approx(expected)
    assert measure.compute(hr, hr, pair) == 0


def test_perceptual_weights_that_fit_no_network_are_refused(tmp_path):
    torch.save({"0.weight": torch.zeros(3)}, tmp_path / "weights.pth")
    with pytest.raises(SRGANError, match="not vgg16 weights"):
        columns.perceptual(str(tmp_path / "weights.pth"))
    with pytest.raises(UsageError, match="no such file"):
        columns.perceptual(str(tmp_path / "absent.pth"))


def test_lpips_without_its_backbone_leaves_a_column_that_says_why(tmp_path, monkeypatch):
    def offline(**_: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torchmetrics.functional.image.lpips._NoTrainLpips", offline)
    column = columns.lpips("alex")
    [row] = scoring.evaluate(
        {"bicubic": Bicubic(4)}, [Pictures("set", a=picture(40, 40))], "y_full", tmp_path, extra=[column]
    )
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["rows"][0]["lpips_alex"] is None
    assert "Name or service not known" in written["notes"][0]
    assert "LPIPS is empty" in (tmp_path / "results.md").read_text()
    assert "LPIPS is empty" in (tmp_path / "report.html").read_text()
    assert not row.failed


def test_lpips_follows_its_formula_on_a_given_backbone(tmp_path, monkeypatch):
    """Random SqueezeNet features, the real linear heads: the weighted squared distance of unit-length features."""
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    torch.manual_seed(0)
    backbone = squeezenet1_1(weights=None).eval()
    cache = tmp_path / "checkpoints"
    cache.mkdir()
    torch.save(backbone.state_dict(), cache / Path(SqueezeNet1_1_Weights.IMAGENET1K_V1.url).name)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    column = columns.lpips("squeeze")
    assert column.missing == ""
    sr, hr = tensors.from_pixels(picture(64, 64)), tensors.from_pixels(picture(64, 64, seed=1))
    pair = Pair(name="a", lr=picture(16, 16), hr=picture(64, 64), grey=False)

    import torchmetrics.functional.image.lpips as original

    heads = torch.load(
        Path(original.__file__).parent / "lpips_models" / "squeeze.pth", map_location="cpu", weights_only=True
    )
    shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    x, y = ((image * 2 - 1 - shift) / scale for image in (sr, hr))
    expected, tapped = 0.0, 0
    with torch.no_grad():
        for index, layer in enumerate(backbone.features):
            x, y = layer(x), layer(y)
            if index in (1, 4, 7, 9, 10, 11, 12):
                units = [z / (z.square().sum(1, keepdim=True).sqrt() + 1e-8) for z in (x, y)]
                weight = heads[f"lin{tapped}.model.1.weight"]
                expected += ((units[0] - units[1]).square() * weight).sum(1).mean().item()
                tapped += 1
    assert column.compute(sr, hr, pair) == pytest.approx(expected, rel=1e-4)
    assert column.compute(hr, hr, pair) == pytest.approx(0, abs=1e-7)


def test_lpips_takes_a_file_and_knows_its_network(tmp_path):
    """The same distance as with the download, whether by torchvision's whole names or those below features."""
    from torchvision.models import alexnet, squeezenet1_1

    sr, hr = tensors.from_pixels(picture(64, 64)), tensors.from_pixels(picture(64, 64, seed=1))
    pair = Pair(name="a", lr=picture(16, 16), hr=picture(64, 64), grey=False)
    for name, network in (("squeeze", squeezenet1_1()), ("alex", alexnet())):
        torch.save(network.state_dict(), tmp_path / f"{name}.pth")
        save_file(network.features.state_dict(), tmp_path / f"{name}.safetensors")
        whole, features = (columns.lpips(str(tmp_path / f"{name}{suffix}")) for suffix in (".pth", ".safetensors"))
        assert whole.key == features.key == f"lpips_{name}"
        assert whole.compute(sr, hr, pair) == features.compute(sr, hr, pair) > 0
    assert columns.lpips(str(tmp_path / "alex.pth")).compute(hr, hr, pair) == 0


def test_lpips_refuses_what_is_no_backbone(tmp_path):
    from torchvision.models import squeezenet1_1

    with pytest.raises(UsageError, match="no such file"):
        columns.lpips(str(tmp_path / "absent.safetensors"))
    tensors_ = squeezenet1_1().features.state_dict()
    save_file({"0.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    save_file({n: v for n, v in tensors_.items() if n != "12.squeeze.bias"}, tmp_path / "cut.safetensors")
    with pytest.raises(SRGANError, match="not torchvision's weights of alex, vgg, squeeze"):
        columns.lpips(str(tmp_path / "other.safetensors"))
    with pytest.raises(SRGANError, match=r"features\.12\.squeeze\.bias is missing"):
        columns.lpips(str(tmp_path / "cut.safetensors"))


@pytest.mark.skipif(not SQUEEZENET.is_file(), reason="needs SqueezeNet's features")
def test_lpips_gives_the_documented_values():
    """Those of torchmetrics' documentation of ``LearnedPerceptualImagePatchSimilarity``."""
    from srgan_lit.model_files.lpips_weights import lpips

    judge, network = lpips(str(SQUEEZENET))
    generator = torch.Generator().manual_seed(42)
    one, other = (torch.rand(2, 3, 100, 100, generator=generator) for _ in range(2))
    assert network == "squeeze"
    distances = [judge(one[[index]], other[[index]]).item() for index in range(2)]
    assert distances == pytest.approx([0.1024, 0.0938], abs=5e-5)


# ---------------------------------------------------------------------- the command


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_the_command_scores_good_pictures_beside_bad_ones(tmp_path):
    """A real process: the sizes, depths and colours of real folders, a broken file and a broken model."""
    data = tmp_path / "my data"
    write(data / "odd size.png", picture(67, 81))
    write(data / "grey, too.png", picture(64, 48)[..., 0])
    write(data / "deep.png", picture(64, 64)[..., 0].astype(np.uint16) * 257)
    write(data / "broken.png", picture(96, 96))
    (data / "broken.png").write_bytes((data / "broken.png").read_bytes()[:600])
    generator(tmp_path / "run" / "generator.safetensors")
    (tmp_path / "run" / "metrics.csv").write_text("step,epoch,val/psnr\n0,0,20\n10,0,24\n")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    options = ["--model", "bicubic", "bad.safetensors", "run", "--data", "my data", "--out", "out", "--device", "cpu"]
    done = warm_python.run(
        [sys.executable, "-m", "srgan_lit.evaluate", *options, "--save-images"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    complaints = done.stderr.splitlines()
    assert sum("broken" in line for line in complaints) == 1
    assert sum("bad.safetensors" in line for line in complaints) == 1
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [(row["model"], row["n"]) for row in rows] == [("bicubic", 3), ("run", 3)]
    names = [image["name"] for image in rows[0]["images"]]
    assert sorted(names) == ["deep", "grey, too", "odd size"]
    with Image.open(tmp_path / "out" / "images" / "my data" / "bicubic" / "odd size.png") as saved:
        assert saved.size == (80, 64)
        hr = bicubic.crop_to_multiple(picture(67, 81), 4)
        assert np.array_equal(np.asarray(saved), bicubic.enlarge(bicubic.shrink(hr, 4), 4))
    # A grey picture is its own luma.
    grey = np.repeat(picture(64, 48)[..., :1], 3, axis=2)
    sr = bicubic.enlarge(bicubic.shrink(grey, 4), 4)
    expected = metrics.psnr(
        tensors.from_pixels(sr), tensors.from_pixels(grey), metrics.protocol("y_shave4"), grey=True
    ).item()
    assert rows[0]["images"][names.index("grey, too")]["psnr"] == pytest.approx(expected)
    assert "| my data  | bicubic |   3 | y_shave4 |" in done.stdout
    assert "val/psnr" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--model", "bicubic", "--data", "absent"], 2, "absent"),
        (["--model", "bicubic", "--data", "data", "--protocol", "y"], 2, "take y_shave4"),
        (["--model", "absent", "--data", "data"], 1, "no such model"),
        (["--model", "x2.safetensors", "x4.safetensors", "--data", "data"], 2, "x2"),
        (["--model", "x2.safetensors", "--scale", "4", "--data", "data"], 2, "leave --scale out"),
        (["--model", "bicubic", "--data", "data", "--show", "-1"], 2, "0 or more"),
        (["--model", "x4.safetensors", "--data", "data", "--device", "abacus"], 2, "abacus"),
    ],
)
def test_wrong_usage_is_refused_in_one_line_before_anything_is_written(
    tmp_path, monkeypatch, capsys, arguments, status, said
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data" / "a.png", picture(40, 40))
    generator(tmp_path / "x4.safetensors")
    generator(tmp_path / "x2.safetensors", scale=2)
    assert evaluate.main([*arguments, "--out", "out"]) == status
    stderr = capsys.readouterr().err
    assert len(stderr.splitlines()) == 1
    assert said in stderr
    assert not (tmp_path / "out").exists()


def test_bicubic_takes_the_scale_of_the_other_models(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data" / "a.png", picture(40, 40))
    generator(tmp_path / "x2.safetensors", scale=2)
    command = [
        "--model",
        "bicubic",
        "x2.safetensors",
        "bicubic",
        "--data",
        "data",
        "--out",
        "out",
        "--protocol",
        "y_full",
    ]
    assert evaluate.main(command) == 0
    assert "bicubic was given before" in capsys.readouterr().err
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    half = bicubic.enlarge(bicubic.shrink(picture(40, 40), 2), 2)
    expected = metrics.psnr(
        tensors.from_pixels(half), tensors.from_pixels(picture(40, 40)), metrics.protocol("y_full")
    ).item()
    assert [row["model"] for row in rows] == ["bicubic", "x2"]
    assert rows[0]["psnr"] == pytest.approx(expected)


def test_earlier_scores_are_replaced_only_where_that_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data" / "a.png", picture(40, 40))
    command = ["--model", "bicubic", "--data", "data", "--out", "out"]
    assert evaluate.main(command) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(before) == set(scoring.FILES), "every file that is written is protected"
    write(tmp_path / "data" / "b.png", picture(40, 44))
    assert evaluate.main(command) == 2
    assert "out/results.json exists: name another folder with --out, or add --overwrite" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert evaluate.main([*command, "--overwrite"]) == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["rows"][0]["n"] == 2


def test_a_run_called_like_the_model_in_the_box_is_not_passed_over(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data" / "a.png", picture(40, 40))
    generator(tmp_path / "srgan" / "generator.safetensors")
    command = ["--data", "data", "--out", "out", "--model"]
    assert evaluate.main([*command, "bicubic", "srgan"]) == 2
    assert "write ./srgan for the folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert evaluate.main([*command, "./srgan"]) == 0
    [row] = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert row["model"] == "srgan"


def test_two_runs_of_one_name_keep_their_own_scores_and_curves(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a" / "test" / "p.png", picture(40, 40))
    write(tmp_path / "b" / "test" / "p.png", picture(40, 40, seed=1))
    for run in ("a/run", "b/run"):
        generator(tmp_path / run / "generator.safetensors")
        (tmp_path / run / "metrics.csv").write_text("step,val/psnr\n0,20\n10,24\n")
    assert evaluate.main(["--model", "a/run", "b/run", "--data", "a/test", "b/test", "--out", "out"]) == 0
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [(row["dataset"], row["model"]) for row in rows] == [
        ("a/test", "a/run"),
        ("a/test", "b/run"),
        ("b/test", "a/run"),
        ("b/test", "b/run"),
    ]
    assert (tmp_path / "out" / "report.html").read_text().count("<polyline") == 2


def test_names_are_as_short_as_they_can_be_told_apart(tmp_path):
    files = [tmp_path / name for name in ("a/g.ckpt", "b/g.ckpt", "c/net.v2.safetensors", "x.ckpt", "x.safetensors")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    names = evaluate.distinct([*files, tmp_path / "a", Path("bicubic")])
    assert names == ["a/g", "b/g", "net.v2", "x.ckpt", "x.safetensors", "a", "bicubic"]


def test_a_name_never_leads_out_of_the_folder_it_is_saved_in():
    # Folders that differ only in what is above the shorter one.
    assert evaluate.distinct([Path("/a/x"), Path("/b/a/x"), Path("/")]) == ["a/x", "b/a/x", ""]


def test_models_may_be_called_like_the_reports_own_pictures(tmp_path):
    models = {"LR": Bicubic(4), "original": Bicubic(4)}
    scoring.evaluate(models, [Pictures("set", a=picture(40, 40))], "y_full", tmp_path)
    assert (tmp_path / "report.html").read_text().count("data:image/webp") == 4


def test_help_does_not_load_torch():
    code = "import sys, srgan_lit.evaluate as e; e.build_parser().format_help(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not (DATA / "Set5" / "LRx4").is_dir(), reason="Set5 is not at hand (SRGAN_LIT_DATA)")
@pytest.mark.parametrize(("name", "psnr", "ssim"), [("Set5", 28.430, 0.8111), ("Set14", 25.997, 0.7029)])
def test_bicubic_scores_what_the_literature_prints(tmp_path, name, psnr, ssim):
    out = tmp_path / "out"
    assert evaluate.main(["--model", "bicubic", "--data", str(DATA / name), "--out", str(out), "--show", "0"]) == 0
    [row] = json.loads((out / "results.json").read_text())["rows"]
    assert row["psnr"] == pytest.approx(psnr, abs=0.002)
    assert row["ssim"] == pytest.approx(ssim, abs=0.0001)


def test_saved_pictures_read_back_as_scored(tmp_path):
    hr = picture(40, 40)
    scoring.evaluate({"bicubic": Bicubic(4)}, [Pictures("set", a=hr)], "y_full", tmp_path, save_images=True)
    saved = rgb8.read_picture(tmp_path / "images" / "set" / "bicubic" / "a.png").pixels
    assert np.array_equal(saved, bicubic.enlarge(bicubic.shrink(hr, 4), 4))


def test_a_generator_of_another_scale_than_the_sets_lr_files(tmp_path, monkeypatch, capsys):
    """LRx4/ says its scale: LR is made for x2, and said. LR/ does not: each picture is refused by name."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        for root in ("says", "silent"):
            write(tmp_path / root / "HR" / f"{name}.png", picture(48, 40))
            write(tmp_path / root / ("LRx4" if root == "says" else "LR") / f"{name}.png", picture(12, 10))
    generator(tmp_path / "x2.safetensors", scale=2)
    command = ["--model", "x2.safetensors", "--protocol", "y_full", "--data"]
    assert evaluate.main([*command, "says", "--out", "out"]) == 0
    assert "says: 2 pictures: HR/, LR is made; left out: LRx4/ (2)" in capsys.readouterr().err
    [row] = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert row["n"] == 2
    assert evaluate.main([*command, "silent", "--out", "none"]) == 1
    said = capsys.readouterr().err
    assert said.count("10x12, but 1/2 of its HR is 20x24") == 2
    [row] = json.loads((tmp_path / "none" / "results.json").read_text())["rows"]
    assert (row["n"], row["psnr"]) == (0, None)


def photographs(folder: Path, count: int = 8) -> Path:
    folder.mkdir()
    for n in range(count):
        rgb8.write_png(folder / f"photo{n}.png", picture(96, 64, seed=n))
    return folder


def test_each_degradation_is_the_same_in_every_run(tmp_path):
    folder = photographs(tmp_path / "set", 2)
    scores = []
    for out in ("one", "again"):
        command = ["--model", "bicubic", "--data", str(folder), "--out", str(tmp_path / out)]
        assert evaluate.main([*command, "--degradation", "bicubic", "everyday", "jpeg"]) == 0
        rows = json.loads((tmp_path / out / "results.json").read_text())["rows"]
        scores.append({row["dataset"]: tuple(image["psnr"] for image in row["images"]) for row in rows})
    assert scores[0] == scores[1]
    assert list(scores[0]) == ["set", "set (everyday)", "set (jpeg)"]
    assert len(set(scores[0].values())) == 3


def test_an_unknown_degradation_is_named_before_anything_is_loaded(tmp_path, capsys):
    command = ["--model", "none.ckpt", "--data", "nowhere", "--out", str(tmp_path / "o"), "--degradation", "evryday"]
    assert evaluate.main(command) == 2
    assert "--degradation evryday: may be" in (said := capsys.readouterr().err)
    assert "everyday?" in said


@pytest.mark.parametrize("kind", ["bicubic", "everyday"])
def test_held_out_are_those_that_training_validates_with_as_it_sees_them(tmp_path, kind):
    folder = photographs(tmp_path / "photos", 12)
    data = SRDataModule("folder", root=str(folder), crop=16, validation_share=0.3, degradation=kind)
    data.prepare_data()
    data.setup()
    command = ["--model", "bicubic", "--held-out", str(folder), "--validation-share", "0.3", "--degradation", kind]
    assert evaluate.main([*command, "--out", str(tmp_path / "o")]) == 0
    (row,) = json.loads((tmp_path / "o" / "results.json").read_text())["rows"]
    assert row["dataset"] == "photos, held out" + ("" if kind == "bicubic" else f" ({kind})")
    rule = metrics.protocol("y_shave4")
    validated = {}
    for batch in data.val_dataloader():
        lr = batch["lr"][0].permute(1, 2, 0).numpy()
        hr = tensors.from_pixels(batch["hr"][0].permute(1, 2, 0).numpy())
        score = metrics.psnr(tensors.from_pixels(bicubic.enlarge(lr, 4)), hr, rule).item()
        validated[batch["name"][0].removesuffix(".png")] = score
    assert {image["name"]: image["psnr"] for image in row["images"]} == pytest.approx(validated)
    assert 0 < len(validated) < 12


def test_the_table_goes_into_a_page_between_its_marks_each_time(tmp_path, capsys):
    page, folder = tmp_path / "page.md", photographs(tmp_path / "set", 2)
    page.write_text(f"before\n\n{results.BEGIN}\nold\n{results.END}\n\nafter\n")
    command = ["--model", "bicubic", "--data", str(folder), "--out", str(tmp_path / "o"), "--into", str(page)]
    assert evaluate.main(command) == 0
    assert evaluate.main([*command, "--overwrite"]) == 0
    table = (tmp_path / "o" / "results.md").read_text()
    assert "| set" in table
    assert page.read_text() == f"before\n\n{results.BEGIN}\n\n{table}\n{results.END}\n\nafter\n"


@pytest.mark.parametrize(
    "content", ["nothing", results.BEGIN, results.END + results.BEGIN, 2 * (results.BEGIN + results.END), b"\xff"]
)
def test_a_page_without_its_marks_is_refused_before_anything_is_scored(tmp_path, capsys, content):
    page = tmp_path / "page.md"
    page.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = page.read_bytes()
    command = ["--model", "bicubic", "--data", "sample", "--out", str(tmp_path / "o"), "--into", str(page)]
    assert evaluate.main(command) == 2
    assert f"--into {page}: " in capsys.readouterr().err
    assert page.read_bytes() == before
    assert not (tmp_path / "o").exists()
