"""A signal at a moment of a training: a Lightning callback, named on the command line of a real process."""

import os
import time
from pathlib import Path

from lightning.pytorch.callbacks import Callback


class Signal(Callback):
    """Send ``signum`` to this process when ``hook`` is called (at iteration ``at``), once: where ``token`` is a file.

    In the process of ``rank``. A resume finds the file gone.
    """

    def __init__(self, hook, signum, token, at=None, rank=0):
        self.at, self.rank, self.signum, self.token = at, rank, signum, Path(token)
        setattr(self, hook, self._called)

    def _called(self, trainer, module, *_):
        if trainer.global_rank == self.rank and self.at in (None, trainer.global_step) and self.token.is_file():
            self.token.unlink()
            os.kill(os.getpid(), self.signum)


class ClockSetBack(Callback):
    """From each iteration to the next an hour earlier, for all that this process asks and writes."""

    def on_train_batch_end(self, trainer, module, *_):
        real, hours = time.time, trainer.global_step
        time.time = lambda: real() - 3600 * hours
        for path in Path(trainer.default_root_dir).rglob("*"):
            if path.is_file():
                os.utime(path, (time.time(), time.time()))


def signal_at(hook, signum, token, **settings):
    """The arguments of a training that has ``Signal``; ``token`` is made."""
    token.write_text("")
    values = {"_target_": "helpers.moments.Signal", "hook": hook, "signum": int(signum), "token": token, **settings}
    return [f"+callbacks.signal.{key}={value}" for key, value in values.items()]
