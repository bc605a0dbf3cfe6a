"""The commands with which MODELS.md says that the generators in the box were trained."""

import re
import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from srgan_lit.config.composition import CONF, configuration
from srgan_lit.model_files import box

PAGE = Path(__file__).resolve().parents[1] / "MODELS.md"
SHELL = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
BLOCKS = [block for block in SHELL if "train" in block]


def trainings(block):
    """What each command of a block gives to ``srgan_lit.train``."""
    say = 'python() { printf "%s\\n" "$@" ""; }\n'
    said = subprocess.run(["bash", "-euc", say + block], capture_output=True, text=True, check=True).stdout
    return [each.splitlines()[2:] for each in said.strip().split("\n\n")]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_commands_compose_and_begin_with_what_is_there(number):
    made = {given for block in BLOCKS for each in trainings(block) for given in each if given.startswith("run_dir=")}
    earlier = set(box.GENERATORS)
    for overrides in trainings(BLOCKS[number]):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = configuration(compose("train", overrides=["run_dir=runs/unnamed", *overrides]))
        for start in (config.init_from, config.init_discriminator_from):
            if start is not None and start not in earlier:
                assert f"run_dir={start}" in made, "another section has it"
                assert Path(start).name.split("-")[0] != Path(config.run_dir).name.split("-")[0], "it comes later"
        earlier.add(config.run_dir)


def test_no_two_commands_write_into_one_folder():
    folders = [given for block in BLOCKS for each in trainings(block) for given in each if given.startswith("run_dir=")]
    assert len(folders) == len(set(folders)) > 8
