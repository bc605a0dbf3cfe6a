"""``python -m srgan_lit.train experiment=srgan …``: the Hydra entry."""

import contextlib
import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from srgan_lit.config import TrainConfig

_PACKAGE = Path(__file__).resolve().parent
# Inside the package when installed from a wheel, at the top of the repository otherwise.
CONF = next(path for path in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if path.is_dir())
_FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR")

_HELP = """\
usage: srgan-train [-m] [experiment=NAME] [group=option …] [key=value …]

  srgan-train experiment=srgan data.root=CUFED        pretrain SRResNet, then train SRGAN: the paper's recipe
  srgan-train experiment=srgan data=folder data.root=photos model.blocks=5
  srgan-train -m phase.weights.adversarial=1e-3,5e-3  one run for each value
  srgan-train resume=runs/srgan/2026-01-31_12-00-00   go on where a run stopped
  srgan-train --cfg job experiment=demo               print the composed configuration
  srgan-train --hydra-help                            Hydra's own options

A value with spaces or ()[]{{}},= goes in quotes of its own: 'data.root="my photos (1)"'.

groups and their options
{groups}

keys and their defaults (of another option: --cfg job group=option)
{keys}"""


def _commented(group: str, option: str) -> str:
    """A group's file as written, with those that its defaults list names before it instead of the list."""
    text = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").strip()
    if "defaults:\n" not in text:
        return text
    head, _, rest = text.partition("defaults:\n")
    defaults, _, own = rest.partition("\n\n")
    named = [line.removeprefix("  - ") for line in defaults.splitlines() if line.strip() != "- _self_"]
    return "\n".join([head.rstrip(), *(_commented(group, name) for name in named), own])


def help_text() -> str:
    """Every group and key, read from ``conf/`` with its comments: Hydra's own help takes seconds and has none."""
    head, _, values = (CONF / "train.yaml").read_text(encoding="utf-8").partition("  - _self_")
    values = values.partition("\n\n")[2].partition("\nhydra:")[0].rstrip()
    groups, keys = [], []
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir()):
        groups.append(f"  {folder.name:<12}{', '.join(sorted(path.stem for path in folder.glob('*.yaml')))}")
    for line in head.splitlines():
        group, _, option = line.removeprefix("  - ").partition(": ")
        if (CONF / group).is_dir() and option:
            keys.append(f"{group}: {option}\n{textwrap.indent(_commented(group, option), '  ')}")
    return _HELP.format(groups="\n".join(groups), keys="\n\n".join([values, *keys]))


@contextlib.contextmanager
def _full_error(value: str | None) -> Iterator[None]:
    """Hydra's HYDRA_FULL_ERROR for a while, put back afterwards; None: unset."""
    before = os.environ.pop("HYDRA_FULL_ERROR", None)
    if value is not None:
        os.environ["HYDRA_FULL_ERROR"] = value
    try:
        yield
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


@contextlib.contextmanager
def one_line_errors(*, composing: bool = False) -> Iterator[None]:
    """End the process with one line and the right exit status for what a user can mend.

    While ``composing``, before any job of ours runs, that is everything: Hydra raises many kinds for a command line.

    HYDRA_FULL_ERROR=1 in the environment shows the traceback instead.
    """
    from srgan_lit import cli, faults, refusals
    from srgan_lit.errors import SRGANError, UsageError

    try:
        yield
    except KeyboardInterrupt:
        cli.complain("interrupted")
        sys.exit(130)
    except Exception as error:
        refusal = error if isinstance(error, SRGANError) else refusals.explain(error, CONF, sys.argv[1:])
        refusal = refusal or faults.explain(error)
        inside = any(frame.name == _job.__name__ for frame in traceback.extract_tb(error.__traceback__))
        if refusal is None and composing and not inside:
            refusal = UsageError(f"this command line cannot be used ({error}); HYDRA_FULL_ERROR=1 shows where")
        if refusal is None or _FULL_ERROR == "1":
            raise
        cli.complain(f"error: {refusal}")
        sys.exit(refusal.exit_status)


def configuration(cfg: "DictConfig") -> "TrainConfig":
    """The composed configuration as checked values, with the phases that do not run left out."""
    from omegaconf import OmegaConf
    from pydantic import TypeAdapter

    from srgan_lit.config import TrainConfig

    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    running = {"pretrain": ["pretrain"], "adversarial": ["adversarial", "weights"]}.get(values["phase"]["name"])
    if running is not None:
        values["phase"] = {key: value for key, value in values["phase"].items() if key in ["name", *running]}
    return TypeAdapter(TrainConfig).validate_python(values)


def _discard(run_dir: Path) -> None:
    """Remove the run directory that Hydra made, if nothing else is in it: refusals and dry runs leave none."""
    if run_dir.is_dir() and {path.name for path in run_dir.iterdir()} <= {"train.log"}:
        shutil.rmtree(run_dir)


