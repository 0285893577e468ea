"""The report as JSON, which keeps to its schema, as a gantt chart and as a trace."""

from __future__ import annotations

import asyncio
import itertools
import json
import re

import pytest
from support.failures import LIMIT, Mine, raise_mine
from support.reports import HOSTILE, REPORTS, ZERO, empty, eventful, hostile, outcome
from support.schema import schema_of, violations

from graceful import Cause, HookTimeout, Kind, Report, Verdict

SCHEMA = schema_of("report")


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPORTS)
def test_json_keeps_to_its_schema(name):
    """Whatever is in the report, its JSON is what the published schema says."""
    assert [] == violations(json.loads(REPORTS[name]().json()), SCHEMA)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("schema", "other"),
        ("took", "5"),
        ("cause", {"kind": "bored"}),
        ("outcomes", [{}]),
        ("outcomes", {}),
        ("more", 1),
    ],
)
def test_the_schema_is_checked(key, value):
    """What is wrong in a document is found."""
    assert [] != violations({**json.loads(eventful().json()), key: value}, SCHEMA)


@pytest.mark.parametrize("kind", Kind)
def test_json_of_each_kind(kind):
    """The schema knows each kind of cause."""
    assert [] == violations(json.loads(Report(Cause(kind, ZERO)).json()), SCHEMA)


def test_json_of_a_real_run(app, new_loop):
    """The report of a run, with hooks that fail and a failure, keeps to the schema and has what the report has."""

    @app.on_startup
    def connect(): ...

    @app.on_shutdown(timeout=0.05)
    async def hangs():
        await asyncio.sleep(LIMIT)

    @app.on_shutdown
    def fails():
        raise Mine("disk full")

    async def main():
        asyncio.get_running_loop().call_soon(raise_mine)
        await asyncio.sleep(LIMIT)

    with pytest.raises(Mine):
        app.run(main, loop_factory=new_loop)
    document = json.loads(app.report.json())
    assert [] == violations(document, SCHEMA)
    assert [("connect", "startup", "ok"), ("fails", "cleanup", "raised"), ("hangs", "cleanup", "timed out")] == [
        (each["hook"], each["stage"], each["verdict"]) for each in document["outcomes"]
    ]
    assert ("exception", 0.0, "Mine") == tuple(document["cause"][key] for key in ("kind", "at", "text"))
    assert [*app.report.outcomes[2].stack] == document["outcomes"][2]["stack"]
    assert document["outcomes"][1]["error"] == {"type": "support.failures.Mine", "text": "Mine: disk full"}
    assert document["outcomes"][2]["error"]["type"] == f"{HookTimeout.__module__}.HookTimeout"
    assert document["outcomes"][0]["at"] < 0 < document["outcomes"][2]["at"]
    assert app.report.took == pytest.approx(document["took"], abs=1e-6)


def test_json_after_a_signal():
    """A signal is named, the times are those since it, and the status is negative."""
    document = json.loads(eventful().json())

    assert ["SIGTERM", "SIGINT"] == [each["signal"] for each in document["causes"]]
    assert [0.0, 4.5] == [each["at"] for each in document["causes"]]
    assert -3600.0 == document["outcomes"][0]["at"]
    assert (-15, 3, 5.25) == (document["exit_status"], document["dropped"], document["took"])
    assert {"type": "KeyError", "text": "KeyError: 'early'"} == document["failures"][0]["exception"]


def test_an_exception_that_cannot_be_shown(app):
    """An exception whose __str__ raises costs nothing but its text."""

    class Broken(Exception):
        def __str__(self):
            raise RuntimeError

    report = Report(Cause(Kind.EXCEPTION, ZERO, exception=Broken()))
    assert "Broken" == json.loads(report.json())["cause"]["exception"]["text"]
    for draw in (report.svg, report.mermaid, report.trace):
        assert "Broken" in draw()


# --- Mermaid -----------------------------------------------------------------------------------------------------------


