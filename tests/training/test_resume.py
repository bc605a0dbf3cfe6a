"""What may change when a run is gone on with, and what is refused: up to the first iteration, in this process."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from helpers import hollow_checkpoints, warm_python
from helpers.in_process import until_it_trains
from srgan_lit.config import quoting
from srgan_lit.config.composition import CONF
from srgan_lit.model_files.generator_file import save_generator
from srgan_lit.networks.srresnet import Generator

ROOT = Path(__file__).resolve().parents[2]
P, A = 6, 6  # iterations of the two phases
TINY = [
    "experiment=demo", "model.blocks=1", "model.features=8", "data=folder", "data.crop=24", "data.batch_size=2",
    f"phase.pretrain.iterations={P}", "phase.pretrain.warmup=0", f"phase.adversarial.iterations={A}",
    "perceptual.backbone=vgg16", "perceptual.layer=1_2", "perceptual.weights=random",
]  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Pictures, a generator to start from, and a run directory as it is when training begins."""
    desk = tmp_path_factory.mktemp("desk")
    (desk / "photos").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(desk / "photos" / f"{number}.png")
    (desk / "others").mkdir()
    Image.fromarray(pixels[::-1]).save(desk / "others" / "0.png")
    (desk / "list.txt").write_text("".join(f"{number}.png (48,48,3)\n" for number in range(6)))
    save_generator(desk / "start.safetensors", Generator(blocks=1, features=8))
    return desk


@pytest.fixture
def begun(desk, capsys, monkeypatch, tmp_path):
    """A function: a fresh run directory that has done so many iterations."""
    monkeypatch.chdir(desk)
    if not (desk / "run").exists():
        given = ["data.root=photos", "init_from=start.safetensors", "run_dir=run"]
        assert until_it_trains(capsys, *TINY, *given) == (None, [])

    def at(iteration, name="run"):
        run_dir = tmp_path / name
        shutil.rmtree(run_dir, ignore_errors=True)
        shutil.copytree(desk / "run", run_dir)
        if iteration:
            hollow_checkpoints.write(run_dir, iteration)
        return run_dir

    return at


