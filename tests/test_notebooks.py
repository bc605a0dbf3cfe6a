"""Each notebook runs from clean, in order, as a reader would run it: only shorter, and without a network."""

import os
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SHORT = (
    "init_from=null model.blocks=1 model.features=8 phase.pretrain.iterations=4 phase.pretrain.warmup=0 "
    "phase.adversarial.iterations=2 data.batch_size=2 validate_every=2 checkpoint_every=2 log_every=1"
)


def execute(name: str, folder: Path, **environment: str):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, **environment})
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def text_of(outputs) -> str:
    return "".join(output.get("text", "") for output in outputs)


def pictures_in(outputs) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_the_losses_notebook_runs_and_shows_its_pictures(tmp_path):
    outputs = execute("1_losses.ipynb", tmp_path, SRGAN_LIT_VGG="random")
    assert pictures_in(outputs) == 5
    scores = dict(line.rsplit("  PSNR ", 1) for line in text_of(outputs).splitlines())
    assert len(scores) == 3


def test_a_run_is_trained_by_one_notebook_and_read_by_the_next(tmp_path):
    run = tmp_path / "run"
    trained = execute("2_training.ipynb", tmp_path, SRGAN_LIT_RUN=str(run), SRGAN_LIT_OVERRIDES=SHORT)
    assert (run / "generator.safetensors").is_file()
    assert "SRGAN" in text_of(trained)
    printed = [line for line in text_of(trained).splitlines() if line.startswith("psnr_")]
    assert [line.split()[0] for line in printed] == ["psnr_y_shave4", "psnr_bicubic_y_shave4"]
    assert all(20 < float(line.split()[1]) < 40 for line in printed)
    assert (run / "logs" / "lightning_logs" / "version_0" / "metrics.csv").is_file()
    read = execute("3_reading_a_run.ipynb", tmp_path, SRGAN_LIT_RUN=str(run))
    assert pictures_in(read) == 2
    assert "'blocks': 1" in text_of(read)
    assert "iterations: 4" in text_of(read)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs_and_define_nothing(path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            assert not any(line.startswith(("def ", "class ")) for line in cell.source.splitlines())
