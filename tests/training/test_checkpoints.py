"""What is written into checkpoints and generator files, and what is refused before anything is trained."""

import lightning as L
import numpy as np
import pytest

from helpers.configurations import tiny
from helpers.tiny_training import fit, make, plan
from srgan_lit.common.errors import SRGANError
from srgan_lit.training import build
from srgan_lit.training.run_files import RunCheckpoints


class Keeps(L.Callback):
    """A callback with a state."""

    def __init__(self, state):
        self._state = state

    def state_dict(self):
        return {"seen": self._state}


def test_a_state_that_could_not_be_read_back_is_refused_at_the_start(tmp_path):
    module = make(plan(pretrain=3))
    keeping = RunCheckpoints(tmp_path / "checkpoints", every=1, validate_every=100, unless=lambda: False)
    with pytest.raises(SRGANError, match=r"Keeps: its state_dict\(\) holds numpy"):
        fit(module, tmp_path, Keeps(np.zeros(3)), keeping, enable_checkpointing=True)
    assert module.global_step == 0
    fit(make(plan(pretrain=3)), tmp_path, Keeps([0.0, 1.0]), keeping, enable_checkpointing=True)
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize("key", ["lpips", "init_discriminator_from", "init_from", "perceptual.weights"])
def test_where_a_file_lies_is_no_part_of_what_was_trained(key, tmp_path):
    said = [build.trained(tiny(tmp_path / "run", f"{key}={tmp_path}/{place}/same.pth")) for place in ("one", "other")]
    assert said[0] == said[1]
    assert said[0] != build.trained(tiny(tmp_path / "run", f"{key}={tmp_path}/one/another.pth"))
