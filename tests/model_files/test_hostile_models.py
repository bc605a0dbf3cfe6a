"""Mutated and hostile files of weights: loaded, or refused in one line that names the file; nothing is executed."""

import contextlib
import io
import itertools
import json
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from helpers import foreign_networks as theirs
from helpers.mutations import attack
from srgan_lit import Generator, convert, load_generator, save_generator
from srgan_lit.common.errors import SRGANError
from srgan_lit.model_files import generator_file
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.training import checkpoints


def generator() -> Generator:
    return Generator(blocks=1, features=4, scale=2)


def checkpoint_of(network: Generator, **more: object) -> dict[str, object]:
    state = {f"generator.{name}": tensor for name, tensor in network.state_dict().items()}
    return {"generator_architecture": network.architecture, "state_dict": state, "global_step": 3, **more}


def saved(content: object, **options: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def one_line(error: BaseException, path: Path) -> None:
    assert str(path) in str(error)
    assert str(error).count("\n") <= 1, error


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
@pytest.mark.parametrize("times", [150, pytest.param(10000, marks=pytest.mark.slow)])
def test_a_mutated_model_loads_or_is_refused(suffix, times, tmp_path):
    path = tmp_path / f"model.{suffix}"
    save_generator(tmp_path / "whole.safetensors", generator(), trained={"iterations": 1})
    whole = (tmp_path / "whole.safetensors").read_bytes() if suffix != "ckpt" else saved(checkpoint_of(generator()))

    def check(content):
        path.write_bytes(content)
        try:
            loaded = load_generator(path)
        except SRGANError as error:
            one_line(error, path)
        else:
            with torch.no_grad():
                assert loaded(torch.zeros(1, 3, 2, 2)).shape == (1, 3, 4, 4)

    attack([whole], check, times=times)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("times", [100, pytest.param(1500, marks=pytest.mark.slow)])
def test_a_mutated_foreign_file_converts_or_is_refused(form, times, tmp_path):
    weights = theirs.leftthomas().state_dict()
    if form == "safetensors":
        suffix, whole = ".safetensors", safetensors.torch.save(weights)
    elif form == "legacy":
        suffix, whole = ".pth", saved({"state_dict": weights}, _use_new_zipfile_serialization=False)
    else:
        suffix, whole = ".pth", saved(weights)
    numbers = itertools.count()

    def check(content):
        path, ours = tmp_path / f"theirs{suffix}", tmp_path / f"{next(numbers)}{suffix}.safetensors"
        path.write_bytes(content)
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            status = convert.main([str(path), "-o", str(ours)])
        if status == 0:
            load_generator(ours)
            ours.unlink()
        else:
            assert status == 1
            assert len(errors.getvalue().splitlines()) == 1
            assert str(path) in errors.getvalue()
            assert not ours.exists()

    attack([whole], check, times=times)


class Code:
    """A pickle of it touches ``marker`` when something reads it carelessly."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("reader", ["model", "init", "resume", "perceptual", "convert"])
def test_code_in_a_pickle_is_not_executed_by_any_reader(reader, zipped, tmp_path, capsys):
    marker = tmp_path / "executed"
    content = saved(checkpoint_of(generator(), extra=Code(marker)), _use_new_zipfile_serialization=zipped)
    (tmp_path / "checkpoints").mkdir()
    for name in ("model.ckpt", "model.pth", "model.safetensors", "checkpoints/last.ckpt"):
        (tmp_path / name).write_bytes(content)
    if reader == "convert":
        assert convert.main([str(tmp_path / "model.pth"), "-o", str(tmp_path / "ours.safetensors")]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1
    else:
        with pytest.raises(SRGANError):
            {
                "model": lambda: load_generator(tmp_path / "model.ckpt"),
                "init": lambda: load_generator(tmp_path),
                "resume": lambda: checkpoints.find(tmp_path),
                "perceptual": lambda: vgg_features(layer="1_1", weights=str(tmp_path / "model.pth")),
            }[reader]()
    assert not marker.exists()
    torch.load(tmp_path / "model.ckpt", weights_only=False)
    assert marker.exists(), "the code does work where it is let"


def test_lightning_reads_checkpoints_as_carefully(tmp_path):
    from srgan_lit.training.run_files import WholeCheckpointIO

    (tmp_path / "last.ckpt").write_bytes(saved({"extra": Code(tmp_path / "executed")}))
    with pytest.raises(Exception, match="weights_only"):
        WholeCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")
    assert not (tmp_path / "executed").exists()


def header_of(path: Path, change) -> None:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def deep(header):
    header["__metadata__"]["trained"] = "[" * 200_000


def huge(header):
    header["head.0.weight"]["shape"] = [2**31, 3, 2**20, 9]


def beyond(header):
    header["head.0.weight"]["data_offsets"] = [0, 2**50]


def no_object(header):
    header["__metadata__"]["trained"] = "[1]"


def a_list(header):
    header["__metadata__"]["architecture"] = "[1, 2]"


@pytest.mark.parametrize("change", [deep, huge, beyond, no_object, a_list])
def test_a_header_that_claims_what_is_not_there(change, tmp_path):
    path = tmp_path / "g.safetensors"
    save_generator(path, generator())
    header_of(path, change)
    attack([b"x"], lambda _: one_line(refusal(path), path), times=1)


def refusal(path: Path) -> SRGANError:
    with pytest.raises(SRGANError) as raised:
        load_generator(path)
    return raised.value


def test_a_header_longer_than_the_file(tmp_path):
    path = tmp_path / "g.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    one_line(refusal(path), path)


def hollow(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor of any shape over one number, which is all that the file then holds."""
    return tensor.flatten()[:1].clone().reshape([1] * len(shape)).expand(shape)


HOLLOW = (4096, 3, 9, 9)
HEAD = "generator.head.0.weight"
CHECKPOINTS = {
    "claims more than it has": lambda state: state | {HEAD: hollow(state[HEAD], (4, 3, 9, 9))},
    "sparse": lambda state: state | {HEAD: state[HEAD].to_sparse()},
    "no numbers": lambda state: state | {HEAD: state[HEAD].to("meta")},
    "text": lambda state: state | {HEAD: "text"},
    "a list": lambda state: list(state),
    "odd names": lambda state: {3: torch.zeros(1), **state, "generator.x": torch.zeros(1)},
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_of_something_else_than_weights(name, tmp_path):
    content = checkpoint_of(generator())
    path = tmp_path / "last.ckpt"
    path.write_bytes(saved(content | {"state_dict": CHECKPOINTS[name](content["state_dict"])}))
    one_line(refusal(path), path)


def test_a_small_file_cannot_claim_a_large_network(tmp_path):
    """A few KB that say 4096 blocks of 4096 features: terabytes if anything were allocated by the claim."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Generator(blocks=2, features=4096).state_dict().items()}
    state = {f"generator.{name}": hollow(torch.zeros(1), tuple(shape)) for name, shape in shapes.items()}
    architecture = {**generator().architecture, "blocks": 2, "features": 4096, "scale": 4}
    path = tmp_path / "last.ckpt"
    path.write_bytes(saved({"generator_architecture": architecture, "state_dict": state}))
    assert path.stat().st_size < 100_000
    attack([b"x"], lambda _: one_line(refusal(path), path), times=1)


FOREIGN = {
    "features": lambda name, tensor: hollow(tensor, HOLLOW) if tensor.dim() == 4 else tensor,
    "a wide convolution": lambda name, tensor: torch.zeros(20000, 3, 9, 9) if name == "block1.0.weight" else tensor,
    "a wide slope": lambda name, tensor: hollow(tensor, (10**9,)) if name == "block2.prelu.weight" else tensor,
    "one tensor less": lambda name, tensor: None if "bn1.running_mean" in name else tensor,
    "another shape": lambda name, tensor: torch.zeros(7) if "running_var" in name else tensor,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_that_claims_what_is_not_there(name, tmp_path, capsys):
    path = tmp_path / "theirs.pth"
    changed = {key: FOREIGN[name](key, tensor) for key, tensor in theirs.leftthomas().state_dict().items()}
    path.write_bytes(saved({key: tensor for key, tensor in changed.items() if tensor is not None}))

    def check(_):
        assert convert.main([str(path), "-o", str(tmp_path / "ours.safetensors")]) == 1
        errors = capsys.readouterr().err
        assert len(errors.splitlines()) == 1
        assert str(path) in errors

    attack([b"x"], check, times=1)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", ["999999999", "9" * 5000])
def test_block_numbers_are_not_believed(number, tmp_path, capsys):
    whole = theirs.lornatang("conv").state_dict()
    state = {name.replace("trunk.1.", f"trunk.{number}."): tensor for name, tensor in whole.items()}
    (tmp_path / "theirs.pth").write_bytes(saved(state))
    assert convert.main([str(tmp_path / "theirs.pth"), "-o", str(tmp_path / "ours.safetensors")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_compressed_checkpoint_is_not_inflated(tmp_path, capsys):
    """torch stores without compressing, and reads compressed all the same: a megabyte could become gigabytes."""
    whole = zipfile.ZipFile(io.BytesIO(saved({"x": torch.zeros(2**20)})))
    with whole, zipfile.ZipFile(tmp_path / "theirs.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    assert (tmp_path / "theirs.pth").stat().st_size < 100_000
    assert convert.main([str(tmp_path / "theirs.pth"), "-o", str(tmp_path / "ours.safetensors")]) == 1
    assert "compressed" in capsys.readouterr().err
    with pytest.raises(SRGANError, match="compressed"):
        generator_file.load_generator((tmp_path / "theirs.pth").rename(tmp_path / "a.ckpt"))
