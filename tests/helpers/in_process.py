"""The training command in this process, up to the moment when Lightning would begin to train."""

import logging
import sys

import lightning
import pytest
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra

from srgan_lit import train


class Trains(BaseException):
    """Everything was checked, built and written: it would train now. No error that the command would explain."""


def until_it_trains(capsys, *arguments):
    """(exit status, lines of stderr) of a refusal; (None, []) where nothing was refused and it would train."""

    def fit(*_, **__):
        raise Trains

    GlobalHydra.instance().clear()
    capsys.readouterr()
    handlers = logging.root.handlers[:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["srgan-train", *map(str, arguments)])
        patch.setattr(lightning.Trainer, "fit", fit)
        patch.setattr(Hydra, "get_mode", lambda *_, **__: None)  # else it composes all twice
        patch.setattr(logging.root, "handlers", handlers[:])  # Hydra adds its own
        try:
            train.main()
        except Trains:
            return None, []
        except SystemExit as ended:
            return ended.code, capsys.readouterr().err.splitlines()
    raise AssertionError("it ended without training")
