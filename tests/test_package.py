"""The package as it is installed: the wheel is complete, the boundaries between its parts hold."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, unpacked: what is on sys.path after an installation."""
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def run(code, wheel, cwd):
    """A fresh interpreter that sees the wheel and not this repository."""
    return subprocess.run(
        [sys.executable, "-P", *code], cwd=cwd, capture_output=True, text=True, timeout=120,
        env={"PYTHONPATH": str(wheel), "PATH": "", "HOME": str(cwd)},
    )  # fmt: skip


def test_wheel_holds_everything(wheel):
    shipped = {str(path.relative_to(wheel / "srgan_lit")) for path in (wheel / "srgan_lit").rglob("*")}
    for source in (ROOT / "src" / "srgan_lit").rglob("*"):
        if source.is_file() and "__pycache__" not in source.parts:
            assert str(source.relative_to(ROOT / "src" / "srgan_lit")) in shipped
    for source in (ROOT / "conf").rglob("*.yaml"):
        assert f"conf/{source.relative_to(ROOT / 'conf')}" in shipped
    assert {"py.typed", "sample/ATTRIBUTION.md"} <= shipped


def test_installed_train_finds_its_configuration_anywhere(wheel, tmp_path):
    result = run(["-m", "srgan_lit.train", "--cfg", "job", "experiment=demo"], wheel, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "pretrain:" in result.stdout
    wrong = run(["-m", "srgan_lit.train", "experiment=dem"], wheel, tmp_path)
    assert wrong.returncode == 2
    assert "Did you mean demo?" in wrong.stderr


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_every_command_has_help_without_torch(script, wheel, tmp_path):
    module = SCRIPTS[script].partition(":")[0]
    code = (
        f"import runpy, sys; sys.argv = ['{script}', '--help']\n"
        f"try: runpy.run_module('{module}', run_name='__main__')\n"
        "except SystemExit as stop: status = stop.code\n"
        "else: status = 0\n"
        "sys.exit(status or ('torch' in sys.modules and 'torch was imported'))"
    )
    result = run(["-c", code], wheel, tmp_path)
    assert result.returncode == 0, result.stderr
    assert script in result.stdout or "srgan_lit.train" in result.stdout


def test_every_command_of_the_design_is_a_console_script():
    modules = {path.stem for path in (ROOT / "src" / "srgan_lit").glob("*.py") if "def main(" in path.read_text()}
    assert {f"srgan-{name}" for name in modules} == set(SCRIPTS)


LIGHT = {
    # module -> what a fresh interpreter that imports it must not have loaded
    "srgan_lit": ("torch", "numpy", "PIL"),
    "srgan_lit.upscale": ("lightning", "hydra", "wandb", "torchvision", "torchmetrics"),
    "srgan_lit.model_files.generator_file": ("lightning", "hydra", "wandb", "torchvision", "torchmetrics"),
    "srgan_lit.data.sets": ("torch",),
    "srgan_lit.web.jobs": ("torch", "numpy", "starlette"),
    "srgan_lit.losses.perceptual": ("lightning", "hydra", "wandb", "torchvision"),
    "srgan_lit.train": ("torch", "lightning", "wandb"),
    "srgan_lit.training.run": ("wandb",),
}


@pytest.mark.parametrize("module", LIGHT)
def test_imports_go_one_way(module):
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert result.returncode == 0, result.stderr
    assert not set(LIGHT[module]) & set(result.stdout.split())


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The commands of a fresh environment that holds the wheel without extras, and the folder that it is in."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        pytest.skip("uv is not installed")
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling")
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder / "env")], check=True, timeout=120)
    command = [
        uv,
        "pip",
        "install",
        "-q",
        "--python",
        str(folder / "env"),
        "--constraint",
        str(ROOT / "constraints.txt"),
    ]
    command.append(str(next(folder.glob("*.whl"))))
    # What this environment was set up from is in uv's cache; else it is fetched.
    if subprocess.run([*command, "--offline"], capture_output=True, timeout=600).returncode:
        fetched = subprocess.run(command, capture_output=True, text=True, timeout=1800)
        if "error sending request" in fetched.stderr or "dns error" in fetched.stderr:
            pytest.skip("the packages are not in uv's cache, and there is no network")
        assert fetched.returncode == 0, fetched.stderr
    _take_over_bytecode(folder / "env")
    return folder / "env" / "bin"


def _take_over_bytecode(environment):
    """Of the modules that this environment has compiled already: half a minute for torch and Lightning."""
    (theirs,) = environment.glob("lib/python*/site-packages")
    ours = Path(pytest.__file__).parents[1]
    for compiled in ours.rglob("__pycache__/*.pyc"):
        target = theirs / compiled.relative_to(ours)
        if target.parent.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(compiled, target)  # Python compares it with its source's time and size


def run_installed(installed, name, *arguments, cwd):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd / "home"), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [str(installed / name), *arguments], cwd=cwd, capture_output=True, text=True, timeout=600, env=environment
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_wheel_without_extras_enlarges_a_picture_and_trains(installed, tmp_path):
    """In an empty folder, with nothing of this repository in sight."""
    from PIL import Image

    extras = ["starlette", "onnxruntime", "av", "optuna", "tensorboard", "matplotlib", "pytest"]
    code = f"import importlib.util as u; print([name for name in {extras} if u.find_spec(name)])"
    assert run_installed(installed, "python", "-c", code, cwd=tmp_path).strip() == "[]"
    Image.new("RGB", (24, 16), "teal").save(tmp_path / "photo.png")
    run_installed(installed, "srgan-upscale", "photo.png", "-o", "large.png", cwd=tmp_path)
    with Image.open(tmp_path / "large.png") as large:
        assert large.size == (96, 64)
    empty = tmp_path / "empty"
    empty.mkdir()
    small = ["model.blocks=1", "model.features=8", "data.crop=32", "data.batch_size=2", "init_from=null"]
    lengths = ["phase.pretrain.iterations=3", "phase.pretrain.warmup=0", "phase.adversarial.iterations=3"]
    run_installed(installed, "srgan-train", "experiment=demo", *small, *lengths, cwd=empty)
    (run_dir,) = (empty / "runs" / "demo").iterdir()
    for name in ("srresnet.safetensors", "generator.safetensors", "report/report.html", "report/results.tex"):
        assert (run_dir / name).is_file(), name
    run_installed(installed, "srgan-upscale", "../photo.png", "-o", "own.png", "--model", str(run_dir), cwd=empty)
    assert (empty / "own.png").is_file()
