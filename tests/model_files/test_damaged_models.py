"""Files of weights that are whole to torch and safetensors, and are not: each is refused in one line."""

import json
import random
import time
import zipfile

import pytest
import safetensors.torch
import torch

from srgan_lit import Generator, load_generator, save_generator
from srgan_lit.common.errors import SRGANError
from srgan_lit.model_files import tensor_files
from srgan_lit.training import checkpoints


@pytest.fixture
def run_dir(tmp_path):
    """A run directory with two checkpoints, of which the newer is the last."""
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    network = Generator(blocks=1, features=4, scale=2)
    for name, iteration in (("iteration=20", 20), ("last", 30)):
        state = {f"generator.{key}": value for key, value in network.state_dict().items()}
        content = {"generator_architecture": network.architecture, "state_dict": state, "global_step": iteration}
        torch.save(content, folder / f"{name}.ckpt")
    return tmp_path / "run"


@pytest.mark.long
def test_a_flipped_byte_is_noticed_wherever_it_is_and_the_newest_whole_one_is_taken(run_dir):
    """Bytes of names and padding that nothing reads may be any."""
    last = run_dir / "checkpoints" / "last.ckpt"
    whole, draw, noticed, flips = last.read_bytes(), random.Random(0), 0, 200
    expected = tensor_files.read(last)
    for _ in range(flips):
        content = bytearray(whole)
        content[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        last.write_bytes(content)
        found = checkpoints.find(run_dir)
        if found.newest == last:
            same = tensor_files.read(last)
            assert same["global_step"] == expected["global_step"]
            for name, tensor in expected["state_dict"].items():
                assert torch.equal(same["state_dict"][name], tensor), name
        else:
            noticed += 1
            assert (found.newest, found.iteration) == (run_dir / "checkpoints" / "iteration=20.ckpt", 20)
            assert "not whole" in found.passed_over[last]
            with pytest.raises(SRGANError, match="not a checkpoint of this package"):
                load_generator(last)
    assert noticed > flips / 4


def test_compressed_and_overlapping_records_are_passed_over(run_dir):
    last = run_dir / "checkpoints" / "last.ckpt"
    with zipfile.ZipFile(last) as whole:
        records = {entry.filename: whole.read(entry) for entry in whole.infolist()}
    with zipfile.ZipFile(last, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    assert "compressed" in checkpoints.find(run_dir).passed_over[last]
    with zipfile.ZipFile(last, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        archive.filelist += [largest] * 100  # one record, named a hundred times
    assert "overlap" in checkpoints.find(run_dir).passed_over[last]


def changed(path, *, metadata=None, tensors=None):
    """A generator file with other metadata or tensors."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    if tensors:
        ours = safetensors.torch.load(content)
        path.write_bytes(
            safetensors.torch.save(ours | {name: of(ours) for name, of in tensors.items()}, header["__metadata__"])
        )
        return path
    header["__metadata__"] |= metadata
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    return path


@pytest.fixture
def file(tmp_path):
    save_generator(tmp_path / "g.safetensors", Generator(blocks=1, features=4))
    return tmp_path / "g.safetensors"


def refusal(path):
    with pytest.raises(SRGANError) as raised:
        load_generator(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


KEYS = ("format_version", "network", "architecture", "input_range", "output_range", "trained", "scores", "other")


@pytest.mark.parametrize("value", [1, None, {}, [], True], ids=repr)
@pytest.mark.parametrize("key", KEYS)
def test_metadata_that_are_no_text(key, value, file):
    refusal(changed(file, metadata={key: value}))


def spoilt(name, value, dtype):
    def of(tensors):
        tensor = tensors[name].to(dtype)
        tensor.view(-1)[0] = value
        return tensor

    return {name: of}


@pytest.mark.parametrize(
    ("name", "value", "dtype"),
    [
        ("head.0.weight", 1e300, torch.float64),
        ("trunk.0.norm1.running_var", 1e300, torch.float64),
        ("trunk.0.norm1.running_var", -1.0, torch.float32),
        ("trunk_norm.running_var", -2e-5, torch.float32),
        ("trunk_norm.running_var", -1.0, torch.float16),
    ],
)
def test_numbers_that_become_infinity_or_nan(name, value, dtype, file):
    assert f"tensor {name} holds" in refusal(changed(file, tensors=spoilt(name, value, dtype)))


@pytest.mark.parametrize("kind", ["file", "checkpoint"])
def test_a_claim_of_many_blocks_costs_nothing(kind, file, run_dir):
    claim = {**Generator(blocks=1, features=4).architecture, "blocks": 4096}
    if kind == "checkpoint":
        file = run_dir / "checkpoints" / "last.ckpt"
        torch.save(torch.load(file, weights_only=True) | {"generator_architecture": claim}, file)
    else:
        changed(file, metadata={"architecture": json.dumps(claim)})
    # Compared with a network of a fiftieth of the blocks, so that no test asserts a time of its own.
    start = time.process_time()
    with torch.device("meta"):
        Generator(blocks=4096 // 50, features=4)
    least = time.process_time() - start
    start = time.process_time()
    assert "is missing" in refusal(file) or "its architecture says" in refusal(file)
    assert time.process_time() - start < 20 * least
