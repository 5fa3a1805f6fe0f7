"""One move of the champion at a time, among all machines that share an MLflow server.

MLflow cannot compare and swap an alias. It does refuse to create a registered model twice, so a registered model
called `<model>.moving`, which exists for the seconds of a move, is the lock. A lease in the object store would be the
other way; but who promotes shares the MLflow server and nothing else: a rollback from a laptop needs no store.
"""

import contextlib
import getpass
import os
import socket
import uuid
from collections.abc import Callable, Iterator

from pipeline.tracking.client import MlflowClient, MlflowException

STALE_SECONDS = 120
"""Longer than any move takes; a claim of this age was left by a process that died."""


@contextlib.contextmanager
def claim(mlflow: MlflowClient, model: str) -> Iterator[Callable[[], None]]:
    """Keep others from moving the champion meanwhile.

    Args:
        mlflow: the server.
        model: the registered model.

    Yields:
        A check that the claim still holds; it raises RuntimeError where another process has taken over.

    Raises:
        RuntimeError: another process is moving the champion.
        MlflowException: the server refused, or did not answer.
    """
    lock, token = f"{model}.moving", uuid.uuid4().hex
    try:
        _create(mlflow, lock, token)
    except FileExistsError:
        _remove_stale(mlflow, lock)
        try:
            _create(mlflow, lock, token)
        except FileExistsError as again:
            raise RuntimeError(
                f"another promotion or rollback of {model} is moving the champion; nothing was moved: "
                "try again in a minute"
            ) from again

    def check() -> None:
        if mlflow.get_registered_model(lock).tags.get("token") != token:
            raise RuntimeError(f"this move of {model} took too long and another took over; nothing was moved")

    try:
        yield check
    finally:
        with contextlib.suppress(MlflowException, RuntimeError):
            check()
            mlflow.delete_registered_model(lock)


def user_and_host() -> str:
    """Who moves, as `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may be a number without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _create(mlflow: MlflowClient, lock: str, token: str) -> None:
    try:
        mlflow.create_registered_model(lock, tags={"token": token, "by": user_and_host()})
    except MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS":
            raise FileExistsError(lock) from error
        raise


def _remove_stale(mlflow: MlflowClient, lock: str) -> None:
    """Remove the claim of a process that died. Both times are of the server's clock."""
    with contextlib.suppress(MlflowException):
        found = mlflow.update_registered_model(lock, description="another process waits for this move to end")
        if found.last_updated_timestamp - found.creation_timestamp > 1000 * STALE_SECONDS:
            mlflow.delete_registered_model(lock)
