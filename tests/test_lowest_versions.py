"""The versions that pyproject.toml allows: the lowest train, resume, score and enlarge; those of Python 3.14 resolve.

Needs the network, some gigabytes and minutes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import tiny_runs
from helpers.patience import HANGS_SECONDS

ROOT = Path(__file__).resolve().parents[1]
UV = [sys.executable, "-m", "uv", "pip"]


def resolved(out, *options):
    """The versions of everything in ``all``, by uv."""
    command = [*UV, "compile", "--quiet", "--extra", "all", *options, str(ROOT / "pyproject.toml"), "-o", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_SECONDS)
    if "error sending request" in result.stderr or "dns error" in result.stderr:
        pytest.skip("there is no network")
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_the_dependencies_resolve(python, tmp_path):
    listed = resolved(tmp_path / "versions.txt", "--python-version", python).read_text().splitlines()
    assert any(line.startswith("torch==") for line in listed)


@pytest.mark.slow
def test_the_lowest_versions_train_resume_score_and_enlarge(tmp_path):
    listed = resolved(tmp_path / "lowest.txt", "--resolution", "lowest-direct")
    subprocess.run([*UV[:-1], "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run([*UV, "install", "--quiet", "--python", python, "-r", str(listed), "--no-deps"], check=True)
    given = [*tiny_runs.TINY, *tiny_runs.BOTH]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for command in (
        ["train", *given, "run_dir=run"],
        ["train", "resume=run", "phase.adversarial.iterations=8"],
        ["evaluate", "--model", "bicubic", "run", "srresnet-fast", "--data", "sample", "--out", "scores"],
        ["upscale", str(ROOT / "src/srgan_lit/sample/test/chelsea.png"), "-o", "large", "--model", "run"],
        ["runs", "run"],
    ):
        result = subprocess.run(
            [python, "-m", f"srgan_lit.{command[0]}", *command[1:]],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=HANGS_SECONDS,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
    assert [row["step"] for row in tiny_runs.rows(tmp_path / "run")][-1] == "14"
    assert (tmp_path / "large" / "chelsea.png").is_file()
    assert (tmp_path / "scores" / "results.json").is_file()
