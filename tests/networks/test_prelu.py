"""Our PReLU against torch's: values, gradients, and that it is taken where it is meant to be."""

import pytest
import torch
from torch import nn

from srgan_lit import Generator, enlarge
from srgan_lit.benchmarking import lean, textbook, workloads
from srgan_lit.networks import prelu
from srgan_lit.networks.prelu import PReLU


def random(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def both(width, slopes, dtype):
    ours, torchs = PReLU(width), nn.PReLU(width)
    torchs.weight.data = torch.tensor(slopes)
    ours.load_state_dict(torchs.state_dict(), strict=True)
    return ours.to(dtype), torchs.to(dtype)


def gradients(act, x, gradient):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    result = act(x)
    result.backward(gradient)
    return result, x.grad, act.weight.grad


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("slopes", [[0.25], [-0.5], [1.5], [0.0, 0.25, -0.75, 2.0, 1.0]])
def test_it_is_torch_s(slopes, dtype, layout):
    x = random(3, 5, 7, 9, dtype=dtype).contiguous(memory_format=layout)
    x[0, :, 0] = 0
    gradient = random(3, 5, 9, 7, dtype=dtype).transpose(2, 3)
    ours, torchs = (gradients(act, x, gradient) for act in both(len(slopes), slopes, dtype))
    assert torch.equal(ours[0], torchs[0])
    assert torch.equal(ours[1], torchs[1])
    assert ours[1].is_contiguous(memory_format=layout)
    assert ours[2].dtype == dtype
    digits = {torch.float32: 1e-5, torch.float64: 1e-13, torch.bfloat16: 0.05}[dtype]
    torch.testing.assert_close(ours[2], torchs[2], rtol=digits, atol=digits)


def test_gradients_are_right_of_both_orders():
    for slopes in ([0.25], [-0.5, 0.25, 2.0]):
        act = both(len(slopes), slopes, torch.float64)[0]
        x = random(2, 3, 4, 3, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(prelu.prelu, (x, act.weight))
        assert torch.autograd.gradgradcheck(prelu.prelu, (x, act.weight))


@pytest.mark.parametrize("learning", ["x", "weight"])
def test_only_what_learns_has_gradients(learning):
    act, _ = both(1, [0.25], torch.float32)
    act.weight.requires_grad_(learning == "weight")
    x = random(1, 2, 3, 4).requires_grad_(learning == "x")
    act(x).sum().backward()
    assert (x.grad is None) == (learning == "weight")
    assert (act.weight.grad is None) == (learning == "x")


def test_bfloat16_under_autocast():
    x = random(2, 5, 6, 6, dtype=torch.bfloat16)
    gradient = random(2, 5, 6, 6).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, torchs = (gradients(act, x, gradient) for act in both(1, [0.25], torch.float32))
    assert ours[0].dtype == torchs[0].dtype == torch.bfloat16
    assert torch.equal(ours[0], torchs[0])
    assert torch.equal(ours[1], torchs[1])
    exact = (x.double() * gradient.double() * (x <= 0)).sum()
    assert (ours[2].double() - exact).abs() <= (torchs[2].double() - exact).abs()
    assert ours[2].dtype == torch.float32


@pytest.fixture
def taken(monkeypatch):
    """How often our backward pass was taken."""
    calls = []
    backward = prelu._PReLU.backward
    monkeypatch.setattr(prelu._PReLU, "backward", staticmethod(lambda *given: calls.append(1) or backward(*given)))
    return calls


def test_training_takes_it_and_the_benchmark_s_opponents_and_inference_do_not(taken):
    small = workloads.Settings(device=torch.device("cpu"), blocks=2, batch=1, side=16, tile=16)
    ours, opponents = workloads.pretraining(small)
    lr, hr = workloads.random_batch(small)
    for opponent in opponents.values():
        opponent.pretrain(lr, hr)
    generator = Generator(blocks=2).eval()
    enlarge(lr[0], generator)
    textbook.enlarge((lr[0] * 255).byte().permute(1, 2, 0).numpy(), lean.folded(generator), tile=0)
    with torch.no_grad():
        generator(lr)
    assert not taken
    ours.training_step({"lr": lr, "hr": hr}, 0)
    assert len(taken) == 5  # the head's, two blocks', two stages'