def test_the_whole_gantt_chart():
    """A section for each stage, a bar for each hook by verdict, a milestone for each cause and failure."""
    expected = """\
gantt
    title Shutdown SIGTERM (5.25 s, death by SIGTERM, 3 ok, 1 raised, 1 timed out, 1 cancelled, 1 skipped, \
3 earlier ones of on_exception not kept)
    dateFormat x
    axisFormat %S.%L
    section causes
    signal SIGTERM :milestone, r1, 0, 0ms
    signal SIGINT :milestone, r2, 4500, 0ms
    section startup
    connect :done, r3, 0, 1ms
    section drain
    stop_accepting :done, r4, 0, 400ms
    section cancel
    consume timed out :crit, r5, 400, 2000ms
    section cleanup
    flush raised :crit, r6, 2400, 2000ms
    close :done, r7, 2500, 1000ms
    Site.start.\u2039locals\u203a.leave cancelled :active, r8, 4400, 300ms
    bye skipped :r9, 5000, 1ms
    section failures
    KeyError 'early' :milestone, r10, 0, 0ms
    ValueError late :milestone, r11, 5000, 0ms"""
    assert expected == eventful().mermaid()


@pytest.mark.parametrize("name", REPORTS)
def test_each_line_of_a_gantt_chart(name):
    """Whatever the names are, no line has a colon, comma, semicolon or hash but those that belong there."""
    head, *rows = REPORTS[name]().mermaid().splitlines()

    assert "gantt" == head
    for row in rows[3:]:
        assert re.fullmatch(
            r"    (section [^:;,#%]+|[^:;,#%]+ :(milestone, |(done|crit|active), )?r\d+, \d+, \d+ms)", row
        ), row


def test_a_long_gantt_chart():
    """Beyond a minute the axis has minutes."""
    first = Cause(Kind.COMPLETED, ZERO)

    assert "axisFormat %M:%S" in Report(first, (first,), took=61.0).mermaid()


# --- the trace -------------------------------------------------------------------------------------------------------


def test_the_trace():
    """Each outcome is a slice, in microseconds on the clock of the process; causes, failures and the end are instants."""
    report = eventful()
    events = json.loads(report.trace())["traceEvents"]
    slices = {each["name"]: each for each in events if each["ph"] == "X"}
    moments = [(each["cat"], each["ts"]) for each in events if each["ph"] == "i"]

    assert {each.hook for each in report.outcomes} == {*slices}
    assert (1_002_400_000, 2_000_000) == (slices["flush"]["ts"], slices["flush"]["dur"])
    assert {"verdict": "raised", "where": "orders.py:12", "error": "OSError: disk full"} == slices["flush"]["args"]
    assert "orders.py:30 in consume\ntasks.py:7 in sleep" == slices["consume"]["args"]["stuck"]
    assert [
        ("cause", 1_000_000_000),
        ("cause", 1_004_500_000),
        ("failure", 990_000_000),
        ("failure", 1_005_000_000),
        ("over", 1_005_250_000),
    ] == moments


@pytest.mark.parametrize("name", REPORTS)
def test_slices_of_one_track_do_not_overlap(name):
    """A viewer nests slices of one track; hooks that ran beside each other are on tracks of their own, each with a name."""
    events = json.loads(REPORTS[name]().trace())["traceEvents"]
    slices = sorted((each for each in events if each["ph"] == "X"), key=lambda each: (each["tid"], each["ts"]))
    named = [each["tid"] for each in events if each["ph"] == "M"]

    for one, other in itertools.pairwise(slices):
        assert one["tid"] != other["tid"] or one["ts"] + one["dur"] <= other["ts"]
    assert len(named) == len({*named})
    assert {each["tid"] for each in slices} <= {*named}


def test_tracks_have_the_names_of_stages():
    """The second track of a stage has a number."""
    events = json.loads(eventful().trace())["traceEvents"]
    names = [each["args"]["name"] for each in events if each["name"] == "thread_name"]

    assert ["startup", "drain", "cancel", "cleanup", "cleanup (2)"] == names


def test_text_is_kept_in_json():
    """Text that is markup elsewhere is in the JSON and in the trace as it was."""
    assert HOSTILE == json.loads(hostile().json())["outcomes"][0]["hook"]
    assert HOSTILE in {each["name"] for each in json.loads(hostile().trace())["traceEvents"]}


def test_nothing_but_a_cause():
    """A report without hooks has every format."""
    assert "no hooks" in empty().mermaid()
    assert ["cause", "over"] == [e["cat"] for e in json.loads(empty().trace())["traceEvents"] if e["ph"] == "i"]
    assert [] == json.loads(empty().json())["causes"]


def test_verdicts_have_words():
    """Each verdict but ok stands beside the name in a gantt chart, whose colours are few."""
    for verdict in Verdict:
        first = Cause(Kind.COMPLETED, ZERO)
        chart = Report(first, (first,), (outcome("close", 0, 1, verdict),)).mermaid()
        assert ("close :" if verdict is Verdict.OK else f"close {verdict} :") in chart
