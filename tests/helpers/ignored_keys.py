"""That the test named for a key notices when the key is ignored (``make test-mutations``).

In a process forked for each key, every configuration but the first gets that key's value from the first: as if the key
did nothing. The test must fail then. Only tests that compose configurations in their own process can be asked so.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
ONCE = {"run_dir"}  # the test composes one value only, and compares it with the path that it gave


def _ignore(key: str) -> None:
    from omegaconf import OmegaConf

    from srgan_lit.config import composition

    real, first = composition.configuration, []

    def configuration(cfg, *given, **named):
        if not first:
            first.append(OmegaConf.select(cfg, key))
        OmegaConf.set_struct(cfg, False)
        OmegaConf.update(cfg, key, first[0], merge=False, force_add=True)
        return real(cfg, *given, **named)

    composition.configuration = configuration


def _status(test: str, key: str | None) -> int:
    """Pytest's, of a test in a process of its own, with the key ignored."""
    with tempfile.TemporaryDirectory(prefix="srgan_lit-keys-") as scratch:
        child = os.fork()
        if child == 0:
            status = 3
            try:
                out = os.open(os.devnull, os.O_WRONLY)
                os.dup2(out, 1)
                os.dup2(out, 2)
                if key:
                    _ignore(key)
                options = ["-q", "-x", "-p", "no:cacheprovider", f"--basetemp={scratch}/tests"]
                status = int(pytest.main([*options, str(TESTS / test)]))
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _rows() -> list[tuple[str, str]]:
    """(key, test), read in a process of its own, so that this one has not imported the configuration."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        sys.path[:0] = [str(TESTS.parent / "src"), str(TESTS)]
        from config import test_every_key_is_wired as table

        rows = [f"{key} {test}" for key, test in table.WIRED.items() if test.startswith(table.HERE)]
        os.write(writing, "\n".join(f"{row}[{row.split()[0]}]" if table.STEP in row else row for row in rows).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as opened:
        text = opened.read()
    os.waitpid(child, 0)
    return [tuple(line.split()) for line in text.splitlines()]


def main() -> int:
    """Exit status 1: a test passes although its key is ignored. Arguments: only keys that begin with one of them."""
    import lightning  # noqa: F401 - once, for all

    rows = [row for row in _rows() if row[0] not in ONCE and row[0].startswith(tuple(sys.argv[1:]) or "")]
    asleep = [(key, test) for key, test in rows if _status(test, key) != 1]
    for key, test in asleep:
        print(f"{key} is ignored, and {test} does not fail")
    print(f"{len(rows) - len(asleep)} of {len(rows)} keys: the test fails when the key is ignored")
    return int(bool(asleep) or not rows)


if __name__ == "__main__":
    sys.exit(main())
