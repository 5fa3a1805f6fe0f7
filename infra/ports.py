"""Free ports on the loopback interface."""

import random
import socket

LOWEST, HIGHEST = 20000, 22700
"""Above Ray's worker ports (10002..19999) and, with gRPC's +10000, below the kernel's ephemeral ports (32768..)."""

GRPC_OFFSET = 10000
"""SeaweedFS serves gRPC at this distance from each of its HTTP ports."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nothing listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose(names: tuple[str, ...], given: dict[str, int] | None = None) -> dict[str, int]:
    """One port a name: the given one, else a free one whose gRPC neighbour is free too.

    Raises:
        ValueError: if a given name is unknown, or a given port is taken or out of range.
        RuntimeError: if no free port is left.
    """
    chosen = dict(given or {})
    for name, port in chosen.items():
        if name not in names:
            raise ValueError(f"no port is called {name!r}; the names are {', '.join(names)}")
        if not 1024 <= port < 65536 - GRPC_OFFSET:
            raise ValueError(f"port {name}={port} must lie in 1024..{65535 - GRPC_OFFSET}")
        if not is_free(port):
            raise ValueError(f"port {name}={port} is taken; choose another or leave it out")
    candidates = random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST)
    for name in names:
        while name not in chosen:
            if not candidates:
                raise RuntimeError(f"no free port between {LOWEST} and {HIGHEST}")
            port = candidates.pop()
            if port not in chosen.values() and is_free(port) and is_free(port + GRPC_OFFSET):
                chosen[name] = port
    return chosen
