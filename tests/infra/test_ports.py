"""Ports are free, distinct, and the ones that were asked for."""

import socket

import pytest

from infra.ports import GRPC_OFFSET, choose, is_free
from infra.services import PORTS


def test_chosen_ports_are_free_distinct_and_leave_room_for_grpc() -> None:
    ports = choose(PORTS)
    assert set(ports) == set(PORTS)
    assert len(set(ports.values())) == len(PORTS)
    assert all(is_free(port) and port + GRPC_OFFSET < 65536 for port in ports.values())


def test_a_given_port_is_kept() -> None:
    wanted = choose(("s3",))["s3"]
    assert choose(PORTS, {"s3": wanted})["s3"] == wanted


def test_a_taken_port_is_refused_by_name() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        if taken >= 65536 - GRPC_OFFSET:
            pytest.skip("the kernel gave a port without room for gRPC")
        with pytest.raises(ValueError, match=f"port s3={taken} is taken"):
            choose(PORTS, {"s3": taken})


@pytest.mark.parametrize(
    ("given", "complaint"), [({"s4": 9000}, "no port is called 's4'"), ({"s3": 60000}, "s3=60000")]
)
def test_an_unknown_name_or_an_impossible_port_is_refused(given: dict[str, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        choose(PORTS, given)
