"""The report as a reader meets it: in a real browser, without a network."""

import base64
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from srgan_lit.evaluation import run_curves, scoring
from srgan_lit.pictures import bicubic
from srgan_lit.pictures.bicubic_tensors import Bicubic
from srgan_lit.pictures.rgb8 import Pair

HOSTILE = "<img src=x onerror=\"document.title='run'\">&\"'"


def picture(seed: int, size: int = 64) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (size // 8, size // 8, 3)).astype(np.uint8)
    return bicubic.resize(small, size, size)


class Pictures:
    def __init__(self, name: str, names: list[str], size: int = 64) -> None:
        self.name, self.names, self.size = name, names, size

    def load(self, index: int) -> Pair:
        hr = picture(index, self.size)
        return Pair(name=self.names[index], lr=bicubic.shrink(hr, 4), hr=hr, grey=False)


class Red:
    """A model that paints everything red: told apart from every other by one pixel."""

    scale = 4

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        sr = np.zeros((lr.shape[0] * 4, lr.shape[1] * 4, 3), np.uint8)
        sr[..., 0] = 255
        return sr


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "metrics.csv").write_text(
        "step,epoch,train/mse,val/psnr,val/psnr_bicubic,train/skipped\n"
        + "".join(f"{i},0,{0.5**i},{20 + i},23.5,0\n" for i in range(10))
    )
    (folder / "config.yaml").write_text("phase: {pretrain: {iterations: 5}, adversarial: {iterations: 5}}\n")
    models = {"bicubic": Bicubic(4), HOSTILE: Red()}
    scoring.evaluate(models, [Pictures("Hostile", [HOSTILE, "b"])], "y_full", folder, runs={"my <run>": folder})
    return folder / "report.html"


# ---------------------------------------------------------------------- without a browser


def embedded(text: str) -> list[bytes]:
    return [base64.b64decode(data) for data in re.findall(r"data:image/\w+;base64,([\w+/=]+)", text)]


def test_embedded_pictures_are_the_exact_pixels(tmp_path):
    import io

    from PIL import Image

    scoring.evaluate({"bicubic": Bicubic(4)}, [Pictures("set", ["a"])], "y_full", tmp_path)
    lr, sr, hr = (np.asarray(Image.open(io.BytesIO(data))) for data in embedded((tmp_path / "report.html").read_text()))
    assert np.array_equal(hr, picture(0))
    assert np.array_equal(lr, bicubic.shrink(hr, 4))
    assert np.array_equal(sr, bicubic.enlarge(lr, 4))


def test_the_hardest_pictures_are_shown_and_the_rest_listed(tmp_path):
    names = [f"picture{i}" for i in range(7)]
    [row] = scoring.evaluate({"bicubic": Bicubic(4)}, [Pictures("set", names)], "y_full", tmp_path, show=3)
    text = (tmp_path / "report.html").read_text()
    hardest = sorted(row.images, key=lambda score: score.values["psnr"])[:3]
    assert re.findall(r"<h3>(.*?)</h3>", text) == [score.name for score in hardest]
    assert "The 3 hardest of 7 pictures" in " ".join(text.split())
    assert len(embedded(text)) == 3 * 3
    assert all(f"<td>{name}</td>" in text for name in names)


def test_a_page_without_pictures_still_has_its_tables(tmp_path):
    scoring.evaluate({"bicubic": Bicubic(4)}, [Pictures("set", ["a"])], "y_full", tmp_path, show=0)
    text = (tmp_path / "report.html").read_text()
    assert "<td>a</td>" in text
    assert not embedded(text)


