"""A role in place of keys: each pod has a token of the cluster, and gets keys for the storage from it."""

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml

from infra.manifests import Document, containers, pods
from infra.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
SECRETS = ROOT / "k8s" / "examples" / "secrets.sh"
ROLE = "arn:aws:iam::123456789012:role/lhrnet"
REST = (
    "POSTGRES_USER=m\nPOSTGRES_PASSWORD=p\nMLFLOW_USER=a\nMLFLOW_PASSWORD=twelve-letters\nMLFLOW_SESSION_KEY=k\n"
    "RAY_TOKEN=t\n"
)


def run(tmp_path: Path, text: str, **env: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "secrets.env"
    file.write_text(text)
    command = ["sh", str(SECRETS), str(file)]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def role(kubectl: None, tmp_path: Path) -> dict[str, str]:
    """What a pod's environment takes from the Secret of a role."""
    done = run(tmp_path, f"S3_ROLE_ARN={ROLE}\n{REST}")
    assert done.returncode == 0, done.stderr
    made = {document["metadata"]["name"]: document for document in yaml.safe_load_all(done.stdout) if document}
    assert made["lhrnet-s3"]["data"] == made["mlflow-s3"]["data"]
    return {key: base64.b64decode(value).decode() for key, value in made["lhrnet-s3"]["data"].items()}


def test_every_pod_that_has_the_secret_has_the_token_where_the_secret_says(
    overlay: list[Document], rendered: dict[str, list[Document]], role: dict[str, str]
) -> None:
    assert "AWS_ACCESS_KEY_ID" not in role
    place = Path(role["AWS_WEB_IDENTITY_TOKEN_FILE"])
    checked = 0
    for _, where, template in pods([*overlay, *rendered["mlflow"]]):
        for container in containers(template):
            named = {source.get("secretRef", {}).get("name") for source in container.get("envFrom", [])}
            if not {"lhrnet-s3", "mlflow-s3"} & named:
                continue
            checked += 1
            [mount] = [mount for mount in container["volumeMounts"] if mount["mountPath"] == str(place.parent)]
            [volume] = [volume for volume in template["spec"]["volumes"] if volume["name"] == mount["name"]]
            [source] = volume["projected"]["sources"]
            assert source["serviceAccountToken"]["path"] == place.name, where
            assert source["serviceAccountToken"]["audience"] == "sts.amazonaws.com", where
    assert checked >= 15


@pytest.mark.parametrize(
    ("text", "env", "complaint"),
    [
        (f"S3_ROLE_ARN={ROLE}\nS3_ACCESS_KEY_ID=k\n{REST}", {}, "stands in place of"),
        (f"S3_ROLE_ARN={ROLE}\n{REST}", {"WITH_OBJECT_STORE": "1"}, "is for AWS"),
        (REST, {}, "S3_ACCESS_KEY_ID is not set"),
    ],
)
def test_a_role_and_keys_together_or_neither_are_refused(
    kubectl: None, tmp_path: Path, text: str, env: dict[str, str], complaint: str
) -> None:
    done = run(tmp_path, text, **env)
    assert (done.returncode, done.stdout) == (1, "")
    assert complaint in done.stderr


@pytest.fixture
def sts() -> Iterator[Any]:
    """A security token service: gives the keys that `given` holds, and keeps what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            server.asked.append({key: values[0] for key, values in asked.items()})  # type: ignore[attr-defined]
            fields = {"Expiration": "2099-01-01T00:00:00Z", **server.given}  # type: ignore[attr-defined]
            inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
            body = (
                '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
                f"<AssumeRoleWithWebIdentityResult><Credentials>{inner}</Credentials>"
                "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.given = [], {}  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_doctor_writes_and_reads_with_the_keys_that_the_role_gives(
    s3: str, s3_server: Stack, role: dict[str, str], sts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.runs.doctor import Needs, examine

    keys = {name: os.environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
    sts.given = {"AccessKeyId": keys["ACCESS_KEY_ID"], "SecretAccessKey": keys["SECRET_ACCESS_KEY"], "SessionToken": ""}
    token = tmp_path / "token"
    token.write_text("the.pods.token")
    for name in keys:
        monkeypatch.delenv(f"AWS_{name}")
    for name, value in role.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{sts.server_port}")
    findings = [finding for finding in examine(Needs(storage=s3), "driver") if finding.check == "storage"]
    assert [finding.ok for finding in findings] == [True], findings
    assert [(asked["RoleArn"], asked["WebIdentityToken"]) for asked in sts.asked] == [(ROLE, "the.pods.token")]
