"""The comparison strip: what is where, and that it cannot be broken by names and sizes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan_lit.evaluation import columns, comparison_strip, hardest_boxes, results, scoring
from srgan_lit.pictures import bicubic, rgb8
from srgan_lit.pictures.bicubic_tensors import Bicubic


def test_each_column_shows_its_picture_and_its_own_box():
    red, blue = np.zeros((200, 300, 3), np.uint8), np.zeros((200, 300, 3), np.uint8)
    red[..., 0] = blue[..., 2] = 255
    blue[150:180, 30:60] = (0, 255, 0)
    drawn = comparison_strip.draw(
        [comparison_strip.Column("one", red, "1 dB"), comparison_strip.Column("two", blue, "2 dB")],
        hardest_boxes.Box(30, 150, 30),
    )
    pixels = np.asarray(drawn)
    half = pixels.shape[1] // 2
    left, right = pixels[:, :half], pixels[:, half:]
    assert (left == (255, 0, 0)).all(axis=2).sum() > 100_000
    assert not (left == (0, 255, 0)).all(axis=2).any()
    # The box is a hundredth of the picture and fills its own panel.
    assert (right == (0, 255, 0)).all(axis=2).sum() > 100_000
    assert (right == (0, 0, 255)).all(axis=2).sum() > 50_000


def test_names_and_captions_are_drawn_and_do_not_run_into_the_next_column():
    grey = np.full((64, 64, 3), 128, np.uint8)
    box = hardest_boxes.Box(0, 0, 24)
    plain, named = (
        np.asarray(
            comparison_strip.draw(
                [comparison_strip.Column(name, grey, caption), comparison_strip.Column("b", grey, "")], box
            )
        ).astype(int)
        for name, caption in (("a", ""), ("a" + "W" * 200 + "\n", "28.43 dB"))
    )
    changed = np.abs(plain - named).max(axis=(0, 2)) > 0
    assert changed.any()
    assert np.flatnonzero(changed).max() <= plain.shape[1] // 2


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(1, 4), st.integers(0, 99))
def test_hardest_boxes_lie_inside_apart_and_in_order(height, width, side, count, seed):
    random = np.random.default_rng(seed)
    sr, hr = (random.integers(0, 256, (height, width, 3)).astype(np.uint8) for _ in range(2))
    boxes = hardest_boxes.hardest([sr], hr, count=count, side=side)
    assert 1 <= len(boxes) <= count
    covered = np.zeros((height, width), int)
    errors = []
    for box in boxes:
        assert hardest_boxes.cut(hr, box).shape == (box.side, box.side, 3)
        covered[box.y : box.y + box.side, box.x : box.x + box.side] += 1
        errors.append(np.square(hardest_boxes.cut(sr, box).astype(float) - hardest_boxes.cut(hr, box)).mean())
    assert covered.max() == 1
    assert errors == sorted(errors, reverse=True) or np.allclose(errors, sorted(errors, reverse=True))


def test_hard_is_what_no_model_gets_right():
    hr = np.zeros((60, 60, 3), np.uint8)
    broken, good = np.full_like(hr, 200), hr.copy()
    good[40:50, 10:20] = 30
    assert hardest_boxes.hardest([broken, good], hr, count=1, side=10) == [hardest_boxes.Box(10, 40, 10)]


class Two:
    """A flat picture, and a striped one that bicubic gets wrong."""

    name, names = "set", ("flat", "striped")

    def load(self, index: int) -> rgb8.Pair:
        hr = np.full((64, 64, 3), 40, np.uint8)
        hr[..., index :: 8 if index else 64, :] = 250
        return rgb8.Pair(name=self.names[index], lr=bicubic.shrink(hr, 4), hr=hr, grey=False)


def test_the_strip_of_an_evaluation_shows_the_hardest_picture(tmp_path):
    scoring.evaluate({"bicubic": Bicubic(4)}, [Two()], "y_full", tmp_path)
    drawn = rgb8.read_picture(tmp_path / "comparison.png").pixels
    rows = {"bicubic": results.Row(model="bicubic", dataset="set", protocol="y_full")}
    scored = list(scoring.score({"bicubic": Bicubic(4)}, Two(), columns.standard("y_full", 4), rows))
    hardest = min(scored, key=lambda one: one.psnr)
    assert hardest.pair.name == "striped"
    assert np.array_equal(drawn, np.asarray(scoring.comparison(hardest)))
