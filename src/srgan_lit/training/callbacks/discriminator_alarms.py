"""Whether generator and discriminator still teach each other."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from srgan_lit.config.schema import AdversarialConfig
from srgan_lit.losses import adversarial
from srgan_lit.training.dashboards import Dashboard
from srgan_lit.training.module import SRGANModule

log = logging.getLogger(__name__)

WINS, BLIND, LOST = "the discriminator wins", "the discriminator cannot tell", "the discriminator is lost"
READINGS = 10  # that a verdict needs at least

_ADVICE = {
    WINS: "the generator learns little from one that is always right; try phase.adversarial.label_smoothing=0.1, a "
    "smaller phase.adversarial.learning_rate, or a longer pretraining",
    BLIND: "the generator learns nothing from one that guesses; try a larger phase.adversarial.learning_rate, or a "
    "smaller phase.weights.adversarial",
    LOST: "its judgement is worse than a guess; try a smaller phase.adversarial.learning_rate",
}


def verdict(loss: float, right: float, guess: float) -> str | None:
    """What a mean loss of the discriminator tells; ``right`` and ``guess`` are its bounds of ``losses.adversarial``."""
    if not math.isfinite(loss) or loss > 3 * guess:
        return LOST
    if loss - right < 0.1 * (guess - right):  # with cross-entropy, probabilities of about 0.93 and 0.07
        return WINS
    if abs(loss - guess) < 0.02 * guess:
        return BLIND
    return None


class Alarms(Callback):
    """Say once, in the log and on the dashboards, when the game of the two networks is over, and again if it
    is so another time.

    Judged by the mean loss of the discriminator over ``window`` iterations, of which every ``every``-th is read: a
    tenth of the phase, but ten readings at least, since a few tell nothing.
    """

    def __init__(self, dashboards: Sequence[Dashboard], config: AdversarialConfig, *, every: int) -> None:
        self.dashboards, self.every = dashboards, every
        game = adversarial.game(config.loss, smoothing=config.label_smoothing)
        self.bounds = game.bounds(1 - config.label_smoothing)
        self.window = max(READINGS * every, min(1000, config.iterations // 10))
        self._losses: list[float] = []
        self._state: str | None = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Read, and judge when a window is full."""
        assert isinstance(pl_module, SRGANModule)
        iteration, values = pl_module.global_step, pl_module.values
        if iteration % self.every or "discriminator" not in values:
            return
        self._losses.append(float(values["discriminator"]))
        if len(self._losses) * self.every < self.window:
            return
        loss, self._losses = sum(self._losses) / len(self._losses), []
        before, self._state = self._state, verdict(loss, *self.bounds)
        if self._state is not None and self._state != before and trainer.is_global_zero:
            real, generated = (float(values[f"probability_{kind}"]) for kind in ("real", "generated"))
            text = (
                f"iteration {iteration}: its loss was {loss:.3g} over {self.window} iterations (always right "
                f"{self.bounds[0]:.3g}, guessing {self.bounds[1]:.3g}), its probability of being real now is "
                f"{real:.2f} on real and {generated:.2f} on generated crops; {_ADVICE[self._state]}"
            )
            log.warning("%s: %s", self._state, text)
            for dashboard in self.dashboards:
                dashboard.alarm(self._state, text, iteration)
