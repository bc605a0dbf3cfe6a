"""What a module is given by a loader, ours or somebody's own, as the one form that the steps and callbacks read."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from srgan_lit.common.errors import UsageError

_FORM = (
    "a batch is a dict with lr and hr, or the pair (lr, hr): (B, 3, h, w) and (B, 3, scale*h, scale*w), RGB in [0, 1]"
)
_OVERSHOOT = 0.25  # below 0 and above 1, which bicubic reduction leaves behind; [-1, 1] is far outside


def complete(batch: Any, *, scale: int, look: bool = False) -> dict[str, Any]:
    """``lr`` and ``hr`` as float in [0, 1]; ``name`` and ``grey``, one for each picture, where the loader has none.

    Args:
        batch: a mapping, which may hold more, or a pair of tensors; uint8 is taken as 0 to 255.
        scale: of the generator.
        look: check the values too, which waits for the device. One that is no number passes: it is left out later.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(batch, list | tuple) and len(batch) == 2:
        batch = dict(zip(("lr", "hr"), batch, strict=True))
    if not isinstance(batch, Mapping):
        raise UsageError(f"{_FORM}; this one is a {type(batch).__name__}")
    completed = dict(batch)
    for name in ("lr", "hr"):
        images = completed.get(name)
        if not isinstance(images, Tensor):
            found = "has none" if images is None else f"is a {type(images).__name__}"
            raise UsageError(f"{_FORM}; {name} of this one {found}")
        if images.dtype == torch.uint8:
            images = completed[name] = images.float() / 255
        if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise UsageError(f"{_FORM}; {name} of this one is {tuple(images.shape)} of {images.dtype}")
        if look and (images.min() < -_OVERSHOOT or images.max() > 1 + _OVERSHOOT):
            raise UsageError(f"{_FORM}; {name} of this one reaches from {images.min():.3g} to {images.max():.3g}")
    lr, hr = completed["lr"].shape, completed["hr"].shape
    if hr != (*lr[:2], lr[2] * scale, lr[3] * scale):
        raise UsageError(f"{_FORM}; this one has {tuple(lr)} and {tuple(hr)}, and the generator is x{scale}")
    grey = completed.get("grey", False)
    grey = grey.flatten().tolist() if isinstance(grey, Tensor) else grey
    completed["grey"] = list(grey) if isinstance(grey, list | tuple) else [bool(grey)]
    completed["grey"] *= lr[0] if len(completed["grey"]) == 1 else 1
    completed.setdefault("name", [""] * lr[0])
    return completed
