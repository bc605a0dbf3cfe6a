"""Commands where little is there: no home or one that is read-only, few rights for others, no letters, no terminal."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import page_server
from helpers.page_server import SMALL

ENVIRONMENTS = {
    "no HOME": {"HOME": None, "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None},
    "a HOME that is not there": {"HOME": "/proc/none", "XDG_CACHE_HOME": None},
    "plain": {"LANG": "C", "LC_ALL": "C", "TERM": "dumb", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def environment(changes: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in (os.environ | changes).items() if value is not None}


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_a_picture_is_enlarged_by_command_and_page(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENTS[kind].items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    (tmp_path / "bild ü.png").write_bytes(SMALL)
    command = [sys.executable, "-m", "srgan_lit.upscale", "bild ü.png", "none ü.png", "-o", "out", "--model", "bicubic"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, umask=0o077, timeout=600)
    assert done.returncode == 1, "one of the two is not there"
    [line] = done.stderr.decode("ascii" if kind == "plain" else "utf-8").splitlines()
    assert re.fullmatch(r"none .+\.png: no such file", line)
    [result] = (tmp_path / "out").iterdir()
    assert stat.S_IMODE(result.stat().st_mode) == 0o600
    before = os.umask(0o077)
    try:
        with page_server.serving(tmp_path, "--model", "bicubic") as server:
            name, content = server.enlarged(SMALL, name="bild ü.png")
    finally:
        os.umask(before)
    assert (name, content) == ("bild ü_x4.png", result.read_bytes())
