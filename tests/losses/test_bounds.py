"""By which the alarms judge a discriminator: the least of its loss if it is always right, and if it says one thing."""

import math

import pytest
import torch
import torch.nn.functional as F

from srgan_lit.losses import adversarial


@pytest.mark.parametrize("kind", list(adversarial.KINDS))
@pytest.mark.parametrize("target", [1.0, 0.8])
def test_no_logits_give_less_than_the_bounds_and_some_give_them(kind, target):
    game = adversarial.KINDS[kind]
    if not game.has_target and target != 1:
        return
    right, same = game.bounds(target)
    steps = torch.linspace(-20, 20, 401)

    def loss(real, generated):
        return game.discriminator(real.reshape(1, 1), generated.reshape(1, 1), target).item()

    assert min(loss(one, one) for one in steps) == pytest.approx(same, abs=2e-3)
    if kind != "relativistic":
        least = min(loss(real, torch.tensor(0.0)) for real in steps)
        least += min(loss(torch.tensor(0.0), fake) for fake in steps) - loss(torch.tensor(0.0), torch.tensor(0.0))
        assert least == pytest.approx(right, abs=2e-3)


def test_the_entropy_of_a_smoothed_target():
    expected = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert adversarial.KINDS["standard"].bounds(0.9)[0] == pytest.approx(expected)


@pytest.mark.parametrize("target", [0.7, 0.9, 1.0])
def test_the_relativistic_bounds_are_reached_where_one_difference_serves_both_terms(target):
    difference = torch.linspace(-12, 12, 24001, dtype=torch.float64)  # of a real logit from a generated one
    losses = (1 + target) * F.softplus(-difference) + (1 - target) * F.softplus(difference)
    right, same = adversarial.KINDS["relativistic"].bounds(target)
    assert right == pytest.approx(losses.min().item(), abs=1e-4)
    assert same == pytest.approx(losses[12000].item())
