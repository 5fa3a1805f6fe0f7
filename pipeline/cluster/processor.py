"""What this machine's processor calls itself, for figures that depend on it."""

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def processor_name() -> str:
    """The processor's model as Linux names it; elsewhere what Python knows of it."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
