"""Callbacks around all others that refuse waiting for the device in iterations that write no line of the log."""

import lightning as L

from helpers.operations import no_waiting

EVERY = 4  # iterations between two lines of the log


class Armed(L.Callback):
    """Refuses waiting in every iteration that writes no line."""

    def __init__(self):
        self.iterations, self.mode = 0, None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.global_step + 1) % EVERY:
            self.iterations += 1
            self.mode = no_waiting(pl_module.device)
            self.mode.__enter__()

    def disarm(self):
        if self.mode is not None:
            self.mode.__exit__(None, None, None)
            self.mode = None

    def on_exception(self, trainer, pl_module, exception):
        self.disarm()


class Disarmed(L.Callback):
    def __init__(self, armed):
        self.armed = armed

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.armed.disarm()
