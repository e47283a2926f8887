"""The board in a real browser, opened from disk: sorting, filters, no request, an empty console, phone and print."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.browser import chromium, console, open_page, opening_cpu_seconds, requested, resize
from s3prl_gendistiller.superb.board.page import board
from s3prl_gendistiller.superb.board.suites import read_suites
from tests.superb.board.made import HOSTILE, with_everything
from tests.superb.made_suite import write_suite

pytestmark = pytest.mark.browser

ROWS = 155
"""Students of the page, which make 200 rows with those of the other suites and the published ones."""
OPENED_S = 1.0


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    (folder / "planted").mkdir()
    planted = write_suite(folder / "planted", {"good": {"ks": 39}, "base": {"ks": 25}})
    suites = read_suites([*with_everything(folder, ROWS - 6), planted])
    (folder / "board.html").write_text(board(suites, "base"), encoding="utf-8")
    return folder / "board.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def opened(browser: Any, path: Path) -> Any:
    resize(browser, 1200, 1000)
    requested(browser), console(browser)
    open_page(browser, path)
    return browser


def column(driver: Any, head: str) -> list[str]:
    """The texts of a column, group by group with an empty text between groups."""
    script = """
        const place = [...document.querySelectorAll("#scores thead th")].findIndex(
            (cell) => cell.textContent.startsWith(arguments[0]));
        return [...document.querySelectorAll("#scores tbody tr")].map((row) =>
            row.className === "group" ? "" : (row.cells[place].firstChild || {textContent: "-"}).textContent);"""
    return list(driver.execute_script(script, head))


def groups(texts: list[str]) -> list[list[float]]:
    found: list[list[float]] = []
    for text in texts:
        if text == "":
            found.append([])
        elif re.fullmatch(r"[\d.]+", text):
            found[-1].append(float(text))
    return [group for group in found if group]


def head(driver: Any, label: str) -> Any:
    return driver.find_element("xpath", f"//table[@id='scores']/thead//th[starts-with(., '{label}')]")


def test_the_page_opens_in_under_a_second_and_asks_nothing_of_the_network(opened: Any, path: Path) -> None:
    seconds = opening_cpu_seconds(opened, path)
    assert opened.execute_script("return document.querySelectorAll('#scores tbody tr').length") == 200 + 3
    assert 0 < seconds < OPENED_S
    assert set(requested(opened)) == {path.as_uri()}
    assert console(opened) == []
    assert opened.execute_script("return document.querySelectorAll('figure svg').length") >= 5


def test_a_click_sorts_each_group_and_a_second_one_turns_the_order(opened: Any) -> None:
    scores = groups(column(opened, "score"))
    assert scores and all(group == sorted(group, reverse=True) for group in scores)
    assert head(opened, "score").get_attribute("aria-sort") == "descending"
    head(opened, "KS").find_element("tag name", "button").click()
    best_first = groups(column(opened, "KS"))
    assert len(best_first) >= 2 and all(group == sorted(group, reverse=True) for group in best_first)
    head(opened, "KS").find_element("tag name", "button").click()
    assert groups(column(opened, "KS")) == [sorted(group) for group in best_first]
    assert head(opened, "KS").get_attribute("aria-sort") == "ascending"
    assert head(opened, "score").get_attribute("aria-sort") is None


def test_the_keyboard_sorts_too_and_errors_begin_with_the_lowest(opened: Any) -> None:
    head(opened, "PR").find_element("tag name", "button").send_keys("\ue007")
    assert all(group == sorted(group) for group in groups(column(opened, "PR")))
    assert head(opened, "PR").get_attribute("aria-sort") == "ascending"
    assert opened.execute_script("return document.activeElement.textContent").startswith("PR")


def test_filters_leave_the_rows_that_fit(opened: Any) -> None:
    from selenium.webdriver.support.ui import Select

    def names() -> list[str]:
        return [text for text in column(opened, "model") if text]

    whole = names()
    assert len(whole) == 200 and opened.find_element("id", "count").text == "200 of 200 rows"
    opened.find_element("id", "search").send_keys("student_00 SMALL")
    assert names() == [f"student_{number:03}" for number in range(10)]
    opened.find_element("id", "search").send_keys(" nothing")
    assert names() == [] and "no row fits" in opened.find_element("id", "count").text
    opened.find_element("xpath", "//button[@type='reset']").click()
    opened.execute_async_script("setTimeout(arguments[0], 50)")
    assert names() == whole
    Select(opened.find_element("id", "kind")).select_by_value("published")
    assert len(names()) == 45
    Select(opened.find_element("id", "kind")).select_by_value("")
    Select(opened.find_element("id", "preset")).select_by_value("official")
    assert names() == ["mine"]
    assert console(opened) == []


def test_numbers_that_are_not_comparable_stand_in_groups_of_their_own(opened: Any) -> None:
    titles = [one.text for one in opened.find_elements("css selector", "tr.group")]
    assert len(titles) == 3 and titles[0].startswith("Published rows, and students with SUPERB's own settings")
    assert titles[1] == f"{HOSTILE}: synthetic speech, not comparable with published rows"
    assert "not comparable with published ones" in opened.find_element("id", "notes").text


def test_names_are_text_and_marks_are_words_too(opened: Any) -> None:
    assert not opened.find_elements("css selector", "main b, main img")
    choices = [option.text for option in opened.find_elements("css selector", "#searches option")]
    assert f"stop1 ({HOSTILE})" in choices
    assert "stopall (small <b>name <img" in opened.find_element("css selector", "#steps svg").text
    mark = opened.find_element("css selector", "#scores .mark")
    assert (mark.text, mark.get_attribute("aria-label")) == ("▲", "better than base")
    assert "▲ better" in opened.find_element("id", "compare").text


def test_a_tooltip_shows_a_name_as_text(opened: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    points = opened.find_elements("css selector", "#steps svg .mark-symbol path")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", points[0])
    ActionChains(opened).move_to_element(points[0]).perform()
    assert not opened.find_elements("css selector", "#vg-tooltip-element b, #vg-tooltip-element img")
    assert "stopall" in opened.find_element("id", "vg-tooltip-element").text


def test_a_choice_draws_another_quality(opened: Any) -> None:
    before = opened.execute_script("return document.querySelector('#sizes figure svg').outerHTML")
    opened.execute_script(
        "const s = document.querySelector('#sizes select'); s.value = '2';"
        "s.dispatchEvent(new Event('change', {bubbles: true}));"
    )
    opened.execute_async_script("setTimeout(arguments[0], 500)")
    after = opened.execute_script("return document.querySelector('#sizes figure svg').outerHTML")
    assert after != before and console(opened) == []


def test_a_phone_shows_the_page_without_scrolling_sideways(browser: Any, path: Path) -> None:
    resize(browser, 380, 800, phone=True)
    open_page(browser, path)
    wide = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert browser.execute_script(wide) == [380, 380]
    assert float(browser.execute_script("return getComputedStyle(document.body).fontSize").removesuffix("px")) >= 14
    edges = "return [...document.querySelectorAll('figure svg')].map((one) => one.getBoundingClientRect().right)"
    assert all(edge <= 380 for edge in browser.execute_script(edges))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_in_both_schemes(opened: Any, scheme: str) -> None:
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    script = """
        const seen = (node, what) => getComputedStyle(node)[what].match(/\\d+/g).slice(0, 3).map(Number);
        const paper = seen(document.body, "backgroundColor");
        return [document.body, document.querySelector(".note"), document.querySelector("figure text")].map(
            (node) => [seen(node, node.tagName === "text" ? "fill" : "color"), paper]);"""
    for ink, paper in opened.execute_script(script):
        assert contrast(ink, paper) >= 4.5
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def contrast(one: list[int], other: list[int]) -> float:
    """The ratio of WCAG 2."""

    def luminance(colour: list[int]) -> float:
        parts = [part / 255 for part in colour]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(luminance(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_the_page_prints(opened: Any) -> None:
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not opened.find_element("id", "filters").is_displayed()
    assert opened.execute_script("return getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    resize(opened, 1047, 700)  # A4, turned, without its margins
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.execute_script(wide) == 0
    printed = opened.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    content = base64.b64decode(printed["data"])
    assert content.startswith(b"%PDF") and 4 <= len(re.findall(rb"/Type\s*/Page\b", content)) < 40