def test_a_run_without_validation_and_of_one_phase_has_its_curves(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,train/mse\n1,0.5\n2,0.4\n")
    scoring.evaluate({"b": Bicubic(4)}, [Pictures("set", ["a"])], "y_full", tmp_path, show=0, runs={"run": tmp_path})
    text = (tmp_path / "report.html").read_text()
    assert text.count("<polyline") == 1
    assert "phase-sign" not in text.partition("<body>")[2]
    assert "reference-sign" not in text.partition("<body>")[2]


def test_what_could_not_be_scored_is_said(tmp_path):
    scoring.evaluate({"bicubic": Bicubic(4)}, [Pictures("set", ["a"], size=8)], "y_shave4", tmp_path)
    assert "Not scored:" in (tmp_path / "report.html").read_text()


# ---------------------------------------------------------------------- curves


def metrics_csv(folder: Path, lines: str) -> dict[str, Path]:
    (folder / "metrics.csv").write_text("step,epoch,train/mse\n" + lines)
    return {"run": folder}


def test_a_curve_passes_through_its_values(tmp_path):
    [panel] = run_curves.panels(metrics_csv(tmp_path, "0,0,1\n50,0,3\n100,0,2\n"))
    bottom, top = run_curves.HEIGHT - run_curves.BOTTOM, run_curves.TOP
    middle = (run_curves.LEFT + run_curves.WIDTH - run_curves.RIGHT) / 2
    points = [tuple(map(float, point.split(","))) for point in panel.lines[0].points.split()]
    assert points == [
        (run_curves.LEFT, bottom),
        (middle, top),
        (run_curves.WIDTH - run_curves.RIGHT, (bottom + top) / 2),
    ]
    assert panel.lines[0].last == "2"
    assert (bottom, "1") in panel.y_ticks
    assert (run_curves.LEFT, "0") in panel.x_ticks


def labels_of(panels) -> list[list[str]]:
    return [[text for _, text in ticks] for panel in panels for ticks in (panel.x_ticks, panel.y_ticks)]


@pytest.mark.parametrize(
    "rows",
    [
        "1,0,24.99811\n3,0,24.99853\n",  # levels that differ in the sixth digit
        "14000,0,1\n14003,0,1.00001\n",
        "1000001,0,123456.1\n1000004,0,123456.2\n",
        "1,0,0.00012341\n2,0,0.00012342\n",
        "1,0,0.5\n2,0,0.5000000000000001\n",
    ],
)
def test_the_labels_of_an_axis_differ(tmp_path, rows):
    for texts in labels_of(run_curves.panels(metrics_csv(tmp_path, rows))):
        assert len(texts) == len(set(texts)) > 0


def test_bicubic_is_a_line_of_reference_and_not_a_curve(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,val/psnr,val/psnr_bicubic\n10,20,25\n20,30,25\n")
    [panel] = run_curves.panels({"run": tmp_path})
    [mark] = panel.references
    assert mark.text == "bicubic 25"
    assert mark.at == (run_curves.TOP + run_curves.HEIGHT - run_curves.BOTTOM) / 2
    low = tmp_path / "low"
    low.mkdir()
    (low / "metrics.csv").write_text("step,val/psnr,val/psnr_bicubic\n10,20,10\n20,30,10\n")
    [panel] = run_curves.panels({"run": tmp_path, "low": low})
    assert [(mark.text, mark.index) for mark in panel.references] == [("run: bicubic 25", 0), ("low: bicubic 10", 1)]
    assert panel.references[1].at == run_curves.HEIGHT - run_curves.BOTTOM, "the axis reaches down to it"


def test_the_seam_of_the_phases_is_marked_in_every_panel_at_one_place(tmp_path):
    (tmp_path / "config.yaml").write_text("phase: {pretrain: {iterations: 50}, adversarial: {iterations: 50}}\n")
    rows = "".join(f"{step},{1 / step},{step if step > 50 else ''}\n" for step in range(10, 101, 10))
    (tmp_path / "metrics.csv").write_text(f"step,train/mse,train/discriminator\n{rows}")
    both = run_curves.panels({"run": tmp_path})
    middle = run_curves.LEFT + (50 - 10) / 90 * (run_curves.WIDTH - run_curves.LEFT - run_curves.RIGHT)
    for panel in both:
        [mark] = panel.phases
        assert mark.text == "adversarial from 50"
        assert mark.at == pytest.approx(middle, abs=0.1)
    first = float(both[1].lines[0].points.split(",")[0])
    assert [panel.title for panel in both] == ["train/mse", "train/discriminator"]
    assert first > middle, "all panels have the same axis of iterations"
    (tmp_path / "config.yaml").write_text("phase: {pretrain: {iterations: 50}, adversarial: null}\n")
    assert not any(panel.phases for panel in run_curves.panels({"run": tmp_path}))


def test_gaps_cut_lines_and_numbers_that_are_none_are_passed_over(tmp_path):
    rows = "0,0,1\n1,0,\n2,0,nan\n3,0,inf\nx,0,5\n4,0,2\n5"
    assert run_curves.read(metrics_csv(tmp_path, rows)["run"] / "metrics.csv") == {"train/mse": [(0, 1), (4, 2)]}


def test_a_long_run_is_thinned_to_means(tmp_path):
    rows = "".join(f"{i},0,{i % 2}\n" for i in range(10_000))
    [panel] = run_curves.panels(metrics_csv(tmp_path, rows))
    points = panel.lines[0].points.split()
    assert 100 < len(points) <= 300
    assert len({point.split(",")[1] for point in points[:-1]}) == 1  # the mean of as many zeros as ones


@pytest.mark.parametrize("rows", ["0,0,1\n", "0,0,1e-4\n9,0,1e-4\n", "0,0,-3\n5,0,0\n", "0,0,1e-9\n7,0,1e3\n", ""])
def test_no_curve_is_too_short_or_flat_or_steep_to_draw(tmp_path, rows):
    for panel in run_curves.panels(metrics_csv(tmp_path, rows)):
        assert panel.y_ticks
        assert "nan" not in panel.lines[0].points
        assert all(run_curves.TOP - 1 <= at <= run_curves.HEIGHT - run_curves.BOTTOM + 1 for at, _ in panel.y_ticks)


def test_curves_come_first_and_the_less_telling_ones_are_folded_away(page):
    text = page.read_text()
    assert text.index('<section id="curves">') < text.index('<section id="table">')
    assert text.index("<b>val/psnr</b>") < text.index("<b>train/mse</b>") < text.index("more curves")
    assert text.index("more curves") < text.index("<b>train/skipped</b>") < text.index('<section id="table">')
    assert text.count('class="reference run-all"') == 1
    assert text.count('class="phase run-all"') == 3


# ---------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"):
        options.add_argument(flag)
    for flag in ("--disable-background-networking", "--disable-component-update", "--disable-sync"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture
def opened(browser, page):
    """The page on a desktop, and what the browser logged until the test ends must be empty."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(1200, 1000)
    browser.get("about:blank")
    browser.get_log("performance")  # what Chromium's own start page asked for
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def pixel(browser, figure: str, x: float, y: float = 0.5) -> list[int]:
    """The colour on the screen at a place within an element, both in shares of its size."""
    import io

    from PIL import Image

    stage = browser.find_element("css selector", f"{figure} .stage")
    with Image.open(io.BytesIO(stage.screenshot_as_png)) as shot:
        return list(shot.convert("RGB").getpixel((int(shot.width * x), int(shot.height * y))))


@pytest.mark.long
def test_every_picture_loads_and_nothing_is_fetched(opened, page):
    sizes = opened.execute_script("return [...document.images].map(i => [i.complete, i.naturalWidth])")
    assert sizes == [[True, 16], [True, 64], [True, 64], [True, 64]] * 2
    import json

    asked = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    urls = {entry["params"]["request"]["url"] for entry in asked if entry["method"] == "Network.requestWillBeSent"}
    assert {url for url in urls if not url.startswith("data:")} == {page.as_uri()}


def test_names_show_as_they_are_and_do_not_run(opened):
    assert opened.title == "Super-resolution report"
    headings = [element.text for element in opened.find_elements("tag name", "h3")]
    assert HOSTILE in headings
    assert "my <run>" in opened.find_element("id", "curves").text
    # Even markup that got in past the escaping would not run: the page's policy allows its own script only.
    opened.execute_script("document.body.insertAdjacentHTML('beforeend', arguments[0])", HOSTILE)
    assert opened.title == "Super-resolution report"
    opened.get_log("browser")  # the refusal just provoked


def choose(browser, side: str, label: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("css selector", f".picture .{side}")).select_by_visible_text(label)


@pytest.mark.long
def test_the_divider_follows_keyboard_and_pointer(opened):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    red = [255, 0, 0]
    choose(opened, "left", "bicubic")
    choose(opened, "right", HOSTILE)
    assert pixel(opened, ".picture", 0.4, 0.2) != red
    assert pixel(opened, ".picture", 0.6, 0.2) == red
    slider = opened.find_element("css selector", ".picture .position")
    slider.send_keys(Keys.HOME)
    assert pixel(opened, ".picture", 0.4, 0.2) == red
    slider.send_keys(Keys.END)
    assert pixel(opened, ".picture", 0.6, 0.2) != red
    stage = opened.find_element("css selector", ".picture .stage")
    ActionChains(opened).move_to_element_with_offset(stage, -stage.size["width"] // 4, 0).click().perform()
    assert abs(float(slider.get_property("value")) - 25) < 1
    assert pixel(opened, ".picture", 0.4, 0.2) == red
    assert "bicubic" in slider.get_attribute("aria-valuetext")


def test_any_two_pictures_can_be_compared_either_way(opened):
    choose(opened, "left", HOSTILE)
    choose(opened, "right", "original")
    assert pixel(opened, ".picture", 0.2, 0.2) == [255, 0, 0]
    assert pixel(opened, ".picture", 0.8, 0.2) != [255, 0, 0]
    choose(opened, "right", HOSTILE)
    assert pixel(opened, ".picture", 0.8, 0.2) == [255, 0, 0]


def test_enlarged_regions_show_the_pictures(opened):
    import time

    colours = []
    for _ in range(50):  # they are drawn when the pictures have been decoded
        colours = opened.execute_script(
            "return [...document.querySelector('.row').querySelectorAll('canvas')].map("
            "c => [...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data])"
        )
        if all(colour[3] for colour in colours):
            break
        time.sleep(0.1)
    assert len(colours) == 4
    assert all(colour[3] == 255 for colour in colours)
    assert colours[2] == [255, 0, 0, 255]


def test_zoom_shows_whole_pixels(opened):
    from selenium.webdriver.support.ui import Select

    Select(opened.find_element("css selector", ".picture .zoom")).select_by_visible_text("4×")
    assert opened.find_element("css selector", ".picture .stage").size["width"] == 256


def test_a_phone_shows_it_without_scrolling_sideways(opened):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 360
    small = opened.execute_script(
        "return [...document.querySelectorAll('select, input')].map(e => e.getBoundingClientRect().height)"
    )
    assert min(small) >= 40  # for a finger


def test_everything_is_named_for_a_screen_reader(opened):
    unnamed = opened.execute_script(
        "return [...document.querySelectorAll('img, canvas, svg, input, select')].filter(e =>"
        " !(e.alt || e.getAttribute('aria-label') || e.closest('label'))).length"
    )
    assert unnamed == 0
