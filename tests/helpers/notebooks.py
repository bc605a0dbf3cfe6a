"""Run a notebook from clean, in order, as a reader would. As a command: run all of them and keep their outputs.

``make notebooks`` takes minutes (the second one trains) and VGG19's ImageNet weights, as the first one says.
"""

import base64
import io
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

from helpers import warm_python

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def execute(name: str, folder: Path, **environment: str):
    """The notebook ``name`` with the outputs that it has when it is run in ``folder``."""
    import nbclient
    import nbformat
    from jupyter_client import launcher

    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": str(folder)}})
    with mock.patch.object(launcher, "Popen", warm_python.Popen):
        client.execute(env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline", **environment})
    return notebook


def small(png: str) -> str:
    """A PNG (base64) with at most 256 colours, and no larger than a page shows it."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        shown = image.convert("RGB")
        shown.thumbnail((900, 900))
        content = io.BytesIO()
        shown.quantize(256).save(content, format="PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def keep_outputs(name: str, folder: Path) -> None:
    """Run a notebook and write it back with its outputs, but without what differs from machine to machine."""
    import nbformat

    notebook = execute(name, folder)
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]  # warnings, progress
        for output in cell.outputs:
            if "text" in output:
                output.text = output.text.replace(f"{folder}/", "")
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = small(output.data["image/png"])
                output.metadata = {}
    nbformat.write(notebook, NOTEBOOKS / name)


def main() -> None:
    """All notebooks, in one folder: the third reads what the second trains."""
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            print(path.name, flush=True)
            keep_outputs(path.name, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