def contents(folder):
    """Every file but the log and the lock, which every command opens."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("train.log", ".lock")
    }


def saved(run_dir):
    return OmegaConf.load(run_dir / "config.yaml")


# ---------------------------------------------------------------------- the table of docs/resume.md

NEVER, ALWAYS = "never", "always"
UNTIL_PHASE_ENDS, UNTIL_ADVERSARIAL = "until its phase ends", "until the adversarial phase begins"

# For every key a value that it does not have in ``begun``; of trainer.* and logger.* one that this machine can do.
ANOTHER = {
    "data.root": "copy", "data.test_root": "others", "data.shares": "[1,2]", "data.reading": 1, "data.hr": "copy",
    "data.lr": "copy", "data.meta_info": "list.txt", "data.validation_root": "others", "data.cache": "cache",
    "data.workers": 1, "data.name": "sample",
    "data.batch_size": 3, "data.crop": 32, "data.augment": False, "data.degradation": "jpeg",
    "data.validation_share": 0.5, "data.skip_bad": True, "data.use_ref": True, "model.blocks": 2, "model.features": 16,
    "model.scale": 2, "model.start": "icnr",
    "model.name": "own", "perceptual.layers": "{21:1.0}", "phase.name": "pretrain", "phase.pretrain.iterations": 8,
    "phase.pretrain.learning_rate": 1e-5, "phase.pretrain.schedule": "constant", "phase.pretrain.decay_at": "[0.5]",
    "phase.pretrain.decay_factor": 0.5, "phase.pretrain.warmup": 1, "phase.pretrain.loss": "mse",
    "phase.adversarial.iterations": 8, "phase.adversarial.learning_rate": 1e-5, "phase.adversarial.schedule": "cosine",
    "phase.adversarial.decay_at": "[0.25]", "phase.adversarial.decay_factor": 0.5, "phase.adversarial.warmup": 1,
    "phase.adversarial.loss": "hinge", "phase.adversarial.label_smoothing": 0.1, "phase.weights.mse": 0.5,
    "phase.weights.perceptual": 0.5, "phase.weights.adversarial": 0.5, "phase.weights.grid": 0.5,
    "phase.weights.lr_mse": 0.5,
    "perceptual.backbone": "vgg19", "perceptual.layer": "11", "perceptual.weights": "vgg.safetensors",
    "optimization.clip_gradients": 1.0, "optimization.ema": 0.9, "optimization.accumulate": 2,
    "optimization.batchnorm": "frozen", "optimization.recalibrate": 2, "trainer.accelerator": "auto",
    "trainer.devices": 2, "trainer.num_nodes": 2, "trainer.precision": "bf16-mixed", "trainer.sync_batchnorm": True,
    "trainer.strategy": "ddp", "trainer.deterministic": True, "trainer.tf32_convolutions": False,
    "trainer.tf32_matmuls": True, "trainer.cuda_graph": True, "trainer.limit_train_batches": 3,
    "trainer.limit_val_batches": 1,
    "trainer.profiler": "simple", "logger.group": "another", "logger.job_type": "another", "logger.tags": "[another]",
    "logger.name": "tensorboard", "logger.project": "another", "logger.entity": "another", "validate_every": 7,
    "checkpoint_every": 7, "log_every": 7, "objective": "perceptual", "compile": True, "accept_changed_pictures": True,
    "trust_targets": True,
    "init_discriminator_from": "another",
    "data.reuse": 2, "data.sharpen": 1.0, "model.upsampling": "nearest", "perceptual.before_activation": True,
    "perceptual.distance": "l1", "phase.weights.l1": 0.5, "phase.weights.colour": 0.5, "phase.weights.artefacts": 0.5,
    "discriminator.name": "unet", "discriminator.features": 32,
    "discriminator.network": "{_target_: torch.nn.Identity}",
    "discriminator.normalisation": "spectral", "phase.adversarial.discriminator_learning_rate": 1e-5,
    "phase.adversarial.r1": 1.0, "phase.adversarial.r1_every": 2, "best_by": "ssim", "lpips": "alex",
    "seed": 1, "init_from": "srresnet", "dry_run": True,
}  # fmt: skip
ELSEWHERE = {
    "phase.weights.colour": "data.crop=32 or more",
    "phase.weights.artefacts": "optimization.ema=0.999",
    "data.hr": "so data.root has no effect",
    "data.lr": "data.lr has no effect without data.hr",
    "data.validation_root": "1 new (validation_root/0.png)",
    "phase.adversarial.r1_every": "phase.adversarial.r1 is 0",
    "trainer.num_nodes": "torch.distributed.run",
    "trainer.cuda_graph": "trainer.accelerator=cpu has no CUDA",
    "trainer.sync_batchnorm": "there is one process",
    "trainer.strategy": "there is one process",
    "perceptual.layers": "so perceptual.layer=",  # which must be null then
    "logger.project": "has no effect",  # without a service
    "logger.entity": "has no effect",
    "logger.group": "has no effect",
    "logger.job_type": "has no effect",
    "logger.tags": "has no effect",
}


def table():
    """Key or pattern: when it may change, and what config.yaml then says."""
    rows = {}
    for line in (ROOT / "docs" / "resume.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("`"):
            assert cells[1] in (NEVER, ALWAYS, UNTIL_PHASE_ENDS, UNTIL_ADVERSARIAL), line
            assert bool(cells[2]) == bool(cells[3]) == (cells[1] != NEVER), line
            rows |= dict.fromkeys(re.findall(r"`([\w.*]+)`", cells[0]), (cells[1], cells[3]))
    return rows


TABLE = table()


def rule(key):
    return TABLE.get(key) or TABLE[key.rpartition(".")[0] + ".*"]


def leaves(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def keys_of_conf():
    """Every key of every group: options that share a group differ in keys."""
    keys = set()
    for groups in (["data=cufed", "logger=wandb"], ["data=folder", "perceptual=vgg22"], ["data=sample", "trainer=ddp"]):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose("train", overrides=[*groups, "run_dir=run"])
        keys |= set(leaves(OmegaConf.to_container(composed)))
    return keys


def test_the_table_has_every_key_of_conf_and_no_other():
    keys = keys_of_conf()
    assert len(keys) > 40
    for key in keys:
        assert rule(key), key
    for pattern in TABLE:
        assert any(key == pattern or key.startswith(pattern.rstrip("*")) for key in keys), pattern
    assert keys <= ANOTHER.keys() | {"resume", "run_dir"}, "each is tried below"


@pytest.mark.parametrize("key", ANOTHER)
def test_the_table_holds(key, begun, desk, capsys):
    when, then = rule(key)
    stages = {NEVER: [(3, False)], ALWAYS: [(P + 3, True)], UNTIL_ADVERSARIAL: [(P, True), (P + 1, False)]}
    first = P if key.startswith("phase.pretrain") else P + A
    stages[UNTIL_PHASE_ENDS] = [(first - 1, True), (first, key.startswith("phase.adversarial"))]
    if key == "data.root":
        shutil.copytree(desk / "photos", desk / "copy", dirs_exist_ok=True)
    value = ANOTHER[key]
    also = ["data.root=photos"] if key == "data.name" else []
    for iteration, accepted in stages[when]:
        run_dir = begun(iteration)
        before = contents(run_dir)
        status, errors = until_it_trains(capsys, quoting.override("resume", run_dir), f"{key}={value}", *also)
        if key == "perceptual.weights" and accepted:  # it has come as far as to look for the file
            accepted = False
            assert "vgg.safetensors: no such file" in errors[0]
        elif key in ELSEWHERE:
            assert status == 2
            assert ELSEWHERE[key] in errors[0]
            continue
        if not accepted:
            assert status == 2, (key, iteration)
            assert len(errors) == 1
            assert key in errors[0]
            assert contents(run_dir) == before, "a refused resume changes nothing"
            continue
        assert (status, errors) == (None, []), (key, iteration)
        says = OmegaConf.select(saved(run_dir), key)
        if then == "`false`":
            assert says is False
        elif "absolute" in then:
            assert says == str(desk / value)
        elif key == "data.cache":
            assert says in ("cache", str(desk / "cache"))
        else:
            assert str(says) == str(value), key
        unchanged, changed = OmegaConf.create(before["config.yaml"].decode()), saved(run_dir)
        keys = leaves(OmegaConf.to_container(changed))
        different = {each for each in keys if OmegaConf.select(changed, each) != OmegaConf.select(unchanged, each)}
        assert different - {"resume", "run_dir"} <= {key}, "nothing else changes"


@pytest.mark.parametrize(
    ("iteration", "change", "said"),
    [
        (P + 3, "phase.pretrain.iterations=20", "pretraining is done with its 6 iterations"),
        (P + 3, "phase.pretrain.iterations=2", "pretraining is done with its 6 iterations"),
        (P, "phase.pretrain.iterations=20", "pretraining is done with its 6 iterations"),
        (P + 3, "phase.adversarial.iterations=2", "take phase.adversarial.iterations=3 or more"),
        (P + A, "phase.adversarial.iterations=5", "take phase.adversarial.iterations=6 or more"),
        (4, "phase.pretrain.iterations=3", "take phase.pretrain.iterations=4 or more"),
        (P + 3, "phase.pretrain.iterations=6", None),
        (P + 3, "phase.adversarial.iterations=3", None),
        (4, "phase.pretrain.iterations=4", None),
        (0, "phase.pretrain.iterations=2", None),
    ],
)
def test_lengths_of_what_is_done_stay(iteration, change, said, begun, capsys):
    run_dir = begun(iteration)
    before = contents(run_dir)
    status, errors = until_it_trains(capsys, f"resume={run_dir}", change)
    if said is None:
        assert (status, errors) == (None, [])
        return
    assert status == 2
    assert said in errors[0]
    assert contents(run_dir) == before


# ---------------------------------------------------------------------- where things are


def test_a_run_is_gone_on_with_from_anywhere_without_what_it_began_from(begun, desk, capsys, monkeypatch, tmp_path):
    run_dir = begun(3, "moved away")
    config = saved(run_dir)
    assert config.data.root == str(desk / "photos")
    assert config.init_from == str(desk / "start.safetensors")
    config.init_from = str(desk / "gone.safetensors")
    OmegaConf.save(config, run_dir / "config.yaml")
    monkeypatch.chdir(tmp_path)
    assert until_it_trains(capsys, quoting.override("resume", Path("moved away"))) == (None, [])
    status, errors = until_it_trains(capsys, quoting.override("resume", Path("moved away")), "init_from=x")
    assert status == 2
    assert "would be another run" in errors[0]


def test_the_keys_of_its_own_logger_may_change(begun, capsys):
    run_dir = begun(3)
    config = saved(run_dir)
    config.logger = OmegaConf.load(CONF / "logger" / "wandb.yaml")
    OmegaConf.save(config, run_dir / "config.yaml")
    assert until_it_trains(capsys, f"resume={run_dir}", "logger.tags=[second]") == (None, [])
    assert saved(run_dir).logger.tags == ["second"]


def test_checkpoints_that_cannot_be_read_safely_are_not_called_damaged(begun, capsys):
    run_dir = begun(3)
    torch.save({"global_step": 3, "callbacks": {"mine": np.zeros(3)}}, run_dir / "checkpoints" / "last.ckpt")
    status, errors = until_it_trains(capsys, f"resume={run_dir}")
    assert status == 1
    assert "cannot be read without running code" in errors[0]
    assert "remove" not in errors[0]


def test_a_folder_whose_name_is_hostile_is_gone_on_with(begun, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("a b=c,d $x", "[1]{2} 'x' \"y\"\\"):
        run_dir = begun(3, name)
        assert until_it_trains(capsys, quoting.override("resume", run_dir)) == (None, [])
        assert OmegaConf.to_container(saved(run_dir), resolve=True)["run_dir"] == str(run_dir)
        assert until_it_trains(capsys, quoting.override("resume", run_dir)) == (None, []), (
            "its own words are read again"
        )


def test_resume_elsewhere_is_refused(begun, capsys, tmp_path):
    run_dir = begun(3)
    status, errors = until_it_trains(capsys, f"resume={run_dir}", f"run_dir={tmp_path}/other")
    assert status == 2
    assert "copy the folder and resume the copy" in errors[0]
    assert not (tmp_path / "other").exists()


# ---------------------------------------------------------------------- what it learns from


def test_other_pictures_are_named_and_refused_unless_they_are_wanted(begun, desk, capsys, tmp_path):
    run_dir = begun(3)
    other = tmp_path / "photos"
    shutil.copytree(desk / "photos", other)
    (other / "0.png").unlink()
    shutil.copy(other / "2.png", other / "1.png")
    shutil.copy(other / "2.png", other / "9.png")
    before = contents(run_dir)
    status, errors = until_it_trains(capsys, f"resume={run_dir}", f"data.root={other}")
    assert status == 2
    assert "1 gone (0.png), 1 new (9.png), 1 changed (1.png)" in errors[0]
    assert errors[0].endswith("accept_changed_pictures=true")
    assert contents(run_dir) == before
    again = [f"resume={run_dir}", f"data.root={other}", "accept_changed_pictures=true"]
    assert until_it_trains(capsys, *again) == (None, [])
    assert saved(run_dir).accept_changed_pictures is False, "given for once"
    assert until_it_trains(capsys, f"resume={run_dir}") == (None, []), "they are its pictures now"
    shutil.copy(other / "3.png", other / "4.png")
    assert until_it_trains(capsys, f"resume={run_dir}")[0] == 2
    assert until_it_trains(capsys, f"resume={begun(0)}", f"data.root={other}") == (None, []), "nothing was learnt yet"


def test_a_run_without_a_record_of_its_pictures_is_gone_on_with_and_gets_one(begun, capsys):
    run_dir = begun(3)
    record = run_dir / "learnt_from.json"
    before = json.loads(record.read_text())
    record.unlink()
    assert until_it_trains(capsys, f"resume={run_dir}") == (None, [])
    assert json.loads(record.read_text()) == before


def test_the_weights_of_the_feature_loss_may_move_and_not_change(begun, desk, capsys, tmp_path):
    from safetensors.torch import save_file

    from srgan_lit.model_files.vgg_weights import vgg_features

    weights = vgg_features(backbone="vgg16", layer="1_2", weights="random").features.state_dict()
    tensors = {name: value.contiguous() for name, value in weights.items()}
    save_file(tensors, tmp_path / "vgg.safetensors")
    run_dir = begun(3)
    until = [f"resume={run_dir}", f"perceptual.weights={tmp_path}/vgg.safetensors"]
    assert until_it_trains(capsys, *until) == (None, []), "the adversarial phase is ahead"
    hollow_checkpoints.write(run_dir, P + 3)
    (tmp_path / "vgg.safetensors").rename(tmp_path / "elsewhere.safetensors")
    moved = [f"resume={run_dir}", f"perceptual.weights={tmp_path}/elsewhere.safetensors"]
    assert until_it_trains(capsys, *moved) == (None, [])
    save_file({name: value + 1 for name, value in tensors.items()}, tmp_path / "elsewhere.safetensors")
    status, errors = until_it_trains(capsys, f"resume={run_dir}")
    assert status == 2
    assert "not the weights that the adversarial phase began with" in errors[0]


def test_the_weights_of_lpips_may_move_and_not_change(begun, desk, capsys, monkeypatch, tmp_path):
    from torchvision.models import squeezenet1_1

    torch.save(squeezenet1_1().state_dict(), desk / "judge.pth")
    scored = ["data.root=photos", "init_from=start.safetensors", "run_dir=scored", "lpips=judge.pth"]
    monkeypatch.chdir(desk)
    assert until_it_trains(capsys, *TINY, *scored) == (None, [])
    run_dir = desk / "scored"
    (run_dir / "checkpoints").mkdir()
    hollow_checkpoints.write(run_dir, 3)
    monkeypatch.chdir(tmp_path)
    assert until_it_trains(capsys, f"resume={run_dir}") == (None, []), "its path is absolute"
    (desk / "judge.pth").rename(tmp_path / "moved.pth")
    assert until_it_trains(capsys, f"resume={run_dir}", "lpips=moved.pth") == (None, [])
    assert saved(run_dir).lpips == str(tmp_path / "moved.pth")
    torch.save(squeezenet1_1().state_dict(), tmp_path / "other.pth")
    for other, said in (("other.pth", "has not the weights that validations"), ("null", "would be another run")):
        status, errors = until_it_trains(capsys, f"resume={run_dir}", f"lpips={other}")
        assert status == 2
        assert said in errors[0]


# ---------------------------------------------------------------------- one at a time

HOLD = """
import sys, time
from pathlib import Path
from srgan_lit.training import run_directory
with run_directory.occupied(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_of_two_at_once_the_second_is_refused_and_a_killed_one_leaves_no_lock(begun, capsys, tmp_path):
    run_dir = begun(3)
    (tmp_path / "new").mkdir()
    for folder, arguments in (
        (run_dir, [f"resume={run_dir}"]),
        (tmp_path / "new", [*TINY, "init_from=null", f"run_dir={tmp_path}/new"]),
    ):
        holder = warm_python.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == "held\n"
        before = contents(folder)
        status, errors = until_it_trains(capsys, *arguments, "data.root=photos", "log_every=3")
        assert status == 2
        assert "another process trains there now" in errors[0]
        assert contents(folder) == before
        copy = shutil.copytree(folder, tmp_path / f"copy of {folder.name}")
        if (copy / "config.yaml").exists():
            assert until_it_trains(capsys, quoting.override("resume", copy)) == (None, []), "a copy is another run"
        holder.kill()
        holder.wait()
        assert (folder / ".lock").exists()
        assert until_it_trains(capsys, *arguments, "data.root=photos", "log_every=3") == (None, [])


def test_a_process_that_is_forked_meanwhile_does_not_keep_the_lock(begun, capsys):
    """As loaders' workers are: they live on for seconds after a kill."""
    run_dir = begun(3)
    forking = HOLD.replace("    print(", "    import os\n    if not os.fork():\n        time.sleep(60)\n    print(")
    holder = warm_python.Popen([sys.executable, "-c", forking, run_dir], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    holder.kill()
    holder.wait()
    try:
        assert until_it_trains(capsys, f"resume={run_dir}") == (None, [])
    finally:
        for child in children:
            os.kill(int(child), 9)


# ---------------------------------------------------------------------- where it cannot be


def test_several_machines_by_the_plain_command_are_refused_with_what_starts_them(capsys, tmp_path, desk, monkeypatch):
    monkeypatch.chdir(desk)
    given = ["data.root=photos", "trainer=ddp", "trainer.accelerator=cpu", "trainer.num_nodes=2", "trainer.devices=2"]
    status, errors = until_it_trains(capsys, *TINY, *given, f"run_dir={tmp_path}/run")
    assert status == 2
    assert "torch.distributed.run --nnodes=2 --nproc-per-node=2 --rdzv-backend=c10d" in errors[0]
    assert "srun --nodes=2 --ntasks-per-node=2 python -m srgan_lit.train experiment=demo" in errors[0]
    assert not (tmp_path / "run").exists()


def test_a_read_only_folder_is_told_as_such(begun, capsys):
    run_dir = begun(3)
    (run_dir / "train.log").unlink(missing_ok=True)
    (run_dir / "train.log").mkdir()  # root writes anywhere, but not into a folder
    status, errors = until_it_trains(capsys, f"resume={run_dir}")
    assert status == 1
    assert errors == [f"error: {run_dir}/train.log: Is a directory"]


@pytest.fixture
def read_only():
    """A function that mounts a folder over itself, read-only."""
    mounted = []

    def mount(folder):
        for options in (["--bind", folder, folder], ["-o", "remount,ro,bind", folder]):
            done = subprocess.run(["mount", *map(str, options)], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no folder can be mounted read-only here: {done.stderr.strip()}")
            mounted.append(folder)

    yield mount
    for folder in dict.fromkeys(reversed(mounted)):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_disk_is_told_as_such(begun, capsys, read_only):
    run_dir = begun(3)
    (run_dir / "train.log").unlink(missing_ok=True)
    (run_dir / "checkpoints" / ".last.0123abcd.part.ckpt").write_bytes(b"of a process that was killed")
    read_only(run_dir / "checkpoints")  # a part of it
    assert until_it_trains(capsys, quoting.override("resume", run_dir)) == (None, [])
    (run_dir / "train.log").unlink(missing_ok=True)
    before = contents(run_dir)
    read_only(run_dir)
    status, errors = until_it_trains(capsys, quoting.override("resume", run_dir))
    assert status == 1
    said = "Read-only file system (change its permissions, or name another folder)"
    assert errors == [f"error: {run_dir}/train.log: {said}"]
    assert contents(run_dir) == before
