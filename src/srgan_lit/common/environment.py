"""The versions and the machine of a run, to reproduce it by."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import torch

_SHOWN = ("srgan_lit", "torch", "torchvision", "lightning", "numpy", "pillow")


def environment() -> dict[str, str]:
    """Versions, the device, and the commit of a source checkout (``+`` where files differ from it)."""
    versions = {name: importlib.metadata.version(name) for name in _SHOWN if _installed(name)}
    versions |= {"python": platform.python_version(), "system": platform.platform(), "device": _device()}
    commit = _commit(Path(__file__).resolve().parents[3])
    return versions | ({"git_commit": commit} if commit else {})


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # the source tree without an installation
        return False
    return True


def _device() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        return "Apple GPU"
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def _commit(source: Path) -> str | None:
    if not (source / ".git").exists():
        return None
    try:
        said = subprocess.run(
            ["git", "-C", str(source), "describe", "--always", "--abbrev=40", "--dirty=+"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):  # no git, or not its folder: nothing that a training needs
        return None
    return said.stdout.strip()
