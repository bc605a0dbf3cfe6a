"""Generators of other projects compute here what they computed there; look-alikes and pickles are refused."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from helpers import foreign_networks as theirs
from srgan_lit import Generator, convert, load_generator, save_generator
from srgan_lit.common.errors import SRGANError

MEAN, STD = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def unit(x: Tensor) -> Tensor:
    return x


def signed(x: Tensor) -> Tensor:
    return x * 2 - 1


def imagenet(x: Tensor) -> Tensor:
    return (x - MEAN) / STD


def from_signed(x: Tensor) -> Tensor:
    return (x + 1) / 2


def from_imagenet(x: Tensor) -> Tensor:
    return x * STD + MEAN


# What each project's own code does around its network, in [0, 1] both ways; and how it stores the file.
PROJECTS = {
    "lornatang": (lambda: theirs.lornatang("conv"), unit, unit),
    "lornatang-older": (lambda: theirs.lornatang("conv_block"), unit, unit),
    "leftthomas": (theirs.leftthomas, unit, unit),
    "slime": (theirs.slime, unit, unit),
    "dongheehand": (theirs.dongheehand, signed, from_signed),
    "sgrvinod": (theirs.sgrvinod, imagenet, from_signed),
    "bolts": (theirs.bolts, unit, from_signed),
    "aladdinpersson": (theirs.aladdinpersson, unit, from_signed),
    "eriklindernoren-relu": (lambda: theirs.eriklindernoren(nn.ReLU, 1e-5), signed, from_signed),
    "eriklindernoren-prelu": (lambda: theirs.eriklindernoren(nn.PReLU, 0.8), imagenet, from_imagenet),
}
STORED: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "lornatang": lambda state: {"epoch": 3, "state_dict": {f"module._orig_mod.{k}": v for k, v in state.items()}},
    "lornatang-older": lambda state: {"ema_state_dict": state, "best_psnr": 1.0},
    "sgrvinod": lambda state: {f"net.{k}": v for k, v in state.items()},
    "bolts": lambda state: {
        "state_dict": {f"generator.{k}": v for k, v in state.items()} | {"discriminator.fc.weight": torch.zeros(2)}
    },
    "aladdinpersson": lambda state: {"state_dict": state, "optimizer": {"param_groups": []}},
}


@pytest.mark.parametrize("name", PROJECTS)
def test_a_converted_generator_computes_what_the_original_does(name: str, tmp_path: Path) -> None:
    build, before, after = PROJECTS[name]
    network = theirs.randomised(build())
    stored = STORED.get(name, lambda state: state)(network.state_dict())
    torch.save(stored, tmp_path / "theirs.pth", _use_new_zipfile_serialization=name != "slime")
    assert convert.main([str(tmp_path / "theirs.pth"), "-o", str(tmp_path / "ours.safetensors")]) == 0

    lr = torch.rand(2, 3, 13, 10)
    with torch.no_grad():
        expected = after(network(before(lr))).clamp(0, 1)
        sr = load_generator(tmp_path / "ours.safetensors")(lr).clamp(0, 1)
    assert expected.std() > 0.02  # else the comparison would say nothing
    torch.testing.assert_close(sr, expected, atol=1e-5, rtol=0)


def test_the_report_says_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(theirs.leftthomas().state_dict(), tmp_path / "netG.pth")
    assert convert.main([str(tmp_path / "netG.pth"), "-o", str(tmp_path / "g.safetensors")]) == 0
    said = capsys.readouterr().out
    for part in ("leftthomas/SRGAN", "5 blocks", "8 features", "11 biases", "output range: tanh"):
        assert part in said, part


def test_key_and_ranges_can_be_chosen(tmp_path: Path) -> None:
    one, two = (theirs.randomised(theirs.lornatang("conv"), seed=seed) for seed in (1, 2))
    torch.save({"state_dict": one.state_dict(), "ema_state_dict": two.state_dict()}, tmp_path / "both.pth")
    options = ["--key", "ema_state_dict", "--input-range", "signed", "--output-range", "tanh"]
    assert convert.main([str(tmp_path / "both.pth"), "-o", str(tmp_path / "g.safetensors"), *options]) == 0
    loaded = load_generator(tmp_path / "g.safetensors")
    assert (loaded.input_range, loaded.output_range) == ("signed", "tanh")
    torch.testing.assert_close(loaded.generator.head[0].weight, two.state_dict()["conv1.0.weight"])


def look_alikes() -> dict[str, tuple[dict[str, Tensor], str]]:
    def c(outputs: int, inputs: int, kernel: int) -> Tensor:
        return torch.zeros(outputs, inputs, kernel, kernel)

    basicsr = {"conv_first.weight": c(64, 3, 3), "body.0.conv1.weight": c(64, 64, 3), "conv_last.weight": c(3, 64, 3)}
    fast = {"neck.0.weight": c(64, 3, 3), "stem.0.conv1.weight": c(64, 1, 3), "head.0.weight": c(3, 64, 3)}
    swift = {"initial.cnn.depthwise.weight": c(3, 1, 9), "residual.0.block1.cnn.depthwise.weight": c(64, 1, 3)}
    tensorlayer = {"conv1.weight": c(64, 3, 3), "residual_block.0.conv1.weight": c(64, 64, 3)}
    near = theirs.lornatang("conv").state_dict()
    small_head = near | {"conv1.0.weight": c(8, 3, 3)}
    one_more = near | {"trunk.0.rcb.5.weight": torch.zeros(1)}
    one_less = {name: value for name, value in near.items() if name != "trunk.1.rcb.4.running_var"}
    return {
        "basicsr": (basicsr, "MSRResNet"),
        "mmagic": ({f"generator.{name}": value for name, value in basicsr.items()}, "MSRResNet"),
        "fast": (fast, "Fast-SRGAN"),
        "swift": (swift, "Swift-SRGAN"),
        "tensorlayer": (tensorlayer, "tensorlayer"),
        "small head": (small_head, "conv1.0.weight is (8, 3, 3, 3)"),
        "one more": (one_more, "trunk.0.rcb.5.weight"),
        "one less": (one_less, "trunk.1.norm2.running_var"),
        "a classifier": ({"fc.weight": torch.zeros(3, 3)}, "fc.weight"),
        "nothing": ({}, "no tensors"),
    }


@pytest.mark.parametrize("name", look_alikes())
def test_what_only_looks_alike_is_refused_by_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, said = look_alikes()[name]
    torch.save(tensors, tmp_path / "theirs.pth")
    assert convert.main([str(tmp_path / "theirs.pth"), "-o", str(tmp_path / "ours.safetensors")]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "theirs.pth"]


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (self.marker,)  # type: ignore[return-value]


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
@pytest.mark.parametrize("holder", ["", "state_dict"])
def test_nothing_in_a_pickle_is_executed(
    form: str, holder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "executed"
    content: object = theirs.leftthomas().state_dict() | {"extra": Bomb(marker)}
    content = {holder: content} if holder else content
    if form == "bare pickle":
        (tmp_path / "evil.pth").write_bytes(pickle.dumps(content))
    else:
        torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=form == "zip")
    assert convert.main([str(tmp_path / "evil.pth"), "-o", str(tmp_path / "ours.safetensors")]) == 1
    assert "run code" in capsys.readouterr().err
    assert not marker.exists()
    pickled = pickle.loads(pickle.dumps(Bomb(marker)))  # the bomb does work where it is let
    assert pickled is None
    assert marker.exists()


def test_whole_modules_are_refused_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": nn.Conv2d(3, 3, 3)}, tmp_path / "whole.pth")
    assert convert.main([str(tmp_path / "whole.pth"), "-o", str(tmp_path / "ours.safetensors")]) == 1
    assert "save model.state_dict()" in capsys.readouterr().err


def test_damaged_files_and_wrong_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(theirs.leftthomas().state_dict(), tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:5000])
    (tmp_path / "empty.pth").touch()
    output = str(tmp_path / "ours.safetensors")
    assert convert.main([str(tmp_path / "half.pth"), "-o", output]) == 1
    assert convert.main([str(tmp_path / "empty.pth"), "-o", output]) == 1
    assert convert.main([str(tmp_path / "missing.pth"), "-o", output]) == 1
    assert convert.main([str(tmp_path / "whole.pth"), "-o", str(tmp_path / "ours.pth")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 4
    assert convert.main([str(tmp_path / "whole.pth"), "-o", output]) == 0
    assert convert.main([str(tmp_path / "whole.pth"), "-o", output]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_our_own_names_come_back_bit_for_bit(tmp_path: Path) -> None:
    generator = theirs.randomised(Generator(blocks=2, features=8, scale=2))
    torch.save(generator.state_dict(), tmp_path / "ours.pth")
    assert convert.main([str(tmp_path / "ours.pth"), "-o", str(tmp_path / "back.safetensors")]) == 0
    back = load_generator(tmp_path / "back.safetensors")
    save_generator(tmp_path / "again.safetensors", back)
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor, back.state_dict()[name]), name


def test_a_generator_file_of_our_own_is_not_converted_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = tmp_path / "ours.safetensors"
    save_generator(ours, Generator(blocks=1, features=8), input_range="signed", output_range="tanh")
    before = ours.read_bytes()
    assert convert.main([str(ours), "-o", str(ours), "--overwrite"]) == 2
    assert "a generator file of this package already" in capsys.readouterr().err
    assert ours.read_bytes() == before


def test_another_project_s_file_as_a_model_says_what_takes_it_over(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "theirs.pth")
    with pytest.raises(SRGANError, match=r"srgan_lit\.convert takes over"):
        load_generator(tmp_path / "theirs.pth")


def test_a_picture_is_not_said_to_hold_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in {
        "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(80),
        "notes.pth": b"my notes",
        "no.pth": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert convert.main([str(tmp_path / name), "-o", str(tmp_path / "g.safetensors")]) == 1
        said = capsys.readouterr().err
        assert "not a file of tensors" in said
        assert "run code" not in said
        assert name in said
