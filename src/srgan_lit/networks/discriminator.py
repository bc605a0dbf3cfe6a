"""The discriminator (Ledig et al. 2017, figure 4): VGG-style, returns logits. No sigmoid, no loss."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import ParametrizationList

from srgan_lit.common.errors import UsageError

CHANNELS = (64, 64, 128, 128, 256, 256, 512, 512)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 2)


class Discriminator(nn.Module):
    """conv64; then 64s2, 128, 128s2, 256, 256s2, 512, 512s2 with BatchNorm; dense 1024; dense 1.

    Args:
        crop: side in pixels of the square HR crops that it judges; the dense layer is made for it.
        normalisation: ``batch``, the paper's; or ``spectral``: no BatchNorm, and every layer's weight divided by its
            largest singular value, so that no layer stretches (Miyato et al. 2018).

    Raises:
        ValueError: ``crop`` below 16, where four halvings leave nothing.
    """

    def __init__(self, *, crop: int = 96, normalisation: Literal["batch", "spectral"] = "batch") -> None:
        super().__init__()
        if crop < 16:
            raise ValueError(f"crop must be at least 16 pixels, not {crop}")
        self.crop, self.normalisation = crop, normalisation
        spectral = normalisation == "spectral"
        bounded: Callable[[nn.Module], nn.Module] = spectral_norm if spectral else lambda layer: layer
        layers: list[nn.Module] = []
        side, before = crop, 3
        for index, (channels, stride) in enumerate(zip(CHANNELS, STRIDES, strict=True)):
            first = index == 0  # no BatchNorm on the input layer (section 2.1.1)
            bias = first or spectral  # BatchNorm has one of its own
            layers.append(bounded(nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=bias)))
            if not bias:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            side, before = (side + stride - 1) // stride, channels
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            bounded(nn.Linear(before * side * side, 1024)),
            nn.LeakyReLU(0.2, inplace=True),
            bounded(nn.Linear(1024, 1)),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, 1), positive for "looks real", of ``image`` (B, 3, crop, crop) in [0, 1].

        Raises:
            UsageError: crops of another size.
        """
        if image.shape[-1] != self.crop or image.shape[-2] != self.crop:
            raise UsageError(
                f"the discriminator was made for crops of {self.crop} pixels, but the batches are "
                f"{image.shape[-1]}x{image.shape[-2]}: SRGANModule(crop={image.shape[-1]})"
            )
        return self.classifier(self.features(image))


@contextlib.contextmanager
def unrecorded(discriminator: nn.Module) -> Iterator[None]:
    """Let forwards leave no trace: BatchNorm normalises by the batch as in training but keeps its statistics.

    Spectral normalisation keeps the singular vectors that it follows.
    """
    norms = [m for m in discriminator.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    lists = [m for m in discriminator.modules() if isinstance(m, ParametrizationList)]
    followers = [follower for each in lists for follower in each if follower.training]
    for norm in norms:
        norm.track_running_stats = False
    for follower in followers:
        follower.eval()
    try:
        yield
    finally:
        for norm, track in zip(norms, tracked, strict=True):
            norm.track_running_stats = track
        for follower in followers:
            follower.train()


@contextlib.contextmanager
def frozen(discriminator: nn.Module) -> Iterator[None]:
    """Let gradients pass through ``discriminator`` to its input and leave every bit of it as it is.

    Its weights gather no gradients (which saves a third of its backward pass), and what it keeps of batches stays.
    """
    parameters = [p for p in discriminator.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        with unrecorded(discriminator):
            yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
