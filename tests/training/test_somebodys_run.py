"""Run directories of anybody: nothing in them is executed or resolved, no link is followed out of them, and small files
that are damaged cost a line and not the run."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from helpers import hollow_checkpoints
from helpers.in_process import until_it_trains
from srgan_lit import runs
from srgan_lit.common import command_line
from srgan_lit.common.errors import SRGANError
from srgan_lit.config import own_parts, plain_yaml, quoting
from srgan_lit.evaluation import run_curves
from srgan_lit.training import checkpoints, resume, run_directory
from srgan_lit.training.run_files import ContinuedCSVLogger

P, A = 6, 6
TINY = [
    "experiment=demo", "init_from=null", "model.blocks=1", "model.features=8", "data=folder", "data.crop=24",
    "data.batch_size=2",
    f"phase.pretrain.iterations={P}", "phase.pretrain.warmup=0", f"phase.adversarial.iterations={A}",
    "perceptual.backbone=vgg16", "perceptual.layer=1_2", "perceptual.weights=random",
]  # fmt: skip
TIMER = "lightning.pytorch.callbacks.Timer"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = tmp_path_factory.mktemp("desk")
    (desk / "photos").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(desk / "photos" / f"{number}.png")
    return desk


@pytest.fixture
def begun(desk, capsys, tmp_path):
    """A run directory that has done three iterations."""
    if not (desk / "run").exists():
        given = [f"data.root={desk}/photos", f"run_dir={desk}/run"]
        assert until_it_trains(capsys, *TINY, *given) == (None, [])
        hollow_checkpoints.write(desk / "run", 3)
        rows = "".join(f"{step},{1 / step}\n" for step in (1, 2, 3))
        (desk / "run" / "metrics.csv").write_text(f"step,train/mse\n{rows}")
    return shutil.copytree(desk / "run", tmp_path / "run")


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("train.log", ".lock")
    }


def change(run_dir, **values):
    """Keys of ``config.yaml``, with ``__`` for a dot, as somebody would write them there."""
    config = OmegaConf.load(run_dir / "config.yaml")
    for key, value in values.items():
        OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
    OmegaConf.save(config, run_dir / "config.yaml")


def refused(capsys, run_dir, *arguments, status=2):
    """The one line of a refusal, which changes nothing."""
    before = contents(run_dir)
    was, errors = until_it_trains(capsys, f"resume={run_dir}", *arguments)
    assert was == status
    assert len(errors) == 1
    assert contents(run_dir) == before
    return errors[0]


# ---------------------------------------------------------------------- code


PLACES = {
    "model__network": {"model__name": "own"},
    "data__sources": {"data__name": "own"},
    "phase__terms__mine": {"phase__weights__mine": 1.0},
    "callbacks__mine": {},
    "callbacks__mine__inner": {"callbacks__mine___target_": "builtins.dict"},
    "logger__extra__mine": {},
}


@pytest.mark.parametrize("place", PLACES)
def test_code_that_its_configuration_names_runs_only_where_the_command_vouches(place, begun, capsys, tmp_path):
    marker = tmp_path / "executed"
    code = {"_target_": "numpy.save", "file": str(marker) + ".npy", "arr": [1]}
    change(begun, **PLACES[place], **{place: code}, trust_targets=True)
    said = refused(capsys, begun)
    assert f"{place.replace('__', '.')} makes numpy.save" in said
    assert "trust_targets=true" in said
    assert "makes numpy.save" in refused(capsys, begun, "trust_targets=[builtins.dict,numpy.load]")
    assert not list(tmp_path.glob("executed*"))
    if place.startswith(("logger", "data", "model")):  # tried before it is known to be no logger …
        return
    until_it_trains(capsys, f"resume={begun}", "trust_targets=[numpy.save,builtins.dict]")
    assert list(tmp_path.glob("executed*")), "the code does run where it is let"


def test_the_command_that_began_a_run_vouches_for_it_and_nothing_in_the_run_does(desk, capsys, tmp_path, monkeypatch):
    run_dir, where = tmp_path / "run", [f"data.root={desk}/photos", f"run_dir={tmp_path}/run"]
    command = [*TINY, *where, f"+callbacks.mine._target_={TIMER}"]
    assert until_it_trains(capsys, *command) == (None, [])
    hollow_checkpoints.write(run_dir, 3)
    (run_dir / ".hydra" / "config.yaml").write_text((run_dir / "config.yaml").read_text())
    assert f"callbacks.mine makes {TIMER}" in refused(capsys, run_dir)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # SLURM runs the same command again
    assert until_it_trains(capsys, *command) == (None, [])
    monkeypatch.delenv("SLURM_RESTART_COUNT")
    assert until_it_trains(capsys, f"resume={run_dir}", f"+callbacks.mine._target_={TIMER}") == (None, [])
    assert until_it_trains(capsys, f"resume={run_dir}", f"trust_targets=[{TIMER}]") == (None, [])
    assert resume.saved(run_dir)["trust_targets"] is False, "given for once"
    change(run_dir, callbacks__other={"_target_": "os.getcwd"})
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    status, errors = until_it_trains(capsys, *command)
    assert status == 2
    assert "callbacks.other makes os.getcwd" in errors[0]
    assert TIMER not in errors[0]


def test_printed_commands_vouch_for_the_parts_that_the_training_began_with():
    command = quoting.train_command(resume="runs/a", trust_targets=["a.B", "c.D e"])
    assert command == "python -m srgan_lit.train resume=runs/a 'trust_targets=[a.B,\"c.D e\"]'"


def test_nothing_in_its_configuration_is_resolved(begun, capsys, monkeypatch):
    monkeypatch.setenv("A_SECRET", "swordfish")
    for key, value in {"lpips": "${oc.env:A_SECRET}", "seed": "${.x}", "objective": "\\\\${oc.env:A_SECRET}"}.items():
        text = (begun / "config.yaml").read_text()
        change(begun, **{key: "PLACE"})
        (begun / "config.yaml").write_text((begun / "config.yaml").read_text().replace("PLACE", f"'{value}'"))
        said = refused(capsys, begun)
        assert "is not resolved" in said
        assert "swordfish" not in said
        (begun / "config.yaml").write_text(text)
    with pytest.raises(
        SRGANError, match="which cannot be given to"
    ):  # saved with escapes, read without: Hydra resolves
        own_parts.instantiate({"_target_": "builtins.dict", "a": ["${oc.env:A_SECRET}"]}, "callbacks.mine")


@pytest.mark.parametrize(
    "text", ["${oc.env:HOME}", "a\\${b}\\\\${c", "\\", "$", "${", "\\\\", "1e-4", "no", "2026-01-31", "~", ""]
)
def test_what_is_saved_is_read_back(text, tmp_path):
    values = {"a": text, "b": [text, 1e-5, True, None, 3], "c": {"d": text}}
    (tmp_path / "config.yaml").write_text(run_directory.as_yaml(values))
    assert plain_yaml.read(tmp_path / "config.yaml") == values


def test_its_logger_is_no_path_to_another_configuration(begun, capsys, tmp_path):
    (tmp_path / "evil.yaml").write_text("name: csv\nextra:\n  mine:\n    _target_: os.getcwd\n")
    change(begun, logger__name=os.path.relpath(tmp_path / "evil", "/conf/logger"))
    assert resume.group_overrides([f"resume={begun}", "logger.tags=[a]"]) == []
    change(begun, data__name=os.path.relpath(tmp_path / "evil", "/conf/data"))
    assert resume.group_overrides([f"resume={begun}", "data.cache=a"]) == []


@pytest.mark.parametrize("name", [".lock", "train.log", "report/results.json", "checkpoints/last.ckpt"])
def test_a_link_in_it_is_not_written_through(name, begun, capsys, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (begun / name).parent.mkdir(exist_ok=True)
    (begun / name).unlink(missing_ok=True)
    (begun / name).symlink_to(precious)
    status, errors = until_it_trains(capsys, f"resume={begun}")
    assert status == 2
    assert f"a link to {precious}" in errors[0]
    assert precious.read_text() == "precious"


def test_a_run_behind_a_link_and_checkpoints_on_another_disk_are_gone_on_with(begun, capsys, tmp_path):
    (begun / "checkpoints").rename(tmp_path / "disk")
    (begun / "checkpoints").symlink_to(tmp_path / "disk")
    (tmp_path / "link").symlink_to(begun)
    assert until_it_trains(capsys, f"resume={tmp_path}/link") == (None, [])


# ---------------------------------------------------------------------- YAML and JSON


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcde", "bcdef", strict=True)
)  # fmt: skip
ODD = {
    "aliases": BOMB + "phase: {}\n",
    "an alias of a phase": "a: &a {x: 1}\nphase: *a\n",
    "depth": "phase: " + "[" * 5000,
    "length": "phase: {}\n" + "x" * 2**21,
    "bytes": b"phase: \xff",
    "a set": "phase: !!set {a}",
    "an object": "phase: !!python/object/apply:os.getcwd []",
    "a date": "phase: {x: !!timestamp 2026-01-31}",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_yaml_is_told_in_a_line_by_every_reader(name, tmp_path, capsys):
    content = ODD[name] if isinstance(ODD[name], bytes) else ODD[name].encode()
    (tmp_path / "config.yaml").write_bytes(content)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_bytes(content)
    with pytest.raises(SRGANError) as raised:
        resume.saved(tmp_path)
    assert len(str(raised.value)) < 1000
    assert "\n" not in str(raised.value)
    assert run_curves.phase_change(tmp_path) is None
    assert run_directory.read_overrides(tmp_path) == []
    assert runs_table(capsys, tmp_path)[-1].count("is damaged") == 2


def runs_table(capsys, folder):
    """What srgan-runs says of a folder."""
    capsys.readouterr()
    assert command_line.run(runs.build_parser, runs._command, [str(folder)]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"rows": 3}', b'{"rows": [{}]}', b"\xff", b"[" * 100000,
     b'{"rows": [], "columns": [{"key": "a"}]}',
     b'{"rows": [{"dataset": "a", "b": "x"}], "columns": [{"key":"b","heading":"","best":"max","digits":1}]}',
     b'{"rows": [{"dataset": "a", "b": 1}], "columns": [{"key":"b","heading":"","best":"max","digits":999999999}]}'],
)  # fmt: skip
def test_damaged_results_cost_a_row_of_the_table_its_scores(content, tmp_path, capsys):
    (tmp_path / "report").mkdir()
    (tmp_path / "config.yaml").write_text("phase: {}\n")
    (tmp_path / "report" / "results.json").write_bytes(content)
    assert "results.json: no results of this package" in runs_table(capsys, tmp_path)[-1]


@pytest.mark.parametrize(
    "content",
    [b"", b'{"pictures": {"0.png": "ab', b"[]", b"3", b"\xff", b"[" * 100000, b'{"pictures": []}',
     b'{"pictures": {"0.png": 3}}', b'{"lpips": []}'],
)  # fmt: skip
def test_a_damaged_record_of_pictures_is_kept_and_made_anew(content, begun, capsys):
    record = begun / "learnt_from.json"
    before = record.read_bytes()
    record.write_bytes(content)
    assert until_it_trains(capsys, f"resume={begun}") == (None, [])
    assert record.read_bytes() == before
    assert (begun / "learnt_from.json.damaged").read_bytes() == content
    assert json.loads(before)["trained"]


CURVE = "step,train/mse\n1,0.5\n2,0.25\n3,0.125\n4,0.1\n"
CURVES = {
    "semicolons": (CURVE.replace(",", ";").encode(), []),
    "not UTF-8": (CURVE.encode() + b"\xff\xfe", []),
    "UTF-16": (CURVE.encode("utf-16"), []),
    "doubled columns": (b"step,a,a\n1,2,3\n", []),
    "a long row": (CURVE.replace("2,0.25", "2,0.25,7,8").encode(), ["1", "3"]),
    "a short row": (CURVE.replace("2,0.25", "2").encode(), ["1", "3"]),
    "no number": (CURVE.replace("2,", "two,").encode(), ["1", "3"]),
    "Arabic digits": (CURVE.replace("2,", "٢,").encode(), ["1", "3"]),
    "a quote without end": (CURVE.replace("2,0.25", '2,"0.25').encode(), ["1"]),
    "an endless cell": (b"step,a\n1,2\n2," + b"9" * 200_000, []),
}


@pytest.mark.parametrize("name", CURVES)
def test_a_damaged_curve_is_kept_and_its_good_rows_go_on(name, tmp_path):
    content, kept = CURVES[name]
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    run_curves.read(path)
    logger = ContinuedCSVLogger(tmp_path, iteration=3)
    logger.log_metrics({"train/mse": 0.1, "val/psnr": 20.0}, step=4)
    with path.open(newline="") as opened:
        assert [row["step"] for row in csv.DictReader(opened)] == [*kept, "4"]
    assert (tmp_path / "metrics.csv.damaged").read_bytes() == content


@pytest.mark.parametrize("content", [CURVE, CURVE + "5,", CURVE + "5", "\ufeff" + CURVE, ""])
def test_a_curve_that_a_kill_cut_is_not_called_damaged(content, tmp_path):
    (tmp_path / "metrics.csv").write_text(content, encoding="utf-8")
    ContinuedCSVLogger(tmp_path, iteration=3).log_metrics({"train/mse": 0.1}, step=4)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    assert (tmp_path / "metrics.csv").read_text().split("\n")[-2] == "4,0.1"


# ---------------------------------------------------------------------- checkpoints


FOREIGN = {
    "only a number of iterations": lambda run_dir: hollow_only(run_dir, {"global_step": 9}),
    "a list": lambda run_dir: hollow_only(run_dir, [9]),
    "more iterations than the run has": lambda run_dir: hollow_checkpoints.write(run_dir, P + A + 1, "x.ckpt"),
    "another network": lambda run_dir: hollow_checkpoints.write(run_dir, 9, "x.ckpt", state_dict={"a": 3}),
    "no optimizers": lambda run_dir: hollow_only(run_dir, {"global_step": 9, "state_dict": {}}),
    "text for iterations": lambda run_dir: hollow_checkpoints.write(run_dir, "nine", "x.ckpt"),
}


def hollow_only(run_dir, content):
    import torch

    torch.save(content, run_dir / "checkpoints" / "x.ckpt")


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_checkpoint_is_passed_over_and_kept(name, begun, capsys):
    FOREIGN[name](begun)
    content = (begun / "checkpoints" / "x.ckpt").read_bytes()
    assert until_it_trains(capsys, f"resume={begun}") == (None, [])
    assert (begun / "checkpoints" / "x.ckpt.damaged").read_bytes() == content
    assert "x.ckpt" in (begun / "train.log").read_text()
    (begun / "checkpoints" / "last.ckpt").unlink()
    (begun / "checkpoints" / "x.ckpt.damaged").rename(begun / "checkpoints" / "x.ckpt")
    assert "none of the 1 files in checkpoints/ can be gone on from (x.ckpt" in refused(capsys, begun, status=1)


def test_a_shape_that_was_changed_in_its_configuration_is_told(begun, capsys):
    change(begun, model__blocks=2)
    said = refused(capsys, begun, status=1)
    assert "last.ckpt: does not fit config.yaml: generator.trunk.1" in said


def test_a_pipe_called_like_a_checkpoint_is_not_waited_for(begun, capsys):
    os.mkfifo(begun / "checkpoints" / "iteration=9.ckpt")
    assert checkpoints.find(begun).iteration == 3
