"""The device that the tests of this folder are about: a GPU with CUDA, without which they are skipped.

``SRGAN_LIT_GPU_TESTS=cpu`` puts the processor in its place, to test the tests where there is none.
"""

import os

import pytest
import torch

STAND_IN = os.environ.get("SRGAN_LIT_GPU_TESTS") == "cpu"


def pytest_runtest_setup(item):
    if not STAND_IN and not torch.cuda.is_available():
        pytest.skip("there is no GPU with CUDA")


@pytest.fixture(scope="session")
def device():
    return torch.device("cpu" if STAND_IN else "cuda")


@pytest.fixture(scope="session")
def accelerator():
    """The device as ``trainer.accelerator`` calls it."""
    return "cpu" if STAND_IN else "gpu"


@pytest.fixture
def on_gpu_only():
    """For what the processor cannot stand in for."""
    if STAND_IN:
        pytest.skip("only a GPU has this")
