"""What a cluster's owner changes, each in one place: it reaches every pod that has to know."""

from collections.abc import Callable
from pathlib import Path

from infra.manifests import Document, containers, pods

ROOT = Path(__file__).resolve().parents[2]
TRAIN = "registry.example.com/lhrnet/train"


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


def test_image_bucket_and_endpoint_are_changed_in_one_place_each(changed: Callable[..., list[Document]]) -> None:
    documents = changed(
        "gpu-spot",
        images=[{"name": TRAIN, "newName": "ghcr.io/acme/pose", "newTag": "9.9"}],
        configMapGenerator=[
            {
                "name": "lhrnet-env",
                "namespace": "lhrnet",
                "behavior": "merge",
                "literals": ["LHRNET_BUCKET=acme", "AWS_ENDPOINT_URL=https://s3.acme.example"],
            }
        ],
    )
    images = {container["image"] for _, _, template in pods(documents) for container in containers(template)}
    assert images == {"ghcr.io/acme/pose:9.9"}
    [env] = [item for item in of_kind(documents, "ConfigMap") if item["metadata"]["name"].startswith("lhrnet-env-")]
    assert env["data"]["LHRNET_BUCKET"] == "acme"
    assert env["data"]["AWS_ENDPOINT_URL"] == "https://s3.acme.example"
    for _, where, template in pods(documents):
        for container in containers(template):
            names = {s["configMapRef"]["name"] for s in container["envFrom"] if "configMapRef" in s}
            assert env["metadata"]["name"] in names, where


def test_an_image_may_be_named_by_digest(changed: Callable[..., list[Document]]) -> None:
    digest = "sha256:" + 8 * "0123abcd"
    documents = changed("gpu-spot", images=[{"name": TRAIN, "digest": digest}])
    images = {container["image"] for _, _, template in pods(documents) for container in containers(template)}
    assert images == {f"{TRAIN}@{digest}"}


def test_the_image_that_is_pulled_ahead_is_the_workers_and_lands_where_they_do(
    changed: Callable[..., list[Document]],
) -> None:
    documents = changed("gpu-mixed", "image-prepull", images=[{"name": TRAIN, "newTag": "9.9"}])
    [ahead] = of_kind(documents, "DaemonSet")
    spec = ahead["spec"]["template"]["spec"]
    workers = [template["spec"] for _, where, template in pods(documents) if where.endswith(("/gpu", "/gpu-spot"))]
    assert len(workers) == 11
    for worker in workers:
        assert {spec["containers"][0]["image"]} == {container["image"] for container in worker["containers"]}
        assert all(toleration in spec["tolerations"] for toleration in worker["tolerations"])
    assert "nvidia.com/gpu" not in str(spec["containers"][0]["resources"])


def test_settings_of_nccl_stand_in_one_place_that_every_worker_reads(changed: Callable[..., list[Document]]) -> None:
    literals = ["NCCL_SOCKET_IFNAME=eth0", "FI_PROVIDER=efa"]
    generator = {"name": "lhrnet-env", "namespace": "lhrnet", "behavior": "merge", "literals": literals}
    documents = changed("gpu-mixed", configMapGenerator=[generator])
    [env] = [item for item in of_kind(documents, "ConfigMap") if "LHRNET_BUCKET" in item["data"]]
    assert {"NCCL_DEBUG", "NCCL_SOCKET_IFNAME", "FI_PROVIDER"} <= set(env["data"])
    for _, where, template in pods(documents):
        if where.endswith(("/gpu", "/gpu-spot")):
            [worker] = template["spec"]["containers"]
            assert {"configMapRef": {"name": env["metadata"]["name"]}} in worker["envFrom"], where
            assert not [variable for variable in worker.get("env", []) if variable["name"].startswith("NCCL")], where


def test_a_managed_database_takes_the_small_ones_place(changed: Callable[..., list[Document]]) -> None:
    documents = changed("../mlflow", "managed-postgres")
    assert not of_kind(documents, "StatefulSet")
    assert not [item for item in of_kind(documents, "Service") if item["metadata"]["name"] == "postgres"]
    # verify-full compares the server's certificate with the name that was asked for: the real one
    [env] = [item["data"] for item in of_kind(documents, "ConfigMap") if "PGHOST" in item["data"]]
    assert env["PGHOST"] == "postgres.example.com"
    assert env["PGSSLMODE"] == "verify-full"
    [server] = of_kind(documents, "Deployment")
    for container in containers(server["spec"]["template"]):
        variables = {variable["name"]: variable for variable in container["env"]}
        assert variables["PGHOST"]["valueFrom"]["configMapKeyRef"]["key"] == "PGHOST"
        assert variables["PGSSLMODE"]["valueFrom"]["configMapKeyRef"]["key"] == "PGSSLMODE"
        root = Path(variables["PGSSLROOTCERT"]["value"])
        [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "postgres-ca"]
        assert (mount["mountPath"], root.name) == (str(root.parent), "ca.pem")
        assert "ca.pem" in (ROOT / "k8s/components/managed-postgres/kustomization.yaml").read_text()
        # an address with a host of its own would win over PGHOST
        assert variables["MLFLOW_BACKEND_STORE_URI"]["value"] == "postgresql+psycopg2:///mlflow"
    [auth] = [item["data"] for item in of_kind(documents, "ConfigMap") if "basic_auth.ini" in item["data"]]
    assert "database_uri = postgresql+psycopg2:///mlflow_auth\n" in auth["basic_auth.ini"]
    policies = {item["metadata"]["name"]: item["spec"] for item in of_kind(documents, "NetworkPolicy")}
    assert "postgres" not in policies
    [rule] = policies["managed-postgres"]["egress"]
    assert rule["ports"] == [{"port": 5432, "protocol": "TCP"}]
    assert policies["managed-postgres"]["podSelector"] == policies["mlflow"]["podSelector"]
