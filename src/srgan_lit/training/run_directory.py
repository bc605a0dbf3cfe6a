"""Whose a run directory is: made once, by one run, of one process at a time, and removed where nothing came of it.

No torch.
"""

import contextlib
import dataclasses
import errno
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import filelock
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from srgan_lit.common import atomic_files, command_line
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.config import plain_yaml, quoting
from srgan_lit.config.schema import TrainConfig
from srgan_lit.data import learnt_from

log = logging.getLogger(__name__)

LOCK = (
    ".lock"  # in a run directory; what is locked is the open file, so a copy of it, or one left behind, locks nothing
)
OVERRIDES = ".hydra/overrides.yaml"  # what was set on the command line
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class Folders(Callback):
    """Hydra's callback, named in ``conf/train.yaml``: which folders Hydra is about to make, and whether it may."""

    new: ClassVar[list[Path]] = []  # those above the run directory, the innermost first

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look, before Hydra opens its log there."""
        HydraConfig.instance().set_config(config)  # Hydra does so for jobs alone; the default run_dir asks it
        run_dir = Path(config.hydra.run.dir)
        Folders.new = [folder for folder in run_dir.parents if not folder.exists()]
        try:
            _refuse_links(run_dir)
        except UsageError as error:  # what a callback raises Hydra only warns of
            command_line.complain(f"error: {error}")
            sys.exit(error.exit_status)


def _refuse_links(run_dir: Path) -> None:
    """Refuse a run directory that somebody made so that a log or lock in it is a file elsewhere.

    Folders in it may be links, as of checkpoints that are kept on another disk.

    Raises:
        UsageError: it is one.
    """
    for path in run_dir.rglob("*") if run_dir.is_dir() else ():
        if path.is_symlink() and not path.is_dir() and not path.resolve().is_relative_to(run_dir.resolve()):
            raise UsageError(f"{path}: a link to {path.readlink()}, which would be written to; put that file there")


def discard(run_dir: Path) -> None:
    """Remove the run directory that Hydra made, if nothing else is in it, and the folders that it made above it.

    So refusals and dry runs leave nothing.
    """
    if run_dir.is_dir() and {path.name for path in run_dir.iterdir()} <= {"train.log"}:
        shutil.rmtree(run_dir)
        with contextlib.suppress(OSError):  # another run has begun there meanwhile
            for folder in Folders.new:
                folder.rmdir()


def unclaim(run_dir: Path) -> None:
    """Take back ``claim``, where the run was refused before it learnt from anything."""
    if not (run_dir / learnt_from.FILE).exists():
        shutil.rmtree((run_dir / OVERRIDES).parent, ignore_errors=True)
        for name in ("config.yaml", LOCK):
            (run_dir / name).unlink(missing_ok=True)


@contextlib.contextmanager
def occupied(run_dir: Path) -> Iterator[None]:
    """Keep every other process from beginning or resuming a run in ``run_dir``, for as long as this one lives.

    The system lets go of the lock however the process ends. On a network disk it holds between machines where the
    disk knows locks (NFS 4 does); where it knows none, that is said, and the run goes on.

    Raises:
        UsageError: another process has it.
    """
    lock = filelock.FileLock(run_dir / LOCK, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UsageError(
            f"{run_dir}: another process trains there now, on this machine or one that shares the disk; "
            "wait for it, or end it first"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("%s: this disk knows no locks: see to it yourself that no two processes train there", run_dir)
        yield
        return
    try:
        yield
    finally:
        lock.release()


def claim(run_dir: Path, config: TrainConfig, overrides: Sequence[str]) -> None:
    """Make ``config.yaml`` (of two runs in one directory the second is refused) and ``.hydra/overrides.yaml``.

    Hydra itself would write ``.hydra/`` before anything can be refused, over that of an earlier run.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    try:
        atomic_files.create_text(run_dir / "config.yaml", as_yaml(dataclasses.asdict(config)))
    except FileExistsError:
        raise UsageError(
            f"{run_dir} holds a run already; go on with {quoting.override('resume', run_dir)}, or name another run_dir"
        ) from None
    write_overrides(run_dir, overrides)


def write_overrides(folder: Path, overrides: Sequence[str]) -> None:
    """Keep what was set on the command line of a run or a multirun; the folder is made."""
    (folder / OVERRIDES).parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write_text(folder / OVERRIDES, OmegaConf.to_yaml(OmegaConf.create(quoting.literals(list(overrides)))))


def read_overrides(folder: Path) -> list[str] | None:
    """What was set on the command line of a run or a multirun; None where the folder is of neither."""
    if not (folder / OVERRIDES).is_file():
        return None
    try:
        return [str(each) for each in plain_yaml.read(folder / OVERRIDES) or ()]
    except (SRGANError, TypeError):  # damaged
        return []


def as_yaml(values: dict[str, Any]) -> str:
    """A configuration as the text of ``config.yaml``, from which OmegaConf reads the same values."""
    return OmegaConf.to_yaml(OmegaConf.create(quoting.literals(values)))


def whole_paths(config: TrainConfig) -> TrainConfig:
    """``config`` with absolute paths, so that the run can be gone on with from any folder."""
    data, perceptual = config.data, config.perceptual
    paths = ("hr", "lr", "meta_info", "validation_root", "test_root", "cache")
    places: dict[str, Any] = {name: _whole(getattr(data, name)) for name in paths}
    places["root"] = _whole(data.root) if isinstance(data.root, str) else data.root and tuple(map(_whole, data.root))
    weights = perceptual.weights if perceptual.weights in ("imagenet", "random") else _whole(perceptual.weights)
    start, judge = config.init_from, config.lpips
    return dataclasses.replace(
        config,
        data=dataclasses.replace(data, **places),
        perceptual=dataclasses.replace(perceptual, weights=weights),  # type: ignore[arg-type]
        # A bare name may be that of a generator in the box.
        init_from=_whole(start) if start and ("/" in start or "." in start) else start,
        init_discriminator_from=_whole(config.init_discriminator_from),
        lpips=judge if judge in ("alex", "vgg", "squeeze") else _whole(judge),
    )


def _whole(path: str | None) -> str | None:
    if path is None:
        return None
    whole = Path(path).expanduser()
    # What is not there is not ours to interpret: ``sample`` may be a name.
    return str(whole.absolute()) if whole.exists() or "/" in path else path
