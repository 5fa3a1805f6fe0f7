"""S3 by boto3: one client a process, time-outs and retries on every call, errors that say what to do."""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, BinaryIO

from pipeline.storage.address import refuse_user

CHUNK = 1 << 20
CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 10.0
ATTEMPTS = 3
KEYS = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "DEFAULT_REGION")
ON_THE_WAY = ("BadDigest", "IncompleteBody", "RequestTimeout", "XAmzContentSHA256Mismatch", "InvalidDigest")
"""Codes by which a store says that a body did not arrive as it was sent: the keys are right, another try may do."""


def client() -> Any:
    """This process's client for the environment as it is now: none is shared with a process forked off."""
    return _client(os.getpid(), _endpoint(), tuple(os.environ.get(f"AWS_{name}") for name in KEYS))


def _endpoint() -> str | None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if address := os.environ.get(name):
            refuse_user(name, address, "put keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
            return address
    return None


@lru_cache(maxsize=4)
def _client(process: int, endpoint: str | None, keys: tuple[str | None, ...]) -> Any:
    import boto3
    from botocore.config import Config

    session = boto3.session.Session()
    chosen = "addressing_style" in (session._session.get_scoped_config().get("s3") or {})
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=16,
        # most stores of one's own have no name for each bucket; who says otherwise in the AWS config is followed
        s3={"addressing_style": "path"} if endpoint and not chosen else {},
    )
    try:
        return session.client("s3", endpoint_url=endpoint, config=config)
    except ValueError as error:
        raise ValueError(f"AWS_ENDPOINT_URL is {endpoint!r}: {error}; it should look like https://host:port") from error


def bucket_and_key(url: str) -> tuple[str, str]:
    """The two halves of s3://bucket/key."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn botocore's errors into ours, with the URL, the endpoint and what to do."""
    from botocore import exceptions as s3

    try:
        yield
    except s3.ClientError as error:
        raise _client_error(url, error) from error
    except (s3.NoCredentialsError, s3.PartialCredentialsError) as error:
        raise PermissionError(
            f"{url}: no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_ROLE_ARN"
        ) from error
    except (s3.HTTPClientError, s3.ConnectionError) as error:
        raise ConnectionError(
            f"{url} cannot be reached {_at()} ({type(error).__name__}); is the store up, and AWS_ENDPOINT_URL right?"
        ) from error
    except (s3.BotoCoreError, s3.ParamValidationError) as error:
        raise ValueError(f"{url} {_at()}: {error}") from error


def _at() -> str:
    endpoint = _endpoint()
    return f"at {endpoint}" if endpoint else "at AWS (AWS_ENDPOINT_URL is not set)"


def _client_error(url: str, error: Any) -> OSError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code == "NoSuchBucket":
        return FileNotFoundError(f"{url} {_at()}: the bucket is not there; create it or check its name")
    if code in ("NoSuchKey", "404", "NotFound") or status == 404:
        return FileNotFoundError(f"{url} is not there {_at()}; check the URL")
    if code in ON_THE_WAY:
        return ConnectionResetError(f"{url} {_at()}: the body did not arrive as it was sent ({code})")
    if status in (400, 401, 403) and code not in ("InvalidRange", "InvalidRequest"):
        return PermissionError(
            f"{url} {_at()} refused the keys ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
            "and AWS_SESSION_TOKEN, which may have expired"
        )
    return ConnectionError(f"{url} {_at()} answered {status} {code} after {ATTEMPTS} tries")


