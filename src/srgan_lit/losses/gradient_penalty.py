"""What keeps a discriminator from rising steeply where the real pictures are."""

import torch
from torch import Tensor, nn

from srgan_lit.networks.discriminator import unrecorded


def r1(discriminator: nn.Module, hr: Tensor) -> Tensor:
    """Half the mean squared norm of the logit's gradient at real crops (Mescheder et al. 2018, equation 9).

    Of a discriminator with several logits a crop, e.g. one a pixel, it is the gradient of their mean.

    Args:
        discriminator: its weights get the penalty's gradient, and keep no trace of the forward.
        hr: real crops (B, 3, H, W) in [0, 1].

    Returns:
        A scalar in float32. With BatchNorm a crop's logit depends on the others of its batch, and so does its gradient.
    """
    hr = hr.detach().float().requires_grad_()
    # Eager and in float32: compiled graphs have no second derivative, float16 gradients no room for small ones.
    with (
        torch.autocast(hr.device.type, enabled=False),
        torch.compiler.set_stance("force_eager"),
        unrecorded(discriminator),
    ):
        (gradient,) = torch.autograd.grad(discriminator(hr).flatten(1).mean(dim=1).sum(), hr, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean() / 2
