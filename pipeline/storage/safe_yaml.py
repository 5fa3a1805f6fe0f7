"""YAML as settings are written in it: no aliases, by which a kilobyte can stand for gigabytes, and no dates."""

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


# 2026-11-27 is a run's name, not a day
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str | bytes) -> Any:
    """Parse one document.

    Raises:
        yaml.YAMLError: it does not parse, holds an alias, or is nested deeper than Python can follow.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
