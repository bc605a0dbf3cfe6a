"""What a GPU or NCCL would refuse and a processor lets pass, held against doubles that refuse it."""

import contextlib
import functools
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from helpers.configurations import tiny
from helpers.device_doubles import OnMPS, TwoProcesses
from helpers.operations import NoWaiting
from helpers.tiny_training import Pictures, fit, make, plan
from srgan_lit.benchmarking import workloads
from srgan_lit.config.shipped import term_weights
from srgan_lit.data.samples import WholePairs
from srgan_lit.evaluation import columns, metrics, scoring
from srgan_lit.losses.perceptual import PerceptualLoss
from srgan_lit.model_files.generator_file import load_generator
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.networks.discriminator import Discriminator
from srgan_lit.networks.srresnet import Generator
from srgan_lit.networks.vgg import VGGFeatures
from srgan_lit.pictures import bicubic_tensors
from srgan_lit.pictures.rgb8 import Pair
from srgan_lit.training import build, dry_run, run
from srgan_lit.training.callbacks.cuda_graph_steps import CUDAGraphSteps
from srgan_lit.training.callbacks.generator_files import GeneratorFiles
from srgan_lit.upscaling.upscalers import Network


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_nothing_is_exchanged_once_the_training_has_ended(tmp_path, monkeypatch):
    strategies = []

    def trainer(**options):
        strategies.append(TwoProcesses())
        return made(**options | {"strategy": strategies[0]})

    made = L.Trainer
    monkeypatch.setattr(build.L, "Trainer", trainer)
    run.train(tiny(tmp_path / "run"))
    assert strategies[0].exchanges > 12
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 12
    assert (tmp_path / "run" / "report" / "results.json").is_file()


def test_the_feature_loss_goes_where_the_networks_go():
    module = make(plan(adversarial=1)).to("meta")
    assert {tensor.device.type for tensor in module.perceptual.state_dict(keep_vars=True).values()} == {"meta"}
    assert module.perceptual.features.mean.device.type == "meta"


def test_the_benchmark_trains_wholly_on_its_device():
    settings = workloads.Settings(device=torch.device("meta"), blocks=1, batch=1, side=16, tile=8)
    for steps, opponents in (workloads.pretraining(settings), workloads.adversarial_training(settings)):
        networks = [steps, *[network for opponent in opponents.values() for network in opponent.networks]]
        networks += [steps.perceptual] if steps.perceptual is not None else []
        tensors = [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]
        assert {tensor.device.type for tensor in (*tensors, torch.empty(0, device=steps.device))} == {"meta"}