def _claim(run_dir: Path, config: "TrainConfig", overrides: Sequence[str]) -> None:
    """Make ``config.yaml`` (of two runs in one directory the second is refused) and ``.hydra/overrides.yaml``.

    Hydra itself would write ``.hydra/`` before anything can be refused, over that of an earlier run.
    """
    import dataclasses

    from omegaconf import OmegaConf

    from srgan_lit import atomic
    from srgan_lit.errors import UsageError

    (run_dir / ".hydra").mkdir(parents=True, exist_ok=True)
    try:
        atomic.create_text(run_dir / "config.yaml", OmegaConf.to_yaml(dataclasses.asdict(config)))
    except FileExistsError:
        raise UsageError(
            f"{run_dir} holds a run already; go on with resume={run_dir}, or name another run_dir"
        ) from None
    OmegaConf.save(list(overrides), run_dir / ".hydra" / "overrides.yaml")


def _guarded(config: "TrainConfig") -> float:
    """Train; what the machine does to it is told with how to go on."""
    from srgan_lit import faults
    from srgan_lit.errors import SRGANError
    from srgan_lit.training import train

    try:
        return train(config)
    except Exception as error:
        fault = faults.explain(error)
        if fault is None or not Path(config.run_dir, "config.yaml").is_file():
            raise
        raise SRGANError(f"{fault}; then go on with: python -m srgan_lit.train resume={config.run_dir}") from error


def _train(cfg: "DictConfig", *, alone: bool) -> float:
    """Check the configuration, then train; returns the objective. ``alone``: not in a multirun."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from srgan_lit import checks, launch, resume, sources

    context = HydraConfig.get()
    run_dir, overrides = Path(context.runtime.output_dir), list(context.overrides.task)
    set_by_user = [override.lstrip("+~") for override in overrides]
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = str(run_dir)
    launch.check(set_by_user, alone=alone)
    again = launch.requeued() and (run_dir / "config.yaml").is_file()
    if again and any((run_dir / "checkpoints").glob("*.ckpt")):
        cfg.resume = cfg.run_dir
        set_by_user = [f"resume={run_dir}"]  # the rest is in its config.yaml
    if cfg.resume is not None:
        cfg = resume.configuration(cfg, set_by_user)
    config = configuration(cfg)
    checks.check(config, set_by_user=[override.partition("=")[0] for override in set_by_user])
    sources.check(config.data, config.model.scale)

    # Seconds to import, so after everything that can be refused.
    if config.dry_run:
        from srgan_lit.rehearsal import rehearse

        rehearse(config)
        _discard(run_dir)
        return 0.0
    processes = config.trainer.devices * config.trainer.num_nodes
    if processes > 1 and not alone and not launch.is_launched():
        return launch.under_torchrun(overrides, run_dir, processes=processes, objective=config.objective)
    if config.resume is None and not again and launch.is_first():
        _claim(run_dir, config, overrides)
    return _guarded(config)


def _job(cfg: "DictConfig") -> float | None:
    """One training of a run or multirun; returns its objective, or None where it failed among others."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from srgan_lit import faults, multirun, refusals

    context = HydraConfig.get()
    # Processes that a job starts get the user's environment. No decorator: launchers pickle this function.
    with _full_error(_FULL_ERROR):
        if context.mode is RunMode.MULTIRUN:
            return multirun.attempt(
                lambda: _train(cfg, alone=False),
                lambda error: refusals.explain(error, CONF, list(context.overrides.task)) or faults.explain(error),
            )
        with one_line_errors():  # here too, because Hydra prints what leaves a job
            try:
                return _train(cfg, alone=True)
            except Exception:
                _discard(Path(context.runtime.output_dir))
                raise


def main() -> None:
    """Console entry: one-line refusals, exit status 2 for wrong usage and 1 for what failed."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.stdout.write(help_text() + "\n")
        return
    import hydra

    from srgan_lit import multirun, resume

    multirun.Multirun.folder = None  # a program may call this more than once
    # Huge pages for torch's large tensors on a CPU: fewer page faults, 3 to 5 % of a step.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # Hydra takes -m before the overrides only; users write it anywhere.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda argument: argument not in ("-m", "--multirun"))
    if stopped := resume.run_dir_of(sys.argv[1:]):
        sys.argv.append(f"run_dir={stopped}")
    # Hydra passes errors on instead of printing them.
    with one_line_errors(composing=True), _full_error("1"):
        try:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(_job)()
        except ValueError as error:
            if str(error) != "No trials are completed yet.":  # Optuna's, after each was reported
                raise
    sys.exit(multirun.conclude())


if __name__ == "__main__":
    main()
