"""The page's steps, the secrets, the rights and the add-ons fit the manifests."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from infra.manifests import Document, containers, pods, ray_clusters

ROOT = Path(__file__).resolve().parents[2]


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


def test_the_page_makes_namespaces_before_all_else_and_deletes_them_after_all_else() -> None:
    page = (ROOT / "k8s" / "README.md").read_text()
    applied = re.findall(r"kubectl apply --server-side -k (\S+)", page)
    assert applied[0] == "k8s/namespaces"
    assert page.index("apply --server-side -k k8s/namespaces") < page.index("docker build")
    assert "rest='app.kubernetes.io/component != namespace'" in page
    deleted = re.findall(r"kubectl delete -k (\S+(?: -l \S+)?)|helm (-n \S+ uninstall)", page)
    assert deleted[-1][0] == "k8s/namespaces"
    assert all(what.endswith('-l "$rest"') for what, _ in deleted[:-1] if what)
    # a RayJob's finalizer is taken off by the operator, by rights that lie in the namespace
    assert [uninstall for _, uninstall in deleted].index("-n kuberay-system uninstall") == len(deleted) - 2


@pytest.mark.parametrize(
    ("secret", "keys"),
    [
        (("lhrnet", "lhrnet-s3"), {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}),
        (("lhrnet", "lhrnet-mlflow"), {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}),
        (("lhrnet", "lhrnet-ray"), {"auth_token"}),
        (("mlflow", "mlflow-s3"), {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}),
        (
            ("mlflow", "mlflow-auth"),
            {"MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"},
        ),
        (("object-store", "object-store-s3"), {"s3.json"}),
    ],
)
def test_secrets_hold_what_programs_read_from_their_environment(
    secrets: dict[tuple[str, str], dict[str, str]], secret: tuple[str, str], keys: set[str]
) -> None:
    assert set(secrets[secret]) == keys


def test_a_secret_is_what_was_written_character_by_character(
    secrets: dict[tuple[str, str], dict[str, str]], awkward: str
) -> None:
    assert secrets["mlflow", "mlflow-postgres"]["password"] == awkward
    assert secrets["lhrnet", "lhrnet-ray"] == {"auth_token": awkward}
    [identity] = json.loads(secrets["object-store", "object-store-s3"]["s3.json"])["identities"]
    assert identity["credentials"] == [{"accessKey": awkward, "secretKey": awkward}]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("POSTGRES_PASSWORD=change-me", "POSTGRES_PASSWORD is still 'change-me'"),
        ("POSTGRES_PASSWORD=", "POSTGRES_PASSWORD is empty"),
        ("POSTGRES_PASSWORT=x", "'POSTGRES_PASSWORT' is none of"),
        ("S3_ACCESS_KEY_ID=x", "S3_SECRET_ACCESS_KEY is not set"),
        ("POSTGRES_PASSWORD", "a line without '='"),
    ],
)
def test_secrets_that_are_not_filled_in_are_refused_and_none_is_printed(
    make_secrets: Callable[[Path], subprocess.CompletedProcess[str]], tmp_path: Path, line: str, complaint: str
) -> None:
    file = tmp_path / "secrets.env"
    file.write_text(line)
    done = make_secrets(file)
    assert done.returncode == 1
    assert done.stdout == ""
    assert complaint in done.stderr


def test_no_secret_is_a_word_of_a_command_which_every_user_may_read(
    kubectl: None, tmp_path: Path, awkward: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = {name: shutil.which(name) for name in ("kubectl", "sed", "printenv", "printf", "cat", "env")}
    (tmp_path / "bin").mkdir()
    for name, place in programs.items():
        told = tmp_path / "bin" / name
        told.write_text(f'#!/bin/sh\nprintf "%s\\n" "{name}" "$@" >> {tmp_path}/words\nexec {place} "$@"\n')
        told.chmod(0o755)
    example = (ROOT / "k8s" / "examples" / "secrets.env.example").read_text()
    (tmp_path / "secrets.env").write_text(re.sub(r"=change-me.*", lambda _: f"={awkward}", example))
    env = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "WITH_OBJECT_STORE": "1"}
    command = ["sh", str(ROOT / "k8s" / "examples" / "secrets.sh"), str(tmp_path / "secrets.env")]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)
    words = (tmp_path / "words").read_text()
    assert words.count("--from-env-file=/dev/stdin") == 7
    assert "two words" not in words


@pytest.mark.parametrize(
    ("failing", "started"),
    [("none", ["shard", "train", "evaluate", "submit", "promote"]), ("train", ["shard", "train"])],
)
def test_the_pages_jobs_start_one_after_the_other_and_stop_at_one_that_fails(
    tmp_path: Path, failing: str, started: list[str]
) -> None:
    """Pasted as it stands, with a kubectl by whose account a job runs at the first look and has ended at the next."""
    page = (ROOT / "k8s" / "README.md").read_text()
    block = page[page.index("       start() {") :].partition("\n\n")[0]
    programs = {
        "kubectl": f"""
            if [ "$1" = patch ]; then echo "start $3" >> {tmp_path}/log; exit; fi
            if [ ! -e {tmp_path}/$3 ]; then touch {tmp_path}/$3; echo Running; exit; fi
            echo "end $3" >> {tmp_path}/log
            if [ "$3" = {failing} ]; then echo Failed; else echo Complete; fi
        """,
        "sleep": "",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", block], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False, capture_output=True, timeout=60
    )
    assert done.returncode == (0 if failing == "none" else 1), done.stderr
    log = (tmp_path / "log").read_text().splitlines()
    assert log == [f"{what} {job}" for job in started for what in ("start", "end")]


def test_a_page_that_is_followed_from_top_to_bottom_finds_the_api_servers_port() -> None:
    """After step 5 the current namespace is another one, and `endpoints` are no longer kept by newer clusters."""
    page = (ROOT / "k8s" / "README.md").read_text()
    assert "get endpoints" not in page
    assert "kubectl -n default get endpointslices" in " ".join(page.split())


@pytest.mark.parametrize(
    ("overlay_name", "mlflow"),
    [("gpu-ondemand", "mlflow"), ("gpu-spot", "mlflow"), ("gpu-mixed", "mlflow"), ("local-cpu", "local-mlflow")],
)
def test_mlflow_keeps_artifacts_in_the_bucket_and_at_the_endpoint_of_the_runs(
    rendered: dict[str, list[Document]], overlay_name: str, mlflow: str
) -> None:
    [env] = [d["data"] for d in of_kind(rendered[overlay_name], "ConfigMap") if "LHRNET_BUCKET" in d["data"]]
    [server] = [d["data"] for d in of_kind(rendered[mlflow], "ConfigMap") if "MLFLOW_S3_ENDPOINT_URL" in d["data"]]
    assert server["MLFLOW_S3_ENDPOINT_URL"] == env["AWS_ENDPOINT_URL"]
    assert server["MLFLOW_ARTIFACTS_DESTINATION"].startswith(f"s3://{env['LHRNET_BUCKET']}/")
    assert server["AWS_DEFAULT_REGION"] == env["AWS_DEFAULT_REGION"]


def test_one_token_opens_every_dashboard_and_researchers_may_get_no_other_secret(overlay: list[Document]) -> None:
    for where, cluster in ray_clusters(overlay):
        assert cluster["authOptions"] == {"mode": "token", "secretName": "lhrnet-ray"}, where
    [role] = of_kind(overlay, "Role")
    may = {
        (group, resource): rule
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert may["", "secrets"]["resourceNames"] == ["lhrnet-ray"]
    assert may["", "secrets"]["verbs"] == ["get"]
    # kubectl asks by WebSocket (get) first
    assert set(may["", "pods/portforward"]["verbs"]) == {"get", "create"}
    # kubectl logs job/train; kubectl apply of a job with the settings it names
    assert "get" in may["batch", "jobs"]["verbs"]
    assert "get" in may["", "pods/log"]["verbs"]
    assert {"create", "patch"} <= set(may["", "configmaps"]["verbs"])


def test_a_job_is_applied_again_with_every_setting_that_it_names(overlay: list[Document]) -> None:
    page = (ROOT / "k8s" / "README.md").read_text()
    assert "-l 'app.kubernetes.io/component in (settings, train)'" in page
    settings = {
        item["metadata"]["name"]
        for item in of_kind(overlay, "ConfigMap")
        if item["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "settings"
    }
    for _, where, template in pods(overlay):
        if where.startswith("Ray"):
            for container in containers(template):
                names = {s["configMapRef"]["name"] for s in container["envFrom"] if "configMapRef" in s}
                assert names <= settings, where


def test_karpenters_pools_promise_the_labels_that_pods_select_by(rendered: dict[str, list[Document]]) -> None:
    text = (ROOT / "infra" / "addons" / "karpenter-nodepools.yaml").read_text()
    promised = []
    for pool in yaml.safe_load_all(text):
        template = pool["spec"]["template"]
        labels = dict(template["metadata"]["labels"])
        promised.append(labels | {r["key"]: r["values"][0] for r in template["spec"]["requirements"]})
    for name in ("gpu-ondemand", "gpu-spot", "gpu-mixed"):
        for _, where, pod in pods(rendered[name]):
            selector = pod["spec"].get("nodeSelector", {}).items()
            assert any(selector <= labels.items() for labels in promised), where


@pytest.mark.parametrize("file", sorted((ROOT / "infra" / "addons").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_add_on_states_its_exact_version_and_the_command_that_installs_it(file: Path) -> None:
    head = "\n".join(line for line in file.read_text().splitlines() if line.startswith("#"))
    [installed] = re.findall(r"helm install .+? --version v?(\d+\.\d+\.\d+)", head.replace("\\\n#", ""))
    assert len(re.findall(rf"\bv?{re.escape(installed)}\b", head)) >= 2


def test_discovery_driver_and_device_plugin_come_onto_the_nodes_of_every_pool() -> None:
    """Without them a node of the project's own pools never has a GPU to give, and is paid for."""
    addons = ROOT / "infra" / "addons"
    values = yaml.safe_load((addons / "nvidia-values.yaml").read_text())
    for tolerated in (values["daemonsets"]["tolerations"], values["node-feature-discovery"]["worker"]["tolerations"]):
        for pool in yaml.safe_load_all((addons / "karpenter-nodepools.yaml").read_text()):
            for taint in pool["spec"]["template"]["spec"]["taints"]:
                assert {"key": taint["key"], "operator": "Exists", "effect": taint["effect"]} in tolerated


