"""What a strict cluster asks of every pod, and what a bill asks of every job."""

import re
from pathlib import Path
from typing import Any

import pytest

from infra.manifests import Document, containers, pods, ray_clusters
from pipeline.cluster.capacity import trials_at_once
from pipeline.config.tree import load

ROOT = Path(__file__).resolve().parents[2]
OPERATORS = re.compile(r"[;&|`<>]|\$\(")


@pytest.fixture(scope="session")
def everything(overlay: list[Document], rendered: dict[str, list[Document]]) -> list[Document]:
    """An overlay and MLflow: what stands on one cluster."""
    return [*overlay, *rendered["mlflow"]]


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


def gigabytes(quantity: str) -> float:
    units = {"Mi": 2**-10, "Gi": 1.0, "Ti": 2**10}
    return float(quantity[:-2]) * units[quantity[-2:]]


def test_every_pod_and_container_is_fit_for_the_restricted_level(everything: list[Document]) -> None:
    for _, where, template in pods(everything):
        pod = template["spec"].get("securityContext", {})
        assert pod.get("runAsNonRoot") is True, where
        assert pod.get("runAsUser", 0) > 0, where
        assert pod.get("seccompProfile") == {"type": "RuntimeDefault"}, where
        for container in containers(template):
            context = container.get("securityContext", {})
            assert context.get("allowPrivilegeEscalation") is False, f"{where} {container['name']}"
            assert context.get("capabilities") == {"drop": ["ALL"]}, f"{where} {container['name']}"
    for where, cluster in ray_clusters(everything):
        context = cluster["autoscalerOptions"]["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, where
        assert context["capabilities"] == {"drop": ["ALL"]}, where


def test_every_namespace_enforces_the_restricted_level_and_denies_traffic_by_default(
    everything: list[Document],
) -> None:
    denied = {
        policy["metadata"]["namespace"]
        for policy in of_kind(everything, "NetworkPolicy")
        if policy["spec"]["podSelector"] == {} and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    }
    there = {namespace["metadata"]["name"] for namespace in of_kind(everything, "Namespace")}
    for namespace in of_kind(everything, "Namespace"):
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for where in {namespace for namespace, _, _ in pods(everything)}:
        assert where in there
        assert where in denied


def test_what_is_deleted_with_an_overlay_or_mlflow_leaves_disks_and_secrets(
    overlay: list[Document], rendered: dict[str, list[Document]]
) -> None:
    for document in [*overlay, *rendered["mlflow"]]:
        if document["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "namespace":
            continue  # the page leaves them out
        assert document["kind"] not in ("Namespace", "PersistentVolumeClaim", "Secret"), document["metadata"]["name"]
        if document["kind"] == "StatefulSet":
            kept = document["spec"]["persistentVolumeClaimRetentionPolicy"]
            assert kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_every_container_states_what_it_takes_so_that_the_quota_lets_it_in(everything: list[Document]) -> None:
    for _, where, template in pods(everything):
        for container in containers(template):
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), where
            assert "memory" in container["resources"]["limits"], where
    for where, cluster in ray_clusters(everything):
        assert {"cpu", "memory"} <= set(cluster["autoscalerOptions"]["resources"]["requests"]), where


def test_ray_workers_request_exactly_what_they_are_limited_to(everything: list[Document]) -> None:
    for where, cluster in ray_clusters(everything):
        for group in cluster["workerGroupSpecs"]:
            for container in containers(group["template"]):
                assert container["resources"]["requests"] == container["resources"]["limits"], where


def test_images_carry_a_version_and_all_of_rays_pods_the_same(everything: list[Document]) -> None:
    for _, where, template in pods(everything):
        for container in containers(template):
            assert re.search(r":[\w.-]+$", container["image"]), where
            assert not container["image"].endswith(":latest"), where
    rays = {
        container["image"]
        for _, where, template in pods(everything)
        if where.startswith("Ray")
        for container in containers(template)
    }
    assert len(rays) == 1


def test_the_stated_ray_is_the_one_in_the_image(everything: list[Document]) -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert {cluster["rayVersion"] for _, cluster in ray_clusters(everything)} == {pinned[1]}


def test_every_secret_and_configmap_that_a_pod_names_is_there_with_its_keys(
    everything: list[Document], secrets: dict[tuple[str, str], dict[str, str]]
) -> None:
    maps = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): set(item["data"])
        for item in of_kind(everything, "ConfigMap")
    }
    for namespace, where, template in pods(everything):
        wanted: list[tuple[dict[Any, Any], str, str | None]] = []
        for container in containers(template):
            for source in container.get("envFrom", []):
                for kind, known in (("secretRef", secrets), ("configMapRef", maps)):
                    if kind in source:
                        wanted.append((known, source[kind]["name"], None))
            for variable in container.get("env", []):
                for kind, known in (("secretKeyRef", secrets), ("configMapKeyRef", maps)):
                    if kind in variable.get("valueFrom", {}):
                        reference = variable["valueFrom"][kind]
                        wanted.append((known, reference["name"], reference["key"]))
        for volume in template["spec"].get("volumes", []):
            if "secret" in volume:
                wanted.append((secrets, volume["secret"]["secretName"], None))
            if "configMap" in volume and not volume["configMap"].get("optional"):
                wanted.append((maps, volume["configMap"]["name"], None))
        for known, name, key in wanted:
            assert (namespace, name) in known, f"{where} names {name}"
            assert key is None or key in known[namespace, name], f"{where} wants {key} of {name}"


