"""
Run the tests of one module of CPython's, in a process of its own: `python -m support.cpython.worker MODE FILE MODULE [ID...]`.

Each test writes a line of JSON to FILE as it begins, and another one that replaces it as it ends. If the process is run
again after a test has ended it, with the same FILE, it goes on behind that test.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import traceback
import unittest
import warnings

#: From the best to the worst: a test with several results, such as that of each subtest, has the worst. What a
#: KeyboardInterrupt has left has none.
RANK = ["interrupted", "ok", "skip", "expected failure", "unexpected success", "fail", "error"]


#: A test that takes longer ends the process.
TEST_SECONDS = 30


class Recorder(unittest.TestResult):
    """Writes down the result of each test."""

    def __init__(self, file, apps):
        super().__init__()
        self.file = file
        self.apps = apps
        self.worst, self.text, self.before = RANK[0], "", 0
        self.seen = {json.loads(line)["id"] for line in file}

    def startTest(self, test):
        super().startTest(test)
        self.worst, self.text, self.before = "no result", "", self.apps()
        self.write(test.id(), 0)
        self.worst = RANK[0]
        faulthandler.dump_traceback_later(TEST_SECONDS, exit=True)

    def stopTest(self, test):
        super().stopTest(test)
        faulthandler.cancel_dump_traceback_later()
        self.write(test.id(), self.apps() - self.before)

    def write(self, test_id, apps):
        self.seen.add(test_id)
        line = {"id": test_id, "result": self.worst, "text": self.text, "apps": apps}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def note(self, test, result, text=""):
        self.worst = max(self.worst, result, key=RANK.index)
        self.text += text
        if not isinstance(test, unittest.TestCase):  # the set-up of a class or a module, which is no test
            self.write(test.id(), 0)

    def addSuccess(self, test):
        self.note(test, "ok")

    def addSkip(self, test, reason):
        self.note(test, "skip", reason)

    def addFailure(self, test, err):
        self.note(test, "fail", shown(err))

    def addError(self, test, err):
        self.note(test, "error", shown(err))

    def addExpectedFailure(self, test, err):
        self.note(test, "expected failure")

    def addUnexpectedSuccess(self, test):
        self.note(test, "unexpected success")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note(test, "fail" if issubclass(err[0], test.failureException) else "error", shown(err))


def shown(err):
    return "".join(traceback.format_exception(*err))


def each_test(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from each_test(part)
        else:
            yield part


def tests_of(module, wanted):
    """The tests of a module for which `wanted(id)` is true, in the order in which unittest runs them."""
    suite = unittest.defaultTestLoader.loadTestsFromName(module)
    return unittest.TestSuite(test for test in each_test(suite) if wanted(test.id()))


def run_all(module, wanted, recorder):
    """Run these tests. A KeyboardInterrupt that leaves a test ends `suite.run`; the tests after it are run all the same."""
    while suite := [*tests_of(module, lambda each: each not in recorder.seen and (not wanted or each in wanted))]:
        before = len(recorder.seen)
        try:
            unittest.TestSuite(suite).run(recorder)
        except KeyboardInterrupt:
            if len(recorder.seen) > before:
                continue
            raise
        return


def main(mode, path, module, *wanted):
    faulthandler.enable()
    apps = None
    if mode != "plain":
        from support.cpython.inside import Apps  # not in the mode `plain`: it imports graceful

        apps = Apps()
        apps.install(mode)
    with open(path, "a+", encoding="utf-8") as file, warnings.catch_warnings():
        warnings.simplefilter("default")
        file.seek(0)
        run_all(module, {*wanted}, Recorder(file, lambda: apps.count if apps else 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
