"""The audit of dependencies says what it knows, and that it knows nothing where nobody answers."""

import json
import subprocess
from types import SimpleNamespace

import pytest

from helpers import audit

GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3", "2.1"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("answers", "status", "said"),
    [
        ({"pypi": [GOOD, UNKNOWN]}, 0, ["1 packages asked about (pypi), 0 known flaws; 1 unknown there"]),
        ({"pypi": [GOOD, BAD]}, 1, ["bad 2: CVE-1, fixed in 3, 2.1", "2 packages asked about (pypi), 1 known flaws"]),
        ({"pypi": [UNKNOWN], "osv": [BAD]}, 1, ["bad 2: CVE-1", "(osv), 1 known flaws"]),
        ({"pypi": [UNKNOWN]}, 0, ["NOT DONE"]),
        ({}, 0, ["NOT DONE"]),
    ],
)
def test_it_counts_what_was_judged(monkeypatch, capsys, answers, status, said):
    def run(command, **_):
        packages = answers.get(command[-1])
        return SimpleNamespace(stdout="" if packages is None else json.dumps({"dependencies": packages}))

    monkeypatch.setattr(subprocess, "run", run)
    assert audit.main() == status
    printed = capsys.readouterr().out
    assert all(part in printed for part in said), printed
    assert ("NOT DONE" in printed) == ("NOT DONE" in said)
