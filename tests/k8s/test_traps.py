"""Each mistake that a control plane accepts, and that later costs a day or a bill, is refused here."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from infra.manifests import Document, containers, pods, ray_clusters

ROOT = Path(__file__).resolve().parents[2]


def jobs(documents: list[Document]) -> list[Document]:
    return [document for document in documents if document["kind"] == "RayJob"]


def test_every_instruction_applies_on_the_servers_side() -> None:
    said = 0
    for path in (ROOT / "README.md", ROOT / "k8s", ROOT / "infra" / "addons"):
        for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
            for line in file.read_text().splitlines():
                if "kubectl apply" in line:
                    said += 1
                    assert "--server-side" in line, f"{file}: {line}"
    assert said >= 4


def test_jobs_have_fixed_names_since_apply_cannot_generate_them(overlay: list[Document]) -> None:
    assert all("generateName" not in document["metadata"] for document in overlay)


def test_a_jobs_cluster_goes_away_by_exactly_one_rule(overlay: list[Document]) -> None:
    for job in jobs(overlay):
        spec = job["spec"]
        assert spec["shutdownAfterJobFinishes"] is True
        # its GPUs are let go that long after the end, and not before
        assert spec["ttlSecondsAfterFinished"] <= 60
        assert "deletionStrategy" not in spec, "the CRD accepts both, the operator refuses"


def test_what_needs_autoscaler_v2_has_it(overlay: list[Document]) -> None:
    for where, cluster in ray_clusters(overlay):
        needs = [group for group in cluster["workerGroupSpecs"] if {"idleTimeoutSeconds", "priority"} & set(group)]
        assert bool(needs) is cluster["enableInTreeAutoscaling"], where
        assert cluster["autoscalerOptions"]["version"] == "v2", "accepted without it, and never reconciled"


def test_with_autoscaler_v2_no_pod_restarts_by_itself(overlay: list[Document]) -> None:
    for _, where, template in pods(overlay):
        if where.startswith("Ray"):
            assert template["spec"].get("restartPolicy", "Never") == "Never", where


def test_a_head_keeps_the_token_its_autoscaler_needs_and_nobody_else_has_one(overlay: list[Document]) -> None:
    for _, where, template in pods(overlay):
        mounted = template["spec"].get("automountServiceAccountToken", True)
        assert mounted is where.endswith("/head"), where


def test_a_suspended_job_brings_its_own_cluster_and_may_try_again(overlay: list[Document]) -> None:
    for job in jobs(overlay):
        assert "clusterSelector" not in job["spec"], "excludes suspend and backoffLimit"
        assert job["spec"]["backoffLimit"] > 0
        assert job["spec"]["submitterConfig"]["backoffLimit"] > 0
        assert job["spec"]["submissionMode"] == "K8sJobMode"


def test_no_job_waits_or_runs_for_ever(overlay: list[Document]) -> None:
    for job in jobs(overlay):
        assert 0 < job["spec"]["preRunningDeadlineSeconds"] <= 3600
        assert job["spec"]["preRunningDeadlineSeconds"] < job["spec"]["activeDeadlineSeconds"] <= 7 * 86400


def test_names_leave_room_for_what_the_operator_adds(overlay: list[Document]) -> None:
    longest = {"RayJob": 47, "RayCluster": 53}
    for document in overlay:
        if document["kind"] in longest:
            assert len(document["metadata"]["name"]) <= longest[document["kind"]]


def test_patches_below_a_rayjob_are_json_patches_since_others_replace_whole_lists() -> None:
    found = 0
    for file in (ROOT / "k8s").rglob("kustomization.yaml"):
        for patch in yaml.safe_load(file.read_text()).get("patches", []):
            text = (file.parent / patch["path"]).read_text() if "path" in patch else patch["patch"]
            operations = yaml.safe_load(text)
            if isinstance(operations, dict) and operations.get("$patch") == "delete":
                continue  # takes away a whole object of a built-in kind
            found += 1
            assert isinstance(operations, list), file
            assert all({"op", "path"} <= set(operation) for operation in operations), file
    assert found >= 8


def test_generated_names_reach_rays_pods(overlay: list[Document]) -> None:
    [generated] = [
        document["metadata"]["name"]
        for document in overlay
        if document["kind"] == "ConfigMap" and document["metadata"]["name"].startswith("lhrnet-env")
    ]
    assert re.fullmatch(r"lhrnet-env-[a-z0-9]{10}", generated)
    for _, where, template in pods(overlay):
        if where.startswith("Ray"):
            for container in containers(template):
                names = [s["configMapRef"]["name"] for s in container["envFrom"] if "configMapRef" in s]
                assert generated in names, where


def test_rays_own_probes_are_left_alone_and_the_image_has_what_they_call(overlay: list[Document]) -> None:
    for _, where, template in pods(overlay):
        if where.startswith("Ray"):
            for container in containers(template):
                assert not {"livenessProbe", "readinessProbe", "startupProbe"} & set(container), where
    assert re.search(r"install .*\bwget\b", (ROOT / "infra" / "Dockerfile").read_text())


def test_ray_is_entered_by_token_only(overlay: list[Document]) -> None:
    for where, cluster in ray_clusters(overlay):
        assert cluster["authOptions"]["mode"] == "token", where


def test_spot_comes_first_where_both_kinds_of_nodes_are_used(rendered: dict[str, list[Document]]) -> None:
    mixed = 0
    for where, cluster in ray_clusters(rendered["gpu-mixed"]):
        groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
        if "gpu-spot" in groups:
            mixed += 1
            assert groups["gpu-spot"]["priority"] == 10, where
            assert groups["gpu"]["priority"] == 0, where
            assert "spot" in str(groups["gpu-spot"]["template"]["spec"]["nodeSelector"])
            assert "spot" not in str(groups["gpu"]["template"]["spec"]["nodeSelector"])
    assert mixed == 5


def test_on_the_spot_overlay_only_workers_go_to_spot_nodes(rendered: dict[str, list[Document]]) -> None:
    for _, where, template in pods(rendered["gpu-spot"]):
        on_spot = "spot" in str(template["spec"].get("nodeSelector", {}))
        assert on_spot is (where.endswith("/gpu")), where


def test_training_workers_are_told_to_save_before_ray_is_ended(overlay: list[Document]) -> None:
    for _, where, template in pods(overlay):
        if where.endswith(("/gpu", "/gpu-spot")):
            worker = template["spec"]["containers"][0]
            command = worker["lifecycle"]["preStop"]["exec"]["command"]
            assert command[:3] == ["python", "-m", "pipeline.cluster.prestop"], where
            assert float(command[-1]) < template["spec"]["terminationGracePeriodSeconds"], where


def test_clients_name_mlflow_as_its_server_allows(overlay: list[Document], rendered: dict[str, list[Document]]) -> None:
    [env] = [d["data"] for d in overlay if d["kind"] == "ConfigMap" and "MLFLOW_TRACKING_URI" in d["data"]]
    [server] = [
        d["data"] for d in rendered["mlflow"] if d["kind"] == "ConfigMap" and "MLFLOW_SERVER_ALLOWED_HOSTS" in d["data"]
    ]
    host = env["MLFLOW_TRACKING_URI"].removeprefix("http://")
    assert host in server["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert server["MLFLOW_ARTIFACTS_DESTINATION"].startswith("s3://")


@pytest.mark.parametrize("name", ["gpu-ondemand", "gpu-spot", "local-cpu"])
def test_kueue_gets_every_job_as_a_gang_that_it_admits(changed: Callable[..., list[Document]], name: str) -> None:
    documents = changed(name, "kueue")
    queues = {d["metadata"]["name"] for d in documents if d["kind"] == "LocalQueue"}
    [queue] = [d["spec"] for d in documents if d["kind"] == "ClusterQueue"]
    covered = set(queue["resourceGroups"][0]["coveredResources"])
    assert covered == {entry["name"] for entry in queue["resourceGroups"][0]["flavors"][0]["resources"]}
    for job in jobs(documents):
        name = job["metadata"]["name"]
        assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] in queues
        cluster = job["spec"]["rayClusterSpec"]
        assert cluster["enableInTreeAutoscaling"] is False, "Kueue's webhook refuses it"
        [group] = cluster["workerGroupSpecs"]
        assert not {"idleTimeoutSeconds", "priority"} & set(group), "they want an autoscaler"
        whole = name in ("train", "tune", "shard")
        assert group["replicas"] == (group["maxReplicas"] if whole else 1), name
        for _, where, template in pods([job]):
            for container in containers(template):
                assert set(container["resources"]["requests"]) <= covered, f"{where}: Kueue has no quota for it"


def test_kueue_and_a_choice_between_two_groups_do_not_go_together(changed: Callable[..., list[Document]]) -> None:
    with pytest.raises(ValueError, match="priority"):
        changed("gpu-mixed", "kueue")
