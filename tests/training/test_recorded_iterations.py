"""Iterations recorded and replayed learn what they learn one operation at a time."""

import pytest
import torch

from helpers import tape
from helpers.configurations import tiny
from helpers.device_doubles import TwoProcesses
from helpers.tiny_runs import rows
from helpers.tiny_training import Pictures, fit, make, plan, snapshot
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config import combinations
from srgan_lit.training import recorded_iterations, run

pytestmark = pytest.mark.usefixtures("narrow_discriminators")

OPTIONS = {
    "plain": ({}, {}),
    "every update's": (
        {"r1": 1.0, "r1_every": 2, "schedule": "cosine", "warmup": 2, "weights": {"lr_mse": 5.0, "mse": 0.1}},
        {"ema": 0.9, "clip_gradients": 0.1, "accumulate": 2},
    ),
}


@pytest.fixture
def recording(monkeypatch):
    monkeypatch.setattr(recorded_iterations, "possible", lambda device: True)
    monkeypatch.setattr(recorded_iterations, "record", tape.record)
    tape.recordings.clear()
    return tape.recordings


def trained(folder, phase, *, cuda_graph, data=None, **optimization):
    module = make(phase, **optimization)
    module.cuda_graph = cuda_graph
    trainer = fit(module, folder, data=data, val_check_interval=5)
    return module, trainer, rows(folder)


def equal(one, other):
    assert one.keys() == other.keys()
    # Learning rates on the device are float32.
    return all(torch.allclose(value, other[name], rtol=1e-5, atol=1e-6) for name, value in one.items())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_recorded_they_learn_the_same(tmp_path, recording, options):
    game, optimization = options
    phase = plan(pretrain=6, adversarial=6 if not game else 12, **game)
    data = Pictures() if not game else Longer()
    plain, first, curve = trained(tmp_path / "plain", phase, cuda_graph=False, data=data, **optimization)
    assert not recording
    recorded, second, other = trained(tmp_path / "recorded", phase, cuda_graph=True, data=data, **optimization)
    assert len(recording) == (2 if not game else 3)
    for name in ("generator", "discriminator", "ema"):
        if getattr(plain, name) is not None:
            assert equal(snapshot(getattr(plain, name)), snapshot(getattr(recorded, name))), name
    for one, two in zip(first.optimizers, second.optimizers, strict=True):
        assert one.param_groups[0]["lr"] == two.param_groups[0]["lr"]
        assert two.param_groups[0]["capturable"] is False
    assert first.global_step == second.global_step == phase.iterations
    for one, two in zip(curve, other, strict=True):
        del one["images_per_second"], two["images_per_second"]
        assert [name for name, value in one.items() if value] == [name for name, value in two.items() if value]
        for name in filter(one.get, one):
            assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-3), (one["step"], name)


class Longer(Pictures):
    def train_dataloader(self):
        loader = super().train_dataloader()
        return torch.utils.data.DataLoader([*loader.dataset, *loader.dataset], batch_size=None)


def test_a_spoilt_batch_is_left_out_of_a_replay(tmp_path, recording):
    found = [
        trained(tmp_path / str(graph), plan(pretrain=8), cuda_graph=graph, data=Pictures(spoilt=[5]), ema=0.9)[0]
        for graph in (False, True)
    ]
    assert recording
    assert [module.skipped for module in found] == [1, 1]
    assert equal(snapshot(found[0].ema), snapshot(found[1].ema))


def test_what_waits_for_the_device_is_refused_with_what_to_type(tmp_path, recording):
    module = make(plan(pretrain=6))
    loss = module.pretrain_loss
    module.pretrain_loss = lambda sr, hr: loss(sr * float(hr.mean()), hr)
    module.cuda_graph = True
    with pytest.raises(SRGANError, match=r"cannot be recorded \(operation not permitted.*trainer\.cuda_graph=false"):
        fit(module, tmp_path)


def test_too_little_memory_is_no_fault_of_the_recording(tmp_path, recording, monkeypatch):
    def record(run, stream):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(recorded_iterations, "record", record)
    with pytest.raises(torch.OutOfMemoryError):
        trained(tmp_path, plan(pretrain=6), cuda_graph=True)


def test_the_key_reaches_the_module_and_leaves_no_trace(tmp_path, recording, monkeypatch):
    monkeypatch.setattr(run, "report", lambda *_: 0.0)
    for name, graph in (("plain", False), ("recorded", True)):
        run.train(tiny(tmp_path / name, "trainer.accelerator=auto", f"trainer.cuda_graph={graph}"))
        assert bool(recording) is graph
    one, other = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True) for name in ("plain", "recorded")
    )
    for states in zip(one["optimizer_states"], other["optimizer_states"], strict=True):
        assert states[0]["param_groups"] == states[1]["param_groups"]
    assert one["lr_schedulers"] == other["lr_schedulers"]


@pytest.mark.parametrize(
    ("also", "reason"),
    [
        ("trainer.accelerator=cpu", "trainer.accelerator=cpu has no CUDA"),
        ("compile=true", "compile=true starts its operations in its own way"),
        ("trainer.devices=2", "there are several processes"),
        ("trainer.precision=16-mixed", "float16's scalers are read by the host"),
    ],
)
def test_what_it_does_not_go_with_is_refused(tmp_path, monkeypatch, also, reason):
    monkeypatch.setattr(combinations, "_cuda_devices", lambda: 2)
    config = tiny(tmp_path / "run", "trainer.accelerator=auto", "trainer.cuda_graph=true", also)
    with pytest.raises(UsageError, match=f"^trainer.cuda_graph=true cannot be: {reason}; set trainer.cuda_graph=false"):
        combinations.check(config)


def test_several_processes_in_a_trainer_of_ones_own_are_refused(tmp_path, recording):
    module = make(plan(pretrain=6))
    module.cuda_graph = True
    with pytest.raises(UsageError, match="cuda_graph=True is for one process"):
        fit(module, tmp_path, strategy=TwoProcesses())


def test_without_a_gpu_it_says_so_and_trains(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        run.train(tiny(tmp_path / "run", "trainer.accelerator=auto", "trainer.cuda_graph=true"))
    assert "trainer.cuda_graph" in caplog.text