def test_variables_of_an_entrypoint_are_set_where_the_submitter_fills_them_in(overlay: list[Document]) -> None:
    maps = {item["metadata"]["name"]: item["data"] for item in of_kind(overlay, "ConfigMap")}
    for job in of_kind(overlay, "RayJob"):
        [submitter] = job["spec"]["submitterPodTemplate"]["spec"]["containers"]
        there = {name for source in submitter["envFrom"] for name in maps[source["configMapRef"]["name"]]}
        own = {variable["name"]: variable["value"] for variable in submitter["env"]}
        assert set(re.findall(r"\$\((\w+)\)", " ".join(own.values()))) <= there
        assert set(re.findall(r"\$(\w+)", job["spec"]["entrypoint"])) <= there | set(own)


def test_every_entrypoint_is_one_command_that_begins_with_the_doctor(overlay: list[Document]) -> None:
    jobs = of_kind(overlay, "RayJob")
    assert {job["metadata"]["name"] for job in jobs} == {"shard", "train", "tune", "evaluate", "submit", "promote"}
    for job in jobs:
        entrypoint = job["spec"]["entrypoint"]
        # the submitter's shell would run on itself what comes after an operator
        assert not OPERATORS.search(entrypoint), entrypoint
        assert entrypoint.startswith(f"lhrnet doctor -- lhrnet {job['metadata']['name']} ")


def test_nothing_runs_and_nothing_costs_until_a_job_is_started(overlay: list[Document]) -> None:
    for document in overlay:
        if document["kind"] in ("RayJob", "RayCluster"):
            assert document["spec"]["suspend"] is True, document["metadata"]["name"]
    for where, cluster in ray_clusters(overlay):
        for group in cluster["workerGroupSpecs"]:
            assert group["minReplicas"] == 0, where
            assert group["replicas"] == 0 or not cluster["enableInTreeAutoscaling"], where
            assert group["maxReplicas"] > 0, where


