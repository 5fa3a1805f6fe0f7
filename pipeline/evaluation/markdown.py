"""Tables in Markdown."""

from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[str]], *, padded: bool = False) -> str:
    """A table whose first row is its head; a `|` in a cell is escaped.

    Args:
        rows: of equally many cells.
        padded: columns as wide as their widest cell, aligned to the right, so that a terminal shows them too.
    """
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    if padded:
        widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
        cells = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
        rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    else:
        rule = "|" + "---|" * len(cells[0])
    head, *body = ("".join(f"| {cell} " if cell else "| " for cell in row) + "|" for row in cells)
    return "\n".join([head, rule, *body])
