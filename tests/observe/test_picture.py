"""The report as a picture: an SVG document that needs nothing else, in which nothing is cut off or in another's place."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from support.reports import HOSTILE, REPORTS, ZERO, cause, empty, eventful, failure, hostile, long, outcome

from graceful import Cause, Kind, Report, Verdict

SVG = "{http://www.w3.org/2000/svg}"
#: Where the axis begins and ends, in pixels.
LEFT, RIGHT = 196, 474


def drawn(report):
    return ET.fromstring(report.svg().encode())


def texts(root):
    return [each.text for each in root.iter(f"{SVG}text")]


def rows(root):
    """The elements of each row, by the first line of what is shown when the mouse is over it."""
    return {each.find(f"{SVG}title").text.partition("\n")[0]: [*each] for each in root.iter(f"{SVG}g")}


def bars(report):
    """The class, the begin and the width of each bar."""
    found = [each.attrib for each in drawn(report).iter(f"{SVG}rect")]
    return [(each["class"], float(each["x"]), float(each["width"])) for each in found if each["class"] != "back"]


# --- the document ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPORTS)
def test_it_stands_alone(name):
    """It is well-formed, 600 pixels wide, refers to nothing outside and runs nothing, whatever the names are."""
    report = REPORTS[name]()
    root = drawn(report)
    attributes = {key.rpartition("}")[2] for each in root.iter() for key in each.attrib}

    assert ("600", "img") == (root.get("width"), root.get("role"))
    assert f"0 0 600 {root.get('height')}" == root.get("viewBox")
    assert {"svg", "title", "desc", "style", "rect", "text", "path", "g"} >= {
        each.tag.removeprefix(SVG) for each in root.iter()
    }
    assert set() == attributes & {"href", "src", "style"} | {key for key in attributes if key.startswith("on")}
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"https?://[^\"' ]*", report.svg())
    assert "url(" not in report.svg() and "@import" not in report.svg()


@pytest.mark.parametrize("name", REPORTS)
def test_it_is_read_aloud(name):
    """A title and a description come first and are named by the root."""
    title, description, *_ = drawn(REPORTS[name]())

    assert (f"{SVG}title", f"{SVG}desc") == (title.tag, description.tag)
    assert f"{title.get('id')} {description.get('id')}" == drawn(REPORTS[name]()).get("aria-labelledby")


def test_what_is_read_aloud():
    """The description has the numbers, and everything that did not end well, but not each hook that did."""
    title, description, *_ = drawn(eventful())

    assert "Shutdown: SIGTERM" == title.text
    for said in ("5.25 s, death by SIGTERM", "flush (orders.py:12) raised", "disk full", "SIGINT", "'early'"):
        assert said in description.text
    assert "stop_accepting" not in description.text
    assert "40 ok in cleanup" in drawn(long())[1].text


def test_light_and_dark():
    """Every class has a colour in light, and another one in dark; every class that is used has one."""
    style = drawn(eventful()).find(f"{SVG}style").text
    light, dark = style.split("@media (prefers-color-scheme:dark){")
    colours = [
        dict(re.findall(r"\.graceful \.([\w-]+)\{(?:fill:none;stroke|fill):(#\w+)", each)) for each in (light, dark)
    ]
    used = {each.get("class") for each in drawn(eventful()).iter() if each.get("class")} - {"graceful"}

    assert {*colours[0]} == {*colours[1]}
    assert [] == [name for name in colours[0] if colours[0][name] == colours[1][name]]
    assert set() == used - {*colours[0]}


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["text", "dim", "raised", "timed-out", "cancelled"])
def test_text_can_be_read(scheme, name):
    """What text is written in has the contrast to the background that WCAG asks for (1.4.3, AA)."""
    style = drawn(empty()).find(f"{SVG}style").text
    colours = dict(re.findall(r"\.graceful \.([\w-]+)\{fill:(#\w+)\}", style.split("@media")[scheme]))
    darker, lighter = sorted(map(luminance, (colours[name], colours["back"])))

    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


# --- what is drawn ---------------------------------------------------------------------------------------------------


def test_a_row_for_each():
    """Each outcome, each cause and each failure has a row, under the heading of its stage, in the order of time."""
    shown = texts(drawn(eventful()))
    headings = ["causes", "startup", "drain", "cancel", "cleanup", "failures"]

    assert headings == [each for each in shown if each in headings]
    assert ["flush", "close", "leave", "bye"] == [each for each in shown if each in ("flush", "close", "leave", "bye")]
    assert 2 + 7 + 2 == len(rows(drawn(eventful())))


def test_bars_lie_on_the_axis():
    """A bar begins and ends where its hook did, in proportion to the whole."""
    per_second = (RIGHT - LEFT) / 5.25

    assert [
        ("ok", 0, 0.4),
        ("timed-out", 0.4, 2),
        ("raised", 2.4, 2),
        ("ok", 2.5, 1),
        ("cancelled", 4.4, 0.3),
    ] == [
        (kind, round((x - LEFT) / per_second, 3), round(width / per_second, 3)) for kind, x, width in bars(eventful())
    ]


def test_verdicts_are_said_in_words():
    """No verdict is told by its colour alone."""
    shown = texts(drawn(eventful()))

    assert {"raised 2.00 s", "timed out 2.00 s", "cancelled 300 ms", "skipped", "400 ms"} <= {*shown}


def test_what_went_wrong_is_said():
    """Below a row stands what the hook raised or where it was stuck, with its place."""
    shown = texts(drawn(eventful()))

    assert "orders.py:12 OSError: disk full" in shown
    assert "stuck at tasks.py:7 in sleep < orders.py:30 in consume" in shown
    assert "callback failed" in shown


def test_a_failure_that_is_the_cause_is_told_once():
    """An exception that is a cause is no mark of its own among the failures."""
    error = ValueError("broken")
    reason = Cause(Kind.EXCEPTION, ZERO, exception=error)
    report = Report(reason, (reason,), (), (failure(0, error),))

    assert "failures" not in texts(drawn(report))


def test_a_bar_that_is_seen():
    """A hook that took no time has a bar all the same; one that began before the first cause begins at the edge."""
    first = cause()
    report = Report(first, (first,), (outcome("quick", 5, 0), outcome("early", -20, 21)), (), 10.0)

    assert [("ok", LEFT, 27.8), ("ok", (LEFT + RIGHT) / 2, 2)] == bars(report)


@pytest.mark.parametrize(("count", "shown"), [(4, ["start"] * 4 + ["failed"]), (5, ["5 hooks, ok before", "failed"])])
def test_many_that_were_over_before(count, shown):
    """Hooks that were over before the first cause have a row together if they are many, but for those that went wrong."""
    first = cause()
    startups = [outcome("start", n - 60, 0.5, stage="startup") for n in range(count)]
    startups.append(outcome("failed", -10, 1, Verdict.RAISED, "startup", OSError("x")))
    root = drawn(Report(first, (first,), tuple(startups), (), 1.0))
    names = [each.text for each in root.iter(f"{SVG}text") if each.get("x") == "20" and each.get("font-size") == "12"]

    assert shown == names
    assert count == sum(each.text.count("start (") for each in root.findall(f"{SVG}g/{SVG}title"))
    assert [] == bars(Report(first, (first,), tuple(startups), (), 1.0))


@pytest.mark.parametrize("took", [0, 1e-9, 0.0003, 0.7, 1, 9.99, 61, 3600, 1e9])
def test_labels_of_the_axis(took):
    """However long it takes there are a few labels, which do not meet."""
    first = cause()
    root = drawn(Report(first, (first,), (outcome("close", 0, took),), (), took))
    labels = [each for each in root.iter(f"{SVG}text") if each.get("text-anchor") == "middle"]
    places = [float(each.get("x")) for each in labels]

    assert 1 <= len(labels) <= 7
    assert LEFT == places[0] and places[-1] <= RIGHT
    for one, other, label in zip(places, places[1:], labels, strict=False):
        assert other - one >= 5.6 * len(label.text)


@pytest.mark.parametrize("name", REPORTS)
def test_nothing_leaves_the_picture(name):
    """No text begins or ends outside, by a careful estimate of its width, and no row lies below the bottom."""
    root = drawn(REPORTS[name]())
    for each in root.iter(f"{SVG}text"):
        x, width = float(each.get("x")), 0.5 * float(each.get("font-size")) * len(each.text)
        begin = {"end": x - width, "middle": x - width / 2}.get(each.get("text-anchor"), x)
        assert begin >= 0 and begin + width <= 600, each.text
        assert float(each.get("y")) <= float(root.get("height")) - 6


def test_rows_do_not_overlap():
    """Each row of forty is below the one before it, and the picture grows with them."""
    ys = [float(each.get("y")) for each in drawn(long()).iter(f"{SVG}text") if (each.text or "").startswith("service_")]

    assert 40 == len(ys)
    assert min(b - a for a, b in zip(ys, ys[1:], strict=False)) >= 16
    assert int(drawn(long()).get("height")) > 40 * 16


@pytest.mark.parametrize("character", ["x", "W", "刷", "\u0301"])
def test_long_names_are_cut(character):
    """A name too long for its column ends with an ellipsis; the whole of it is shown on demand."""
    first = cause()
    name = character * 200
    root = drawn(Report(first, (first,), (outcome(name, 0, 1),), (), 1.0))
    (shown,) = [each for each in texts(root) if character * 3 in each]

    assert shown.endswith("…") and len(shown) < 60
    assert any(name in each for each in rows(root))


def test_hostile_text_is_text():
    """Markup in a name or a message is shown as it is; what XML cannot contain is shown as a replacement character."""
    root = drawn(hostile())
    cleaned = HOSTILE.translate(dict.fromkeys([0, 0x1B, 0xD800], "\ufffd"))

    assert any(cleaned in each for each in rows(root))
    assert any(cleaned[:12] in each for each in texts(root))
    assert [] == [*root.iter(f"{SVG}script")]


def test_each_verdict_has_a_class():
    """Whatever verdict there is, there is a colour for it."""
    style = drawn(empty()).find(f"{SVG}style").text

    assert [] == [verdict for verdict in Verdict if f".{verdict.replace(' ', '-')}{{" not in style]
