"""The three servers that run beside us: how each is started, and how one sees that it is ready."""

import contextlib
import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from infra.keys import Keys, certificate, write_private
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
USER = "lhrnet"
"""Access key of the object store, and MLflow's user; the secrets are the folder's own (`infra.keys`)."""

LOOPBACK = ("127.0.0.1", RAY_HOST, "localhost")

RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",
    "RAY_AUTH_MODE": "token",
    "RAY_COLOR_PREFIX": "0",  # a job's log is shown with what it holds of control characters spelled out
}


def without_proxy() -> dict[str, str]:
    """NO_PROXY in both spellings: what the caller has, and the stack's own addresses, which no proxy can reach."""
    given = [name for spelling in ("NO_PROXY", "no_proxy") for name in os.environ.get(spelling, "").split(",") if name]
    names = ",".join(dict.fromkeys([*given, *LOOPBACK]))
    return {"NO_PROXY": names, "no_proxy": names}


def client_environment(ports: Mapping[str, int], keys: Keys) -> dict[str, str]:
    """What a process needs in its environment to use the stack."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
        "AWS_ACCESS_KEY_ID": USER,
        "AWS_SECRET_ACCESS_KEY": keys.s3,
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports['mlflow']}",
        "MLFLOW_TRACKING_USERNAME": USER,
        "MLFLOW_TRACKING_PASSWORD": keys.mlflow,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_ADDRESS": f"http://127.0.0.1:{ports['dashboard']}",
        "RAY_AUTH_TOKEN": keys.ray,
        "OMP_NUM_THREADS": "1",
        **without_proxy(),
        **RAY_SETTINGS,
    }


def server_environment(ports: Mapping[str, int], keys: Keys) -> dict[str, str]:
    """What the servers run with: ours on top of the caller's, our own programs first on the path."""
    env = {**os.environ, **client_environment(ports, keys)}
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


def object_store_environment(folder: Path, keys: Keys) -> dict[str, str]:
    """What closes SeaweedFS's inner ports: its parts know each other by a certificate and by signed requests.

    Without it the filer, the master and the volume server serve, overwrite and delete for whoever finds their ports.
    """
    signed, private = certificate(folder)
    pair = {
        f"WEED_{part}_{name}": str(path)
        for part in ("GRPC_MASTER", "GRPC_VOLUME", "GRPC_FILER", "GRPC_S3", "GRPC_CLIENT", "HTTPS_MASTER")
        for name, path in (("CERT", signed), ("KEY", private))
    }
    return {
        **pair,
        "WEED_GRPC_CA": str(signed),
        "WEED_HTTPS_MASTER_CA": str(signed),
        "WEED_JWT_SIGNING_KEY": keys.volumes,
        "WEED_JWT_SIGNING_READ_KEY": keys.volumes,
    }


def object_store_command(folder: Path, ports: Mapping[str, int], keys: Keys) -> list[str]:
    """SeaweedFS: master, volume server, filer and S3 gateway in one process."""
    data = folder / "object-store"
    data.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": USER,
        "credentials": [{"accessKey": USER, "secretKey": keys.s3}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = folder / "s3.json"
    write_private(config, json.dumps({"identities": [identity]}, indent=2))
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
        "-filer.disableHttp",
        "-s3",
        # by default any page that a browser of this machine has open may ask
        "-s3.allowedOrigins=http://127.0.0.1",
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


def mlflow_environment(folder: Path, keys: Keys) -> dict[str, str]:
    """What lets only the folder's own user into MLflow, whose artifacts are files like any other."""
    users = folder / "mlflow-users.db"
    users.unlink(missing_ok=True)  # holds that one user, with the password of the start that made it
    config = folder / "mlflow-users.ini"
    settings = {
        "database_uri": f"sqlite:///{users}",
        "default_permission": "NO_PERMISSIONS",
        "admin_username": USER,
        "admin_password": keys.mlflow,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        # a password is hashed once an hour, not with every request
        "auth_cache_ttl_seconds": "3600",
    }
    write_private(config, "\n".join(["[mlflow]", *(f"{name} = {value}" for name, value in settings.items())]) + "\n")
    return {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": keys.mlflow}


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
        "--app-name=basic-auth",
    ]


def make_ray_folder() -> Path:
    """A new folder for Ray's sessions, closed to others, since Ray itself opens to all what it makes.

    The path is short, because Ray's Unix sockets lie in it (107 bytes at most).
    """
    root = tempfile.gettempdir()
    made = Path(tempfile.mkdtemp(prefix="lhrnet-ray-", dir=root if len(root) <= 20 else "/tmp"))
    (made / "ray").mkdir()
    return made / "ray"


def ray_command(sessions: Path, ports: Mapping[str, int], cpus: int) -> list[str]:
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
        f"--temp-dir={sessions}",
        "--disable-usage-stats",
    ]


def answers(url: str, *, token: str = "") -> bool:
    """Whether an HTTP GET, past any proxy, returns 200 within two seconds."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def bucket_is_writable(ports: Mapping[str, int], keys: Keys, host: str = "127.0.0.1") -> bool:
    """Make the bucket if it is not there, then write and delete a byte: the gateway answers before the volumes do."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{ports['s3']}",
        aws_access_key_id=USER,
        aws_secret_access_key=keys.s3,
        region_name="us-east-1",
        config=Config(connect_timeout=2, read_timeout=5, retries={"max_attempts": 0}, proxies={}),
    )
    try:
        with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key=".ready", Body=b"1")
        client.delete_object(Bucket=BUCKET, Key=".ready")
    except (BotoCoreError, ClientError):
        return False
    return True