def test_a_lost_head_has_time_to_come_back() -> None:
    values = yaml.safe_load((ROOT / "infra" / "addons" / "kuberay-values.yaml").read_text())
    env = {variable["name"]: variable["value"] for variable in values["env"]}
    assert int(env["RAYJOB_STATUS_CHECK_TIMEOUT_SECONDS"]) >= 1800
    # the chart has a limit of a tenth of a CPU, which Helm keeps unless it is taken away by name
    assert values["resources"]["limits"]["cpu"] is None


def test_kueue_lets_a_job_go_whose_pods_do_not_all_come_and_its_objects_are_of_todays_version(
    changed: Callable[..., list[Document]],
) -> None:
    values = yaml.safe_load((ROOT / "infra" / "addons" / "kueue-values.yaml").read_text())
    config = yaml.safe_load(values["managerConfig"]["controllerManagerConfigYaml"])
    assert config["apiVersion"] == "config.kueue.x-k8s.io/v1beta2"
    waits = config["waitForPodsReady"]
    assert "enable" not in waits, "v1beta2 has no such field"
    documents = changed("gpu-spot", "kueue")
    for job in of_kind(documents, "RayJob"):
        # Kueue first, or the operator would take the time as a failed attempt
        assert float(waits["timeout"].removesuffix("m")) * 60 < job["spec"]["preRunningDeadlineSeconds"]
    queues = [d["apiVersion"] for d in documents if d["kind"] in ("ResourceFlavor", "ClusterQueue", "LocalQueue")]
    assert queues == ["kueue.x-k8s.io/v1beta2"] * 3
