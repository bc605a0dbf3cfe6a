"""What a run was trained on is on record, is inherited, and is said where it is scored on."""

import json
import shutil

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from PIL import Image

from helpers.in_process import until_it_trains
from helpers.tiny_runs import TINY
from srgan_lit import evaluate
from srgan_lit.config.composition import CONF, configuration
from srgan_lit.data.sets import SAMPLE
from srgan_lit.pictures import rgb8
from srgan_lit.training import run

SHORT = [
    *TINY, "phase=pretrain", "phase.pretrain.iterations=2", "phase.pretrain.warmup=0", "validate_every=2",
    "data=folder",
]  # fmt: skip


def trained(run_dir, *overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=[*SHORT, *overrides])
    OmegaConf.set_struct(cfg, False)
    cfg.run_dir = str(run_dir)
    run.train(configuration(cfg))
    return run_dir


def contents(folder):
    return sorted(rgb8.content(rgb8.read_picture(path).pixels) for path in folder.iterdir())


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """``set``, with train/ and val/; ``first``, a run on it; ``second``, one on other pictures that starts from it."""
    folder = tmp_path_factory.mktemp("desk")
    patches = sorted((SAMPLE / "train").iterdir())
    for part, chosen in (("train", patches[:4]), ("val", patches[4:6]), ("other", patches[6:12])):
        place = folder / "other" if part == "other" else folder / "set" / part
        place.mkdir(parents=True)
        for path in chosen:
            shutil.copy(path, place)
    cache = f"data.cache={folder}/cache"
    first = trained(folder / "first", f"data.root={folder}/set", cache)
    trained(
        folder / "second", f"data.root={folder}/other", cache, f"init_from={first}/generator.safetensors",
        "data.test_root=" + str(folder / "set" / "train"),
    )  # fmt: skip
    return folder


def record(run_dir):
    return json.loads((run_dir / "learnt_from.json").read_text())


def test_a_run_records_what_each_picture_is_for_by_its_pixels_and_inherits_what_it_starts_from(desk):
    first, second = record(desk / "first"), record(desk / "second")
    assert sorted(first["trained"].values()) == contents(desk / "set" / "train")
    assert sorted(first["validated"].values()) == contents(desk / "set" / "val")
    assert first["inherited"] == {}
    assert second["inherited"] == {role: sorted(first[role].values()) for role in ("trained", "validated")}
    both = [*second["trained"].values(), *second["validated"].values()]
    assert sorted(both) == contents(desk / "other")


def scored(desk, out, *arguments):
    assert evaluate.main(["--out", str(out), "--show", "0", *map(str, arguments)]) == 0
    return json.loads((out / "results.json").read_text())


def test_the_table_says_where_a_model_is_scored_on_what_it_was_trained_on(desk, tmp_path, capsys):
    first = desk / "first"
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for number, path in enumerate(sorted((desk / "set" / "train").iterdir())[:3]):
        with Image.open(path) as opened:
            opened.save(renamed / f"{number}.bmp")
    shutil.copy(next((desk / "set" / "val").iterdir()), renamed / "held_out.png")
    models = [first, first / "checkpoints" / "last.ckpt", first / "best.safetensors", desk / "second", "bicubic"]
    results = scored(desk, tmp_path / "out", "--model", *models, "--data", renamed)
    lines = [line for line in capsys.readouterr().out.splitlines() if "of these" in line]
    assert [line.partition(" was ")[2] for line in lines] == [
        "trained on 3 of these 4 pictures.", "trained on 3 of these 4 pictures.", "trained on 3 of these 4 pictures.",
        "chosen by its scores on 1 of these 4 pictures.", "trained on 3 of these 4 pictures.",
    ]  # fmt: skip
    assert "renamed: second was trained on 3" in lines[-1]
    assert [(row.get("trained_on"), row.get("chosen_by")) for row in results["rows"]] == [
        (["0", "1", "2"], None), (["0", "1", "2"], None), (["0", "1", "2"], ["held_out"]), (["0", "1", "2"], None),
        (None, None),
    ]  # fmt: skip
    assert results["notes"] == lines
    for name in ("results.md", "results.tex", "report.html"):
        assert lines[3].partition(" was ")[2] in (tmp_path / "out" / name).read_text(), name


def test_a_run_that_starts_from_another_is_told_in_its_report_what_that_had_seen(desk):
    notes = json.loads((desk / "second" / "report" / "results.json").read_text())["notes"]
    assert notes == ["train: SRResNet was trained on 4 of these 4 pictures."]


def test_other_models_and_damaged_records_stop_nothing(desk, tmp_path, capsys):
    copy = tmp_path / "copy.safetensors"
    shutil.copy(desk / "first" / "generator.safetensors", copy)
    assert "notes" not in scored(desk, tmp_path / "a", "--model", copy, "--data", desk / "set" / "train")
    for number, text in enumerate(("{", "[]", '{"trained": 5}', '{"trained": {"a": 1}}')):
        (tmp_path / "learnt_from.json").write_text(text)
        assert "notes" not in scored(desk, tmp_path / f"b{number}", "--model", copy, "--data", desk / "set" / "val")
    assert capsys.readouterr().err.count("damaged, so that nobody can tell what was trained on") == 4


def test_test_pictures_that_are_trained_on_are_refused_and_leave_no_run_behind(desk, tmp_path, capsys):
    arguments = [*SHORT, f"data.root={desk}/set", f"data.cache={desk}/cache", f"run_dir={tmp_path}/run"]
    status, errors = until_it_trains(capsys, *arguments, f"data.test_root={desk}/set")
    assert status == 2
    assert "data.test_root: 4 of its 6 pictures are trained on" in errors[-1]
    assert not (tmp_path / "run").exists()
    status, errors = until_it_trains(capsys, *arguments, "data.validation_share=0.1")
    assert status == 2
    assert "data.validation_share has no effect" in errors[-1]
    assert until_it_trains(capsys, *arguments, f"data.test_root={desk}/set/val") == (None, [])


def test_a_run_of_before_compares_files_and_then_records_what_they_are_for(desk, tmp_path, capsys):
    run_dir = tmp_path / "run"
    shutil.copytree(desk / "first", run_dir)
    config = (
        (run_dir / "config.yaml").read_text().replace("  reading: 2\n", "").replace(str(desk / "first"), str(run_dir))
    )
    (run_dir / "config.yaml").write_text(config)
    import hashlib

    digests = {
        path.relative_to(desk / "set").as_posix(): f"{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in (desk / "set").rglob("*.png")
    }
    (run_dir / "learnt_from.json").write_text(json.dumps({"pictures": digests, "perceptual": None, "lpips": None}))
    go_on = [f"resume={run_dir}", "phase.pretrain.iterations=4"]
    assert until_it_trains(capsys, *go_on) == (None, [])
    now = record(run_dir)
    assert "pictures" not in now
    assert {*now["trained"], *now["validated"]} == digests.keys(), "val/ is a folder like others, as it was"
    assert "reading: 1" in (run_dir / "config.yaml").read_text()
    assert until_it_trains(capsys, *go_on) == (None, [])
    (run_dir / "learnt_from.json").write_text(json.dumps({"pictures": {**digests, "val/gone.png": "0"}}))
    status, errors = until_it_trains(capsys, *go_on)
    assert status == 2
    assert "1 gone (val/gone.png)" in errors[-1]
