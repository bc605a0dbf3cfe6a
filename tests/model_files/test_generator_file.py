"""The generator file: what goes in comes out, and anything else is refused by name."""

import hashlib
import itertools
import json
import math
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from helpers import foreign_networks
from srgan_lit import Generator, load_generator, save_generator
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.model_files import box, generator_file


def small(seed: int = 0, **shape: Any) -> Generator:
    generator = foreign_networks.randomised(Generator(**{"blocks": 1, "features": 8} | shape), seed=seed)
    assert isinstance(generator, Generator)
    return generator


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("shape", [{}, {"scale": 2, "blocks": 2}, {"scale": 8, "tail_kernel": 3, "prelu_width": 8}])
def test_a_generator_comes_back_bit_for_bit(shape: dict[str, int], tmp_path: Path) -> None:
    generator = small(**shape)
    save_generator(
        tmp_path / "g.safetensors", generator, trained={"iterations": 7}, scores={"y_shave4": {"psnr": 30.1}}
    )
    loaded = load_generator(tmp_path / "g.safetensors")
    assert isinstance(loaded, Generator)
    assert same(generator, loaded)
    assert not loaded.training
    metadata = generator_file.read_metadata(tmp_path / "g.safetensors")
    assert metadata.architecture == generator.architecture
    assert metadata.trained == {"iterations": 7}
    assert metadata.scores == {"y_shave4": {"psnr": 30.1}}


def test_ranges_are_honoured(tmp_path: Path) -> None:
    generator = small()
    save_generator(tmp_path / "g.safetensors", generator, input_range="signed", output_range="tanh")
    lr = torch.rand(1, 3, 6, 7)
    with torch.no_grad():
        expected = (generator(lr * 2 - 1).tanh() + 1) / 2
        torch.testing.assert_close(load_generator(tmp_path / "g.safetensors")(lr), expected)


def test_every_way_to_name_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final, early = small(1), small(2)
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    state = {f"generator.{name}": tensor for name, tensor in early.state_dict().items()}
    state["discriminator.x"] = torch.zeros(1)
    torch.save({"generator_architecture": early.architecture, "state_dict": state}, run / "checkpoints" / "last.ckpt")
    assert same(load_generator(run / "checkpoints" / "last.ckpt"), early)
    assert same(load_generator(run), early)
    save_generator(run / "generator.safetensors", final)
    assert same(load_generator(run), final)
    assert same(load_generator(str(run / "generator.safetensors")), final)
    digest = hashlib.sha256((run / "generator.safetensors").read_bytes()).hexdigest()
    (run / "generator.safetensors").rename(run / "srgan.safetensors")
    (run / "SHA256SUMS").write_text(f"{digest}  srgan.safetensors\n")
    monkeypatch.setattr(box, "FOLDER", run)
    assert same(load_generator("srgan"), final)
    assert same(load_generator("crisp"), final)


