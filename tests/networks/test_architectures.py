"""A second kind of generator takes a row of the table, and is then trained, saved, named, loaded and tiled."""

import json
import sys

import pytest
import safetensors
import safetensors.torch
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config import combinations
from srgan_lit.config.composition import configuration
from srgan_lit.config.schema import ModelConfig
from srgan_lit.config.shipped import CONF
from srgan_lit.model_files.generator_file import load_generator, read_metadata, save_generator
from srgan_lit.networks import architectures
from srgan_lit.networks.srresnet import Generator
from srgan_lit.training import parts
from srgan_lit.upscaling import engine


class Plain(nn.Module):
    """One hidden layer."""

    receptive_radius = 2

    def __init__(self, *, features: int = 8, scale: int = 4, kernel: int = 3) -> None:
        super().__init__()
        self.scale, self.architecture = scale, {"features": features, "scale": scale, "kernel": kernel}
        self.layers = nn.Sequential(
            nn.Conv2d(3, features, kernel, padding=kernel // 2), nn.ReLU(),
            nn.Conv2d(features, 3 * scale**2, kernel, padding=kernel // 2), nn.PixelShuffle(scale),
        )  # fmt: skip

    def forward(self, lr):
        return self.layers(lr)


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setitem(architectures.ARCHITECTURES, "plain", architectures.Architecture(network=Plain))


def config(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=["experiment=demo", "init_from=null", "run_dir=runs/test", *overrides])
    return configuration(cfg)


def test_a_row_of_the_table_is_built_by_its_name_from_the_keys_that_it_takes(plain):
    from srgan_lit.training import build

    made = build.generator(config("model.name=plain", "model.features=12", "+model.network.kernel=5"))
    assert isinstance(made, Plain)
    assert made.architecture == {"features": 12, "scale": 4, "kernel": 5}
    assert isinstance(build.generator(config()), Generator)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "plane"}, "model.name=plane: may be srresnet, plain, own. Did you mean plain?"),
        ({"name": "plain", "network": {"kernels": 3}}, "model.network.kernels: plain has no such argument. Did you"),
        ({"name": "plain", "start": "icnr"}, "model.start=icnr: plain can start random"),
        ({"name": "srresnet", "network": {"tail_kernel": 4}}, "tail_kernel must be odd"),
    ],
)
def test_what_the_table_does_not_have_is_refused(plain, values, said):
    with pytest.raises(UsageError) as raised:
        architectures.build(ModelConfig(**values))
    assert said in str(raised.value)


def test_a_key_that_the_kind_does_not_take_is_refused_where_it_is_set(plain):
    chosen = config("model.name=plain")
    parts.check(chosen, set_by_user=["model.features"])
    with pytest.raises(UsageError, match=r"model\.blocks has no effect: plain has no such argument"):
        parts.check(chosen, set_by_user=["model.blocks"])


def test_a_file_says_its_kind_and_comes_back_as_that(plain, tmp_path):
    generator = Plain(kernel=5)
    save_generator(tmp_path / "g.safetensors", generator)
    assert read_metadata(tmp_path / "g.safetensors").network == "plain"
    loaded = load_generator(tmp_path / "g.safetensors")
    assert isinstance(loaded, Plain)
    assert all(torch.equal(value, generator.state_dict()[name]) for name, value in loaded.state_dict().items())
    pixels = torch.randint(256, (90, 70, 3), dtype=torch.uint8).numpy()
    enlarger = engine.Enlarger(loaded)
    whole, tiled = (list(engine.bands(pixels, enlarger, tile=tile)) for tile in (0, 32))
    assert sum(len(band) for band in whole) == 360
    whole, tiled = (torch.cat([torch.from_numpy(band) for band in bands]) for bands in (whole, tiled))
    assert torch.equal(whole, tiled), "its receptive radius is asked for"


def test_init_from_another_kind_is_refused(plain, tmp_path):
    from srgan_lit.training import build

    save_generator(tmp_path / "g.safetensors", Plain())
    with pytest.raises(UsageError, match="is a plain, and"):
        build.generator(config(f"init_from={tmp_path}/g.safetensors"))


