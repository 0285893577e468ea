"""Programs in real containers: what podman, and Kubernetes' manifests played by it, make of them."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.containers import DEPLOY, Podman, steps

WITH_PODMAN = Path(os.environ.get("WITH_PODMAN") or Path(__file__).parents[3] / "shared/tools/with-podman")

SEEN = {
    "image": ("SIGTERM", "10001", ["python", "orders.py"]),
    "service": (True, (0, "")),
    "pid_1": (True, (143, "")),
    "failure": (
        1,
        [
            "failing did not end cleanly (ConnectionError: the exchange hung up), exit status 1:",
            "task 'consume' failed: ConnectionError: the exchange hung up",
        ],
    ),
    "hook_timeout": (True, 1, "hanging did not end cleanly (SIGTERM), exit status 1:", True),
    "forced_by_deadline": (True, 70, "stuck did not end within 1 s of SIGTERM; still running:", True),
    "forced_by_ctrl_c": (
        130,
        "impatient was ended by SIGINT before its cleanup had finished; still running:",
        True,
    ),
    "deployment": ([200, 200, 200], True, 0, ""),
    "job": (True, [143, ""], (0, ""), True),
}


def missing() -> str:
    """Why there is no podman here; empty: there is."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "with-podman needs Linux and root"
    if not WITH_PODMAN.exists():
        return f"there is no {WITH_PODMAN}"
    return ""


@pytest.mark.skipif(missing() != "", reason=missing())
def test_containers(tmp_path):
    """
    The image stops within Docker's 10 s, as PID 1 that reaps orphans, with the status of section "How it ends"; each end that is
    not clean leaves its words in /dev/termination-log; the Deployment serves while it is told to stop, the Job is not complete.
    """
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("uvicorn")
    tried = subprocess.run([WITH_PODMAN, "true"], capture_output=True, text=True, timeout=300, check=False)
    if tried.returncode == 125:
        pytest.skip(f"no container can be run here: {tried.stderr.strip()[-300:]}")
    manifests = {name: yaml.safe_load((DEPLOY / f"{name}.yaml").read_text()) for name in ("deployment", "job")}
    podman = Podman(WITH_PODMAN, tmp_path)
    try:
        podman.build()
        with ThreadPoolExecutor(4) as pool:
            seen = {name: pool.submit(step) for name, step in steps(podman, manifests).items()}
            seen = {name: step.result() for name, step in seen.items()}
    finally:
        podman.remove()

    assert SEEN == seen
