"""``convert`` finds the generator in a file, or says which key it lies under."""

import pytest
import torch

from helpers import foreign_networks as theirs
from srgan_lit import load_generator
from srgan_lit.common.errors import SRGANError
from srgan_lit.model_files import other_projects

STATE = theirs.leftthomas().state_dict()
BESIDE = {"epoch": torch.tensor(3)}


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"model": STATE, **BESIDE}, None),
        ({"netG": STATE, **BESIDE}, "netG"),
        ({"nets": {"generator": STATE}, **BESIDE}, "nets.generator"),
        ({f"model.{name}": tensor for name, tensor in STATE.items()}, None),
        ({f"gen.{name}": tensor for name, tensor in STATE.items()}, None),
    ],
)
def test_the_generator_is_found(content, key, tmp_path):
    torch.save(content, tmp_path / "theirs.pth")
    converted = other_projects.convert(tmp_path / "theirs.pth", key=key)
    assert "leftthomas" in converted.project
    if key:
        with pytest.raises(SRGANError, match=f"take --key {key}$"):
            other_projects.convert(tmp_path / "theirs.pth", key="wrong")
        with pytest.raises(SRGANError, match=r"no generator of a known project|no tensors"):
            other_projects.convert(tmp_path / "theirs.pth")


def test_an_unusual_key_is_named(tmp_path):
    torch.save({"netG": STATE}, tmp_path / "theirs.pth")
    with pytest.raises(SRGANError, match=r"no tensors in it; take --key netG$"):
        other_projects.convert(tmp_path / "theirs.pth")


def test_torchscript_is_called_that(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 3, 3), torch.zeros(1, 3, 8, 8)), tmp_path / "theirs.pt")
    with pytest.raises(SRGANError, match=r"a TorchScript archive, which holds a program"):
        other_projects.convert(tmp_path / "theirs.pt")


def test_another_projects_checkpoint_as_a_model_says_what_takes_it_over(tmp_path):
    torch.save({"state_dict": STATE}, tmp_path / "theirs.ckpt")
    with pytest.raises(SRGANError, match=r"it has no 'generator_architecture'\); python -m srgan_lit\.convert takes"):
        load_generator(tmp_path / "theirs.ckpt")
