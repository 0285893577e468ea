"""
What happens to programs in real containers: an image of examples/deploy is built, run and stopped by podman.

Each step below returns what was seen. The programs are examples/deploy itself, and those in `PROGRAMS`, which run in the same
image. A container with the name NAME has `NAME.words` in the folder as its /dev/termination-log.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import textwrap
import time
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "examples/deploy"

#: What the image needs, and the module of each.
DISTRIBUTIONS = {
    "graceful-asyncio": "graceful",
    "typing_extensions": "typing_extensions",
    "uvicorn": "uvicorn",
    "click": "click",
    "h11": "h11",
}

PRELUDE = """
import asyncio, hashlib, os, signal
from graceful import App
"""

PROGRAMS = {
    "failing": """
        app = App("failing")
        @app.background
        async def consume():
            raise ConnectionError("the exchange hung up")
        app.run()
    """,
    "hanging": """
        app = App("hanging", grace=4)
        @app.on_shutdown(timeout=0.5)
        async def disconnect():
            await asyncio.sleep(60)
        async def main():
            print("ready")
            await asyncio.sleep(60)
        app.run(main)
    """,
    "stuck": """
        app = App("stuck", grace=1)
        @app.on_shutdown
        def sign():
            hashlib.pbkdf2_hmac("sha512", b"", b"", 10**9)
        async def main():
            print("ready")
            await asyncio.sleep(60)
        app.run(main)
    """,
    "impatient": """
        app = App("impatient", grace=60, debounce=0.05)
        def note(step):                                # the second Ctrl-C leaves it 2 s; to ask podman for a log takes longer
            with open("/steps", "a") as file:
                file.write(step)
        @app.on_shutdown
        async def flush():
            note("flushing")
            try:
                await asyncio.sleep(60)
            finally:
                note("hurried")
                await asyncio.sleep(60)
        async def main():
            print("ready")
            await asyncio.sleep(60)
        app.run(main)
    """,
    "parent": """
        app = App("parent")
        async def main():
            shell = await app.create_subprocess_shell(
                "(exec sleep 0.3) & echo $!", stdout=asyncio.subprocess.PIPE
            )
            orphan = int(await shell.stdout.readline())
            await shell.wait()
            while os.path.exists(f"/proc/{orphan}"):
                await asyncio.sleep(0.02)
            print("pid", os.getpid(), "has reaped an orphan")
            await asyncio.sleep(60)
        app.run(main)
    """,
}


def repack(name: str, module: str, folder: Path) -> None:
    """Make a wheel of an installed distribution: nothing is downloaded, and no build backend is needed."""
    spec, distribution = importlib.util.find_spec(module), importlib.metadata.distribution(name)
    root = Path(spec.origin)
    paths = [root]
    if spec.submodule_search_locations:
        root = root.parent
        paths = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    title = f"{name.replace('-', '_')}-{distribution.version}"
    files = {path.relative_to(root.parent).as_posix(): path.read_bytes() for path in paths}
    files[f"{title}.dist-info/METADATA"] = distribution.read_text("METADATA").encode()
    files[f"{title}.dist-info/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{title}.dist-info/RECORD"] = "".join(f"{path},,\n" for path in files).encode()
    with zipfile.ZipFile(folder / f"{title}-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)


class Podman:
    """
    Args:
        with_podman: What runs a command where podman works. It writes podman's settings anew at each call, and a podman that
            reads them meanwhile finds an empty file: it is asked once, and the settings are copied.
        folder: What the containers share with us.
    """

    def __init__(self, with_podman: Path, folder: Path) -> None:
        self.folder = folder
        settings = folder / "containers.conf"
        show = [with_podman, "sh", "-c", 'cat "$CONTAINERS_CONF"']
        settings.write_text(until(lambda: subprocess.check_output(show, text=True), "podman's settings"))
        self._environment = {**os.environ, "CONTAINERS_CONF": str(settings)}
        self.name = f"graceful-{os.getpid()}"
        self.image = f"localhost/{self.name}"
        folder.chmod(0o755)  # the programs do not run as root

    def call(self, *arguments: object, check: bool = True) -> str:
        command = ["podman", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment)
        if check and done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def build(self) -> None:
        """Build the image from the Dockerfile of examples/deploy as it is, with wheels from here; a cache would not notice others."""
        context, wheels = self.folder / "context", self.folder / "wheels"
        shutil.copytree(DEPLOY, context)
        wheels.mkdir()
        for name, module in DISTRIBUTIONS.items():
            repack(name, module, wheels)
        requirements = context / "requirements.txt"
        requirements.write_text(f"--no-index\n--find-links /wheels\n{requirements.read_text()}")
        base = ("--build-arg", "BASE=localhost/python:3")
        self.call(
            "build",
            "-q",
            "--no-cache",
            "--network=none",
            *base,
            "-v",
            f"{wheels}:/wheels:ro",
            "-t",
            self.image,
            context,
        )

    def remove(self) -> None:
        """Everything that is left."""
        self.call("pod", "rm", "-f", *self._left("pod"), check=False)
        self.call("rm", "-f", "-t", "0", *self._left("container"), check=False)
        self.call("rmi", "-f", self.image, check=False)

    def _left(self, kind: str) -> list[str]:
        return self.call(kind, "ls", "-a", "-q", "--filter", f"name={self.name}", check=False).split()

    def words_file(self, name: str) -> Path:
        """An empty file for the last words, as Kubernetes makes it: everybody may write to it."""
        path = self.folder / f"{name}.words"
        path.touch()
        path.chmod(0o666)
        return path

    def run(self, name: str, *command: str, options: tuple[object, ...] = ()) -> Container:
        """Start a container; without a command that of the image."""
        words = self.words_file(name)
        mounts = ("-v", f"{words}:/dev/termination-log", "-v", f"{self.folder}:/programs:ro")
        container = Container(self, f"{self.name}-{name}", words)
        self.call("run", "-d", "--name", container.name, *mounts, *options, self.image, *command)
        return container

    def program(self, name: str, *options: str) -> Container:
        """Start one of `PROGRAMS`."""
        (self.folder / f"{name}.py").write_text(PRELUDE + textwrap.dedent(PROGRAMS[name]))
        return self.run(name, "python", f"/programs/{name}.py", options=("--network=none", *options))

    def play(self, name: str, manifest: dict) -> tuple[Path, Container]:
        """Start what a manifest of Kubernetes describes, JSON being YAML; it has one container."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(manifest))
        self.call("kube", "play", path)
        container = self.call("ps", "-a", "--format", "{{.Names}}", "--filter", f"name={name}.*-main").split()
        return path, Container(self, container[0], self.folder / f"{name}.words")


