"""A trained discriminator: part of a training's checkpoint, and nowhere else."""

from pathlib import Path

from torch import nn

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config.schema import OWN
from srgan_lit.model_files import tensor_files
from srgan_lit.networks import discriminators


def load_into(discriminator: nn.Module, source: str | Path) -> None:
    """Give ``discriminator`` the weights and statistics of one that was trained before.

    Args:
        discriminator: of the same kind and shape.
        source: a Lightning checkpoint, or a run directory, whose last one is taken.

    Raises:
        UsageError: nothing is there.
        SRGANError: the checkpoint is damaged, has no discriminator, or one of another shape.
    """
    path = Path(source)
    if path.is_dir():
        path = path / "checkpoints" / "last.ckpt"
    if not path.is_file():
        raise UsageError(f"init_discriminator_from={source}: no such checkpoint, nor a run directory with one")
    try:
        loaded = tensor_files.read(path, mmap=True)
        state, kind = loaded["state_dict"], str(loaded.get("discriminator_network") or discriminators.SRGAN)
        tensors = {
            str(name).removeprefix("discriminator."): value
            for name, value in state.items()
            if str(name).startswith("discriminator.")
        }
    except Exception as error:  # torch.load raises many kinds for a damaged or foreign file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SRGANError(f"{path}: not a checkpoint of this package ({reason})") from error
    if not tensors:
        raise SRGANError(f"{path}: has no discriminator; a training with an adversarial phase saves one")
    if kind != (wanted := discriminators.name_of(discriminator)):
        hint = kind if kind in discriminators.DISCRIMINATORS else OWN
        raise SRGANError(
            f"init_discriminator_from={source}: that discriminator is a {kind[:200]}, this training's a {wanted}; set "
            f"discriminator={hint}, or leave init_discriminator_from out"
        )
    shape = " and ".join(["data.crop", *(f"discriminator.{key}" for key in discriminators.shape_of(discriminator))])
    expected = discriminator.state_dict()
    for name in [*expected, *tensors]:
        theirs, ours = tensors.get(name), expected.get(name)
        if theirs is None or ours is None or tensor_files.unsound(theirs, name=name, shape=ours.shape):
            raise SRGANError(
                f"{path}: its discriminator does not fit (tensor {name}); {shape} must be those of that training"
            )
    discriminator.load_state_dict(tensors)
