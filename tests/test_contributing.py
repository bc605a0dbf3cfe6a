"""What CONTRIBUTING.md, the changelog and the hooks say is so."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import conftest
from helpers import warm_python
from srgan_lit.losses import terms

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def recipe(target):
    """The commands of ``make TARGET`` and of what it needs, without running them."""
    shown = subprocess.run(["make", "-n", "-W", "pyproject.toml", target], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def test_every_make_target_that_the_page_names_does_something():
    targets = set(re.findall(r"\bmake ([a-z-]+)", TEXT))
    assert {"setup", "test", "test-quick", "test-slow", "gpu", "format"} <= targets
    for target in targets:
        assert "Nothing to be done" not in recipe(target), target


def test_every_path_that_the_page_names_exists():
    paths = [word for word in re.findall(r"`([^`\s]+)`", TEXT) if re.search(r"[/.](py|yaml|toml|md|\w+/)$|/", word)]
    assert len(paths) >= 8
    for path in paths:
        if not path.startswith(".venv") and "<" not in path:
            assert (ROOT / path).exists(), path
    assert "TERMS" in vars(terms)


@pytest.mark.parametrize("line", re.findall(r"^OMP_NUM_THREADS=1 \.venv/bin/python (.*)$", TEXT, re.MULTILINE))
def test_the_commands_for_one_test_find_some(line):
    command = [sys.executable, *line.split(), "--collect-only", "-q"]
    found = warm_python.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    assert "test_what_the_table_says" in found.stdout


def test_the_quick_and_the_whole_tests_check_alike_and_the_hooks_too():
    programs = tuple(f".venv/bin/{name}" for name in ("ruff", "mypy", "lint-imports"))
    checks = {line.strip() for line in recipe("check").splitlines() if line.startswith(programs)}
    assert len(checks) == 4
    for target in ("test", "test-quick"):
        assert checks <= {line.strip() for line in recipe(target).splitlines()}
    for folder in re.findall(r"tests/\S+", recipe("test-quick").splitlines()[-1]):
        assert list((ROOT / folder).glob("test_*.py")), folder
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = [hook["entry"] for hook in hooks]
    for check in checks:
        assert any(check.startswith(entry) for entry in entries), check
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    assert {"run": "make test"} in workflow["jobs"]["test"]["steps"]


def test_changelog_and_citation_name_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert released[:2] == ["Unreleased", VERSION]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == VERSION
    assert f"[{VERSION}] - {citation['date-released']}" in changelog


def test_there_is_a_worker_for_each_core_that_memory_allows(monkeypatch):
    def workers(cores, gigabytes):
        monkeypatch.setattr(conftest, "processors", lambda: cores)
        memory = type("memory", (), {"available": int(gigabytes * 2**30)})
        monkeypatch.setattr(conftest.psutil, "virtual_memory", lambda: memory)
        return conftest.pytest_xdist_auto_num_workers(None)

    assert workers(cores=1, gigabytes=64) == 1
    assert workers(cores=64, gigabytes=7) == 2
    assert workers(cores=8, gigabytes=0.5) == 1
