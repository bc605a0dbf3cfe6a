"""Who started this process, with which others: the plain command, torchrun, SLURM, or a job of Hydra's multirun.

The plain command starts its other processes itself (Lightning does it), torchrun and SLURM start all of them. In a
multirun each job that needs several processes gets a torchrun of its own: what Lightning would start there would
run the whole multirun again.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.common.worker_processes import processors
from srgan_lit.config import quoting
from srgan_lit.config.schema import TrainerConfig
from srgan_lit.evaluation import stored_results


def is_launched() -> bool:
    """Whether torchrun or SLURM's srun started this process together with others."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"]) > 1
    return "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1


def is_first() -> bool:
    """Whether this process is the one that writes."""
    by_launcher = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    return int(next(filter(None, by_launcher), "0")) == 0


def requeued() -> bool:
    """Whether SLURM runs this job again."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0


def requeue() -> None:
    """Have SLURM run this job again.

    Raises:
        SRGANError: it does not.
    """
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    result = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SRGANError(f"scontrol requeue {job} failed ({result.stderr.strip()}); submit the job again by hand")


def own_folder() -> list[str]:
    """The argument that names a user's own folder of configurations, as this command got it: none, or one."""
    sources = HydraConfig.get().runtime.config_sources
    return [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]


def check(overrides: Sequence[str], *, alone: bool) -> None:
    """Refuse what processes that were started apart could not agree on; ``alone``: not in a multirun.

    Raises:
        UsageError: says what does work.
    """
    if not is_launched():
        return
    if alone and not any(given.startswith(("run_dir=", "hydra.run.dir=", "resume=")) for given in overrides):
        raise UsageError("each process would name a run directory of its own by the clock: set run_dir=<folder>")


def check_nodes(trainer: TrainerConfig, overrides: Sequence[str]) -> None:
    """Refuse several machines where nothing has started the processes on the others: Lightning would wait for ever.

    Raises:
        UsageError: says what does start them.
    """
    if trainer.num_nodes == 1 or is_launched():
        return
    command = shlex.join(["srgan_lit.train", *overrides])
    if not any(override.startswith(("run_dir=", "resume=")) for override in overrides):
        command += " run_dir=FOLDER"
    raise UsageError(
        f"trainer.num_nodes={trainer.num_nodes}: the plain command starts processes on this machine alone. "
        f"Run on each machine: python -m torch.distributed.run --nnodes={trainer.num_nodes} "
        f"--nproc-per-node={trainer.devices} --rdzv-backend=c10d --rdzv-endpoint=FIRST_MACHINE:29500 -m {command}"
        f" ; or under SLURM: srun --nodes={trainer.num_nodes} --ntasks-per-node={trainer.devices} python -m {command}"
    )


def check_multirun() -> None:
    """Refuse a multirun of which torchrun started several.

    Raises:
        UsageError: says what does work.
    """
    if is_launched() and "TORCHELASTIC_RUN_ID" in os.environ:
        raise UsageError("a multirun starts a torchrun for each of its jobs by itself: call it without torchrun")


def under_torchrun(overrides: Sequence[str], run_dir: Path, *, processes: int, objective: str) -> float:
    """Train as ``overrides`` say, in ``run_dir``, with several processes of this machine; return the objective.

    Raises:
        SRGANError: the training failed; its own words are on stderr.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    given = [override for override in overrides if not override.startswith("run_dir=")]
    # One run, also where the configuration (sweep=…) makes a multirun of every command.
    train = ["-m", "srgan_lit.train", *own_folder(), *given, quoting.override("run_dir", run_dir), "hydra.mode=RUN"]
    # torchrun would give each process one thread, and says so on every start.
    environment = {"OMP_NUM_THREADS": str(max(1, processors() // processes)), **os.environ}
    if subprocess.run([*torchrun, *train], env=environment, check=False).returncode:
        raise SRGANError(f"{run_dir}: the training failed")
    return stored_results.of_run(run_dir).objective(objective)