class OneDevice(NoWaiting):
    """Refuses, besides waiting, operations on tensors of two devices."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = [each for each in tree_leaves((args, kwargs)) if torch.is_tensor(each) and each.dim()]
        assert len({each.device.type for each in given}) < 2, function
        return super().__torch_dispatch__(function, types, args, kwargs)


@pytest.mark.parametrize("normalisation", ["batch", "spectral"])
@pytest.mark.parametrize("game", ["standard", "relativistic", "least_squares", "hinge"])
def test_an_iteration_with_every_term_copies_nothing_to_the_device(monkeypatch, game, normalisation):
    autocast = torch.autocast  # there is none for "meta"
    monkeypatch.setattr(
        torch, "autocast", lambda kind, **also: contextlib.nullcontext() if kind == "meta" else autocast(kind, **also)
    )
    weights = dict.fromkeys(term_weights(), 1.0)
    steps = workloads.Steps(
        generator=Generator(blocks=1, features=8),
        discriminator=Discriminator(crop=32, normalisation=normalisation),
        perceptual=PerceptualLoss(vgg_features(weights="random"), {"2_2": 1.0, "5_4": 1.0}),
        phase=plan(adversarial=2, loss=game, r1=1.0, r1_every=1, weights=weights),
        optimization={"ema": 0.9, "clip_gradients": 1.0},
    ).prepare(torch.device("meta"))
    for optimizer in steps._by_name.values():
        optimizer.step = lambda: None  # fused Adam knows no "meta"
    batch = {name: torch.empty(2, 3, side, side, device="meta") for name, side in (("lr", 8), ("hr", 32))}
    steps.training_step(batch, 0)  # what is made once is made here
    with OneDevice():
        steps.training_step(batch, 1)
    assert set(weights) <= set(steps.values)


def test_a_dry_run_reads_the_memory_of_the_device_that_it_ran_on(tmp_path, monkeypatch, caplog):
    class Stopwatch(dry_run.Stopwatch):
        """As on a GPU: during ``fit`` the module is there, and nowhere when it has returned."""

        def on_train_end(self, trainer, pl_module):
            pl_module._device, device = torch.device("cuda", 0), pl_module._device
            super().on_train_end(trainer, pl_module)
            pl_module._device = device

    monkeypatch.setattr(dry_run, "Stopwatch", Stopwatch)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3_210_000_000)
    with caplog.at_level("INFO"):
        dry_run.rehearse(tiny(tmp_path / "run"))
    assert "3.21 GB of the GPU at the peak" in caplog.text


def test_a_training_on_the_processor_opens_no_cuda_context(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    data = build.datamodule(tiny(tmp_path / "run"))
    data.setup()
    assert not data.train_dataloader().pin_memory

    class Trainer:
        world_size, global_rank, overfit_batches = 1, 0, 0
        strategy = TwoProcesses()

    data.trainer = Trainer()
    assert not data.train_dataloader().pin_memory
    Trainer.strategy._root_device = torch.device("cuda", 0)
    assert data.train_dataloader().pin_memory


def test_a_process_without_a_validation_picture_is_lent_one_that_does_not_count(tmp_path):
    for number in range(2):
        Image.fromarray(pixels(64, 64, seed=number)).save(tmp_path / f"{number}.png")
    data = build.datamodule(tiny(tmp_path / "run", "data=folder", f"data.root={tmp_path}"))
    data.setup()
    seen = []
    for rank in range(2):

        class Trainer:
            world_size, global_rank = 2, rank

        data.trainer = Trainer()
        seen.append([(batch["name"], batch.get("counted", True)) for batch in data.val_dataloader()])
        assert list(data.test_dataloader()) == []
    assert [len(batches) for batches in seen] == [1, 1]
    assert [batches[0][1] for batches in seen] == [True, False]

    class Lending(Pictures):
        def val_dataloader(self):
            generator = torch.Generator().manual_seed(2)
            pictures = [
                {"lr": torch.rand(1, 3, 8, 8, generator=generator), "hr": torch.rand(1, 3, 32, 32, generator=generator)}
                for _ in range(3)
            ]
            batches = [
                picture | {"name": [name], "grey": False, "counted": name != "c"}
                for picture, name in zip(pictures[: self.count], "abc", strict=False)
            ]
            return DataLoader(batches, batch_size=None)

    scores = []
    for count in (2, 3):
        data = Lending()
        data.count = count
        scores.append(fit(make(plan(pretrain=1)), tmp_path / str(count), data=data, val_check_interval=1))
    assert scores[0].callback_metrics["val/psnr"] == scores[1].callback_metrics["val/psnr"]


def test_recalibrating_asks_no_other_process(tmp_path, monkeypatch):
    """The first process alone does it: statistics that are synchronised would wait for the others for ever."""

    def alone(self, x):
        raise AssertionError("SyncBatchNorm waits for the other processes")

    class Calibrating(Pictures):
        def calibration(self, number):
            return list(self.train_dataloader())[number]["lr"]

    class Synchronised(GeneratorFiles):
        def on_train_end(self, trainer, pl_module):
            pl_module.generator = nn.SyncBatchNorm.convert_sync_batchnorm(pl_module.generator)
            monkeypatch.setattr(nn.SyncBatchNorm, "forward", alone)
            super().on_train_end(trainer, pl_module)

    module, data = make(plan(pretrain=2), recalibrate=1), Calibrating()
    fit(module, tmp_path, Synchronised(tmp_path, trained={}), data=data, val_check_interval=100)
    assert isinstance(module.generator.trunk_norm, nn.SyncBatchNorm), "training goes on as it was"
    saved = load_generator(tmp_path / "generator.safetensors")
    assert not torch.equal(saved.trunk_norm.running_mean, module.generator.trunk_norm.running_mean)


def test_pictures_are_scored_without_float64_on_a_device_that_has_none():
    sr, hr = (torch.rand(1, 3, 80, 96, generator=torch.Generator().manual_seed(n)) for n in range(2))
    for name in ("y_shave4", "y_full", "rgb_full"):
        rule = metrics.protocol(name)
        for measure in (metrics.psnr, metrics.ssim):
            for grey in (False, True):
                there = measure(OnMPS(sr), OnMPS(hr), rule, grey=grey)
                assert torch.equal(there, measure(sr, hr, rule, grey=grey))


def test_networks_are_compiled_in_the_mode_that_is_asked_for(tmp_path, monkeypatch):
    compiled, marks = [], []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled.append((type(self).__name__, options)))
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append(1))
    for there, accelerator, networks in (
        (False, "auto", ["Generator", "Discriminator"]),
        (True, "cpu", ["Generator", "Discriminator"]),
        (True, "auto", ["Generator", "Discriminator", "PerceptualLoss"]),
    ):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda there=there: there)
        for asked, mode in (("true", "default"), ("default", "default"), ("reduce-overhead", "reduce-overhead")):
            build.module(tiny(tmp_path / "run", f"compile={asked}", f"trainer.accelerator={accelerator}"))
            assert compiled == [(name, {"mode": mode}) for name in networks]
            compiled.clear()
    build.module(tiny(tmp_path / "run"))
    assert compiled == []
    for asked, graphs in (("default", False), ("reduce-overhead", True)):
        callbacks = build.trainer(tiny(tmp_path / "run", f"compile={asked}")).callbacks
        for callback in callbacks:
            if isinstance(callback, CUDAGraphSteps):
                callback.on_train_batch_start(None, None, None, 0)
        assert bool(marks) == graphs


@pytest.mark.slow
def test_a_compiled_feature_loss_is_the_eager_one():
    loss = PerceptualLoss(vgg_features(backbone="vgg16", layer="2_2", weights="random"), {"1_2": 1.0, "2_2": 0.5})
    hr = torch.rand(2, 3, 32, 32)
    told = []
    for _ in range(2):
        sr = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
        distance = loss(sr, hr)
        distance.backward()
        told.append((distance.item(), sr.grad))
        loss.compile(mode="default")
    assert told[1][0] == pytest.approx(told[0][0], rel=1e-5)
    assert torch.allclose(told[1][1], told[0][1], rtol=1e-3, atol=1e-7)


def test_batches_go_to_a_device_as_bytes_and_without_waiting(tmp_path, monkeypatch):
    data = build.datamodule(tiny(tmp_path / "run"))
    data.setup()
    batch, moved = next(iter(data.train_dataloader())), []
    move = torch.Tensor.to

    def looking(self, *where, **options):
        moved.append((self.dtype, options.get("non_blocking")))
        return move(self, *where, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "to", looking)
        there = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved == [(torch.uint8, True)] * 2
    there = data.on_after_batch_transfer(there, 0)
    for name in ("lr", "hr"):
        assert there[name].dtype == torch.float32
        assert there[name].device.type == "meta"
        assert there[name].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("model", ["bicubic", "match_input"])
def test_bicubic_is_not_computed_in_tf32(monkeypatch, model):
    allowed = []
    for name in ("conv2d", "conv_transpose2d"):
        convolve = getattr(bicubic_tensors.F, name)

        def looking(*given, convolve=convolve, **options):
            allowed.append(torch.backends.cudnn.allow_tf32)
            return convolve(*given, **options)

        monkeypatch.setattr(bicubic_tensors.F, name, looking)
    before = torch.backends.cudnn.allow_tf32
    lr = torch.rand(1, 3, 8, 8)
    if model == "bicubic":
        bicubic_tensors.enlarge(lr, 4, levels=255)
    else:
        bicubic_tensors.match_input(torch.rand(1, 3, 32, 32), lr, 4, levels=255)
    assert set(allowed) == {False}
    assert torch.backends.cudnn.allow_tf32 == before


def test_features_do_not_overflow_where_the_rest_is_in_float16():
    features = vgg_features(backbone="vgg16", layer="2_2", weights="random")
    with torch.no_grad():
        for layer in features.features:
            if isinstance(layer, nn.Conv2d):
                layer.weight *= 30
    image = torch.rand(1, 3, 32, 32)
    exact = features(image)
    assert exact.max() > 65504, "more than float16 holds"
    with torch.autocast("cpu", dtype=torch.float16):
        ours = features(image)
        assert nn.Conv2d(3, 1, 3)(image).dtype == torch.float16, "the rest stays"
    assert ours.isfinite().all()
    assert torch.allclose(ours.float(), exact, rtol=0.05, atol=float(exact.max()) * 0.01)


def test_validation_and_evaluate_give_the_same_numbers(tmp_path):
    pairs = [Pair(name=n, lr=pixels(20, 23, s), hr=pixels(80, 92, s + 9), grey=n == "b") for s, n in enumerate("ab")]
    whole = WholePairs("set", [pair.name for pair in pairs], lambda at: pairs[at])

    class Whole(Pictures):
        def val_dataloader(self):
            batches = [{**whole[at], "lr": whole[at]["lr"] / 255, "hr": whole[at]["hr"] / 255} for at in (0, 1)]
            return DataLoader(batches, batch_size=None)

    class Set:
        name, names, load = "set", whole.names, staticmethod(whole.load)

    module = make(plan(adversarial=1))
    features = functools.partial(vgg_features, backbone="vgg16", layer="1_2", weights="random")
    for precision in ("32-true", "bf16-mixed"):
        trainer = fit(module, tmp_path, data=Whole(), val_check_interval=1, precision=precision)
        model = Network(module.generator)
        rows = {"model": scoring.Row(model="model", dataset="set", protocol="y_shave4")}
        list(scoring.score({"model": model}, Set, columns.standard("y_shave4", 4), rows))
        for name in ("psnr", "ssim"):
            expected = np.mean([image.values[name] for image in rows["model"].images])
            assert float(trainer.callback_metrics[f"val/{name}"]) == pytest.approx(expected, abs=1e-5), precision
    vgg = features()
    expected = np.mean([((vgg(sr) - vgg(hr)) ** 2).mean() for sr, hr in results(model, pairs)])
    assert float(trainer.callback_metrics["val/perceptual"]) == pytest.approx(float(expected), rel=1e-4)


def results(model, pairs):
    for pair in pairs:
        yield tuple(torch.from_numpy(image).permute(2, 0, 1)[None] / 255 for image in (model(pair.lr), pair.hr))


def test_a_validation_holds_a_part_of_a_large_photograph_at_a_time(tmp_path, monkeypatch):
    """No convolution of a validation sees more than a tile, neither of the generator nor of VGG."""
    from srgan_lit.evaluation import feature_distance
    from srgan_lit.upscaling import engine

    monkeypatch.setattr(engine, "_CPU_BUDGET", 2**20)
    monkeypatch.setattr(feature_distance, "_TILE_PX", 128)
    for number in range(2):
        Image.fromarray(pixels(1024, 1024, seed=number)).save(tmp_path / f"{number}.png")
    largest = {}

    def watch(self, inputs):
        if not torch.is_grad_enabled():
            image = inputs[0]
            largest[self.in_channels] = max(largest.get(self.in_channels, 0), image.shape[0] * image[0, 0].numel())

    forward = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: (watch(self, (x,)), forward(self, x))[1])
    config = tiny(
        tmp_path / "run", "data=folder", f"data.root={tmp_path}", "perceptual.backbone=vgg16", "perceptual.layer=2_2",
    )  # fmt: skip
    module, data = build.module(config), build.datamodule(config)
    data.setup()
    assert min(batch["hr"].shape[-1] for batch in data.val_dataloader()) == 1024
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.validate(module, datamodule=data, verbose=False)
    assert largest[3] <= (128 + 2 * 16) ** 2, "of the LR picture (256x256) and the HR picture (1024x1024)"


def test_the_report_is_made_on_the_device_of_the_training(tmp_path, monkeypatch):
    config, asked = tiny(tmp_path / "run"), {}

    def evaluate(models, sets, protocol, out, *, extra, runs, learnt):
        asked.update(models)
        return []

    monkeypatch.setattr(run.build, "saved_generator", lambda *_: make(plan(pretrain=1)).generator)
    monkeypatch.setattr(run.scoring, "evaluate", evaluate)
    monkeypatch.setattr(run.results, "table", lambda *_: "")
    monkeypatch.setattr(run.stored_results, "of_run", lambda _: SimpleNamespace(objective=lambda _: 1.0))
    monkeypatch.setattr(run.columns, "perceptual", lambda *_, device: asked.update(judge=device))
    data = build.datamodule(tiny(tmp_path / "run"))
    data.setup()
    settings = tiny(tmp_path / "run", "objective=perceptual")
    run.report(settings, data, torch.device("meta"))
    for name in ("SRResNet", "SRGAN"):
        assert {p.device.type for p in asked[name]._enlarger.network.parameters()} == {"meta"}
    assert asked["judge"] == torch.device("meta")
    assert config.run_dir == settings.run_dir


def test_features_of_the_original_are_computed_once_for_all_models(tmp_path, monkeypatch):
    torch.save(vgg_features(backbone="vgg16", layer="5_3", weights="random").features.state_dict(), tmp_path / "w.pth")
    measure, calls = columns.perceptual(str(tmp_path / "w.pth")), []
    maps = VGGFeatures.maps
    monkeypatch.setattr(VGGFeatures, "maps", lambda *args: (calls.append(1), maps(*args))[1])
    pair = Pair(name="a", lr=pixels(12, 12), hr=pixels(48, 48), grey=False)

    class Set:
        name, names = "set", ["a"]

        @staticmethod
        def load(at):
            return pair

    generator = make(plan(pretrain=1)).generator
    models = {name: Network(generator) for name in "xyz"}
    rows = {name: scoring.Row(model=name, dataset="set", protocol="y_shave4") for name in models}
    list(scoring.score(models, Set, [measure], rows))
    assert len(calls) == 1 + 3
    assert len({row.images[0].values[measure.key] for row in rows.values()}) == 1


def test_no_algorithms_are_tried_out_for_the_sizes_of_validation_pictures(tmp_path):
    """cuDNN would time them all for each new size."""
    seen = {}

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen["training"] = torch.backends.cudnn.benchmark

        def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
            seen["validation"] = torch.backends.cudnn.benchmark

    before = torch.backends.cudnn.benchmark
    try:
        fit(make(plan(pretrain=3)), tmp_path, Watch(), benchmark=True)
    finally:
        torch.backends.cudnn.benchmark = before
    assert seen == {"training": True, "validation": False}
