"""The keys of one local stack: random, kept in its folder, readable by its owner alone.

Other users of the machine, and pages in its browsers, reach the servers' ports; without these keys they get nothing.
"""

import datetime
import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

VALID = datetime.timedelta(days=3650)


@dataclass(frozen=True)
class Keys:
    """What the servers ask of their clients, and of each other."""

    s3: str
    """Secret access key of the object store."""
    mlflow: str
    """Password of MLflow's user."""
    ray: str
    """Token of Ray's cluster, jobs and dashboard."""
    volumes: str
    """Signs what the object store's gateway asks of the server that holds the bytes."""


def private_folder(folder: Path) -> Path:
    """Make a folder that its owner alone may enter, or close one that is there.

    Raises:
        PermissionError: if it belongs to somebody else.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user (uid {found.st_uid}); give one of your own by --dir")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)
    return folder


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


def read_or_make(folder: Path) -> Keys:
    """The folder's keys; made when it has none.

    Raises:
        ValueError: if the file there is not one of keys.
    """
    path = private_folder(folder) / "keys.json"
    if not path.exists():
        write_private(path, json.dumps(asdict(Keys(*(secrets.token_hex(20) for _ in range(4)))), indent=1))
    try:
        return Keys(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} does not hold the stack's keys ({error}); delete it for new ones") from error


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate, signed by itself, and its private key: by it the object store's parts know each other.

    Returns:
        Two PEM files in the folder; made when they are not there.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    signed, private = folder / "object-store.pem", folder / "object-store.key"
    if signed.exists() and private.exists():
        return signed, private
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lhrnet")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    pkcs8, open_text = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    write_private(private, key.private_bytes(pem, pkcs8, open_text).decode())
    write_private(signed, built.public_bytes(pem).decode())
    return signed, private