class Container:
    """A container that was started."""

    def __init__(self, podman: Podman, name: str, words: Path) -> None:
        self.name = name
        self._call = podman.call
        self._words = words

    def logs(self) -> str:
        """What it has printed so far; what it says on stderr is not in it."""
        return self._call("logs", self.name)

    def wait_for(self, text: str) -> Container:
        until(lambda: text in self.logs(), text)
        return self

    def pid(self) -> int:
        """Which process of ours is its PID 1: a signal from here is there at once, and `podman kill` takes a second."""
        return int(self._call("inspect", self.name, "--format", "{{.State.Pid}}"))

    def stop(self, seconds: int = 10) -> float:
        """Stop it as Docker does; returns the seconds it took."""
        began = time.monotonic()
        self._call("stop", "-t", seconds, self.name)
        return time.monotonic() - began

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns its status, and its last words."""
        return int(self._call("wait", self.name)), self._words.read_text()


def until(condition, what: str, limit: float = 20):
    """Look again and again, for this is another process's state: `condition`'s first true value."""
    end = time.monotonic() + limit
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} was not seen")
        time.sleep(0.05)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return door.getsockname()[1]


def status_of(url: str) -> int:
    """The status of the answer; 0: nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


# --- the steps -------------------------------------------------------------------------------------------------------


def image(podman: Podman):
    """The signal that stops it, the user, and the exec form."""
    config = json.loads(podman.call("image", "inspect", podman.image))[0]["Config"]
    return config["StopSignal"], config["User"], config["Cmd"]


def service(podman: Podman):
    """The service: stopped long before Docker would kill it, with status 0 and no words."""
    port = free_port()
    container = podman.run("service", options=("--network=host", "--read-only", "-e", f"PORT={port}"))
    until(lambda: status_of(f"http://127.0.0.1:{port}/ready") == 200, "ready")
    return container.stop() < 10, container.end()


def pid_1(podman: Podman):
    """A program that is cut short: 128 + 15, because PID 1 cannot die by a signal of its own; and it reaps orphans."""
    container = podman.program("parent").wait_for("pid 1 has reaped an orphan")
    return container.stop() < 10, container.end()


def failure(podman: Podman):
    status, words = podman.program("failing").end()
    return status, words.splitlines()[:2]


def hook_timeout(podman: Podman):
    container = podman.program("hanging").wait_for("ready")
    in_time = container.stop() < 10
    status, words = container.end()
    return in_time, status, words.splitlines()[0], "in disconnect" in words


def forced_by_deadline(podman: Podman):
    container = podman.program("stuck").wait_for("ready")
    in_time = container.stop() < 10
    status, words = container.end()
    return in_time, status, words.splitlines()[0], "in sign" in words


