"""What reaches the terminal: text. File names, indices and servers' answers may hold what moves the cursor or worse.

Every verb prints through `guard`, so nothing that prints has to know of it.
"""

import re
import sys
from typing import Any, TextIO, cast

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, those that turn the direction of writing, and halves of characters."""
COLOUR = re.compile("(\x1b\\[[0-9;]*m)")
"""What rich writes to a terminal, and nothing else of its kind."""


class PlainText:
    """A text stream that shows control characters as `\\x1b`. A terminal gets colours, and a line may be written over.

    Args:
        stream: where the text goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; returns its length."""
        self._stream.write(self._shown(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def _shown(self, text: str) -> str:
        if not CONTROL.search(text):
            return text
        begin = "\r" if text.startswith("\r") else ""  # as a progress line does
        text = text[len(begin) :]
        parts = COLOUR.split(text) if self._stream.isatty() else [text]
        return begin + "".join(part if place % 2 else CONTROL.sub(_visible, part) for place, part in enumerate(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard() -> None:
    """Let standard output and error of this process show control characters instead of obeying them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, PlainText):
            setattr(sys, name, cast("TextIO", PlainText(stream)))


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
