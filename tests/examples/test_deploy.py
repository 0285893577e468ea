"""The programs and manifests of examples/deploy: the end of a pod without a cluster, and numbers that add up."""

from __future__ import annotations

import importlib.util
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples/deploy"

#: Seconds in which a pod that ends is still sent requests, and those that it goes on serving.
BEHIND, DELAY = 1.0, 3.0


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return door.getsockname()[1]


@pytest.fixture
def orders(program, port):
    """The service, ready."""
    if importlib.util.find_spec("uvicorn") is None:
        pytest.skip("the service needs uvicorn, which is not installed")
    env = {"PORT": str(port), "GRACEFUL_GRACE": "8", "GRACEFUL_DRAIN_DELAY": str(DELAY)}
    running = program(FOLDER / "orders.py", env=env)
    while status_of(port, "/ready") != 200:
        assert running.process.poll() is None, running.process.stderr.read().decode()
        time.sleep(0.05)  # another process's state
    return running


def status_of(port: int, path: str) -> int:
    """The status of the answer on a connection of its own; 0: there was none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


class Client(threading.Thread):
    """
    Sends one request after the other until it is told that the pod has ended: on one connection, as a proxy does, which it opens
    anew where the service has closed it after an answer; or each on its own.
    """

    def __init__(self, port: int, told: threading.Event, *, keeps: bool) -> None:
        super().__init__(daemon=True)
        self.port, self.told, self.keeps = port, told, keeps
        self.statuses: list[int] = []

    def run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.told.is_set():
            self.statuses.append(self._order_on(connection) if self.keeps else status_of(self.port, "/order"))
        connection.close()

    def _order_on(self, connection: HTTPConnection) -> int:
        try:
            connection.request("GET", "/order")
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except OSError:
            connection.close()
            return 0


def test_the_end_of_a_pod(orders, port):
    """
    While the endpoints are behind, requests arrive and are answered, those that the proxies have begun to send as well; the
    readiness probe fails at once; and the pod ends by itself, long before SIGKILL.
    """
    told = threading.Event()
    clients = [Client(port, told, keeps=keeps) for keeps in (True, True, False, False)]
    for client in clients:
        client.start()
    while min(len(client.statuses) for client in clients) < 2:
        time.sleep(0.02)  # they are at work
    before = [len(client.statuses) for client in clients]
    orders.send(signal.SIGTERM)
    while status_of(port, "/ready") == 200:
        assert time.monotonic() < orders.since + BEHIND
    probe = status_of(port, "/ready")
    told.wait(orders.since + BEHIND - time.monotonic())  # now the endpoints have caught up
    told.set()
    for client in clients:
        client.join()
    ended = orders.end()

    assert (503, 0) == (probe, ended.status), ended.err
    assert DELAY - 0.5 <= ended.took < 8  # less what a busy machine took away
    assert {200} == {status for client in clients for status in client.statuses}
    assert all(len(client.statuses) - already >= 1 for client, already in zip(clients, before, strict=True))


def test_a_job_that_is_cut_short(program, tmp_path):
    """It is not complete, the invoice at hand is written, and the next one goes on with the rest."""
    done = tmp_path / "done.txt"
    env = {"PYTHONUNBUFFERED": "1"}
    running = program(FOLDER / "invoices.py", args=["4", str(done)], env=env).wait_for("written: 1")
    cut_short = running.send(signal.SIGTERM).end()
    written = done.read_text()
    ended = program(FOLDER / "invoices.py", args=["4", str(done)], env=env).end()

    assert (-signal.SIGTERM, "") == (cut_short.status, cut_short.err)
    assert cut_short.lines == [f"written: {number}" for number in written.split()]
    assert "1\n2\n" == written  # the second was at hand
    assert (0, "complete", "1\n2\n3\n4\n") == (ended.status, ended.lines[-1], done.read_text())


@pytest.mark.parametrize("name", ["deployment", "job"])
def test_the_numbers_add_up(name):
    """What a pod may take, and the end of the interpreter, fit into the time until SIGKILL; the delay into the grace."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    pod = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["spec"]["template"]["spec"]
    [container] = pod["containers"]
    values = {each["name"]: float(each["value"]) for each in container["env"]}

    assert values["GRACEFUL_GRACE"] + 1 <= pod["terminationGracePeriodSeconds"]
    assert values.get("GRACEFUL_DRAIN_DELAY", 0) <= values["GRACEFUL_GRACE"] / 2
    assert container["securityContext"]["runAsNonRoot"]


def test_the_dockerfile():
    """The exec form, so that the program is PID 1; a signal that graceful takes; a user that is not root, by number."""
    lines = (FOLDER / "Dockerfile").read_text().splitlines()

    assert ['CMD ["python", "orders.py"]'] == [line for line in lines if line.startswith(("CMD", "ENTRYPOINT"))]
    assert {"USER 10001", "STOPSIGNAL SIGTERM"} <= {*lines}
