"""Every command in the README runs, on small stand-ins for the reader's files, and every path it names exists.

A training command runs as it is written, with values appended that make it a few iterations long.
"""

import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from helpers import foreign_networks, warm_python
from srgan_lit.model_files.generator_file import save_generator
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.networks.srresnet import Generator

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

SHORT = {
    "model.blocks=1", "model.features=8", "data.crop=32", "data.batch_size=2", "validate_every=2", "checkpoint_every=2",
    "log_every=1", "trainer=cpu", "phase.pretrain.iterations=2", "phase.adversarial.iterations=2",
}  # fmt: skip


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands():
    """The lines of the README's code blocks, continuation lines joined, without comments."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return list(dict.fromkeys(line.partition("  #")[0].strip() for line in lines if line.strip()))


COMMANDS = commands()


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with everything that the README's commands name."""
    folder = tmp_path_factory.mktemp("reader")
    noise = np.random.default_rng(0)

    def picture(path, side):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)

    for album in range(3):
        for patch in range(2):
            name = f"H_0_{7595161 + album}@N07_31_0_10{patch}matches93_raw_01.png"
            for part in ("input", "ref"):
                picture(folder / "CUFED" / part / name, 160)
    for index in range(4):
        picture(folder / "photos" / f"{index}.jpg", 64)
        picture(folder / "Set5" / "HR" / f"{index}.png", 64)
    picture(folder / "photo.jpg", 24)
    for part in ("input", "ref"):
        shutil.make_archive(str(folder / f"CUFED_{part}"), "zip", folder / "CUFED", part)
    shutil.rmtree(folder / "CUFED")  # the README's first command unpacks it
    torch.manual_seed(0)
    small = Generator(blocks=1, features=8)
    vgg = vgg_features(backbone="vgg16", layer=None, weights="random").features.state_dict()
    save_file({name: value.contiguous() for name, value in vgg.items()}, folder / "vgg16_features.safetensors")
    torch.save(foreign_networks.leftthomas().state_dict(), folder / "theirs.pth")
    for run in ("srresnet/2026-01-31_12-00-00", "srgan/2026-01-31_12-00-00"):
        run_dir = folder / "runs" / run
        run_dir.mkdir(parents=True)
        save_generator(run_dir / "srresnet.safetensors", small)
        save_generator(run_dir / "generator.safetensors", small)
        (run_dir / "config.yaml").write_text("objective: psnr\n")
    return folder


def serves(words, desk):
    """The page's command goes on until it is ended; its first line says where the page is."""
    command = [sys.executable, *words, "--port", "0"]
    with warm_python.Popen(command, cwd=desk, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            with urllib.request.urlopen(process.stdout.readline().split()[0], timeout=60) as page:
                assert b"runs/srgan/2026-01-31_12-00-00" in page.read()
        finally:
            process.terminate()
        assert (process.wait(20), process.stderr.read()) == (0, "")


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("python -m srgan_lit.")])
def test_command_of_the_readme_runs(line, desk):
    words = shlex.split(line)
    if "srgan_lit.train" in words and "--help" not in words:
        keys = {word.partition("=")[0] for word in words}
        phase = next((word.partition("=")[2] for word in words if word.startswith("phase=")), "full")
        if "experiment=srresnet" in words:
            phase = "pretrain"
        if "resume" in set(keys):
            pytest.skip("a resumed run is tested in test_train.py")
        short = {s for s in SHORT if s.partition("=")[0] not in keys or "iterations" in s}
        short -= {s for s in short if phase == "pretrain" and "adversarial" in s}
        short -= {s for s in short if phase == "adversarial" and "pretrain" in s}
        if phase != "pretrain" and "perceptual.weights" not in keys:
            short.add("perceptual.weights=random")  # ImageNet's cannot be downloaded in a test
        words = [w for w in words if w.partition("=")[0] not in {s.partition("=")[0] for s in short}]
        words += sorted(short)
        if "sweep" in keys:
            words.append("hydra.sweeper.n_trials=2")
    if "srgan_lit.app" in words:
        serves(words[1:], desk)
        return
    if "srgan_lit.benchmark" in words:
        words += ["--only", "loader"]  # what needs no minutes
    result = warm_python.run(
        [sys.executable, *words[1:]], cwd=desk, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
    )
    assert result.returncode == 0, result.stderr
    if "prepare cufed" in line:  # the stand-in has six pairs
        assert result.stderr.startswith("CUFED: 6 of CUFED's 11871 pictures in input/: training works")


def python_of_the_readme(code, desk):
    result = warm_python.run([sys.executable, "-c", code], cwd=desk, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("code", [code for code in blocks("python") if "Trainer" not in code])
def test_python_of_the_readme_runs(code, desk):
    if "srgan.onnx" in code and not (desk / "srgan.onnx").exists():  # its command comes before, in the same part
        line = next(line for line in COMMANDS if "srgan.onnx" in line)
        warm_python.run([sys.executable, *shlex.split(line)[1:]], cwd=desk, check=True, timeout=300)
    python_of_the_readme(code + "\nassert large.size == (96, 96)", desk)


def test_the_program_with_a_trainer_of_its_own_prints_what_the_readme_says(desk):
    (code,) = (code for code in blocks("python") if "Trainer" in code)
    (said,) = (text for text in blocks("text") if text.startswith("psnr_y_shave4"))
    printed = python_of_the_readme(code + "\nassert pictures[0].shape[1] == 3", desk)
    scores = [dict(line.split() for line in text.splitlines()[-4:]) for text in (printed, said)]
    assert scores[0].keys() == scores[1].keys()
    assert float(scores[0]["psnr_bicubic_y_shave4"]) == float(scores[1]["psnr_bicubic_y_shave4"])
    # The program is seeded; what remains is how processors round, through thirty iterations of two networks.
    assert float(scores[0]["psnr_y_shave4"]) == pytest.approx(float(scores[1]["psnr_y_shave4"]), abs=1.0)


def test_every_command_is_one_that_a_test_runs():
    others = [line for line in COMMANDS if not line.startswith("python -m srgan_lit.")]
    assert set(others) == {"make demo", "make test"}
    gate = (ROOT / ".ci" / "run").read_text()
    assert all(line in gate for line in others), "the gate runs these"


def test_every_file_that_the_readme_names_exists():
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert linked
    for path in linked:
        assert (ROOT / path).exists(), path
    package = ROOT / "src" / "srgan_lit"
    ours = README.partition("## Where to change what")[2]  # before, folders are the reader's
    for name in re.findall(r"`([\w/]+(?:\.py|/))`", ours):
        assert (ROOT / name).exists() or (package / name).exists(), name
    for name in re.findall(r"`(conf/[\w/]*)`", README):
        assert (ROOT / name).is_dir(), name
