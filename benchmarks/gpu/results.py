"""What was found, as JSON and as a page of tables, both rewritten with every row."""

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import PARTS

TITLES = {part.name: part.title for part in PARTS}


class Results:
    """The results of one run of the command in a folder."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder = folder
        self.parts: dict[str, dict[str, Any]] = {
            part.name: {"state": "waiting", "note": "", "seconds": 0.0, "rows": []}
            for part in PARTS
            if part.name in names
        }
        self._write()

    def begin(self, name: str, allowed: float) -> None:
        """A part has begun."""
        self.parts[name] |= {"state": "running", "allowed_seconds": round(allowed, 1)}
        self._write()

    def row(self, name: str, row: dict[str, Any]) -> None:
        """A part has found something."""
        self.parts[name]["rows"].append(row)
        self._write()

    def end_of(self, name: str, state: str, note: str, seconds: float = 0.0) -> None:
        """A part has ended: done, cut, failed or left out."""
        self.parts[name] |= {"state": state, "note": note, "seconds": round(seconds, 1)}
        self._write()

    def end(self, state: str, note: str) -> None:
        """All parts that have not ended have, and how."""
        for name in set(self.parts) - self.ended():
            self.end_of(name, state, note)

    def ended(self) -> set[str]:
        """Parts that will not go on."""
        return {name for name, part in self.parts.items() if part["state"] not in ("waiting", "running")}

    def failed(self) -> list[str]:
        """Parts that failed, and parts in which something was found wrong."""
        wrong = [name for name, part in self.parts.items() if any(row.get("passed") is False for row in part["rows"])]
        return sorted({name for name, part in self.parts.items() if part["state"] == "failed"} | set(wrong))

    def summary(self) -> str:
        """One line a part."""
        lines = [
            f"{name}: {part['state']}, {len(part['rows'])} rows, {part['seconds']:.0f} s{_note(part)}"
            for name, part in self.parts.items()
        ]
        return "\n".join([*lines, f"written: {self.folder / 'gpu.md'}, gpu.json, gpu.log"])

    def _write(self) -> None:
        _replace(self.folder / "gpu.json", json.dumps({"parts": self.parts}, indent=1) + "\n")
        _replace(self.folder / "gpu.md", self.page())

    def page(self) -> str:
        """Tables, one a part."""
        lines: list[str] = []
        for name, part in self.parts.items():
            state = "" if part["state"] == "done" else f" ({part['state']}{_note(part)})"
            lines += [f"## {TITLES[name]}{state}", "", *_table(part["rows"]), ""]
        return "\n".join(lines)


def _note(part: dict[str, Any]) -> str:
    return f": {part['note']}" if part["note"] else ""


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of the same columns under one head each."""
    lines: list[str] = []
    columns: list[str] = []
    for row in rows:
        if list(row) != columns:
            columns = list(row)
            lines += ["", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        lines.append(f"| {' | '.join(_cell(row[column]) for column in columns)} |")
    return lines[1:]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value).replace("|", "/").replace("\n", " ")


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text)
    os.replace(temporary, path)
