"""Random command lines of train, in process: composed, or refused with exit status 2 and one line."""

import contextlib
import io
import logging
import sys
import warnings

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from helpers.mutations import hung_after
from srgan_lit import train
from srgan_lit.config import composition, misspellings
from srgan_lit.config.schema import TrainConfig
from srgan_lit.sweeps import multirun
from srgan_lit.training import run_directory

GROUPS = sorted(path.name for path in composition.CONF.iterdir() if path.is_dir())
OPTIONS = sorted({path.stem for path in composition.CONF.rglob("*.yaml")})
KEYS = misspellings.known_keys()
VALUES = [
    "null", "???", "${seed}", "${data.root}", "${nothing}", "${oc.env:NOTHING}", "${", "[1,2", "{a:1}", "[]", "{}",
    "nan", "inf", "-inf", "1e999", "-1", "0", "1", "1.5", "2", "4", "true", "''", '"a b"', "a b", "a,b", "a=b", "=",
    ":", "../x", "/", "~", "%s", "{0}", "\\", "\n", "\t", "\0", "ü", "雪", "\udcff", "9" * 5000, "choice(1,2)",
]  # fmt: skip
PREFIXES = ["", "", "", "+", "++", "~"]
FLAGS = [
    "-m",
    "--multirun",
    "--cfg",
    "--foo",
    "-x",
    "--",
    "-",
    "",
    "=",
    "+",
    "~",
    "@",
    "--config-name=x",
    "--info",
    "-p",
]


@st.composite
def overrides(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["key", "key", "key", "group", "mangled", "text", "flag"]))
    if kind == "text":
        return draw(st.text(max_size=20))
    if kind == "flag":
        return draw(st.sampled_from(FLAGS))
    if kind == "group":
        name, value = draw(st.sampled_from(GROUPS)), draw(st.sampled_from([*OPTIONS, *VALUES]))
    else:
        name = draw(st.sampled_from(KEYS))
        value = draw(st.one_of(st.sampled_from(VALUES), st.text(max_size=8), st.integers().map(str)))
    if kind == "mangled":
        at = draw(st.integers(0, len(name)))
        name = name[:at] + draw(st.text(max_size=2)) + name[at + draw(st.integers(0, 2)) :]
    return f"{draw(st.sampled_from(PREFIXES))}{name}={value}"


def run(arguments: list[str], folder) -> tuple[int, list[str], list[TrainConfig]]:
    """Exit status, lines on stderr, and the configurations that would have been trained."""
    trained: list[TrainConfig] = []
    errors = io.StringIO()
    GlobalHydra.instance().clear()
    multirun.Multirun.folder = None  # a process of its own knows no earlier multirun
    handlers = logging.root.handlers[:]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(errors), hung_after(60):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["srgan-train", *arguments])
        patch.setattr(train, "_guarded", lambda config: trained.append(config) or 0.0)
        patch.setattr(run_directory, "claim", lambda *_: None)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                train.main()
                status = 0
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    logging.root.handlers[:] = handlers
    return status, errors.getvalue().splitlines(), trained


@pytest.mark.long
@pytest.mark.parametrize("times", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_any_command_line_is_composed_or_refused_in_one_line(times, tmp_path):
    @settings(
        max_examples=times, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @example(["data.root=${data.root}"])
    @example(["experiment=[demo,srgan]"])
    @example(["--foo"])
    @example(["seed=\0"])
    @example(["hydra.run.dir=\0"])
    @example(["run_dir=null"])
    @example(["run_dir=5"])
    @example(["resume=${seed}"])
    @example(["-m", "seed=x,y"])
    @given(st.lists(overrides(), min_size=1, max_size=4))
    def attack(arguments: list[str]) -> None:
        status, errors, trained = run(["experiment=demo", *arguments], tmp_path)
        if status == 2:
            if errors[0].startswith("usage: "):  # of an unknown flag, as argparse says it
                errors = errors[-1:]
            assert len(errors) == 1, errors
            assert "error: " in errors[0]
            assert trained == []
        elif {"-m", "--multirun"} & set(arguments):  # a job that is refused is one line, and the others are done
            assert status == int(bool(errors))
            assert all(": " in line for line in errors)
        else:
            assert status == 0, errors
            assert errors == []

    attack()


def test_a_plain_command_line_is_composed(tmp_path):
    status, errors, trained = run(["experiment=demo", "seed=7"], tmp_path)
    assert (status, errors, [config.seed for config in trained]) == (0, [], [7])
