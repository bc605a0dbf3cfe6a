"""The second-order degradations: their kernels and steps are what they are called, and everything follows the seed."""

import math

import numpy as np
import pytest
import torch

from srgan_lit.data import second_order, sets
from srgan_lit.data.degradations import Part, degraded
from srgan_lit.pictures import bicubic, rgb8

HR = rgb8.read_picture(sets.SAMPLE / "test" / "chelsea.png").pixels
LR = bicubic.shrink(HR, 4)
WHOLE = Part(hr=HR, box=(0, 0, *LR.shape[:2]), lr=LR, scale=4)


def seeded(seed):
    return np.random.default_rng(seed)


def picture(side=48):
    return torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))


def test_kernels_sum_to_one_turn_round_and_come_in_every_kind():
    sides, forms = set(), {"rings": 0, "elongated": 0}
    for seed in range(300):
        kernel = second_order.blur_kernel(second_order.FIRST, seeded(seed))
        assert kernel.sum().item() == pytest.approx(1, abs=1e-4)
        assert torch.allclose(kernel, kernel.flip(0, 1), atol=1e-6)
        sides.add(len(kernel))
        forms["rings"] += bool(kernel.min() < 0)
        forms["elongated"] += bool((kernel - kernel.T).abs().max() > 1e-4)
    assert sides == set(range(7, 22, 2))
    assert 10 < forms["rings"] < 60
    assert 50 < forms["elongated"] < 150


def test_a_sinc_filter_keeps_what_is_slow_and_takes_what_is_fast():
    kernel = second_order.sinc_kernel(seeded(1))
    response = torch.fft.fft2(kernel, s=(128, 128)).abs()
    assert response[0, 0].item() == pytest.approx(1, abs=1e-4)
    assert response[64, 64] < 0.35


def test_filtering_is_a_convolution_with_replicated_borders():
    x, kernel = picture(23).double(), second_order.blur_kernel(second_order.FIRST, seeded(3)).double()
    reach = len(kernel) // 2
    padded = torch.nn.functional.pad(x[None], (reach,) * 4, mode="replicate")
    expected = torch.nn.functional.conv2d(padded, kernel.expand(3, 1, -1, -1), groups=3)[0]
    assert torch.allclose(second_order._filtered(x, kernel), expected, atol=1e-9)


def test_noise_is_of_the_strength_that_the_order_says():
    flat = torch.full((3, 64, 64), 0.5)
    found = [second_order._noisy(flat, second_order.FIRST, seeded(seed)) - 0.5 for seed in range(80)]
    assert all(abs(noise.mean()) < 0.02 for noise in found)
    deviations = [255 * float(noise.std()) for noise in found]
    assert 0.4 < min(deviations) < 5
    assert 20 < max(deviations) < 36
    assert 0.2 < np.mean([torch.equal(noise[0], noise[2]) for noise in found]) < 0.6


def test_the_steps_come_in_another_order_for_some(monkeypatch):
    def order(seed):
        seen = []
        with pytest.MonkeyPatch.context() as patch:
            for step in ("_blurred", "_resized", "_noisy", "_jpeg"):
                real = getattr(second_order, step)
                patch.setattr(
                    second_order, step, lambda x, *given, step=step, real=real: (seen.append(step), real(x, *given))[1]
                )
            second_order.second_order(WHOLE, seeded(seed))
        return tuple(seen)

    orders = [order(seed) for seed in range(12)]
    assert all(sorted(each)[-2:] == ["_resized"] * 2 and each.count("_jpeg") == 2 for each in orders), "all twice"
    assert ("_blurred", "_resized", "_noisy", "_jpeg") in {each[:4] for each in orders}
    assert len({each[:4] for each in orders}) > 3


def test_every_mild_kind_is_near_the_picture_and_the_strong_one_is_not(monkeypatch):
    monkeypatch.setattr(second_order, "SOFT", 0.0)

    def error(image):
        return float(np.sqrt(np.mean((image.astype(float) - LR) ** 2)))

    for kind in second_order.MILD:
        monkeypatch.setattr(second_order, "MILD", {kind: 1.0})
        found = [error(second_order.mild(WHOLE, seeded(seed))) for seed in range(6)]
        assert all(1 < each < 16 for each in found), (kind, found)
    assert np.median([error(second_order.second_order(WHOLE, seeded(seed))) for seed in range(10)]) > 12


def test_the_first_of_two_jpegs_has_a_grid_of_its_own(monkeypatch):
    """With the second saving left out, the steps between blocks lie where the second's blocks do not."""
    smooth = np.linspace(60, 190, 96)[:, None, None] + np.linspace(0, 40, 96)[None, :, None]
    hr = np.repeat(np.repeat(smooth, 4, 0), 4, 1).repeat(3, 2).round().astype(np.uint8)
    part = Part(hr=hr, box=(0, 0, 96, 96), lr=bicubic.shrink(hr, 4), scale=4)
    real, calls = second_order._jpeg, []

    def first_only(x, rng, quality):
        calls.append(tuple(x.shape))
        return real(x, rng, (10, 10)) if len(calls) % 2 else x

    monkeypatch.setattr(second_order, "_jpeg", first_only)
    monkeypatch.setattr(second_order, "SOFT", 0.0)
    monkeypatch.setattr(second_order, "MILD", {"jpeg_twice": 1.0})
    for seed in range(6):
        steps = np.abs(np.diff(second_order.mild(part, seeded(seed)).astype(float), axis=0)).mean(axis=(1, 2))
        phase = int(np.argmax([steps[phase::8].mean() for phase in range(8)]))
        down = calls[-2][1] - 96
        assert phase == (7 - down) % 8
        assert calls[-1] == (3, 96, 96)
    assert len({height for _, height, _ in calls[::2]}) > 2


def test_mixed_is_mostly_strong_often_mild_and_sometimes_clean(monkeypatch):
    for name, value in (("second_order", 1), ("mild", 2)):
        monkeypatch.setattr(second_order, name, lambda part, rng, value=value: np.full((1, 1, 3), value))
    drawn = [
        "clean" if (made := second_order.mixed(WHOLE, seeded(seed))) is LR else made[0, 0, 0] for seed in range(400)
    ]
    assert [drawn.count(each) / 400 for each in (1, 2, "clean")] == pytest.approx([0.6, 0.3, 0.1], abs=0.08)


def test_threads_change_nothing():
    part = Part(hr=HR, box=(10, 20, 24, 24), lr=LR[10:34, 20:44], scale=4)
    before = torch.get_num_threads()
    made = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        made.append([degraded(part, kind="mixed", rng=seeded(seed)) for seed in range(12)])
    torch.set_num_threads(before)
    assert all(np.array_equal(*each) for each in zip(*made, strict=True))


@pytest.mark.parametrize("sigma", [0.8, 1.6])
def test_the_gaussian_has_its_width(sigma):
    kernel = second_order.gaussian_kernel(sigma)
    at = torch.arange(len(kernel)) - len(kernel) // 2
    assert math.sqrt((kernel.sum(0) * at**2).sum()) == pytest.approx(sigma, rel=0.05)
