"""SRResNet as other projects name and vary it, written from the table of their tensors' names."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

C = 8  # channels of the trunk


def conv(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


class Named(nn.Module):
    """Modules under given names; names may have dots. ``forward`` comes with ``run``."""

    def __init__(self, run: Callable[["Named", Any], Any] | None = None, **parts: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        if self.run:
            return self.run(self, x)
        for part in self.children():
            x = part(x)
        return x


class ResidualNamed(Named):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def seq(*parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(*parts)


def whole(head: str, trunk: str, after: str, up: str, tail: str, final: Callable[[Tensor], Tensor]) -> Any:
    def run(self: Named, x: Tensor) -> Tensor:
        skip = getattr(self, head)(x)
        x = skip + getattr(self, after)(getattr(self, trunk)(skip))
        return final(getattr(self, tail)(getattr(self, up)(x)))

    return run


def lornatang(prefix: str) -> nn.Module:
    def block() -> nn.Module:
        return ResidualNamed(
            rcb=seq(
                conv(C, C, 3, bias=False), nn.BatchNorm2d(C), nn.PReLU(), conv(C, C, 3, bias=False), nn.BatchNorm2d(C)
            )
        )

    def up() -> nn.Module:
        return Named(upsample_block=seq(conv(C, 4 * C, 3), nn.PixelShuffle(2), nn.PReLU()))

    return Named(
        whole(f"{prefix}1", "trunk", f"{prefix}2", "upsampling", f"{prefix}3", lambda x: x.clamp(0, 1)),
        **{
            f"{prefix}1": seq(conv(3, C, 9), nn.PReLU()),
            "trunk": seq(*(block() for _ in range(3))),
            f"{prefix}2": seq(conv(C, C, 3, bias=False), nn.BatchNorm2d(C)),
            "upsampling": seq(up(), up()),
            f"{prefix}3": conv(C, 3, 9),
        },
    )


def leftthomas() -> nn.Module:
    def block() -> nn.Module:
        return ResidualNamed(
            conv1=conv(C, C, 3), bn1=nn.BatchNorm2d(C), prelu=nn.PReLU(), conv2=conv(C, C, 3), bn2=nn.BatchNorm2d(C)
        )

    def up() -> nn.Module:
        return Named(conv=conv(C, 4 * C, 3), pixel_shuffle=nn.PixelShuffle(2), prelu=nn.PReLU())

    def run(self: Any, x: Tensor) -> Tensor:
        skip = self.block1(x)
        x = skip
        for number in range(2, 8):
            x = getattr(self, f"block{number}")(x)
        return (self.block8(skip + x).tanh() + 1) / 2

    return Named(
        run,
        block1=seq(conv(3, C, 9), nn.PReLU()),
        **{f"block{number}": block() for number in range(2, 7)},
        block7=seq(conv(C, C, 3), nn.BatchNorm2d(C)),
        block8=seq(up(), up(), conv(C, 3, 9)),
    )


def slime() -> nn.Module:
    def block() -> nn.Module:
        return ResidualNamed(
            Conv1=conv(C, C, 3), BN1=nn.BatchNorm2d(C), PReLU1=nn.PReLU(), Conv2=conv(C, C, 3), BN2=nn.BatchNorm2d(C)
        )

    def up() -> nn.Module:
        return Named(Conv=conv(C, 4 * C, 3), PixelSuffer=nn.PixelShuffle(2), PReLU=nn.PReLU())

    def run(self: Any, x: Tensor) -> Tensor:
        skip = self.PReLU1(self.Conv1(x))
        x = skip
        for number in range(1, 6):
            x = getattr(self, f"RBlock{number}")(x)
        return self.Conv5(self.Pixelsuffle_Module(skip + self.BN1(self.Conv3(x))))

    return Named(
        run,
        Conv1=conv(3, C, 9),
        PReLU1=nn.PReLU(),
        **{f"RBlock{number}": block() for number in range(1, 6)},
        Conv3=conv(C, C, 3),
        BN1=nn.BatchNorm2d(C),
        Pixelsuffle_Module=seq(up(), up()),
        Conv5=conv(C, 3, 9, bias=False),
    )


def dongheehand() -> nn.Module:
    shared = nn.PReLU()

    def body(*parts: nn.Module) -> nn.Module:
        return Named(body=seq(*parts))

    def block() -> nn.Module:
        return ResidualNamed(
            body=seq(body(conv(C, C, 3), nn.BatchNorm2d(C), shared), body(conv(C, C, 3), nn.BatchNorm2d(C)))
        )

    return Named(
        whole("conv01", "body", "conv02", "tail", "last_conv", torch.tanh),
        conv01=body(conv(3, C, 9), shared),
        body=seq(*(block() for _ in range(2))),
        conv02=body(conv(C, C, 3), nn.BatchNorm2d(C)),
        tail=seq(*(body(body(conv(C, 4 * C, 3)), nn.PixelShuffle(2), shared) for _ in range(2))),
        last_conv=body(conv(C, 3, 3)),
    )


def sgrvinod() -> nn.Module:
    def block(*parts: nn.Module) -> nn.Module:
        return Named(conv_block=seq(*parts))

    def up() -> nn.Module:
        return Named(conv=conv(C, 4 * C, 3), pixel_shuffle=nn.PixelShuffle(2), prelu=nn.PReLU())

    def residual_block() -> nn.Module:
        return ResidualNamed(
            conv_block1=block(conv(C, C, 3), nn.BatchNorm2d(C), nn.PReLU()),
            conv_block2=block(conv(C, C, 3), nn.BatchNorm2d(C)),
        )

    return Named(
        whole(
            "conv_block1", "residual_blocks", "conv_block2", "subpixel_convolutional_blocks", "conv_block3", torch.tanh
        ),
        conv_block1=block(conv(3, C, 9), nn.PReLU()),
        residual_blocks=seq(*(residual_block() for _ in range(2))),
        conv_block2=block(conv(C, C, 3), nn.BatchNorm2d(C)),
        subpixel_convolutional_blocks=seq(up(), up()),
        conv_block3=block(conv(C, 3, 9)),
    )


def bolts() -> nn.Module:
    def block() -> nn.Module:
        return ResidualNamed(block=seq(conv(C, C, 3), nn.BatchNorm2d(C), nn.PReLU(), conv(C, C, 3), nn.BatchNorm2d(C)))

    def run(self: Any, x: Tensor) -> Tensor:
        skip = self.input_block(x)
        return self.output_block(self.ps_blocks(skip + self.res_blocks(skip))).tanh()

    stages = [part for _ in range(2) for part in (conv(C, 4 * C, 3), nn.PixelShuffle(2), nn.PReLU())]
    return Named(
        run,
        input_block=seq(conv(3, C, 9), nn.PReLU()),
        res_blocks=seq(block(), block(), conv(C, C, 3), nn.BatchNorm2d(C)),
        ps_blocks=seq(*stages),
        output_block=seq(conv(C, 3, 9)),
    )


def aladdinpersson() -> nn.Module:
    def unit(*, kernel: int = 3, inputs: int = C, norm: bool = True, act: bool = True) -> nn.Module:
        def run(self: Any, x: Tensor) -> Tensor:
            x = self.bn(self.cnn(x))
            return self.act(x) if act else x

        return Named(
            run,
            cnn=conv(inputs, C, kernel, bias=not norm),
            bn=nn.BatchNorm2d(C) if norm else nn.Identity(),
            act=nn.PReLU(C),
        )

    def up() -> nn.Module:
        return Named(conv=conv(C, 4 * C, 3), ps=nn.PixelShuffle(2), act=nn.PReLU(C))

    return Named(
        whole("initial", "residuals", "convblock", "upsamples", "final", torch.tanh),
        initial=unit(kernel=9, inputs=3, norm=False),
        residuals=seq(*(ResidualNamed(block1=unit(), block2=unit(act=False)) for _ in range(2))),
        convblock=unit(act=False),
        upsamples=seq(up(), up()),
        final=conv(C, 3, 9),
    )


def eriklindernoren(act: Callable[[], nn.Module], eps: float) -> nn.Module:
    def block() -> nn.Module:
        return ResidualNamed(
            conv_block=seq(conv(C, C, 3), nn.BatchNorm2d(C, eps), act(), conv(C, C, 3), nn.BatchNorm2d(C, eps))
        )

    stages = [part for _ in range(2) for part in (conv(C, 4 * C, 3), nn.BatchNorm2d(4 * C), nn.PixelShuffle(2), act())]
    return Named(
        whole("conv1", "res_blocks", "conv2", "upsampling", "conv3", torch.tanh),
        conv1=seq(conv(3, C, 9), act()),
        res_blocks=seq(block(), block()),
        conv2=seq(conv(C, C, 3), nn.BatchNorm2d(C, eps)),
        upsampling=seq(*stages),
        conv3=seq(conv(C, 3, 9)),
    )


def randomised(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """Random weights and BatchNorm statistics such that every tensor matters to the output; eval mode."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 2)
            nn.init.uniform_(module.weight, 0.3, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.05, 0.6)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.2)
    return network.eval()
