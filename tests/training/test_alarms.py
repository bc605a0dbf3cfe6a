"""When the game of generator and discriminator is called over."""

import pytest
import torch

from srgan_lit.config.schema import AdversarialConfig
from srgan_lit.losses import adversarial
from srgan_lit.training.callbacks import discriminator_alarms
from srgan_lit.training.module import SRGANModule

KINDS = [(kind, 0.0) for kind in adversarial.KINDS] + [
    ("standard", 0.1),
    ("relativistic", 0.1),
    ("least_squares", 0.2),
]


@pytest.mark.parametrize(("kind", "smoothing"), KINDS)
def test_bounds_are_those_of_the_loss(kind, smoothing):
    """By brute force: the smallest loss of all, and the smallest with the same logit for real and generated."""

    def loss(real, generated):
        real, generated = torch.tensor([[real]]), torch.tensor([[generated]])
        return adversarial.discriminator_loss(real, generated, kind=kind, smoothing=smoothing).item()

    logits = [x / 20 for x in range(-300, 301)]
    right = min(loss(real, -15.0 if kind != "least_squares" else 0.0) for real in logits)
    same = min(loss(logit, logit) for logit in logits)
    if kind == "relativistic":  # it compares: the same logit says (1/2, 1/2) whatever it is
        right, same = min(loss(real, 0.0) for real in logits), loss(0.0, 0.0)
    expected = adversarial.game(kind, smoothing=smoothing).bounds(1 - smoothing)
    assert expected == pytest.approx((right, same), abs=2e-3)


class Iterations(SRGANModule):
    """Only what the alarms read."""

    global_step = 0

    def __init__(self):
        self.values = {}


class Board:
    def __init__(self):
        self.alarms = []

    def alarm(self, title, text, iteration):
        self.alarms.append((title, iteration))


class Trainer:
    is_global_zero = True


def played(series, config):
    """The alarms of a series of discriminator losses, one an iteration."""
    board, module = Board(), Iterations()
    watch = discriminator_alarms.Alarms([board], config, every=1)
    for iteration, loss in enumerate(series, start=1):
        module.global_step = iteration
        module.values = {
            "discriminator": torch.tensor(loss),
            "probability_real": torch.tensor(0.5),
            "probability_generated": torch.tensor(0.5),
        }
        watch.on_train_batch_end(Trainer(), module, None, None, 0)
    return board.alarms


def test_each_event_is_told_once_and_again_when_it_comes_again(caplog):
    config = AdversarialConfig(iterations=100)  # a window of 10
    healthy, wins, blind, lost = [0.7] * 20, [0.01] * 40, [1.386] * 20, [9.0] * 20
    told = played(healthy + wins + healthy + wins + blind + lost + [float("nan")] * 10, config)
    wins, blind, lost = discriminator_alarms.WINS, discriminator_alarms.BLIND, discriminator_alarms.LOST
    assert told == [(wins, 30), (wins, 90), (blind, 130), (lost, 150)]
    assert caplog.text.count(discriminator_alarms.WINS) == 2
    assert "label_smoothing" in caplog.text, "what to do about it"


def test_one_bad_iteration_is_no_alarm():
    assert played([0.7] * 9 + [0.01] + [0.7] * 30, AdversarialConfig(iterations=100)) == []


def test_a_few_readings_are_no_reason():
    assert played([0.01] * 9, AdversarialConfig(iterations=9)) == []
    assert len(played([0.01] * 10, AdversarialConfig(iterations=10))) == 1
