"""LPIPS (Zhang et al. 2018) by torchmetrics, with a backbone that is downloaded or read from a file."""

import urllib.error
from pathlib import Path

import torch
from torch import Tensor, nn

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.model_files import tensor_files

NETWORKS = ("alex", "vgg", "squeeze")

# The first convolution of each backbone: it tells which of them a file holds.
_FIRST_CONVOLUTION = {"alex": (64, 3, 11, 11), "vgg": (64, 3, 3, 3), "squeeze": (64, 3, 3, 3)}


def lpips(backbone: str) -> tuple[nn.Module, str]:
    """The distance of two batches of images (B, 3, H, W) in [0, 1] as a module, and its network's name.

    Args:
        backbone: ``alex`` (what papers report), ``vgg`` or ``squeeze``, downloaded once by torchvision; or a file
            with torchvision's weights of one of them (safetensors or a state dict; the network is recognised by
            its tensors). The linear weights on top of the backbone come with torchmetrics.

    Raises:
        UsageError: neither a network's name nor a file.
        SRGANError: weights that cannot be downloaded, cannot be read, or are no backbone of LPIPS.
    """
    if backbone in NETWORKS:
        return _LPIPS(_downloaded(backbone)), backbone
    if not Path(backbone).is_file():
        raise UsageError(f"LPIPS {backbone}: no such file; give a file or one of {', '.join(NETWORKS)}")
    tensors = tensor_files.read_state_dict(backbone)
    network = _recognised(tensors, backbone)
    return _LPIPS(_with_backbone(network, tensors, backbone)), network


class _LPIPS(nn.Module):
    def __init__(self, judge: nn.Module) -> None:
        super().__init__()
        self.judge = judge

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The mean distance of ``sr`` and ``hr`` (B, 3, H, W) in [0, 1], in float32."""
        return self.judge(sr.float(), hr.float(), normalize=True).mean()


def _downloaded(network: str) -> nn.Module:
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    try:
        return _NoTrainLpips(net=network)  # type: ignore[arg-type]
    except (OSError, RuntimeError, urllib.error.URLError) as error:
        raise SRGANError(
            f"the {network} backbone of LPIPS could not be loaded ({' '.join(str(error).split())}); put torchvision's "
            f"weights file into {torch.hub.get_dir()}/checkpoints, or give a file with its weights"
        ) from error


def _with_backbone(network: str, tensors: dict[str, Tensor], source: str) -> nn.Module:
    """LPIPS whose backbone has the weights of a file, by torchvision's names with or without ``features.``."""
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    judge = _NoTrainLpips(net=network, pnet_rand=True)  # type: ignore[arg-type]  # its class would download first
    given = {}
    for name, tensor in judge.net.state_dict().items():
        # torchmetrics cuts the features into slices and keeps their numbers: slices.1.3.squeeze.weight is 3's.
        layer = name.split(".", 2 if name.startswith("slices.") else 1)[-1]
        value = tensors.get(f"features.{layer}", tensors.get(layer))
        wrong = "is missing" if value is None else tensor_files.unsound(value, shape=tensor.shape)
        if value is None or wrong:
            raise SRGANError(f"LPIPS {source}: not the {network} backbone (features.{layer} {wrong})")
        given[name] = value.float()
    judge.net.load_state_dict(given)
    return judge


def _recognised(tensors: dict[str, Tensor], source: str) -> str:
    first = tensors.get("features.0.weight", tensors.get("0.weight"))
    fire = any(".squeeze." in str(name) for name in tensors)
    shape = tuple(first.shape) if isinstance(first, Tensor) else None
    for network in NETWORKS:
        if shape == _FIRST_CONVOLUTION[network] and fire == (network == "squeeze"):
            return network
    raise SRGANError(f"LPIPS {source}: not torchvision's weights of {', '.join(NETWORKS)}")
