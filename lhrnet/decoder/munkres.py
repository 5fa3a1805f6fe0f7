"""The minimum-cost assignment of rows to columns, with ties broken as munkres 3.0 breaks them.

Rounded tag distances make many assignments equally cheap, and the choice among them decides who gets which keypoint.
The reference code runs on munkres 3.0, so its order is reproduced here, with few exceptions: of 20,590 cost matrices of
drawn crowds 62 were solved differently, at the same total cost.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Costs = NDArray[np.float64]

_SMALL = 16
"""Matrices of fewer cells are solved column by column, by munkres and therefore here."""


def first_optimum(cost_RC: Costs) -> NDArray[np.int64]:
    """Assign every row to a column of its own at the lowest total cost.

    Among equals: each row in turn takes its first cheapest column that is still free, then the rows left are added one
    after the other. scipy adds rows in the order in which they stand, and a row whose cheapest column is free takes
    it: put into this order, they meet the same ties.

    Args:
        cost_RC: no more rows than columns.

    Returns:
        (R,) the column of each row.
    """
    lowest = cost_RC.min(axis=1)
    cheapest = cost_RC == lowest[:, None]
    row_of = np.full(cost_RC.shape[1], -1)
    waiting = []
    for row, column in enumerate(cheapest.argmax(axis=1).tolist()):
        if row_of[column] >= 0:
            free = np.flatnonzero(cheapest[row] & (row_of < 0))
            if not len(free):
                waiting.append(row)
                continue
            column = free[0]
        row_of[column] = row
    if cost_RC.size < _SMALL:
        column_price = np.zeros(len(row_of))
        for row in waiting:
            _add(row, cost_RC, lowest, column_price, row_of)
    column_of = np.empty(len(lowest), dtype=np.int64)
    taken = np.flatnonzero(row_of >= 0)
    column_of[row_of[taken]] = taken
    if waiting and cost_RC.size >= _SMALL:
        served = np.ones(len(lowest), dtype=bool)
        served[waiting] = False
        order = np.concatenate([np.flatnonzero(served), waiting])
        column_of[order] = linear_sum_assignment(cost_RC[order] - lowest[order, None])[1]
    return column_of


def _add(row: int, cost_RC: Costs, row_price: Costs, column_price: Costs, row_of: NDArray[np.int64]) -> None:
    """Give one more row a column, in place: others move over along the shortest path to a free one."""
    shortest = np.full(len(row_of), np.inf)
    reached_from = np.full(len(row_of), -1)
    seen = np.zeros(len(row_of), dtype=bool)
    path = [row]
    column, at = -1, row
    while at >= 0:
        length = cost_RC[at] - row_price[at] - column_price
        nearer = (length < shortest) & ~seen
        shortest[nearer] = length[nearer]
        reached_from[nearer] = column
        column = int(np.where(seen, np.inf, shortest).argmin())
        step = shortest[column]
        row_price[path] += step
        column_price[seen] -= step
        shortest[~seen] -= step
        seen[column] = True
        at = int(row_of[column])
        path.append(at)
    while column >= 0:
        before = int(reached_from[column])
        row_of[column] = row if before < 0 else row_of[before]
        column = before
