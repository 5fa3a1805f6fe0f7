"""What a store or a server answers is held against what was asked, and asked for once more before it is believed."""

import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.storage import s3, store, web

Answer = tuple[int, dict[str, str], bytes]
PORTAL: Answer = (200, {"Content-Type": "text/html"}, b"<html>please log in</html>")
NOTHING: Answer = (200, {}, b"")
GOOD: Answer = (200, {"ETag": '"1"'}, b"good")
CREATED: Answer = (200, {"ETag": '"1"'}, b"")
TAKEN: Answer = (412, {}, b"<Error><Code>PreconditionFailed</Code></Error>")
BAD_DIGEST: Answer = (400, {}, b"<Error><Code>BadDigest</Code></Error>")
FLIPPED: Answer = (200, {"ETag": '"1"', "x-amz-checksum-crc32": "AAAAAA=="}, b"goad")
EMPTY: Answer = (200, {}, b"<ListBucketResult><Name>bucket</Name><KeyCount>0</KeyCount></ListBucketResult>")
LISTED: Answer = (
    200,
    {},
    b"<ListBucketResult><Name>bucket</Name><Contents><Key>run/a</Key><Size>3</Size></Contents></ListBucketResult>",
)


@dataclass
class Script:
    """A server that gives the answers it was told to, one after the other; the last one for ever."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    made = Script()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            made.asked.append(f"{self.command} {self.path}")
            status, headers, body = made.next()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    for name, value in {"ENDPOINT_URL": made.url, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    yield made
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("wrong", [PORTAL, NOTHING], ids=["login page", "nothing"])
def test_a_200_that_is_no_stores_is_not_believed(script: Script, wrong: Answer) -> None:
    script.answers = [wrong]
    for ask in (
        lambda: store.write_bytes("s3://bucket/a", b"x"),
        lambda: store.read_bytes("s3://bucket/a"),
        lambda: store.listing("s3://bucket/run"),
        lambda: store.exists("s3://bucket/run"),
        lambda: store.size("s3://bucket/run"),
        lambda: s3.create("s3://bucket/lease", b"mine"),
    ):
        with pytest.raises((ConnectionError, ValueError), match=r"s3://bucket.*(not that of an object store|parse)"):
            ask()


@pytest.mark.parametrize("wrong", [PORTAL, NOTHING], ids=["login page", "nothing"])
def test_a_true_answer_after_a_false_one_is_taken(script: Script, wrong: Answer) -> None:
    script.answers = [NOTHING, CREATED]
    store.write_bytes("s3://bucket/a", b"x")
    script.answers = [wrong, GOOD]
    assert store.read_bytes("s3://bucket/a") == b"good"
    script.answers = [NOTHING, LISTED]
    assert store.listing("s3://bucket/run") == {"a": 3}


def test_an_empty_folder_is_one_that_the_store_itself_calls_empty(script: Script) -> None:
    script.answers = [EMPTY]
    assert store.listing("s3://bucket/run") == {}
    script.answers = [(404, {}, b""), EMPTY]
    assert not store.exists("s3://bucket/run")


def test_a_flipped_bit_on_the_way_is_read_again_and_one_in_the_store_is_told(script: Script) -> None:
    script.answers = [FLIPPED, GOOD]
    assert store.read_bytes("s3://bucket/a") == b"good"
    script.answers = [FLIPPED]
    with pytest.raises(ValueError, match=r"s3://bucket/a .* was damaged in the store or on the way"):
        store.read_bytes("s3://bucket/a")


def test_a_body_that_did_not_arrive_as_it_was_sent_is_sent_again_and_no_key_is_blamed(script: Script) -> None:
    script.answers = [BAD_DIGEST, CREATED]
    store.write_bytes("s3://bucket/a", b"x" * 1000)
    assert [line.split()[0] for line in script.asked] == ["PUT", "PUT"]
    script.answers = [BAD_DIGEST]
    with pytest.raises(ConnectionError, match="did not arrive as it was sent"):
        store.write_bytes("s3://bucket/a", b"x")


def test_an_object_whose_creation_was_done_but_not_told_is_known_as_ones_own(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda size: "mine")
    script.answers = [TAKEN, (200, {"ETag": '"1"', "x-amz-meta-made-by": "mine"}, b"")]
    assert s3.create("s3://bucket/lease", b"held")
    script.answers = [TAKEN, (200, {"ETag": '"1"', "x-amz-meta-made-by": "theirs"}, b"")]
    assert not s3.create("s3://bucket/lease", b"held")


def test_a_server_may_not_send_us_elsewhere_without_https(script: Script) -> None:
    script.answers = [(302, {"Location": "http://169.254.169.254/latest/meta-data"}, b"")]
    with pytest.raises(PermissionError, match=r"sends us to http://169\.254\.169\.254.*only https"):
        store.read_bytes(f"{script.url}/photo.jpg")
    script.answers = [(302, {"Location": "/other.jpg"}, b""), (200, {}, b"photo")]
    assert store.read_bytes(f"{script.url}/photo.jpg") == b"photo"


def test_more_bytes_than_were_asked_for_are_refused(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    script.answers = [(206, {}, b"0123456789")]
    with pytest.raises(ConnectionError, match=r"10 bytes where 4 were asked for"):
        store.read_bytes(f"{script.url}/x", 0, 4)
    monkeypatch.setattr(store, "MAX_BYTES", 1000)
    script.answers = [(200, {}, b"0" * 1001)]
    with pytest.raises(OSError, match="more than 1,000 bytes"):
        store.read_bytes(f"{script.url}/x")


def test_a_length_that_is_no_number_and_a_trickle_are_errors_with_the_address(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.answers = [(200, {"Content-Length": "abc"}, b"")]
    with pytest.raises(ConnectionError, match=r"/x: the server says its length is 'abc'"):
        store.size(f"{script.url}/x")
    monkeypatch.setattr(web, "MIN_RATE_AFTER", -1.0)
    monkeypatch.setattr(web, "MIN_RATE", 1e12)
    script.answers = [(200, {}, b"slow")]
    with pytest.raises(ConnectionError, match=r"sent only 4 bytes in"):
        store.read_bytes(f"{script.url}/x")


def test_who_chose_virtual_hosts_in_the_aws_config_gets_them(
    script: Script, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = f"{tmp_path}/config"
    with open(config, "w") as file:
        file.write("[default]\ns3 =\n  addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", config)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example:9000")
    assert s3.client().meta.config.s3["addressing_style"] == "virtual"
    s3._client.cache_clear()
    monkeypatch.delenv("AWS_CONFIG_FILE")
    assert s3.client().meta.config.s3["addressing_style"] == "path"


@pytest.mark.parametrize(
    ("url", "said"), [("s3:/bucket/a", "lacks a slash"), ("S3://bucket/a", "s3:// in small letters")]
)
def test_a_mistyped_address_is_no_folder(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        store.scheme(url)


def test_an_endpoint_that_is_no_address_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(ValueError, match=r"AWS_ENDPOINT_URL is 'localhost:9000'"):
        store.read_bytes("s3://bucket/a")
