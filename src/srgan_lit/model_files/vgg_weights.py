"""VGG's trained weights: torchvision's download, or a file."""

from pathlib import Path

import torch
from torch import Tensor

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.model_files import tensor_files
from srgan_lit.networks.vgg import VGGFeatures


def vgg_features(
    *,
    backbone: str = "vgg19",
    layer: str | None = "5_4",
    before_activation: bool = False,
    weights: str = "imagenet",
) -> VGGFeatures:
    """VGG up to ``layer``, with weights.

    Args:
        backbone: ``vgg19`` or ``vgg16``.
        layer: ``<block>_<convolution>``, counted from 1; None for the last.
        before_activation: as ``VGGFeatures`` takes it.
        weights: ``imagenet`` (torchvision's, downloaded once and checked), a file (safetensors or a state
            dict, with torchvision's names, with or without ``features.``), or ``random`` (the same random
            weights each time; for tests and demonstrations only).

    Raises:
        UsageError: an unknown backbone or layer, or no such file.
        SRGANError: weights that cannot be had or do not fit.
    """
    network = VGGFeatures(backbone=backbone, layer=layer, before_activation=before_activation)
    if weights == "random":
        return network
    given = _imagenet(backbone) if weights == "imagenet" else _from_file(weights)
    tensors = {}
    for name, tensor in network.features.state_dict().items():
        stored = given.get(name, given.get(f"features.{name}"))
        wrong = "is missing" if stored is None else tensor_files.unsound(stored, shape=tensor.shape)
        if stored is None or wrong:
            raise SRGANError(f"perceptual.weights={weights}: not {backbone} weights (features.{name} {wrong})")
        tensors[name] = stored.float()
    network.features.load_state_dict(tensors)
    return network.to(memory_format=torch.channels_last)


def _imagenet(backbone: str) -> dict[str, Tensor]:
    import hashlib

    from torchvision.models import VGG16_Weights, VGG19_Weights

    weights = {"vgg16": VGG16_Weights, "vgg19": VGG19_Weights}[backbone].IMAGENET1K_V1
    # torchvision's file names end with the first digits of their SHA-256, but a file that is in the cache
    # already is loaded unchecked.
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if cached.exists():
        with cached.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if not digest.startswith(cached.stem.rpartition("-")[2]):
            raise SRGANError(f"{cached}: damaged (its SHA-256 is {digest}); delete it and run again")
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise SRGANError(
            f"{backbone}'s ImageNet weights cannot be downloaded ({error}); fetch {weights.url} "
            "and pass perceptual.weights=<file>, or try the program out with perceptual.weights=random"
        ) from error


def _from_file(path: str) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise UsageError(f"perceptual.weights={path}: no such file; give a file, imagenet or random")
    try:
        return tensor_files.read_state_dict(path)
    except SRGANError as error:
        raise SRGANError(f"perceptual.weights={error}") from error
