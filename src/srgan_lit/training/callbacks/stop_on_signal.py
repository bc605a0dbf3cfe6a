"""What a signal does to a training: it ends the iteration, saves everything and says how to go on."""

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from srgan_lit.common.errors import SRGANError
from srgan_lit.training import launch

log = logging.getLogger(__name__)

EVERY = 5  # iterations between two questions whether another process was told to stop; asking waits for all devices


class Stopped(SRGANError):
    """A training that a signal ended; exits as a shell says of a process that the signal killed."""

    def __init__(self, message: str, *, signum: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signum


class StopOnSignal(Callback):
    """End training after the running iteration at SIGTERM or SIGINT; a second SIGINT ends the process at once.

    Under SLURM also at SIGUSR1 and SIGUSR2, which it sends before the time limit if the job asked for it
    (``#SBATCH --signal=USR1@120``); then the job is queued again, and goes on where it stopped.

    All processes stop at the same iteration, whichever of them was told: a handler must not talk to the others
    itself, since they may be in the middle of another exchange.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def signals(self) -> list[int]:
        """The signals that stop a training here."""
        requeue = [signal.SIGUSR1, signal.SIGUSR2] if "SLURM_JOB_ID" in os.environ else []
        return [signal.SIGTERM, signal.SIGINT, *requeue]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Keep the handlers from before Lightning's, which only takes note: nothing would end a report."""
        self._before = {signum: signal.getsignal(signum) for signum in self.signals}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen, in the place of Lightning's own handlers."""
        if threading.current_thread() is threading.main_thread():
            for signum in self._before:
                signal.signal(signum, self._receive)
            if trainer.received_sigterm:  # since Lightning began to listen
                self.received = signal.SIGTERM
            # Lightning asks the first process before every iteration whether its own handler was called: never.
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self.received == signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signum

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if any process was told to; several ask each other every few iterations."""
        if trainer.world_size > 1 and trainer.global_step % EVERY:
            return
        if trainer.strategy.reduce_boolean_decision(self.received is not None, all=False):
            self.received = self.received or signal.SIGTERM
            trainer.should_stop = True
            if trainer.global_step % int(trainer.val_check_interval or 1):
                trainer.limit_val_batches = 0  # Lightning would validate before it stops, and the run goes on later

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Listen no more."""
        if threading.current_thread() is threading.main_thread():
            for signum, handler in self._before.items():
                signal.signal(signum, handler)

    def conclude(self, go_on: str, *, iteration: int, iterations: int) -> None:
        """Say that ``go_on`` is the command that goes on, or queue the job again; when the last checkpoint is written.

        Raises:
            Stopped: a signal ended the training before its last iteration.
        """
        if self.received is None or iteration >= iterations:
            return
        name = signal.Signals(self.received).name
        said = f"stopped by {name} after iteration {iteration:,} of {iterations:,}, and saved"
        if self.received in (signal.SIGUSR1, signal.SIGUSR2):
            launch.requeue()
            raise Stopped(f"{said}; the job is queued again and goes on by itself", signum=self.received)
        raise Stopped(f"{said}; go on with: {go_on}", signum=self.received)
