"""``python -m srgan_lit.train experiment=srgan …``: the Hydra entry."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_lit import __version__
from srgan_lit.config.composition import CONF, configuration, help_text

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from srgan_lit.config.schema import TrainConfig


_FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR")


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
    from srgan_lit.common import command_line, machine_errors
    from srgan_lit.common.errors import SRGANError, UsageError
    from srgan_lit.config import misspellings

    try:
        yield
    except KeyboardInterrupt:
        command_line.complain("interrupted")
        sys.exit(130)
    except Exception as error:
        refusal = error if isinstance(error, SRGANError) else misspellings.explain(error, CONF, sys.argv[1:])
        # Hydra opens its log in the run directory, and logging says "Unable to configure handler" of a read-only disk.
        refusal = refusal or machine_errors.explain(error) or machine_errors.explain(error.__cause__ or error)
        inside = any(frame.name == _job.__name__ for frame in traceback.extract_tb(error.__traceback__))
        if refusal is None and composing and not inside:
            refusal = UsageError(f"this command line cannot be used ({error}); HYDRA_FULL_ERROR=1 shows where")
        if refusal is None or _FULL_ERROR == "1":
            raise
        command_line.complain(f"error: {refusal}")
        sys.exit(refusal.exit_status)


def _guarded(config: "TrainConfig") -> float:
    """Train. A failure of the machine is reported in one line, with the command that goes on."""
    from srgan_lit.common import machine_errors
    from srgan_lit.common.errors import SRGANError
    from srgan_lit.config import own_parts, quoting
    from srgan_lit.training.run import train

    try:
        return train(config)
    except Exception as error:
        fault = machine_errors.explain(error)
        if fault is None or not Path(config.run_dir, "config.yaml").is_file():
            raise
        command = quoting.train_command(resume=config.run_dir, **own_parts.vouching(config))
        raise SRGANError(f"{fault}; then go on with: {command}") from error


def _train(cfg: "DictConfig", *, alone: bool) -> float:
    """Check the configuration, then train; returns the objective. ``alone``: not in a multirun."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from srgan_lit.common.errors import UsageError
    from srgan_lit.config import combinations, quoting
    from srgan_lit.data import sets
    from srgan_lit.training import launch, resume, run_directory

    context = HydraConfig.get()
    run_dir, overrides = Path(context.runtime.output_dir), list(context.overrides.task)
    set_by_user = [override.lstrip("+~") for override in overrides]
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = quoting.literal(str(run_dir))
    launch.check(set_by_user, alone=alone)
    again = launch.requeued() and (run_dir / "config.yaml").is_file()
    if again and any((run_dir / "checkpoints").glob("*.ckpt")):
        cfg.resume = cfg.run_dir
        set_by_user = [f"resume={run_dir}"]  # the rest is in its config.yaml
    with contextlib.ExitStack() as held:
        if cfg.resume is not None:
            resume.saved(run_dir)
            if launch.is_first():
                held.enter_context(run_directory.occupied(run_dir))
            cfg = resume.configuration(cfg, set_by_user)
        config = run_directory.whole_paths(configuration(cfg))
        keys = [override.partition("=")[0] for override in set_by_user]
        combinations.check(config, set_by_user=keys)
        launch.check_nodes(config.trainer, overrides)
        sets.check(config.data, config.model.scale, set_by_user=keys)

        # Seconds to import, so after everything else that can be refused.
        from srgan_lit.training import parts

        parts.check(config, set_by_user=keys)
        if config.dry_run:
            from srgan_lit.training.dry_run import rehearse

            rehearse(config)
            run_directory.discard(run_dir)
            return 0.0
        processes = config.trainer.devices * config.trainer.num_nodes
        if processes > 1 and not alone and not launch.is_launched():
            return launch.under_torchrun(overrides, run_dir, processes=processes, objective=config.objective)
        if config.resume is None and launch.is_first():
            held.enter_context(run_directory.occupied(run_dir))
            if not again:
                run_directory.claim(run_dir, config, overrides)
        try:
            return _guarded(config)
        except UsageError:
            if config.resume is None and launch.is_first():
                run_directory.unclaim(run_dir)
            raise


def _job(cfg: "DictConfig") -> float | None:
    """One training of a run or multirun; returns its objective, or None where it failed among others."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from srgan_lit.common import machine_errors
    from srgan_lit.config import misspellings
    from srgan_lit.sweeps import multirun
    from srgan_lit.training import launch, run_directory

    context = HydraConfig.get()
    overrides = list(context.overrides.task)
    # Processes that a job starts get the user's environment. No decorator: launchers pickle this function.
    with _full_error(_FULL_ERROR):
        if context.mode is RunMode.MULTIRUN:
            return multirun.attempt(
                lambda: _train(cfg, alone=False),
                lambda error: (
                    misspellings.explain(error, CONF, [*launch.own_folder(), *overrides])
                    or machine_errors.explain(error)
                ),
            )
        with one_line_errors():  # here too, because Hydra prints what leaves a job
            try:
                return _train(cfg, alone=True)
            except Exception:
                run_directory.discard(Path(context.runtime.output_dir))
                raise


def main() -> None:
    """Console entry: one-line refusals, exit status 2 for wrong usage and 1 for what failed."""
    from srgan_lit.common import command_line

    command_line.make_streams_usable()
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.stdout.write(help_text() + "\n")
        return
    if "--version" in sys.argv[1:]:  # Hydra would say its own
        sys.stdout.write(f"srgan_lit {__version__}\n")
        return
    import hydra

    from srgan_lit.config import quoting
    from srgan_lit.sweeps import multirun
    from srgan_lit.training import resume

    multirun.Multirun.folder = None  # a program may call this more than once
    # Huge pages for torch's large tensors on a CPU: fewer page faults, 3 to 5 % of a step.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # Hydra takes -m before the overrides only; users write it anywhere.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda argument: argument not in ("-m", "--multirun"))
    # Hydra passes errors on instead of printing them.
    with one_line_errors(composing=True), _full_error("1"):
        sys.argv[1:] = map(quoting.as_meant, sys.argv[1:])
        sys.argv += [*resume.run_dir_override(sys.argv[1:]), *resume.group_overrides(sys.argv[1:])]
        try:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(_job)()
        except ValueError as error:
            if str(error) != "No trials are completed yet.":  # Optuna's, after each was reported
                raise
    sys.exit(multirun.conclude())


if __name__ == "__main__":
    main()
