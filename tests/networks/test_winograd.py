"""Winograd's convolution against the plain one: values, gradients, and that it is taken where it is meant to be."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan_lit import Generator, enlarge
from srgan_lit.benchmarking import lean, textbook, workloads
from srgan_lit.model_files.vgg_weights import vgg_features
from srgan_lit.networks import winograd
from srgan_lit.networks.winograd import Conv3x3


def random(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    images=st.integers(1, 5),
    inputs=st.integers(1, 9),
    outputs=st.integers(1, 9),
    height=st.integers(1, 30),
    width=st.integers(1, 230),  # more columns of tiles than are taken at once
    biased=st.booleans(),
)
def test_it_is_the_convolution(images, inputs, outputs, height, width, biased):
    x, weight = random(images, inputs, height, width), random(outputs, inputs, 3, 3)
    bias = random(outputs) if biased else None
    result = winograd.convolve(channels_last(x), winograd.transform(weight), bias)
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, F.conv2d(x, weight, bias, padding=1), rtol=0, atol=1e-12)


def test_float32_rounds_nearly_as_the_plain_convolution_does():
    x, weight = channels_last(random(2, 256, 24, 24)).float(), random(256, 256, 3, 3).float() / 48
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    plain = (F.conv2d(x, weight, padding=1) - exact).std()
    assert (winograd.convolve(x, winograd.transform(weight)) - exact).std() < 2.5 * plain


def frozen(inputs=128, outputs=128):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = Conv3x3(inputs, outputs).double().requires_grad_(False)
    return layer.to(memory_format=torch.channels_last)


@pytest.fixture
def taken(monkeypatch):
    """How often Winograd's way was taken."""
    calls = []
    convolve = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *arguments: calls.append(1) or convolve(*arguments))
    return calls


def test_gradients_pass_through_frozen_weights(taken):
    layer = frozen()
    for size in ((4, 128, 24, 20), (1, 128, 23, 30)):
        x = channels_last(random(*size)).requires_grad_()
        gradient = random(*size)
        layer(x).backward(gradient)
        assert x.grad is not None
        ours, x.grad = x.grad, None
        F.conv2d(x, layer.weight, layer.bias, padding=1).backward(gradient)
        torch.testing.assert_close(ours, x.grad, rtol=0, atol=1e-12)
    assert len(taken) == 4


def test_weights_that_change_are_transformed_again(taken):
    layer, x = frozen(), channels_last(random(1, 128, 24, 24))
    other = {name: 2 * tensor for name, tensor in layer.state_dict().items()}
    before = layer(x)
    copied = copy.deepcopy(layer)
    layer.load_state_dict(other)
    torch.testing.assert_close(layer(x), 2 * before)
    torch.testing.assert_close(copied(x), before)
    torch.testing.assert_close(layer.float()(x.float()), 2 * before.float(), rtol=1e-4, atol=1e-5)
    assert len(taken) == 4


@pytest.mark.parametrize("size", [(1, 128, 8, 8), (40, 128, 5, 5)])
def test_too_few_tiles_or_too_much_outside_goes_the_plain_way(size, taken):
    layer, x = frozen(), channels_last(random(*size))
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias, padding=1))
    assert not taken


def test_learning_half_precision_and_contiguous_go_the_plain_way(taken):
    layer, x = frozen(), channels_last(random(1, 128, 24, 24))
    layer(x.contiguous())
    copy.deepcopy(layer).to(torch.bfloat16)(x.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer.float()(x.float())
    layer.double().requires_grad_()(x).sum().backward()
    assert layer.weight.grad is not None
    assert not taken


@pytest.mark.long
def test_features_and_the_upscaler_take_it_and_the_benchmark_s_opponents_do_not(taken):
    generator = Generator(blocks=1).eval()
    pixels = (random(48, 48, 3).abs() * 255).clamp(0, 255).to(torch.uint8).numpy()
    textbook.enlarge(pixels, generator, tile=0)
    textbook.enlarge(pixels, lean.folded(generator), tile=0)
    small = workloads.Settings(device=torch.device("cpu"), blocks=1, batch=2, side=48, tile=24)
    for training in workloads.adversarial_training(small)[1].values():
        training.adversarial(torch.rand(2, 3, 24, 24), torch.rand(2, 3, 96, 96))
    assert not taken
    enlarge(pixels, generator)
    assert len(taken) == 2  # the convolutions before both shuffles
    vgg_features(weights="random")(channels_last(torch.rand(2, 3, 96, 96)))
    assert len(taken) == 2 + 5  # 2_2 and 3_1 to 3_4; 4_* have too few tiles in 2 pictures, and 5_* are 6x6