def forced_by_ctrl_c(podman: Podman):
    """Three times, each after the time of an echo."""
    steps = podman.folder / "steps"
    steps.touch()
    steps.chmod(0o666)
    container = podman.program("impatient", "-v", f"{steps}:/steps").wait_for("ready")
    pid = container.pid()
    for step in ("flushing", "hurried", ""):
        os.kill(pid, signal.SIGINT)
        until(lambda step=step: step in steps.read_text(), step)
        time.sleep(0.1)  # not to synchronise: the debounce is a time
    status, words = container.end()
    return status, words.splitlines()[0], "in flush" in words


def adapted(podman: Podman, name: str, pod: dict) -> dict:
    """
    What podman's `kube play` and this machine need of a pod: the image that was built, the network of the host and no ports
    for that, files of the host in the place of volumes, and of /dev/termination-log.
    """
    [container] = pod["containers"]
    container.update(image=podman.image, imagePullPolicy="Never", name="main")
    container.pop("ports", None)
    mounts = container.setdefault("volumeMounts", [])
    mounts.append({"name": "words", "mountPath": "/dev/termination-log"})
    for volume in pod.setdefault("volumes", []):
        folder = podman.folder / volume["name"]
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        volume.pop("persistentVolumeClaim", None)
        volume["hostPath"] = {"path": str(folder), "type": "Directory"}
    pod["volumes"].append({"name": "words", "hostPath": {"path": str(podman.words_file(name)), "type": "File"}})
    pod.pop("securityContext", None)  # fsGroup: the folders above can be written
    pod["hostNetwork"] = True
    return pod


def stop_pod(podman: Podman, container: Container, path: Path, seconds: int) -> tuple[float, int, str]:
    """As the kubelet does; returns the seconds it took, the status, and the last words."""
    pod = podman.call("inspect", container.name, "--format", "{{.Pod}}")
    began = time.monotonic()
    podman.call("pod", "stop", "-t", seconds, pod)
    took = time.monotonic() - began
    ended = container.end()
    podman.call("kube", "down", path)
    return took, *ended


def deployment(podman: Podman, manifest: dict):
    """The Deployment: not ready as soon as it is told to stop, and serving for GRACEFUL_DRAIN_DELAY more."""
    name, port = f"{podman.name}-deployment", free_port()
    manifest["metadata"]["name"], manifest["spec"]["replicas"] = name, 1
    pod = adapted(podman, name, manifest["spec"]["template"]["spec"])
    [container] = pod["containers"]
    delay = next(float(each["value"]) for each in container["env"] if each["name"] == "GRACEFUL_DRAIN_DELAY")
    container["env"].append({"name": "PORT", "value": str(port)})
    path, container = podman.play(name, manifest)
    url = f"http://127.0.0.1:{port}"
    until(lambda: status_of(f"{url}/ready") == 200, "ready")
    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(stop_pod, podman, container, path, pod["terminationGracePeriodSeconds"])
        until(lambda: status_of(f"{url}/ready") == 503, "not ready")
        ordered = [status_of(f"{url}/order") for _ in range(3)]
        took, status, words = stopped.result()
    return ordered, delay <= took < pod["terminationGracePeriodSeconds"], status, words


def job(podman: Podman, manifest: dict):
    """The Job: cut short it is not complete, and no invoice is lost or written twice by the one that goes on."""
    name = f"{podman.name}-job"
    pod = adapted(podman, name, manifest["spec"]["template"]["spec"])
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod}  # podman 4 plays no Jobs
    path, container = podman.play(name, manifest)
    done = podman.folder / "data/done.txt"
    until(lambda: done.exists() and done.read_text().count("\n") >= 2, "two invoices")
    took, *cut_short = stop_pod(podman, container, path, pod["terminationGracePeriodSeconds"])
    written = done.read_text().splitlines()
    pod["containers"][0]["command"][2] = str(len(written) + 1)
    path, container = podman.play(name, manifest)
    complete = container.end()
    podman.call("kube", "down", path)
    numbers = [*map(int, done.read_text().split())]
    return took < 10, cut_short, complete, numbers == [*range(1, len(written) + 2)]


def steps(podman: Podman, manifests: dict[str, dict]) -> dict[str, functools.partial]:
    """All of them, by name; they may run side by side."""
    plain = [image, service, pid_1, failure, hook_timeout, forced_by_deadline, forced_by_ctrl_c]
    return {
        **{step.__name__: functools.partial(step, podman) for step in plain},
        **{step.__name__: functools.partial(step, podman, manifests[step.__name__]) for step in (deployment, job)},
    }
