"""The page's command for the development cluster, run as it is printed there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.manifests import Document
from infra.stack import Stack

ROOT = Path(__file__).resolve().parents[2]


def printed() -> str:
    """The command, its lines joined."""
    page = (ROOT / "k8s" / "README.md").read_text().replace("\\\n", " ")
    [command] = re.findall(r"^    (ray job submit .*)$", page, re.MULTILINE)
    return str(command)


@pytest.fixture(scope="module")
def head(rendered: dict[str, list[Document]]) -> dict[str, str]:
    """The environment of the development cluster's head, the part that ConfigMaps and its own variables make."""
    documents = rendered["gpu-spot"]
    [dev] = [document for document in documents if document["kind"] == "RayCluster"]
    [container] = dev["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    maps = {item["metadata"]["name"]: item["data"] for item in documents if item["kind"] == "ConfigMap"}
    env: dict[str, str] = {}
    for source in container["envFrom"]:
        env |= maps[source["configMapRef"]["name"]] if "configMapRef" in source else {}
    for variable in container["env"]:
        env[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda name: env[name[1]], variable["value"])
    return {name: value for name, value in env.items() if name.startswith("LHRNET_")}


def test_jobs_and_the_development_cluster_have_the_same_settings(overlay: list[Document]) -> None:
    [dev] = [document for document in overlay if document["kind"] == "RayCluster"]
    [container] = dev["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    for job in overlay:
        if job["kind"] == "RayJob":
            [submitter] = job["spec"]["submitterPodTemplate"]["spec"]["containers"]
            assert container["env"] == submitter["env"]


@pytest.mark.stack
def test_the_printed_command_reaches_lhrnet_with_the_heads_settings(
    ray_cluster: Stack, head: dict[str, str], tmp_path: Path
) -> None:
    """Run by a shell and by Ray, word by word; only, the verb that arrives shows its settings instead of training."""
    command = printed().replace("lhrnet train", "lhrnet config --json")
    assert "lhrnet config" in command
    # the head's environment is this machine's; what the overlay sets in it comes by way of Ray
    runtime = f"ray job submit --runtime-env-json '{json.dumps({'env_vars': head})}' "
    command = command.replace("ray job submit ", runtime).replace("--working-dir .", "")
    folder = Path(sys.executable).parent
    env = {**os.environ, **ray_cluster.env, "PATH": f"{folder}:{os.environ['PATH']}"}
    command = command.replace("jobs/configs", str(ROOT / "jobs" / "configs"))
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [shown] = re.findall(r"^\{$.*?^\}$", done.stdout, re.MULTILINE | re.DOTALL)
    settings = json.loads(shown)
    assert settings["name"] == "try"
    assert settings["storage"] == f"s3://{head['LHRNET_BUCKET']}/runs"
    assert settings["data"]["train"].startswith(f"s3://{head['LHRNET_BUCKET']}/shards/")
    assert settings["train"]["workers"] == 1