def _asked(url: str, call: Callable[[], Mapping[str, Any]], proof: tuple[str, ...]) -> Mapping[str, Any]:
    """Ask the store, and again where the answer is not a store's: a login page or a broken proxy also says 200.

    Args:
        url: for messages.
        call: asks once.
        proof: fields of which a store's answer has at least one.

    Raises:
        ConnectionError: no answer of three was a store's, or three bodies did not arrive as they were sent.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _explained(url):
                answer = call()
            if any(answer.get(name) is not None for name in proof):
                return answer
            wrong: OSError = ConnectionError(
                f"{url} {_at()}: the answer is not that of an object store ({' and '.join(proof)} missing); "
                "is a proxy or a login page in between?"
            )
        except ConnectionResetError as error:
            wrong = error
        if attempt < ATTEMPTS:
            time.sleep(0.2 * 2**attempt)
    raise wrong


def stream(url: str, start: int, length: int | None) -> Iterator[bytes]:
    """Yield an object's bytes from `start` on.

    Raises:
        ConnectionResetError: the connection broke.
        ValueError: the bytes are not those of the checksum that the store sends with them.
    """
    from botocore.exceptions import FlexibleChecksumError, HTTPClientError, IncompleteReadError
    from urllib3.exceptions import HTTPError

    if length == 0:
        return
    bucket, key = bucket_and_key(url)
    end = "" if length is None else str(start + length - 1)
    ranged = {"Range": f"bytes={start}-{end}"} if start or length is not None else {}
    answer = _asked(url, lambda: client().get_object(Bucket=bucket, Key=key, **ranged), ("ETag",))
    body = answer["Body"]
    try:
        if ranged and answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
            raise ConnectionError(f"{url} {_at()}: the store does not answer range requests")
        while piece := body.read(CHUNK):
            yield piece
    except (HTTPClientError, IncompleteReadError, HTTPError) as error:
        raise ConnectionResetError(f"{url} {_at()}: the connection broke ({type(error).__name__})") from error
    except FlexibleChecksumError as error:
        raise ValueError(f"{url} {_at()} was damaged in the store or on the way: {error}") from error
    finally:
        body.close()


def write(url: str, data: BinaryIO) -> None:
    """Put an object."""
    bucket, key = bucket_and_key(url)
    start = data.tell()

    def put() -> Mapping[str, Any]:
        data.seek(start)
        answer: Mapping[str, Any] = client().put_object(Bucket=bucket, Key=key, Body=data)
        return answer

    _asked(url, put, ("ETag",))


def create(url: str, data: bytes) -> bool:
    """Put an object where there is none; False where there is another.

    The answer to a put may be lost, and the client's next try then finds the object of its own first one. So the
    object is marked, and where one lies already its mark is read: if it is ours, this call has made it.
    """
    from botocore.exceptions import ClientError

    bucket, key = bucket_and_key(url)
    mark = {"made-by": secrets.token_hex(8)}

    def put() -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = client().put_object(
                Bucket=bucket, Key=key, Body=data, IfNoneMatch="*", Metadata=mark
            )
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (409, 412):
                return {"taken": True}
            raise
        return answer

    if not _asked(url, put, ("ETag", "taken")).get("taken"):
        return True
    try:
        there = _asked(url, lambda: client().head_object(Bucket=bucket, Key=key), ("ETag",))
    except FileNotFoundError:  # whoever had it has removed it since
        return False
    return bool(there.get("Metadata") == mark)


def size(url: str) -> int | None:
    """Bytes of an object; None where there is none."""
    bucket, key = bucket_and_key(url)
    if not key:
        return None
    try:
        return int(_asked(url, lambda: client().head_object(Bucket=bucket, Key=key), ("ETag",))["ContentLength"])
    except FileNotFoundError:
        return None


def holds_objects(url: str) -> bool:
    """Whether anything lies below the URL."""
    bucket, key = bucket_and_key(url)
    try:
        return bool(_page(url, bucket, f"{key.rstrip('/')}/" if key else "", MaxKeys=1).get("Contents"))
    except FileNotFoundError:
        return False


def _page(url: str, bucket: str, prefix: str, **more: Any) -> Mapping[str, Any]:
    """One page of a listing; an answer without the bucket's name is none."""
    return _asked(url, lambda: client().list_objects_v2(Bucket=bucket, Prefix=prefix, **more), ("Name",))


def listing(url: str) -> dict[str, int]:
    """Bytes of every object below the URL by relative path; empty if there are none."""
    bucket, key = bucket_and_key(url)
    prefix = f"{key.rstrip('/')}/" if key else ""
    found: dict[str, int] = {}
    more: dict[str, Any] = {}
    while True:
        page = _page(url, bucket, prefix, **more)
        found |= {item["Key"][len(prefix) :]: item["Size"] for item in page.get("Contents", ())}
        if not page.get("IsTruncated") or not page.get("NextContinuationToken"):
            break
        more = {"ContinuationToken": page["NextContinuationToken"]}
    found.pop("", None)  # the folder itself, which consoles mark by an empty object
    return dict(sorted(found.items()))


def delete(url: str) -> None:
    """Remove an object and everything below it."""
    bucket, key = bucket_and_key(url)
    if not key:
        raise ValueError(f"{url}: a whole bucket is not deleted; name a prefix in it")
    below = [f"{key.rstrip('/')}/{name}" for name in listing(url)]
    with _explained(url):
        for name in [key, *below]:
            client().delete_object(Bucket=bucket, Key=name)
