"""Commands that we print can be pasted: through a shell and Hydra they give back what they were made of."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from srgan_lit.config import quoting

HOSTILE = [
    "runs/srgan/2026-01-31_12-00-00", "my runs/a b", "lr=1e-3,blocks=5", "it's", 'say "hi"', "$HOME", "a$(id)b",
    "`id`", "a\\", 'a\\"b', "back\\slash", "\\${x}", "${seed}", "a\\\\${b}", "null", "true", "1e3", "5", ".5", "1.",
    "~", "~/x", "#1", "a;b|c&d", "*", "?[a]{b}", "(1)", "-m", "--help", "é 漢 😀", "a\nb", "tab\there", " lead",
    "trail ", "!x", "%s", "a:b", "@", "+x", "x,y", "[1]", "{}", "inf", "nan", "'", '"', "\\'", '\\\\"', "${", "}${",
]  # fmt: skip


def through_hydra(argument):
    """What a job is given for an override."""
    parsed = OverridesParser.create().parse_override(argument)
    return OmegaConf.create({parsed.key_or_group: parsed.value()})[parsed.key_or_group]


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
@example("${")
@example("\\\\${seed}\\")
def test_hydra_gives_back_any_text(text):
    assert through_hydra(quoting.override("run_dir", text)) == text
    assert through_hydra(quoting.override("run_dir", Path("x") / text.replace("/", "_"))) == str(
        Path("x") / text.replace("/", "_")
    )


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_and_hydra_give_back_hostile_names(shell):
    commands = "\n".join(
        quoting.train_command(resume=text, phase__pretrain__learning_rate=1e-4).replace(
            "python -m srgan_lit.train", f"{sys.executable} -c 'import sys; print(ascii(sys.argv[1:]))'"
        )
        for text in HOSTILE
    )
    result = subprocess.run([shell, "-c", commands], capture_output=True, text=True, check=True)
    for text, line in zip(HOSTILE, result.stdout.splitlines(), strict=True):
        resume, rate = ast.literal_eval(line)
        assert through_hydra(resume) == text
        assert through_hydra(rate) == 1e-4


def test_an_ordinary_name_is_printed_without_quotes():
    assert quoting.train_command(resume="runs/srgan/2026-01-31_12-00-00") == (
        "python -m srgan_lit.train resume=runs/srgan/2026-01-31_12-00-00"
    )
