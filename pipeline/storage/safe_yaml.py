"""YAML as settings are written in it: no aliases, by which a kilobyte can stand for gigabytes, and no dates."""

import codecs
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader` without what settings have no use for."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node, as PyYAML makes it; an alias is refused."""
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            said = f"*{event.anchor} is an alias; write it out"
            raise yaml.MarkedYAMLError(problem=said, problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """A mapping, as PyYAML makes it; a key that is written twice is refused: the last one would win in silence."""
        written: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in written:
                    said = f"the key {key.value!r} is written twice in one section; keep one"
                    raise yaml.MarkedYAMLError(problem=said, problem_mark=key.start_mark)
                written.add(key.value)
        return super().construct_mapping(node, deep)


# 2026-11-27 is a run's name, not a day
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str | bytes) -> Any:
    """Parse one document; bytes are UTF-8, or UTF-16 with its mark.

    Raises:
        yaml.YAMLError: it is no text, does not parse, holds an alias or a key twice in one section, or is nested deeper
            than Python can follow.
    """
    if isinstance(text, bytes):
        text = _decoded(text)
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None


def _decoded(content: bytes) -> str:
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start} is 0x{content[error.start]:02x}, which is no UTF-8; save it as UTF-8"
        raise yaml.YAMLError(wrong) from None