def test_a_generator_grows_from_one_of_fewer_blocks(tmp_path):
    from srgan_lit.training import build

    torch.manual_seed(0)
    smaller = Generator(blocks=1, features=8).eval()
    save_generator(tmp_path / "g.safetensors", smaller)
    start = ["model.features=8", "model.start=grown", f"init_from={tmp_path}/g.safetensors"]
    grown = build.generator(config(*start, "model.blocks=3")).eval()
    lr = torch.rand(1, 3, 8, 8)
    assert grown.blocks == 3
    torch.testing.assert_close(grown(lr), smaller(lr), atol=1e-5, rtol=0)
    with pytest.raises(UsageError, match=r"another shape than model; add model\.blocks=1 model\.features=8"):
        build.generator(config(*start, "model.blocks=3", "model.features=4"))
    with pytest.raises(UsageError, match=r"model\.start=grown adds blocks"):
        combinations.check(config("model.start=grown"))


def test_a_file_without_a_name_is_a_srresnet(tmp_path):
    generator = Generator(blocks=1, features=8)
    metadata = {"format_version": "1", "architecture": json.dumps(generator.architecture)}
    tensors = {name: value.contiguous() for name, value in generator.state_dict().items()}
    safetensors.torch.save_file(tensors, tmp_path / "old.safetensors", metadata)
    assert isinstance(load_generator(tmp_path / "old.safetensors"), Generator)


def test_a_class_that_a_file_names_is_never_imported(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text("import pathlib; pathlib.Path(__file__).with_name('executed').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    generator = Plain()
    save_generator(tmp_path / "g.safetensors", generator)
    metadata = {"format_version": "1", "network": "theirs.Plain", "architecture": "{}"}
    tensors = {name: value.contiguous() for name, value in generator.state_dict().items()}
    safetensors.torch.save_file(tensors, tmp_path / "named.safetensors", metadata)
    state = {f"generator.{name}": value for name, value in tensors.items()}
    named = {"generator_network": "theirs.Plain", "generator_architecture": {}, "state_dict": state}
    torch.save(named, tmp_path / "named.ckpt")
    for name in ("named.safetensors", "named.ckpt"):
        with pytest.raises(
            SRGANError, match=r"holds a 'theirs.Plain'.*--network theirs:Plain \(in Python network=Plain\)"
        ) as raised:
            load_generator(tmp_path / name)
        assert "\n" not in str(raised.value)
        given = Plain()
        assert load_generator(tmp_path / name, network=given) is given
        assert torch.equal(given.layers[0].weight, generator.layers[0].weight)
    assert "theirs" not in sys.modules
    assert not (tmp_path / "executed").exists()
    with pytest.raises(SRGANError, match=r"layers\.0\.weight is"):
        load_generator(tmp_path / "named.safetensors", network=Plain(features=9))


def test_a_class_that_a_checkpoint_names_is_never_imported(tmp_path, monkeypatch):
    """Lightning's own way to load one: it gives the module the values that the checkpoint has."""
    from helpers.tiny_training import fit, make, plan
    from srgan_lit.training.module import SRGANModule

    (tmp_path / "theirs.py").write_text("import pathlib; pathlib.Path(__file__).with_name('executed').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    trainer = fit(make(plan(pretrain=1)), tmp_path)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    whole = torch.load(tmp_path / "run.ckpt", weights_only=True)
    target = {"_target_": "theirs.Anything"}
    for named in (
        {"generator": {"name": "own", "network": target}},
        {"generator": {"name": "srresnet", "network": target}},
        {"phase": {"adversarial": {"iterations": 1}, "weights": {"mine": 1.0}, "terms": {"mine": target}}},
    ):
        changed = {**whole, "hyper_parameters": {**whole["hyper_parameters"], **named}}
        torch.save(changed, tmp_path / "named.ckpt")
        with pytest.raises(UsageError):
            SRGANModule.load_from_checkpoint(tmp_path / "named.ckpt")
    assert "theirs" not in sys.modules
    assert not (tmp_path / "executed").exists()


def test_a_program_gives_its_own_term_and_its_own_generator(tmp_path):
    from helpers.tiny_training import fit
    from srgan_lit.training.module import SRGANModule

    def module(**also):
        return SRGANModule(
            generator=Plain(), crop=16, terms={"brightness": lambda sr, hr: (sr.mean() - hr.mean()).square()},
            phase={"adversarial": {"iterations": 2}, "weights": {"perceptual": 0.0, "brightness": 2.0}}, **also,
        )  # fmt: skip

    made = module()
    fit(made, tmp_path)
    assert {"brightness", "adversarial", "total"} <= made.values.keys()
    total = 2 * made.values["brightness"] + 1e-3 * made.values["adversarial"]
    assert float(made.values["total"]) == pytest.approx(float(total), rel=1e-5)
    with pytest.raises(UsageError, match=r"phase\.terms\.brightness is a term of your own: pass it"):
        SRGANModule(generator=Plain(), phase=made.plan)
