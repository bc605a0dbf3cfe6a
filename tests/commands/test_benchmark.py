"""The benchmark compares like with like, counts right, and writes what it measured. Nothing here is timed."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import torch

from srgan_lit import benchmark
from srgan_lit.benchmarking import lean, textbook, workloads
from srgan_lit.benchmarking.multiply_adds import counting
from srgan_lit.benchmarking.results import measured, table
from srgan_lit.common import freed_memory, worker_processes
from srgan_lit.data import sets
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.networks.discriminator import Discriminator
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures.rgb8 import read_picture
from srgan_lit.upscaling import engine

SETTINGS = workloads.Settings(device=torch.device("cpu"), blocks=1, batch=1, side=40, tile=16, pictures=12)


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    """Nothing here is timed, so that the machine's limit may be told from less."""
    monkeypatch.setitem(workloads.PRODUCT_SIDES, "cpu", 64)


@pytest.fixture
def float64():
    """Only the algorithm can make a difference."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def differences(network, other, before):
    """Largest difference of the weights of two networks, and the largest change that either has gone through."""
    pairs = list(zip(network.parameters(), other.parameters(), before, strict=True))
    return (
        max(float((a - b).detach().abs().max()) for a, b, _ in pairs),
        min(float((a - c).detach().abs().max()) for a, _, c in pairs),
    )


def weights(network):
    return [parameter.detach().clone() for parameter in network.parameters()]


# Two steps move some weight of every layer by a good part of the learning rate, 1e-4. In float64 both ways agree to
# 1e-12; what is left allows for gradients next to 0, which Adam blows up.
STEP, TOLERANCE = 1e-5, 1e-9


def agree(theirs, ours, *names):
    """Whether what an opponent minimised is what ours did."""
    return all(float((theirs[name] / ours.values[name] - 1).abs()) < 1e-6 for name in names)  # losses are float32


def test_a_pretraining_step_is_the_opponents(float64):
    ours, opponents = workloads.pretraining(SETTINGS)
    assert set(opponents) == {"textbook", "lean"}
    before = weights(ours.generator)
    lr, hr = workloads.random_batch(SETTINGS)
    for _ in range(2):
        ours.training_step({"lr": lr, "hr": hr}, 0)
        for way, opponent in opponents.items():
            assert agree(opponent.pretrain(lr, hr), ours, "mse"), way
    for way, opponent in opponents.items():
        apart, moved = differences(ours.generator, opponent.generator, before)
        assert apart < TOLERANCE, way
        assert moved > STEP, way


@pytest.fixture
def shallow_features(monkeypatch):
    """A third of the time."""
    monkeypatch.setattr(workloads, "vgg_features", functools.partial(vgg_features, layer="2_2"))


def test_an_adversarial_step_is_the_textbook_s(float64, shallow_features):
    ours, opponents = workloads.adversarial_training(SETTINGS)
    training = opponents["textbook"]
    before = weights(ours.generator), weights(ours.discriminator)
    lr, hr = workloads.random_batch(SETTINGS)
    for _ in range(2):
        ours.training_step({"lr": lr, "hr": hr}, 0)
        assert agree(training.adversarial(lr, hr), ours, "discriminator", "perceptual", "adversarial")
    for name, start in zip(("generator", "discriminator"), before, strict=True):
        apart, moved = differences(getattr(ours, name), getattr(training, name), start)
        assert apart < TOLERANCE, name
        assert moved > STEP, name


def learning_rate(optimizer, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate


def test_an_adversarial_step_is_the_lean_one_but_for_the_order_of_the_updates(float64, shallow_features):
    ours, opponents = workloads.adversarial_training(SETTINGS)
    training = opponents["lean"]
    before = weights(ours.generator), weights(ours.discriminator)
    lr, hr = workloads.random_batch(SETTINGS)
    # While the discriminator stands still, the order makes no difference.
    for optimizer in (ours._by_name["discriminator"], training.discriminator_adam):
        learning_rate(optimizer, 0.0)
    for _ in range(2):
        ours.training_step({"lr": lr, "hr": hr}, 0)
        assert agree(training.adversarial(lr, hr), ours, "discriminator", "perceptual", "adversarial")
    apart, moved = differences(ours.generator, training.generator, before[0])
    assert apart < TOLERANCE
    assert moved > STEP
    # Both judge the crops of before the generator's update, so the discriminators learn the same; then theirs has
    # judged before it learned and ours after, and only what depends on it differs.
    for optimizer in (ours._by_name["discriminator"], training.discriminator_adam):
        learning_rate(optimizer, 1e-4)
    ours.training_step({"lr": lr, "hr": hr}, 0)
    theirs = training.adversarial(lr, hr)
    assert agree(theirs, ours, "discriminator", "perceptual")
    assert not agree(theirs, ours, "adversarial")
    apart, moved = differences(ours.discriminator, training.discriminator, before[1])
    assert apart < TOLERANCE
    assert moved > STEP


@pytest.fixture
def forwards(monkeypatch):
    """The generators that textbook.forward ran, one after another."""
    ran, forward = [], textbook.forward
    monkeypatch.setattr(textbook, "forward", lambda generator, lr: ran.append(generator) or forward(generator, lr))
    return ran


def test_the_textbook_has_every_gradient_live_and_its_own_layout(forwards):
    ours, opponents = workloads.adversarial_training(SETTINGS)
    training = opponents["textbook"]
    training.adversarial(*workloads.random_batch(SETTINGS))
    assert forwards == [training.generator] * 2
    for network in training.networks:
        assert all(parameter.grad is not None for parameter in network.parameters())
        assert all(p.is_contiguous() for p in network.parameters())
    assert ours.generator.tail.weight.is_contiguous(memory_format=torch.channels_last)
    assert not ours.generator.tail.weight.is_contiguous()


def test_the_lean_way_computes_nothing_twice_and_no_gradient_that_nobody_uses(forwards):
    ours, opponents = workloads.adversarial_training(SETTINGS)
    training, seen = opponents["lean"], []
    for optimizer in (training.generator_adam, training.discriminator_adam):
        optimizer.register_step_pre_hook(
            lambda *_: seen.append([any(p.grad is not None for p in each.parameters()) for each in training.networks])
        )
        assert not optimizer.defaults["fused"]
    training.adversarial(*workloads.random_batch(SETTINGS))
    assert forwards == [training.generator]
    assert seen == [[True, False, False], [True, True, False]]  # generator, discriminator, VGG
    for network in training.networks:
        assert all(p.is_contiguous() for p in network.parameters())
    lr, hr = workloads.random_batch(SETTINGS)
    outputs = []
    for network in training.networks:
        network.register_forward_hook(lambda _, __, output: outputs.append(output))
    with counting(*training.networks) as count:
        training.adversarial(lr, hr)
    with counting(ours, ours.perceptual) as least:
        ours.training_step({"lr": lr, "hr": hr}, 0)
    tail = 81 * 64 * 3 * 96**2  # counted as a layer, which it is in ours only
    assert count.multiply_adds == least.multiply_adds - 3 * tail
    assert len(outputs) == 5  # VGG's of hr and sr, the discriminator's of sr, hr and sr
    assert all(output.is_contiguous() for output in outputs)


@pytest.mark.parametrize("tile", [0, 16])
def test_inference_is_the_opponents_to_a_level(tile):
    torch.manual_seed(0)
    generator = Generator(blocks=1).eval()
    for layer in generator.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    pixels = read_picture(sets.SAMPLE / "test" / "astronaut.png").pixels[:40, :33]
    ours = np.concatenate(list(engine.bands(pixels, engine.Enlarger(generator), tile=tile)))
    folded = lean.folded(generator)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in folded.modules())
    for network in (generator, folded):
        theirs = textbook.enlarge(pixels, network, tile=tile)
        apart = np.abs(ours.astype(int) - theirs)
        assert ours.shape == (160, 132, 3)
        assert apart.max() <= 1
        assert np.count_nonzero(apart) < 0.001 * apart.size
        assert ours.std() > 1


def test_both_loaders_give_the_same_samples(tmp_path):
    folder = tmp_path / "patches"
    folder.mkdir()
    workloads.write_patches(folder, 12)
    assert {read_picture(path).pixels.shape for path in folder.iterdir()} == {(160, 160, 3)}
    data = workloads.opened(folder, batches=3)
    ours = list(data.train_dataloader())
    theirs = list(workloads.decoding(data, folder, batches=3))
    assert len(ours) == len(theirs) == 3
    for one, other in zip(ours, theirs, strict=True):
        assert one["lr"].shape == (16, 3, 24, 24)
        assert one["hr"].shape == (16, 3, 96, 96)
        assert one["name"] == other["name"]
        assert torch.equal(one["lr"], other["lr"])
        assert torch.equal(one["hr"], other["hr"])


def test_multiply_adds_by_hand():
    generator, lr = Generator(blocks=1, features=2, scale=2), torch.rand(3, 3, 4, 5)
    # Kernel * inputs * outputs * pixels: head, two of the block, trunk_conv, upsampling; tail at 8x10.
    head = 81 * 3 * 2 * 20
    forward = head + 3 * (9 * 2 * 2 * 20) + 9 * 2 * 8 * 20 + 81 * 2 * 3 * 80
    with torch.no_grad(), counting(generator) as count:
        generator(lr)
    assert count.multiply_adds == 3 * forward
    with counting(generator) as count:
        generator(lr).sum().backward()
    assert count.multiply_adds == 3 * (3 * forward - head)  # nobody asks for the gradient of lr
    generator.requires_grad_(False)
    with counting(generator) as count:
        generator(lr.requires_grad_()).sum().backward()
    assert count.multiply_adds == 3 * 2 * forward
    with counting() as count:
        generator(lr)
    assert count.multiply_adds == 0  # the hooks are gone


def test_multiply_adds_of_a_discriminator_by_hand():
    channels, sides = [3, 64, 64, 128, 128, 256, 256, 512, 512], [16, 8, 8, 4, 4, 2, 2, 1]
    forward = sum(9 * a * b * side**2 for a, b, side in zip(channels, channels[1:], sides, strict=False))
    with torch.no_grad(), counting(discriminator := Discriminator(crop=16)) as count:
        discriminator(torch.rand(2, 3, 16, 16))
    assert count.multiply_adds == 2 * (forward + 512 * 1024 + 1024)


def test_what_a_step_needs_is_counted_with_what_it_shares_and_freezes():
    def forward(network, *shape):
        with torch.no_grad(), counting(network) as count:
            network(torch.rand(shape))
        return count.multiply_adds

    workload = next(workloads.adversarial(SETTINGS))
    generator, hr = Generator(blocks=1), (1, 3, 96, 96)
    discriminator, vgg = Discriminator(), vgg_features(weights="random")
    head, first = 81 * 3 * 64 * 24**2, 9 * 3 * 64 * 96**2  # their inputs' gradients are not computed
    assert workload.multiply_adds == (
        3 * forward(generator, 1, 3, 24, 24)
        - head  # one forward, shared
        + 2 * (3 * forward(discriminator, *hr) - first)  # learning from hr and from sr
        + 2 * forward(discriminator, *hr)  # frozen
        + (1 + 2) * forward(vgg, *hr)  # hr without a graph; sr
    )


def test_ratios_and_shares_are_taken_within_a_round():
    clock = iter([9.0, 9.0, 9.0, 2.0, 8.0, 3.0, 4.0, 4.0, 8.0])
    rates = iter([1.0, 1.0, 1.0, 10.0, 5.0, 2.0, 5.0, 20.0, 1.0])
    ways = {
        way: workloads.Way(run=lambda: next(clock), work=work)
        for way, work in (("ours", 2), ("textbook", 1), ("lean", 2))
    }
    workload = workloads.Workload(name="w", unit="steps", ways=ways, multiply_adds=40)
    result = measured(workload, lambda: next(rates), rounds=2)
    assert result.ways["ours"].seconds == [2, 4]  # the first round is not counted
    assert result.ways["textbook"].seconds == [8, 4]
    assert result.ways["lean"].seconds == [3, 8]
    assert result.ways["ours"].rate == [1, 0.5]
    assert result.ratio("textbook") == [8, 2]
    assert result.ratio("lean") == [1.5, 2]
    assert result.share("ours") == [2, 2]
    assert result.share("textbook") == [1, 0.5]
    assert dataclasses.replace(result, multiply_adds=0).share("ours") == []
    written = result.as_json()
    assert written["ratios"]["textbook"] == {"median": 5, "least": 2, "most": 8, "rounds": [8, 2]}
    assert written["ratios"]["lean"] == {"median": 1.75, "least": 1.5, "most": 2, "rounds": [1.5, 2]}
    _, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table([result]).splitlines()]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("w", "ours", ""), ("", "textbook", "5.00 [2.00, 8.00]"), ("", "lean", "1.75 [1.50, 2.00]"),
    ]  # fmt: skip


def test_mixed_steps_are_in_bfloat16_and_of_the_blocks_that_are_asked_for(monkeypatch, tmp_path):
    seen = []
    step = workloads.Steps.training_step

    def looking(self, *given):
        seen.append((len(self.generator.trunk), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        return step(self, *given)

    monkeypatch.setattr(workloads.Steps, "training_step", looking)
    given = ["--quick", "--only", "pretrain", "--batch", "1", "--device", "cpu", "--json", str(tmp_path / "speed.json")]
    assert benchmark.main([*given, "--blocks", "2", "--precision", "bf16-mixed"]) == 0
    assert set(seen) == {(2, True, torch.bfloat16)}
    written = json.loads((tmp_path / "speed.json").read_text())
    assert set(written["matrix_product"]) == {"float32", "bfloat16"}
    for way in ("ours", "textbook", "lean"):
        assert written["results"][0]["ways"][way]["product_rate"][0] in written["matrix_product"]["bfloat16"]
    assert set(written["results"][0]["ratios"]) == {"textbook", "lean"}
    assert (written["settings"]["blocks"], written["settings"]["precision"]) == (2, "bf16-mixed")


@pytest.mark.parametrize(("options", "count"), [([], 1), (["--threads", "2", "--keep-memory"], 2)])
def test_it_has_the_threads_and_the_memory_that_it_is_told_and_says_so(monkeypatch, capsys, tmp_path, options, count):
    monkeypatch.setattr(worker_processes, "processors", lambda: 3)
    before, seen = torch.get_num_threads(), []
    product = workloads.matrix_product  # the first thing measured
    monkeypatch.setattr(freed_memory, "keep", lambda: seen.append("kept") or True)
    monkeypatch.setattr(workloads, "matrix_product", lambda *how: seen.append(torch.get_num_threads()) or product(*how))
    given = ["--quick", "--only", "pretrain", "--batch", "1", "--device", "cpu", "--blocks", "1"]
    assert benchmark.main([*given, *options, "--json", str(tmp_path / "speed.json")]) == 0
    kept = "--keep-memory" in options
    assert seen == ["kept"] * kept + [count]
    said = capsys.readouterr().out
    assert f" cores, {count} thread{'s' * (count > 1)}, torch" in said
    assert ("freed memory kept" in said) == kept
    written = json.loads((tmp_path / "speed.json").read_text())
    assert written["machine"]["threads"] == count
    assert written["settings"]["keep_memory"] == kept
    assert torch.get_num_threads() == before


def test_all_threads_are_as_many_as_the_process_may_use(monkeypatch):
    monkeypatch.setattr(worker_processes, "processors", lambda: 3)
    assert benchmark.build_parser().parse_args(["--threads", "all"]).threads == 3


def test_what_cannot_keep_freed_memory_says_so(monkeypatch, capsys):
    monkeypatch.setattr(freed_memory, "keep", lambda: False)
    assert benchmark.main(["--quick", "--device", "cpu", "--keep-memory"]) == 2
    assert "--keep-memory has no effect here" in capsys.readouterr().err


def test_the_command_measures_the_loader_and_writes_it(tmp_path, capsys):
    path = tmp_path / "speed.json"
    assert benchmark.main(["--quick", "--only", "loader", "--json", str(path), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "loader, 1 process" in said
    assert "inference" not in said
    assert "Other load" in said
    written = json.loads(path.read_text())
    assert set(written) == {"machine", "load_average", "settings", "matrix_product", "results"}
    assert written["machine"]["threads"] == 1
    assert written["machine"]["torch"] == torch.__version__
    assert written["settings"]["rounds"] == 5
    assert [row["unit"] for row in written["results"]] == ["samples", "samples"]
    for row in written["results"]:
        assert list(row["ways"]) == ["ours", "textbook"]
        for way in row["ways"].values():
            assert len(way["seconds"]) == len(way["product_rate"]) == 5
            assert min(way["seconds"] + way["product_rate"]) > 0
            assert way["share"] == []
        assert len(row["ratios"]["textbook"]["rounds"]) == 5
    assert set(written["results"][0]["details"]) >= {"packing_pictures_per_second", "anonymous_bytes_more"}
    assert len(written["matrix_product"]["float32"]) == 5 + 2 * 2 * 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch", "0"], "--batch 0"),
        (["--json", "nowhere/x.json"], "no folder nowhere"),
        (["--batch", "4", "--only", "loader"], "--batch 4 has no effect"),
        (["--precision", "bf16-mixed", "--only", "loader", "inference"], "--precision bf16-mixed has no effect"),
        (["--blocks", "5", "--only", "loader"], "--blocks 5 has no effect"),
        (["--blocks", "0"], "--blocks 0"),
        (["--threads", "0"], "--threads: 0: may be 1 to"),
        (["--threads", "9999"], "--threads: 9999: may be 1 to"),
        (["--threads", "some"], "--threads: some: may be 1 to"),
        (["--only", "training"], "invalid choice: 'training'"),
        pytest.param(
            ["--device", "cuda"],
            "not on this machine",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="is"),
        ),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_measured(arguments, said, capsys):
    try:
        status = benchmark.main(arguments)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert said in capsys.readouterr().err
