"""A report in a browser: what moves, by mouse and by keyboard, without an error or a request."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from scenes import leaves

from lsdeblur import psf, report, restore, simulate

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no chromium with chromedriver: apt install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    h = psf.motion(9, 30)
    g = simulate.add_noise(simulate.blur(leaves((140, 180)), h), noise_std=0.01, rng=0)
    return report.write(restore(g, h), tmp_path_factory.mktemp("report") / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1200,1000"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page anew; afterwards it has logged nothing and asked for nothing but itself."""
    browser.get_log("performance")  # and so forgotten
    browser.get(address)
    yield browser
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {address}


def find(page: Any, selector: str) -> Any:
    return page.find_element(By.CSS_SELECTOR, selector)


def split(page: Any) -> int:
    return int(find(page, ".handle").get_attribute("aria-valuenow"))


def show(page: Any, element: Any) -> None:
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)


def test_the_border_moves_by_mouse_and_keyboard(page: Any) -> None:
    viewer, handle = find(page, ".viewer"), find(page, ".handle")
    show(page, viewer)
    quarter = viewer.size["width"] // 4
    ActionChains(page).move_to_element(handle).click_and_hold().move_by_offset(quarter, 0).release().perform()
    assert split(page) == pytest.approx(75, abs=1)
    left = float(page.execute_script("return getComputedStyle(arguments[0]).left", handle)[:-2])
    assert left == pytest.approx(0.75 * viewer.size["width"], abs=2)
    clip = page.execute_script("return getComputedStyle(document.querySelector('.after')).clipPath")
    assert float(clip.split()[-1].rstrip("%)")) == pytest.approx(75, abs=1)
    handle.send_keys(Keys.ARROW_LEFT)
    assert split(page) == pytest.approx(73, abs=1)
    handle.send_keys(Keys.END)
    assert split(page) == 100
    assert handle.get_attribute("aria-valuetext") == "100 % observed"


def test_zoom_and_pan(page: Any) -> None:
    viewer, handle, scale = (find(page, s) for s in (".viewer", ".handle", ".scale"))
    show(page, viewer)
    at = "return document.querySelector('.before img').getBoundingClientRect().toJSON()"
    fit, whole = scale.text, page.execute_script(at)
    handle.send_keys("+")
    find(page, "[data-zoom=in]").click()
    page.execute_script("document.getAnimations().forEach(a => a.finish())")
    assert page.execute_script(at)["width"] == pytest.approx(1.5**2 * whole["width"], rel=1e-3)
    assert (
        page.execute_script("return getComputedStyle(document.querySelector('.pane img')).imageRendering")
        == "pixelated"
    )
    before, border = page.execute_script(at), split(page)
    ActionChains(page).move_to_element_with_offset(viewer, -100, 50).click_and_hold().move_by_offset(
        40, -30
    ).release().perform()
    page.execute_script("document.getAnimations().forEach(a => a.finish())")
    after = page.execute_script(at)
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((40, -30), abs=1)
    assert split(page) == border
    handle.send_keys(Keys.SHIFT, Keys.ARROW_RIGHT)
    page.execute_script("document.getAnimations().forEach(a => a.finish())")
    assert page.execute_script(at)["x"] == pytest.approx(after["x"] - 60, abs=1)
    assert split(page) == border
    handle.send_keys("0")
    assert scale.text == fit
    focused = page.switch_to.active_element
    assert focused == handle
    ActionChains(page).scroll_from_origin(scroll_origin(viewer), 0, -200).perform()
    assert float(scale.text.split()[0]) > 1.2 * float(fit.split()[0])


def scroll_origin(element: Any) -> Any:
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    return ScrollOrigin.from_element(element)


def test_a_lambda_is_followed(page: Any) -> None:
    chart = find(page, "[data-chart=gcv] svg")
    show(page, chart)
    picture, caption, reading = (find(page, s) for s in (".marked img", ".marked figcaption", ".reading"))
    used, first = reading.text, picture.get_attribute("src")
    cursors = page.find_elements(By.CSS_SELECTOR, ".choice .cursor circle")
    places = [c.get_attribute("transform") for c in cursors]
    ActionChains(page).move_to_element_with_offset(chart, chart.size["width"] // 3, 0).perform()
    assert reading.text != used
    assert picture.get_attribute("src") != first
    assert "marked" in caption.text
    assert all(c.get_attribute("transform") != p for c, p in zip(cursors, places, strict=True))

    slider = find(page, "#picker")
    last = int(slider.get_attribute("max"))
    slider.send_keys(Keys.HOME)
    weakest = picture.get_attribute("src")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert slider.get_attribute("value") == "1"
    assert slider.get_attribute("aria-valuetext") in reading.text
    assert picture.get_attribute("src") not in (weakest, first)
    find(page, ".reset").click()
    assert (reading.text, picture.get_attribute("src")) == (used, first)
    assert slider.get_attribute("value") == str(last // 2)


def test_light_dark_print_and_narrow(page: Any) -> None:
    def emulate(media: str, scheme: str) -> tuple[str, str]:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        style = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        paper, ink = page.execute_script(style)
        return paper, ink

    light, dark = emulate("", "light"), emulate("", "dark")
    assert light == ("rgb(253, 253, 251)", "rgb(27, 28, 30)")
    assert dark == ("rgb(21, 23, 26)", "rgb(231, 232, 234)")
    assert emulate("print", "dark") == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
    assert not find(page, ".tools").is_displayed()
    boxes = [p.rect for p in page.find_elements(By.CSS_SELECTOR, ".pane img")]
    assert boxes[1]["x"] > boxes[0]["x"] + boxes[0]["width"] - 1  # side by side on paper
    emulate("", "light")
    size = {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert page.execute_script("return document.documentElement.scrollWidth") == 360
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_can_be_read_without_javascript(browser: Any, address: str) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(address)
        shown = [
            p.is_displayed()
            for p in browser.find_elements(By.CSS_SELECTOR, ".pane img, [data-chart] svg, .details img")
        ]
        assert shown.count(False) == 1  # the lambda that is marked
        assert not any(find(browser, s).is_displayed() for s in (".tools", ".picker", ".handle", ".copy"))
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_call_is_copied_or_selected(page: Any) -> None:
    button = find(page, ".copy")
    show(page, button)
    button.click()
    assert page.execute_async_script(
        "const done = arguments[0]; setTimeout(() => done(document.querySelector('.copy').textContent), 100)"
    ) in ("Copied", "Selected")
