"""Joining Ray: the cluster that RAY_ADDRESS names, else one of our own on this machine."""

import os
import socket
import time

from pipeline.storage.address import refuse_user

PATIENCE_SECONDS = 20.0
"""Time in which a cluster that is being started has to answer. Ray itself would ask for a quarter of an hour."""


def connect_to_ray(*, otherwise: str, start: bool = True, client: bool = False, logs: bool = False) -> None:
    """Join the cluster that RAY_ADDRESS names, as it does in all that runs on one; else start one here.

    Args:
        otherwise: for messages: what to do without a cluster.
        start: whether one is started on this machine where there is none.
        client: whether a driver outside the cluster (ray://) will do.
        logs: whether what workers print is printed here too.

    Raises:
        ValueError: RAY_ADDRESS carries a password, is a job server's, which takes submissions only, or a Ray Client's
            that does not do.
        ConnectionError: nobody answers there, or none is named where none is started.
    """
    import ray

    address = os.environ.get("RAY_ADDRESS", "")
    refuse_user("RAY_ADDRESS", address, "set RAY_AUTH_TOKEN where the cluster asks for a token")
    if ray.is_initialized():
        return
    if address.startswith("http"):
        raise ValueError(
            f"RAY_ADDRESS is a job server's ({address}): submit the job by `ray job submit --working-dir . -- lhrnet "
            f"...`, or {otherwise}"
        )
    if address.startswith("ray://") and not client:
        raise ValueError(
            f"RAY_ADDRESS is a Ray Client's ({address}), by which a cluster does not tell its nodes: submit the job by "
            f"`ray job submit`, or {otherwise}"
        )
    if not address and not start:
        raise ConnectionError(
            f"RAY_ADDRESS names no cluster: set it (auto: the latest on this machine), or {otherwise}"
        )
    wait_for_port(address, otherwise)
    try:
        # without "local" Ray would join whatever cluster was started last on this machine, another user's too
        ray.init(address or "local", logging_level="warning", log_to_driver=logs)
    except (ConnectionError, RuntimeError) as error:
        place = f"RAY_ADDRESS={address}" if address else "this machine"
        raise ConnectionError(f"no Ray cluster answers at {place} ({error}); start it, or {otherwise}") from error


def wait_for_port(address: str, otherwise: str, *, patience: float = PATIENCE_SECONDS) -> None:
    """Return when something listens at host:port; at once where the address names no port.

    Raises:
        ConnectionError: nothing does within `patience` seconds.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    until = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=max(0.1, until - time.monotonic())).close()
            return
        except (OSError, OverflowError) as error:
            if time.monotonic() + 1 > until:
                raise ConnectionError(
                    f"nobody answers at RAY_ADDRESS={address} ({error}); start the cluster, correct it, or {otherwise}"
                ) from error
            time.sleep(1)
