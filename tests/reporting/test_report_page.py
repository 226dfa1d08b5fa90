"""The report in a browser: curves, sliders, dark mode and small screens."""

import json
import shutil

import pytest

from domtrans import report, train
from tiny import registry, tiny_recipe

EVIL = "</script><img src=x onerror=\"document.title='owned'\"><b>bold</b>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report on a run with an alarm, and one on this run and a hostile copy."""
    root = tmp_path_factory.mktemp("page")
    run = train(tiny_recipe(root, train__sample_every=1), root / "run", device="cpu", registry=registry()).path
    with (run / "metrics.jsonl").open("a") as log:
        log.write(json.dumps({"step": 5, "seconds": 9.0, "generator.const": 1.0, "alarms": {"d-wins": "D wins"}}) + "\n")
    hostile = shutil.copytree(run, root / "a<b>bold")
    recipe = json.loads((hostile / "recipe.json").read_text())
    (hostile / "recipe.json").write_text(json.dumps(recipe | {"name": EVIL, "description": EVIL}))
    with (hostile / "metrics.jsonl").open("a") as log:
        log.write(json.dumps({"step": 6, "seconds": 9.5, EVIL: 1.0, "alarms": {EVIL: EVIL}, "changed": [EVIL]}) + "\n")
    one, two = root / "one.html", root / "two.html"
    return report(run, one, registry=registry()), report([run, hostile], two, registry=registry())


@pytest.fixture
def open_report(visit):
    """Open a report and wait until its curves are drawn."""

    def open_page(path, **options):
        page = visit(path.as_uri(), **options)
        page.locator(".plot .main-svg").last.wait_for()
        return page

    return open_page


def until(page, expression, holds):
    """Wait until an expression has a value. Playwright's own waiting evaluates text, which the page forbids."""
    for _ in range(300):
        if holds(page.evaluate(expression)):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{expression} is still {page.evaluate(expression)}")


def test_curves_are_drawn_and_alarms_marked(pages, open_report):
    page = open_report(pages[0])
    plots = page.locator(".plot")
    assert plots.count() > 5 and page.locator(".plot .scatterlayer .trace").count() == plots.count()
    const = page.locator('[data-chart="generator.const"]')
    assert const.locator(".shapelayer path").count() == 1 and const.locator(".annotation").count() == 1
    assert "from" in const.get_attribute("aria-label")
    page.locator("#smoothing").fill("0.9")
    assert const.locator(".trace").count() == 2
    before = const.locator(".xtick").all_inner_texts()
    page.locator("#against").select_option("seconds")
    assert const.locator(".xtick").all_inner_texts() != before
    page.locator("#log").check()
    assert page.evaluate("document.querySelector('.plot').layout.yaxis.type") == "log"

    # To zoom one is to zoom all.
    page.locator("#against").select_option("step")
    page.evaluate("Plotly.relayout(document.querySelector('.plot'), {'xaxis.range[0]': 2, 'xaxis.range[1]': 3})")
    ranges = "[...document.querySelectorAll('.plot')].map((plot) => plot.layout.xaxis.range.map(Math.round).join())"
    until(page, ranges, lambda found: set(found) == {"2,3"})


def test_the_slider_moves_the_samples_and_the_command_is_copied(pages, open_report):
    page = open_report(pages[0])
    image = page.locator(".grid img")
    shown = {image.get_attribute("src")}
    assert page.locator("#step-now").inner_text() == "4" and image.get_attribute("alt").endswith("at step 4")
    page.locator("#step").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#step-now").inner_text() == "3"
    shown.add(image.get_attribute("src"))
    page.locator("h1").click()  # arrows work without the slider in focus, too
    page.keyboard.press("ArrowLeft")
    assert page.locator("#step-now").inner_text() == "2" and image.get_attribute("alt").endswith("at step 2")
    shown.add(image.get_attribute("src"))
    assert len(shown) == 3
    page.locator("#play").click()
    until(page, "document.getElementById('step-now').textContent", lambda step: step == "4")
    page.locator("button.copy").click()
    page.locator("button.copy", has_text="ed").wait_for()  # copied, or selected where a file may not write to the clipboard


def test_light_and_dark_follow_the_reader(pages, open_report):
    page = open_report(pages[0], color_scheme="light")
    colours = "[getComputedStyle(document.body).backgroundColor, document.querySelector('.plot').layout.font.color]"
    light = page.evaluate(colours)
    page.emulate_media(color_scheme="dark")
    until(page, colours, lambda found: found[1] != light[1])
    assert (light[0], page.evaluate(colours)[0]) == ("rgb(255, 255, 255)", "rgb(17, 20, 24)")


@pytest.mark.parametrize("which", [0, 1])
def test_a_phone_needs_no_scrolling_sideways(pages, open_report, which):
    page = open_report(pages[which], viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.locator("details").evaluate_all("all => all.forEach((one) => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("document.querySelector('.plot').layout.dragmode") is False  # a finger moves the page


def test_runs_side_by_side_can_be_hidden_and_hostile_names_stay_text(pages, open_report):
    page = open_report(pages[1])
    assert page.title().startswith("2 runs compared") and page.locator("h2", has_text="a<b>bold").count() == 1
    assert page.locator("b").count() == 0 and page.locator('img[src="x"]').count() == 0
    const = page.locator('[data-chart="generator.const"]')
    assert const.locator(".trace").count() == 2
    page.locator("button.run").first.click()
    assert const.locator(".trace").count() == 1 and page.locator("button.run").first.get_attribute("aria-pressed") == "false"
    const.locator(".nsewdrag").hover()
    tooltip = "document.querySelector('[data-chart=\"generator.const\"] .hoverlayer').textContent"
    until(page, tooltip, lambda text: "a<b>bold" in text)
    assert const.locator(".hoverlayer [style*='font-weight: bold']").count() == 0
