"""Exported generators compute the same in other programs, for any batch and size, or are not written."""

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import foreign_networks
from srgan_lit import Generator, convert, export, load_generator, save_generator


@pytest.fixture
def model(tmp_path: Path) -> Path:
    generator = foreign_networks.randomised(Generator(blocks=2, features=8))
    save_generator(tmp_path / "model.safetensors", generator)
    return tmp_path / "model.safetensors"


@pytest.fixture
def ranged(tmp_path: Path) -> Path:
    generator = foreign_networks.randomised(Generator(blocks=1, features=8, prelu_width=8))
    save_generator(tmp_path / "ranged.safetensors", generator, input_range="imagenet", output_range="tanh")
    return tmp_path / "ranged.safetensors"


@pytest.mark.parametrize("name", ["model", "ranged"])
def test_onnx_computes_the_same_at_any_size(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = request.getfixturevalue(name)
    assert export.main([str(path), "-o", str(tmp_path / "g.onnx")]) == 0
    assert "largest difference" in capsys.readouterr().out
    session = onnxruntime.InferenceSession((tmp_path / "g.onnx").read_bytes())
    for batch, height, width in ((1, 7, 50), (4, 12, 3)):
        lr = torch.rand(batch, 3, height, width)
        with torch.no_grad():
            expected = load_generator(path)(lr).numpy()
        np.testing.assert_allclose(session.run(None, {"lr": lr.numpy()})[0], expected, atol=1e-5)
    assert sorted(file.name for file in tmp_path.iterdir() if "onnx" in file.name) == ["g.onnx"]  # one file


def test_torch_export_computes_the_same_at_any_size(ranged: Path, tmp_path: Path) -> None:
    assert export.main([str(ranged), "-o", str(tmp_path / "g.pt2")]) == 0
    program = torch.export.load(tmp_path / "g.pt2").module()
    lr = torch.rand(3, 3, 5, 21)
    with torch.no_grad():
        torch.testing.assert_close(program(lr), load_generator(ranged)(lr), atol=1e-6, rtol=0)


def test_a_state_dict_comes_back_bit_for_bit(model: Path, tmp_path: Path) -> None:
    trained = load_generator(model)
    for name, buffer in trained.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.fill_(8502)
    model = tmp_path / "trained.safetensors"
    save_generator(model, trained)
    assert export.main([str(model), "-o", str(tmp_path / "g.pth")]) == 0
    assert convert.main([str(tmp_path / "g.pth"), "-o", str(tmp_path / "back.safetensors")]) == 0
    before, after = load_generator(model).state_dict(), load_generator(tmp_path / "back.safetensors").state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_cannot_be_is_refused(
    model: Path, ranged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main([str(ranged), "-o", str(tmp_path / "g.pth")]) == 1
    assert "imagenet" in capsys.readouterr().err
    assert export.main([str(model), "-o", str(tmp_path / "g.h5")]) == 2
    assert export.main([str(tmp_path / "none"), "-o", str(tmp_path / "g.pth")]) == 1
    assert export.main([str(model), "-o", str(model)]) == 2
    (tmp_path / "there.pth").write_bytes(b"mine")
    assert export.main([str(model), "-o", str(tmp_path / "there.pth")]) == 2
    assert (tmp_path / "there.pth").read_bytes() == b"mine"
    assert not (tmp_path / "g.pth").exists()


def test_an_export_that_computes_something_else_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_another(generator: Generator, path: Path) -> None:
        torch.save(foreign_networks.randomised(Generator(blocks=2, features=8), seed=1).state_dict(), path)

    monkeypatch.setitem(export._WRITERS, ".pth", (write_another, export._read_pth))
    assert export.main([str(model), "-o", str(tmp_path / "g.pth")]) == 1
    assert "differs" in capsys.readouterr().err
    assert not (tmp_path / "g.pth").exists()