def rewritten(path: Path, change: dict[str, str | None], tensors: dict[str, torch.Tensor]) -> None:
    with safetensors.safe_open(path, framework="pt") as opened:
        metadata = dict(opened.metadata()) | change
    safetensors.torch.save_file(
        tensors, path, metadata={name: value for name, value in metadata.items() if value is not None}
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": None}, "no format_version"),
        ({"format_version": "2"}, "format_version '2'"),
        ({"architecture": "{"}, "unreadable metadata"),
        ({"architecture": None}, "unreadable metadata"),
        ({"architecture": json.dumps({"blocks": 10**9})}, "1 to 4096"),
        ({"architecture": json.dumps({"blocks": 1, "depth": 3})}, "depth"),
        ({"architecture": json.dumps({"blocks": 2, "features": 8})}, "trunk.1.conv1.weight is missing"),
        ({"architecture": json.dumps({"blocks": 1, "features": 16})}, "head.0.weight is (8, 3, 9, 9)"),
        ({"architecture": json.dumps({"blocks": 1, "features": 8, "scale": 2})}, "upsample.1.act.weight is not part"),
        ({"output_range": "sigmoid"}, "sigmoid"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(change: dict[str, str | None], said: str, tmp_path: Path) -> None:
    generator = small()
    save_generator(tmp_path / "g.safetensors", generator)
    rewritten(tmp_path / "g.safetensors", change, generator.state_dict())
    with pytest.raises(SRGANError, match=r"g\.safetensors") as raised:
        load_generator(tmp_path / "g.safetensors")
    assert said in str(raised.value)


def test_truncated_empty_and_foreign_files_are_refused(tmp_path: Path) -> None:
    save_generator(tmp_path / "g.safetensors", small())
    whole = (tmp_path / "g.safetensors").read_bytes()
    for name, content in {"half": whole[: len(whole) // 2], "empty": b"", "text": b"hello" * 100}.items():
        for suffix in (".safetensors", ".ckpt"):
            (tmp_path / f"{name}{suffix}").write_bytes(content)
            with pytest.raises(SRGANError, match=name):
                load_generator(tmp_path / f"{name}{suffix}")
    with pytest.raises(SRGANError, match="no such model"):
        load_generator("srgan-that-is-not-there")
    with pytest.raises(SRGANError, match="not a run directory"):
        load_generator(tmp_path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = small(1)
    save_generator(tmp_path / "g.safetensors", old)

    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("srgan_lit.common.atomic_files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_generator(tmp_path / "g.safetensors", small(2))
    monkeypatch.undo()
    assert same(load_generator(tmp_path / "g.safetensors"), old)
    assert list(tmp_path.iterdir()) == [tmp_path / "g.safetensors"]


def test_a_blend_lies_between(tmp_path: Path) -> None:
    perceptual, faithful = small(1), small(2)
    save_generator(tmp_path / "generator.safetensors", perceptual)
    save_generator(tmp_path / "srresnet.safetensors", faithful)
    assert same(generator_file.load_blend(tmp_path, fidelity=0), perceptual)
    assert same(generator_file.load_blend(tmp_path, fidelity=1), faithful)
    middle = generator_file.load_blend(tmp_path, fidelity=0.25).state_dict()["trunk.0.norm1.running_var"]
    ends = [generator.state_dict()["trunk.0.norm1.running_var"] for generator in (perceptual, faithful)]
    torch.testing.assert_close(middle, 0.75 * ends[0] + 0.25 * ends[1])


def test_a_blend_needs_two_of_one_shape(tmp_path: Path) -> None:
    save_generator(tmp_path / "generator.safetensors", small(1))
    with pytest.raises(SRGANError, match=r"no srresnet\.safetensors beside it"):
        generator_file.load_blend(tmp_path, fidelity=0.5)
    save_generator(tmp_path / "srresnet.safetensors", small(2, blocks=2))
    with pytest.raises(SRGANError, match="'blocks': 2"):
        generator_file.load_blend(tmp_path, fidelity=0.5)


def test_half_the_size_is_the_same_to_float16(tmp_path):
    torch.manual_seed(0)
    generator = Generator(blocks=2, features=16).eval()
    save_generator(tmp_path / "whole.safetensors", generator)
    save_generator(tmp_path / "half.safetensors", generator, half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = load_generator(tmp_path / "half.safetensors")
    for name, value in generator.state_dict().items():
        now = loaded.state_dict()[name]
        assert now.dtype == value.dtype
        assert torch.equal(now, value.half().float() if value.dim() == 4 else value)


@pytest.mark.long
def test_the_bundled_srresnet_beats_bicubic_on_pictures_that_it_has_not_seen():
    from srgan_lit.data import sets
    from srgan_lit.evaluation import metrics
    from srgan_lit.pictures import bicubic_tensors, tensors
    from srgan_lit.upscaling import upscalers

    model, rule = upscalers.Network(load_generator("srresnet")), metrics.protocol("y_shave4")
    pictures = sets.test_pairs("sample", 4)
    gains = []
    for index in range(len(pictures)):
        pair = pictures.load(index)
        hr = tensors.from_pixels(pair.hr)
        ours, bicubic = (
            metrics.psnr(tensors.from_pixels(each(pair.lr)), hr, rule, grey=pair.grey).item()
            for each in (model, bicubic_tensors.Bicubic(4))
        )
        gains.append(ours - bicubic)
    assert min(gains) > 0.4
    assert sum(gains) / len(gains) > 1.2, "MODELS.md says 1.28 dB"


def test_a_generator_in_the_box_that_is_damaged_is_refused(tmp_path, monkeypatch):
    for path in box.FOLDER.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(box, "FOLDER", tmp_path)
    content = bytearray((tmp_path / "srresnet.safetensors").read_bytes())
    content[-1] ^= 1  # a weight that is a number all the same
    (tmp_path / "srresnet.safetensors").write_bytes(content)
    with pytest.raises(SRGANError, match=r"srresnet\.safetensors: damaged .* install srgan_lit again"):
        load_generator("srresnet")


def test_the_box_holds_what_its_table_names():
    files = {path.stem for path in box.FOLDER.glob("*.safetensors")}
    assert files == set(box.GENERATORS)
    assert len(set(box.all_names())) == 2 * len(files)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for name, boxed in box.GENERATORS.items():
        assert generator_file.find_model(boxed.alias) == generator_file.find_model(name) == box.path_of(name)
        assert f"| `{name}`, `{boxed.alias}` |" in readme
        box.check(box.path_of(name))


def test_a_misspelt_name_in_the_box_is_told_the_nearest():
    with pytest.raises(SRGANError, match=r"faithfull: no such model; .*faithful\?"):
        generator_file.find_model("faithfull")


def test_equal_generators_are_equal_files_whatever_is_written_beside(tmp_path: Path) -> None:
    generator = small()
    about = {"trained": {"iterations": 7, "data": "photos"}, "scores": {"validation": {"psnr": 30.1}}}
    for number in range(6):
        save_generator(tmp_path / f"{number}.safetensors", generator, **about)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert same(load_generator(tmp_path / "0.safetensors"), generator)


@pytest.mark.parametrize("kind", ["run directory", "file"])
def test_a_name_in_the_box_that_is_also_a_model_here_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "srgan").mkdir()
    assert generator_file.find_model("srgan").parent == box.FOLDER  # a folder without a model
    (tmp_path / "srgan").rmdir()
    mine = small()
    path = tmp_path / "srgan" / "generator.safetensors" if kind == "run directory" else tmp_path / "srgan"
    path.parent.mkdir(exist_ok=True)
    save_generator(path, mine)
    with pytest.raises(
        UsageError, match=r"srgan: both the model in the box and a f\w+ here; write \./srgan"
    ) as refusal:
        load_generator("srgan")
    assert refusal.value.exit_status == 2
    for here in ("./srgan", str(tmp_path / "srgan"), Path("srgan")):
        assert same(load_generator(here), mine)
    assert not same(load_generator(box.path_of("srgan")), mine)
    assert generator_file.is_bicubic("bicubic")
    (tmp_path / "srgan").rename("bicubic")
    with pytest.raises(UsageError, match=r"both the baseline and a f\w+ here; write \./bicubic"):
        generator_file.is_bicubic("bicubic")
    assert not generator_file.is_bicubic("./bicubic")


@pytest.mark.long
def test_a_file_that_is_replaced_while_it_is_read_is_the_one_or_the_other(tmp_path: Path) -> None:
    """Metadata of one and tensors of the other would be a generator with wrong ranges, or none."""
    one, other = small(1), small(2)
    save_generator(tmp_path / "one", one)
    save_generator(tmp_path / "other", other, input_range="signed")
    contents = [(tmp_path / name).read_bytes() for name in ("one", "other")]
    target, stop = tmp_path / "g.safetensors", threading.Event()
    target.write_bytes(contents[0])

    def replace() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            (tmp_path / "next").write_bytes(contents[number % 2])
            (tmp_path / "next").replace(target)

    replacing = threading.Thread(target=replace)
    replacing.start()
    seen = set()
    try:
        for _ in range(400):
            loaded = load_generator(target)
            ranged = isinstance(loaded, generator_file.Ranged)
            assert same(loaded.generator if ranged else loaded, other if ranged else one)
            seen.add(ranged)
    finally:
        stop.set()
        replacing.join()
    assert seen == {True, False}


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_weight_that_is_not_finite_is_named_and_the_file_refused(value, tmp_path, capsys):
    generator = small()
    with torch.no_grad():
        generator.trunk[0].conv1.weight[0, 0, 0, 0] = value
    save_generator(tmp_path / "g.safetensors", generator)
    with pytest.raises(SRGANError, match=r"trunk\.0\.conv1\.weight holds infinity or NaN"):
        load_generator(tmp_path / "g.safetensors")
