"""Draw the packages of `pipeline` and who imports whom, from the table that the layout test holds.

python -m infra.rooms    # the part of docs/architecture.md between its two marks
"""

import importlib

import pipeline


def arrows() -> list[tuple[str, str]]:
    """Who imports whom, without what follows from other arrows: an arrow a -> c is left out where a -> b -> c."""
    table = pipeline.ROOMS
    return [
        (room, other)
        for room, below in table.items()
        for other in below
        if not any(other in table[between] for between in below)
    ]


def drawing() -> str:
    """The rooms as a Mermaid flow chart, then as a table with each one's question."""
    lines = ["```mermaid", "flowchart BT", "    jobs --> release & search", "    storage --> lhrnet"]
    lines += [f"    {room} --> {other}" for room, other in arrows()]
    lines += ["```", "", "| package | its question | may import |", "|---|---|---|"]
    for room, below in pipeline.ROOMS.items():
        question = (importlib.import_module(f"pipeline.{room}").__doc__ or "").split("\n\n")[0].replace("\n", " ")
        lines.append(f"| `pipeline/{room}/` | {question} | {', '.join(below) or 'none of these'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(drawing())
