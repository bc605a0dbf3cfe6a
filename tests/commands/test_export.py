"""Exported generators compute the same in other programs, for any batch and size, or are not written."""

import os
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


@pytest.mark.parametrize("float16", [False, True])
def test_onnx_takes_and_gives_pixels_and_says_what_it_is(ranged: Path, tmp_path: Path, float16: bool) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    ranged = ranged.rename(tmp_path / os.fsdecode(b"caf\xe9.safetensors"))  # a name that is no UTF-8
    options = ["--uint8", "--opset", "20", *(["--float16"] if float16 else [])]
    assert export.main([str(ranged), "-o", str(tmp_path / "g.onnx"), *options]) == 0
    session = onnxruntime.InferenceSession((tmp_path / "g.onnx").read_bytes())
    lr = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 14), dtype=np.uint8)
    (sr,) = session.run(None, {"lr": lr})
    with torch.no_grad():
        exact = load_generator(ranged)(torch.from_numpy(lr) / 255)
    expected = (exact.clamp(0, 1) * 255).round()
    assert sr.dtype == np.uint8
    assert np.abs(sr.astype(int) - expected.numpy()).max() <= (3 if float16 else 1)
    about = session.get_modelmeta().custom_metadata_map
    assert (about["model"], about["scale"], about["range"]) == ("caf\\udce9", "4", "uint8, 0 to 255")
    assert about["computes_in"] == ("float16" if float16 else "float32")
    assert '"blocks": 1' in about["architecture"]
    import onnx

    written = onnx.load(tmp_path / "g.onnx")
    assert written.opset_import[0].version == 20
    halves = [tensor for tensor in written.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16]
    assert bool(halves) == float16


def test_a_picture_that_overshoots_is_clamped_where_pixels_go_out(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    generator = foreign_networks.randomised(Generator(blocks=1, features=8))
    with torch.no_grad():
        generator.tail.bias.copy_(torch.tensor([40.0, -40.0, 0.5]))
    save_generator(tmp_path / "g.safetensors", generator)
    assert export.main([str(tmp_path / "g.safetensors"), "-o", str(tmp_path / "g.onnx"), "--uint8"]) == 0
    session = onnxruntime.InferenceSession((tmp_path / "g.onnx").read_bytes())
    (sr,) = session.run(None, {"lr": np.full((1, 3, 6, 6), 99, np.uint8)})
    assert (sr[:, 0] == 255).all(), "not wrapped around"
    assert (sr[:, 1] == 0).all()


def test_float16_alone_takes_and_gives_float16(model: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert export.main([str(model), "-o", str(tmp_path / "g.onnx"), "--float16"]) == 0
    session = onnxruntime.InferenceSession((tmp_path / "g.onnx").read_bytes())
    lr = np.random.default_rng(0).random((1, 3, 8, 8)).astype(np.float16)
    (sr,) = session.run(None, {"lr": lr})
    assert sr.dtype == np.float16
    with torch.no_grad():
        expected = load_generator(model)(torch.from_numpy(lr).float()).numpy()
    np.testing.assert_allclose(sr, expected, atol=0.02)


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
    assert export.main([str(model), "-o", str(tmp_path / "g.pt2"), "--uint8"]) == 2
    assert "are of .onnx alone" in capsys.readouterr().err
    assert export.main([str(tmp_path / "none"), "-o", str(tmp_path / "g.pth")]) == 1
    assert export.main([str(model), "-o", str(model)]) == 2
    (tmp_path / "there.pth").write_bytes(b"mine")
    assert export.main([str(model), "-o", str(tmp_path / "there.pth")]) == 2
    assert (tmp_path / "there.pth").read_bytes() == b"mine"
    assert not (tmp_path / "g.pth").exists()


def test_an_export_that_computes_something_else_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_another(generator: Generator, path: Path, *_: object) -> None:
        torch.save(foreign_networks.randomised(Generator(blocks=2, features=8), seed=1).state_dict(), path)

    monkeypatch.setitem(export._WRITERS, ".pth", (write_another, export._read_pth))
    assert export.main([str(model), "-o", str(tmp_path / "g.pth")]) == 1
    assert "differs" in capsys.readouterr().err
    assert not (tmp_path / "g.pth").exists()
