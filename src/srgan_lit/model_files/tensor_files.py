"""Reading untrusted tensor files: nothing in them is executed, damage is noticed, a short file claims little memory."""

import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from srgan_lit.common.errors import SRGANError


def read(path: str | os.PathLike[str], *, mmap: bool = False) -> Any:
    """What ``torch.save`` wrote, on the CPU, by torch's restricted loading: tensors and plain containers only.

    Its records are held against their check sums first, which torch writes and does not read. (Files of its old form,
    which are no zip, have none.)

    Raises:
        Exception: of one of the many kinds that torch has for a damaged file, or for one that holds code.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                raise ValueError("compressed inside, which torch never does: it could grow without limit")
            if sum(record.file_size for record in records) > Path(path).stat().st_size:
                raise ValueError("its records overlap, which torch's never do: it could grow without limit")
            if damaged := archive.testzip():
                raise ValueError(f"damaged: {damaged} is not what its check sum says")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is refused anyway
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state dict in a safetensors file or one of ``torch.save``; its values are yet to be checked.

    Raises:
        SRGANError: the file cannot be read, or holds something else.
    """
    try:
        loaded = safetensors.torch.load_file(path) if Path(path).suffix == ".safetensors" else read(path)
    except Exception as error:  # both readers raise many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SRGANError(f"{path}: cannot be read ({reason})") from error
    if not isinstance(loaded, dict):
        raise SRGANError(f"{path}: not a state dict")
    return loaded


def unsound(tensor: object, *, name: str = "", shape: torch.Size | None = None) -> str | None:
    """Why ``tensor`` cannot be a weight (of this ``name`` and ``shape``) of a float32 network; None if it can.

    A file may claim a shape of any size over a few numbers, or over none.
    """
    if not isinstance(tensor, Tensor):
        return f"is a {type(tensor).__name__} and no tensor"
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return "is sparse, quantized or without numbers"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"claims the shape {tuple(tensor.shape)} over fewer numbers"
    if shape is not None and tensor.shape != shape:
        return f"is {tuple(tensor.shape)}, not {tuple(shape)}"
    if tensor.is_floating_point():
        if not tensor.float().isfinite().all():
            return "holds infinity or NaN (as float32), as after a training that diverged"
        if name.endswith("running_var") and not (tensor > -1e-5).all():  # BatchNorm adds 1e-5 and takes the root
            return "holds negative variances, of which BatchNorm makes NaN"
    return None
