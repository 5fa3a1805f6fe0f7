// The cheapest assignment of rows to columns; among equals the one that lhrnet/decoder/munkres.py finds.

const SMALL = 16;

/**
 * Assigns every row to a column of its own at the lowest total cost.
 * @param {Float64Array[]} cost rows of equal length; no more rows than columns.
 * @returns {number[]} the column of each row.
 */
export function firstOptimum(cost) {
  const rows = cost.length;
  const columns = cost[0].length;
  const lowest = cost.map((row) => row.reduce((a, b) => Math.min(a, b), Infinity));
  const rowOf = new Array(columns).fill(-1);
  const waiting = [];
  cost.forEach((row, i) => {
    const free = row.findIndex((value, j) => value === lowest[i] && rowOf[j] < 0);
    if (free < 0) waiting.push(i);
    else rowOf[free] = i;
  });
  const columnOf = new Array(rows).fill(-1);
  if (waiting.length && rows * columns >= SMALL) {
    const served = [...cost.keys()].filter((i) => !waiting.includes(i));
    const order = [...served, ...waiting];
    const found = shortestPaths(order.map((i) => cost[i].map((value) => value - lowest[i])));
    order.forEach((row, k) => (columnOf[row] = found[k]));
    return columnOf;
  }
  const columnPrice = new Float64Array(columns);
  for (const row of waiting) addRow(row, cost, lowest, columnPrice, rowOf);
  rowOf.forEach((row, column) => {
    if (row >= 0) columnOf[row] = column;
  });
  return columnOf;
}

/** Gives one more row a column, in place: others move over along the shortest path to a free one. */
function addRow(row, cost, rowPrice, columnPrice, rowOf) {
  const columns = rowOf.length;
  const shortest = new Array(columns).fill(Infinity);
  const reachedFrom = new Array(columns).fill(-1);
  const seen = new Array(columns).fill(false);
  const path = [row];
  let column = -1;
  let at = row;
  while (at >= 0) {
    for (let j = 0; j < columns; j++) {
      const length = cost[at][j] - rowPrice[at] - columnPrice[j];
      if (length < shortest[j] && !seen[j]) {
        shortest[j] = length;
        reachedFrom[j] = column;
      }
    }
    column = 0;
    for (let j = 1; j < columns; j++) {
      if ((seen[j] ? Infinity : shortest[j]) < (seen[column] ? Infinity : shortest[column])) column = j;
    }
    const step = shortest[column];
    for (const i of path) rowPrice[i] += step;
    for (let j = 0; j < columns; j++) {
      if (seen[j]) columnPrice[j] -= step;
      else shortest[j] -= step;
    }
    seen[column] = true;
    at = rowOf[column];
    path.push(at);
  }
  while (column >= 0) {
    const before = reachedFrom[column];
    rowOf[column] = before < 0 ? row : rowOf[before];
    column = before;
  }
}

/** Row after row along shortest augmenting paths (Crouse 2016), with the ties of scipy's linear_sum_assignment. */
function shortestPaths(cost) {
  const rows = cost.length;
  const columns = cost[0].length;
  const rowPrice = new Float64Array(rows);
  const columnPrice = new Float64Array(columns);
  const columnOf = new Array(rows).fill(-1);
  const rowOf = new Array(columns).fill(-1);
  for (let row = 0; row < rows; row++) {
    const length = new Float64Array(columns).fill(Infinity);
    const from = new Array(columns).fill(-1);
    const left = Array.from({ length: columns }, (_, k) => columns - 1 - k);
    const rowsSeen = [];
    const columnsSeen = [];
    let at = row;
    let least = 0;
    let sink = -1;
    while (sink < 0) {
      rowsSeen.push(at);
      let best = -1;
      let lowest = Infinity;
      for (let k = 0; k < left.length; k++) {
        const j = left[k];
        const through = least + cost[at][j] - rowPrice[at] - columnPrice[j];
        if (through < length[j]) {
          from[j] = at;
          length[j] = through;
        }
        if (length[j] < lowest || (length[j] === lowest && rowOf[j] < 0)) {
          lowest = length[j];
          best = k;
        }
      }
      least = lowest;
      const column = left[best];
      if (rowOf[column] < 0) sink = column;
      else at = rowOf[column];
      columnsSeen.push(column);
      left[best] = left[left.length - 1];
      left.pop();
    }
    rowPrice[row] += least;
    for (const i of rowsSeen) if (i !== row) rowPrice[i] += least - length[columnOf[i]];
    for (const j of columnsSeen) columnPrice[j] -= least - length[j];
    for (let column = sink; ; ) {
      const i = from[column];
      rowOf[column] = i;
      [columnOf[i], column] = [column, columnOf[i]];
      if (i === row) break;
    }
  }
  return columnOf;
}