def test_heads_stay_on_ordinary_nodes_and_compute_nothing(overlay: list[Document]) -> None:
    priorities = {item["metadata"]["name"]: item["value"] for item in of_kind(overlay, "PriorityClass")}
    for where, cluster in ray_clusters(overlay):
        head = cluster["headGroupSpec"]
        template = head["template"]
        assert head["rayStartParams"] == {"num-cpus": "0"}, where
        assert template["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
        assert template["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
        assert "tolerations" not in template["spec"], where
        assert "nodeSelector" not in template["spec"], where
        for group in cluster["workerGroupSpecs"]:
            above = priorities[template["spec"]["priorityClassName"]]
            assert above > priorities[group["template"]["spec"]["priorityClassName"]], where


def test_shared_memory_is_memory_and_fits_into_the_limit(overlay: list[Document]) -> None:
    for where, template in ((where, template) for _, where, template in pods(overlay) if where.startswith("Ray")):
        if where.endswith("/submitter"):
            continue
        [volume] = [volume for volume in template["spec"]["volumes"] if volume["name"] == "dshm"]
        assert volume["emptyDir"]["medium"] == "Memory", where
        [container] = template["spec"]["containers"]
        assert {"name": "dshm", "mountPath": "/dev/shm"} in container["volumeMounts"], where
        limit = gigabytes(container["resources"]["limits"]["memory"])
        assert gigabytes(volume["emptyDir"]["sizeLimit"]) <= limit / 2, where


def test_rays_object_store_lies_in_shared_memory_and_not_on_the_disk(overlay: list[Document]) -> None:
    """By Ray's own rules; what does not fit into /dev/shm goes to /tmp, with a warning that nobody reads."""
    import ray._common.utils as system
    from ray._private import services, utils

    rays = [(where, template) for _, where, template in pods(overlay) if where.startswith("Ray")]
    for where, template in rays:
        if where.endswith("/submitter"):
            continue
        [volume] = [volume for volume in template["spec"]["volumes"] if volume["name"] == "dshm"]
        limits = template["spec"]["containers"][0]["resources"]["limits"]
        memory = int(gigabytes(limits["memory"]) * 2**30)
        shared = int(gigabytes(volume["emptyDir"]["sizeLimit"]) * 2**30)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(utils, "get_shared_memory_bytes", lambda shared=shared: shared)
            patch.setattr(system, "get_system_memory", lambda *_, memory=memory: memory)
            store = utils.resolve_object_store_memory(memory)
            assert services.determine_plasma_store_config(store, "/tmp")[0] == "/dev/shm", where


def test_a_drain_takes_mlflow_along_and_waits_for_the_database_alone(rendered: dict[str, list[Document]]) -> None:
    budgets = of_kind(rendered["mlflow"], "PodDisruptionBudget")
    assert [budget["metadata"]["name"] for budget in budgets if budget["spec"]["maxUnavailable"] == 0] == ["postgres"]


def test_workers_have_a_cache_and_time_to_save(overlay: list[Document]) -> None:
    for where, cluster in ray_clusters(overlay):
        for group in cluster["workerGroupSpecs"]:
            spec = group["template"]["spec"]
            assert spec["terminationGracePeriodSeconds"] == 120, where
            assert {"name": "cache", "mountPath": "/cache"} in spec["containers"][0]["volumeMounts"], where


@pytest.mark.parametrize("name", ["gpu-ondemand", "gpu-spot", "gpu-mixed"])
def test_gpu_type_and_count_come_from_one_file(rendered: dict[str, list[Document]], name: str) -> None:
    [size] = [
        item["data"] for item in of_kind(rendered[name], "ConfigMap") if item["metadata"]["name"] == "lhrnet-size"
    ]
    assert int(size["LHRNET_WORKERS"]) == int(size["LHRNET_PODS"]) * int(size["LHRNET_GPUS"])
    assert size["LHRNET_TRIALS"] == size["LHRNET_WORKERS"], "a GPU a trial"
    groups = 0
    for where, cluster in ray_clusters(rendered[name]):
        for group in cluster["workerGroupSpecs"]:
            [container] = group["template"]["spec"]["containers"]
            if "nvidia.com/gpu" not in container["resources"]["limits"]:
                continue
            groups += 1
            of_size = {"nvidia.com/gpu": "LHRNET_GPUS", "cpu": "LHRNET_CPUS", "memory": "LHRNET_MEMORY"}
            for resource, key in of_size.items():
                assert container["resources"]["limits"][resource] == size[key], where
                assert container["resources"]["requests"][resource] == size[key], where
            assert group["template"]["spec"]["nodeSelector"]["nvidia.com/gpu.product"] == size["LHRNET_GPU_TYPE"]
            [shared] = [volume for volume in group["template"]["spec"]["volumes"] if volume["name"] == "dshm"]
            assert shared["emptyDir"]["sizeLimit"] == size["LHRNET_SHARED_MEMORY"], where
            assert group["maxReplicas"] == int(size["LHRNET_PODS"]), where
    assert groups >= 6


def test_the_cpu_overlay_asks_for_no_gpu_and_little_memory(rendered: dict[str, list[Document]]) -> None:
    for _, where, template in pods(rendered["local-cpu"]):
        assert "nodeSelector" not in template["spec"], where
        for container in containers(template):
            assert not [name for name in container["resources"]["limits"] if "gpu" in name], where
            assert gigabytes(container["resources"]["requests"]["memory"]) <= 3, where


@pytest.mark.parametrize("verb", ["shard", "train", "tune", "evaluate", "submit", "promote"])
def test_every_entrypoint_is_a_command_line_that_lhrnet_takes(overlay: list[Document], verb: str) -> None:
    from typer.main import get_command

    from jobs.cli import app
    from pipeline.config.tree import load

    command = get_command(app).commands.get(verb)  # type: ignore[attr-defined]
    if command is None:
        pytest.skip(f"lhrnet has no verb {verb} yet")
    maps = {item["metadata"]["name"]: item["data"] for item in of_kind(overlay, "ConfigMap")}
    [job] = [job for job in of_kind(overlay, "RayJob") if job["metadata"]["name"] == verb]
    [submitter] = job["spec"]["submitterPodTemplate"]["spec"]["containers"]
    env: dict[str, str] = {}
    for source in submitter["envFrom"]:
        env |= maps[source["configMapRef"]["name"]]
    for variable in submitter["env"]:
        env[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda found: env[found[1]], variable["value"])
    words = re.sub(r"\$(\w+)", lambda found: env[found[1]], job["spec"]["entrypoint"]).split()
    arguments = words[words.index("--") + 3 :]
    command.make_context(verb, list(arguments))
    if "-c" in arguments:
        config = arguments[arguments.index("-c") + 1].replace("/opt/lhrnet", str(ROOT))
        settings = load(config, [word for word in arguments if "=" in word])
        assert settings.storage == f"s3://{env['LHRNET_BUCKET']}/runs"
        assert settings.name == env["LHRNET_RUN"]
        assert settings.stream.cache == "/cache"
        if verb in ("train", "tune") and "LHRNET_CPUS" in env:
            assert float(env["LHRNET_CPUS"]) >= int(env["LHRNET_GPUS"]) * settings.train.cpus_per_worker
        for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
            [volume] = [volume for volume in group["template"]["spec"]["volumes"] if volume["name"] == "cache"]
            # a pod that outgrows its volume is evicted
            assert settings.stream.cache_gb < gigabytes(volume["emptyDir"]["sizeLimit"])


@pytest.mark.parametrize("name", ["local-cpu", "gpu-ondemand", "gpu-spot", "gpu-mixed"])
def test_the_trials_of_a_search_fit_the_pods_of_its_job(rendered: dict[str, list[Document]], name: str) -> None:
    data = [item.get("data", {}) for item in of_kind(rendered[name], "ConfigMap")]
    settings = {key: value for one in data for key, value in one.items()}
    [job] = [item for item in of_kind(rendered[name], "RayJob") if item["metadata"]["name"] == "tune"]
    assert "search.max_concurrent=$LHRNET_TRIALS" in job["spec"]["entrypoint"]
    nodes = []
    for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        most = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        node = {"CPU": float(most["cpu"]), "GPU": float(most.get("nvidia.com/gpu", 0))}
        nodes += [node] * group["maxReplicas"]
    config = load(ROOT / Path(settings["LHRNET_CONFIG"]).relative_to("/opt/lhrnet"), [])
    wanted = int(settings["LHRNET_TRIALS"])
    cpus, gpus = config.train.cpus_per_worker, float(config.train.device == "cuda")
    assert trials_at_once(nodes, workers=1, cpus=cpus, gpus=gpus, wanted=wanted, trials=99) == wanted
