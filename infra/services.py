"""The three servers that run beside us: how each is started, and how one sees that it is ready."""

import contextlib
import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping
from pathlib import Path

from infra.ports import GRPC_OFFSET

PORTS = (
    "s3",
    "mlflow",
    "dashboard",
    "gcs",
    "master",
    "volume",
    "filer",
    "ray-client",
    "ray-agent",
    "ray-metrics",
)
"""Names of all ports; the first four are the ones that a person may want to choose."""

RAY_HOST = "127.0.0.2"
"""Ray rewrites 127.0.0.1 to the network card's address; this one it keeps."""

BUCKET = "lhrnet"
ACCESS_KEY = "lhrnet"
SECRET_KEY = "lhrnet-local-only"

RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",
    # A plain ray.init() leaves a token in ~/.ray, and with one there Ray would ask every client for it.
    "RAY_AUTH_MODE": "disabled",
}


def client_environment(ports: Mapping[str, int]) -> dict[str, str]:
    """What a process needs in its environment to use the stack."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports['mlflow']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_ADDRESS": f"http://127.0.0.1:{ports['dashboard']}",
        "OMP_NUM_THREADS": "1",
        **RAY_SETTINGS,
    }


def server_environment(ports: Mapping[str, int]) -> dict[str, str]:
    """What the servers run with: ours on top of the caller's, our own programs first on the path."""
    env = {**os.environ, **client_environment(ports)}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"
    env["MLFLOW_S3_ENDPOINT_URL"] = env["AWS_ENDPOINT_URL"]
    env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    # one machine that stalls or sleeps for a minute is not a lost node
    env["RAY_health_check_failure_threshold"] = "100"
    # drivers want the cluster's address, not the job server's; without one, Ray's own helpers search the machine
    # for clusters and give up where they find a second
    env["RAY_ADDRESS"] = f"{RAY_HOST}:{ports['gcs']}"
    return env


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def object_store_command(folder: Path, ports: Mapping[str, int]) -> list[str]:
    """SeaweedFS: master, volume server, filer and S3 gateway in one process."""
    data = folder / "object-store"
    data.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "lhrnet",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}, indent=2))
    return [
        _program("weed"),
        "-logtostderr=true",
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        f"-master.port={ports['master']}",
        "-master.volumeSizeLimitMB=256",
        f"-volume.port={ports['volume']}",
        "-volume.max=50",
        "-volume.preStopSeconds=1",
        "-filer",
        f"-filer.port={ports['filer']}",
        "-s3",
        f"-s3.port={ports['s3']}",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]


def remove_sockets(ports: Mapping[str, int]) -> None:
    """Delete the Unix sockets that SeaweedFS leaves in /tmp, one or two for each of its ports."""
    for name in ("master", "volume", "filer", "s3"):
        for port in (ports.get(name), ports.get(name, 0) + GRPC_OFFSET):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket.unlink(missing_ok=True)


def mlflow_command(folder: Path, ports: Mapping[str, int]) -> list[str]:
    """MLflow on SQLite, artifacts in the object store."""
    return [
        _program("mlflow"),
        "server",
        f"--backend-store-uri=sqlite:///{folder / 'mlflow.db'}",
        f"--artifacts-destination=s3://{BUCKET}/mlflow",
        "--host=127.0.0.1",
        f"--port={ports['mlflow']}",
        "--workers=1",
    ]


def ray_folder(folder: Path) -> Path:
    """Where Ray keeps its sessions: a short path, because its Unix sockets lie in it (107 bytes at most)."""
    root = Path(tempfile.gettempdir())
    # Python's own hash differs from process to process
    name = f"lhrnet-ray-{zlib.crc32(str(folder).encode()):08x}"
    return (root if len(str(root)) <= 20 else Path("/tmp")) / name


def ray_command(folder: Path, ports: Mapping[str, int], cpus: int) -> list[str]:
    """A Ray head with its dashboard, one node."""
    return [
        _program("ray"),
        "start",
        "--head",
        "--block",
        f"--node-ip-address={RAY_HOST}",
        f"--port={ports['gcs']}",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={ports['dashboard']}",
        f"--dashboard-agent-listen-port={ports['ray-agent']}",
        f"--metrics-export-port={ports['ray-metrics']}",
        f"--ray-client-server-port={ports['ray-client']}",
        # the operating system's choice: two clusters on one machine would quarrel over Ray's own range
        "--min-worker-port=0",
        "--max-worker-port=0",
        f"--num-cpus={cpus}",
        "--object-store-memory=200000000",
        f"--temp-dir={ray_folder(folder)}",
        "--disable-usage-stats",
    ]


def answers(url: str) -> bool:
    """Whether an HTTP GET returns 200 within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def bucket_is_writable(ports: Mapping[str, int], host: str = "127.0.0.1") -> bool:
    """Make the bucket if it is not there, then write and delete a byte: the gateway answers before the volumes do."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    env = client_environment(ports)
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{ports['s3']}",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=env["AWS_DEFAULT_REGION"],
        config=Config(connect_timeout=2, read_timeout=5, retries={"max_attempts": 0}),
    )
    try:
        with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key=".ready", Body=b"1")
        client.delete_object(Bucket=BUCKET, Key=".ready")
    except (BotoCoreError, ClientError):
        return False
    return True
