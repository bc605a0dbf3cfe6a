"""Each notebook runs from clean, in order, as a reader would run it: only shorter, and without a network."""

import re
from pathlib import Path

import pytest

from helpers import notebooks

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SHORT = (
    "init_from=null model.blocks=1 model.features=8 phase.pretrain.iterations=4 phase.pretrain.warmup=0 "
    "phase.adversarial.iterations=2 data.batch_size=2 validate_every=2 checkpoint_every=2 log_every=1"
)


@pytest.fixture(autouse=True)
def _libraries():
    for name in ("nbformat", "nbclient", "ipykernel", "matplotlib"):
        pytest.importorskip(name, reason=f"{name} is not installed")


def cells_of(notebook):
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def execute(name: str, folder: Path, **environment: str):
    """The outputs of each code cell, which are of the same kinds as those that are kept."""
    cells = cells_of(notebooks.execute(name, folder, **environment))
    assert [kinds(outputs) for outputs in cells] == [kinds(outputs) for outputs in kept(name)], "run make notebooks"
    return [output for outputs in cells for output in outputs]


def kept(name: str):
    import nbformat

    return cells_of(nbformat.read(NOTEBOOKS / name, as_version=4))


def kept_text(name: str) -> str:
    return "".join(text_of(outputs) for outputs in kept(name))


def kinds(outputs) -> list[str]:
    """Which there are; what is printed may come in any number of parts, and warnings are not kept."""
    kept = [output for output in outputs if output.get("name") != "stderr"]
    return list(dict.fromkeys(" ".join([output.output_type, *sorted(output.get("data", {}))]) for output in kept))


def text_of(outputs) -> str:
    return "".join(output.get("text", "") for output in outputs if output.get("name") != "stderr")


def pictures_in(outputs) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_the_losses_notebook_runs_and_shows_its_pictures(tmp_path):
    outputs = execute("1_losses.ipynb", tmp_path, SRGAN_LIT_VGG="random")
    assert pictures_in(outputs) == 5
    assert len(re.findall("PSNR", text_of(outputs))) == 3
    assert text_of(outputs) == kept_text("1_losses.ipynb"), "what is kept is what it prints"


def test_a_run_is_trained_by_one_notebook_and_read_by_the_next(tmp_path):
    run = tmp_path / "run"
    trained = execute("2_training.ipynb", tmp_path, SRGAN_LIT_RUN=str(run), SRGAN_LIT_OVERRIDES=SHORT)
    assert (run / "generator.safetensors").is_file()
    assert "SRGAN" in text_of(trained)
    printed = [line for line in text_of(trained).splitlines() if line.startswith("psnr_")]
    assert [line.split()[0] for line in printed] == ["psnr_y_shave4", "psnr_bicubic_y_shave4"]
    assert all(20 < float(line.split()[1]) < 40 for line in printed)
    assert (run / "logs" / "lightning_logs" / "version_0" / "metrics.csv").is_file()
    assert files_and_columns(kept_text("2_training.ipynb")) <= files_and_columns(text_of(trained))
    read = execute("3_reading_a_run.ipynb", tmp_path, SRGAN_LIT_RUN=str(run))
    assert pictures_in(read) == 2
    assert "'blocks': 1" in text_of(read)
    assert "iterations: 4" in text_of(read)
    assert files_and_columns(kept_text("3_reading_a_run.ipynb")) <= files_and_columns(text_of(read))


def files_and_columns(text: str) -> set[str]:
    """What a run is said to hold, and how its table's columns are called, whatever the numbers."""
    files = {re.sub(r"\d+", "N", name) for name in re.findall(r" kB  (\S+)", text)}
    headings = next((line for line in text.splitlines() if line.startswith("| data set")), "")
    return files | {cell.strip() for cell in headings.split("|")}


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_with_small_outputs_and_define_nothing(path):
    import nbformat

    assert path.stat().st_size < 600_000
    assert not re.search(r"/(tmp|home|root|work)/", path.read_text(encoding="utf-8"))
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) >= 4
    for cell in cells:
        assert not any(output.output_type == "error" for output in cell.outputs)
        assert not any(line.startswith(("def ", "class ")) for line in cell.source.splitlines())
