"""Each promise of SECURITY.md names tests that exist, and they try as often as it says."""

import ast
import importlib
import importlib.machinery
import re
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def rows(header: str) -> list[list[str]]:
    """The cells of the table that begins with this line."""
    lines = TEXT[TEXT.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


ATTACKS = rows("| promise | attacked with | tried | result | tests |")
PROMISES = rows("| promise | tests |")


def named(cell: str) -> list[tuple[str, str]]:
    """(file, test) of a cell: ``file``: ``test``, ``test``; …"""
    parts = [re.findall(r"`([^`]+)`", part) for part in cell.split("; ")]
    return [(file, name) for file, *names in parts for name in names]


def functions(file: str) -> set[str]:
    """The names of a file's tests."""
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}


def function(file: str, name: str) -> object:
    module = importlib.import_module("_of_security." + file.removesuffix(".py").replace("/", "."))
    return getattr(module, name)


def tries(function: object) -> int:
    """How often a test tries in ``make test-slow``: its cases, or what their parameters ``times`` or ``wanted`` say."""
    count = 1
    for mark in getattr(function, "pytestmark", []):
        if mark.name != "parametrize":
            continue
        names = [name.strip() for name in mark.args[0].split(",")] if isinstance(mark.args[0], str) else mark.args[0]
        cases = [(getattr(case, "values", None) or case, getattr(case, "marks", ())) for case in mark.args[1]]
        slow = [values for values, marks in cases if any(each.name == "slow" for each in marks)]
        chosen = slow or [values for values, _ in cases]
        number = next((at for at, name in enumerate(names) if name in ("times", "wanted")), None)
        if number is None:
            count *= len(chosen)
        else:
            count *= sum(values if isinstance(values, int) else values[number] for values in chosen)
    return count


@pytest.fixture
def tests_as_modules(monkeypatch):
    """Files of one name in two folders are two modules below ``_of_security``."""
    package = types.ModuleType("_of_security")
    package.__path__ = [str(ROOT / "tests")]
    package.__spec__ = importlib.machinery.ModuleSpec("_of_security", None, is_package=True)
    monkeypatch.setitem(sys.modules, "_of_security", package)
    monkeypatch.delenv("SRGAN_LIT_ROUNDS", raising=False)


def test_what_is_named_is_there():
    assert len(ATTACKS) > 30
    assert len(PROMISES) > 30
    assert all(len(row) == 5 for row in ATTACKS)
    for row in (*ATTACKS, *PROMISES):
        tests = named(row[-1])
        assert tests, row[0]
        assert not [name for file, name in tests if name not in functions(file)], row[0]


@pytest.mark.parametrize("row", [row for row in ATTACKS if row[2]], ids=lambda row: row[2])
def test_an_attack_is_tried_as_often_as_is_said(row, tests_as_modules):
    each = {name: tries(function(file, name)) for file, name in named(row[-1])}
    assert sum(each.values()) == int(row[2].split()[0].replace(",", "")), each
