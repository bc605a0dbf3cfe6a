import json

import numpy as np

from srgan_lit.evaluation import columns, scoring, stored_results
from srgan_lit.pictures.bicubic_tensors import Bicubic
from srgan_lit.pictures.rgb8 import Pair
from srgan_lit.sweeps import run_table


class Pictures:
    name = "validation"
    names = ("a",)

    def load(self, index):
        noise = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        return Pair(name="a", lr=noise[::4, ::4], hr=noise, grey=False)


def scored_run(folder, value, objective):
    column = columns.Measure(
        key="mine", heading="Mine ↓", best="min", digits=2, objective="mine", compute=lambda *_: value, explanation="."
    )
    scoring.evaluate({"bicubic": Bicubic(4)}, [Pictures()], "y_full", folder / "report", extra=[column])
    (folder / "config.yaml").write_text(f"objective: {objective}\n")


def test_a_column_of_ones_own_is_shown_and_judged_by_as_it_says(tmp_path):
    for name, value in (("0", 0.7), ("1", float("nan")), ("2", 0.123)):
        scored_run(tmp_path / name, value, "mine")
    runs = run_table.read({tmp_path: run_table.find(tmp_path)[0]})
    assert [run.name for run in runs] == ["2", "0", "1"]
    heading, _, *rows = [[cell.strip() for cell in line.split("|")] for line in run_table.table(runs).splitlines()]
    assert [row[heading.index("validation Mine ↓")] for row in rows] == ["0.12", "0.70", "–"]
    for column in columns.standard("y_full", 4):
        assert f"validation {column.heading}" in heading
    assert json.loads(run_table.as_json(runs))["runs"][0]["scores"]["validation"]["mine"] == 0.123
    assert stored_results.of_run(tmp_path / "0").objective("mine") == 0.7
