"""What the Dockerfile says, as far as it can be tried without an engine: its wheel, its command, its health check."""

import json
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from helpers import page_server, warm_python
from helpers.page_server import SMALL, basic

pytest.importorskip("uvicorn", reason="the extra app is not installed")
pytest.importorskip("starlette", reason="the extra app is not installed")

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()


def arguments(instruction: str) -> list[list[str]]:
    """The words after each ``instruction``; those of a list in brackets."""
    found = [re.sub(r"\s+", " ", line) for line in LINES if line.startswith(f"{instruction} ")]
    return [json.loads(line[line.index("[") :]) if line.endswith("]") else line.split(" ")[1:] for line in found]


def test_what_is_copied_is_enough_for_the_wheel(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling")
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for *sources, _ in arguments("COPY")[:3]:
        for source in sources:
            assert source in kept, "or the engine does not see it"
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, tmp_path)
    building = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "wheel"]
    warm_python.run(building, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert len(list((tmp_path / "wheel").glob("*.whl"))) == 1


def test_its_command_serves_and_its_health_check_tells(tmp_path: Path) -> None:
    [[program, *words]] = arguments("CMD")
    assert program == "srgan-app"
    assert words[words.index("--host") + 1] == "0.0.0.0"
    words[words.index("--host") + 1] = "127.0.0.1"  # no test lets others in
    words[words.index("/data")] = str(tmp_path / "data")
    [[python, *check]] = arguments("HEALTHCHECK")
    assert python == "python"
    assert arguments("USER") == [["nobody"]]
    assert arguments("VOLUME") == [["/data"]]
    [[port]] = arguments("EXPOSE")
    password = "as in docker run --env"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRGAN_APP_PASSWORD", password)
        with page_server.serving(tmp_path, *words) as server:

            def healthy() -> bool:
                asked = [word.replace(f":{port}/", f":{server.port}/") for word in check]
                assert asked != check
                return warm_python.run([sys.executable, *asked], capture_output=True, timeout=60).returncode == 0

            assert healthy()
            assert server.ask("GET", "/")[0] == 401
            server.headers = basic(password)
            assert server.enlarged(SMALL)
            assert list((tmp_path / "data").iterdir())
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(20) == 0
            assert not healthy()
    assert not list((tmp_path / "data").iterdir())
