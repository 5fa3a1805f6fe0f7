"""Ray is joined in one way: soon or not at all, with a line that says where and what else can be done."""

import socket

import pytest

from pipeline.cluster import connect
from pipeline.cluster.connect import connect_to_ray


@pytest.fixture(autouse=True)
def _not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("Ray was asked"))


def test_a_job_servers_address_is_no_cluster_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    with pytest.raises(ValueError, match=r"ray job submit .* or stay at home"):
        connect_to_ray(otherwise="stay at home")


def test_a_clients_address_is_refused_where_nodes_must_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:1")
    with pytest.raises(ValueError, match=r"ray://127\.0\.0\.1:1.* or stay at home"):
        connect_to_ray(otherwise="stay at home")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nobody_listens_ray_is_not_asked_for_a_quarter_of_an_hour(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, and nobody listens
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ConnectionError, match=rf"RAY_ADDRESS={address}.* or stay at home"):
            connect.wait_for_port(address, "stay at home", patience=0.1)


def test_an_open_port_is_waited_for_no_longer() -> None:
    with socket.socket() as open_port:
        open_port.bind(("127.0.0.1", 0))
        open_port.listen()
        connect.wait_for_port(f"127.0.0.1:{open_port.getsockname()[1]}", "stay at home")


@pytest.mark.parametrize("address", ["", "auto", "local"])
def test_an_address_without_a_port_is_left_to_ray(address: str) -> None:
    connect.wait_for_port(address, "stay at home")


def test_without_an_address_a_cluster_is_started_and_none_that_somebody_else_started_is_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.init", lambda address, **_: asked.append(address))
    connect_to_ray(otherwise="stay at home")
    assert asked == ["local"]
    with pytest.raises(ConnectionError, match=r"RAY_ADDRESS names no cluster.* or stay at home"):
        connect_to_ray(otherwise="stay at home", start=False)
