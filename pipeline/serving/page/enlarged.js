// Small maps read as if they were enlarged, bilinear, edges on edges, only at the pixels that are asked for: what
// lhrnet/decoder/enlarged.py does. In double precision the sums are exact, so both give the same numbers.

/** Maps (n, h, w) read at `times` their height and width. */
export class Enlarged {
  constructor(small, height, width, times) {
    Object.assign(this, { small, times, rows: height, columns: width });
    [this.height, this.width] = [height * times, width * times];
    [this.down, this.across] = [taps(height, times), taps(width, times)];
  }

  /** The value of map k at a pixel. */
  at(k, y, x) {
    const { small, down, across } = this;
    const upper = (k * this.rows + down.first[y]) * this.columns;
    if (this.times === 1) return small[upper + x];
    const lower = (k * this.rows + down.second[y]) * this.columns;
    const [left, right, weight] = [across.first[x], across.second[x], across.weight[x]];
    const high = small[upper + left] * (1 - weight) + small[upper + right] * weight;
    const low = small[lower + left] * (1 - weight) + small[lower + right] * weight;
    return Math.fround(high * (1 - down.weight[y]) + low * down.weight[y]);
  }

  /** For each sample of map k what no pixel nearest to it is above. */
  highest(k) {
    return bounds(this.map(k), this);
  }

  /** For each sample of map k what no pixel nearest to it is below. */
  lowest(k) {
    return bounds(this.map(k).map((value) => -value), this).map((value) => -value);
  }

  map(k) {
    const count = this.rows * this.columns;
    return this.small.subarray(k * count, (k + 1) * count);
  }

  /** Whether every value is finite. */
  finite() {
    let sum = 0;
    for (const value of this.small) sum += value;
    return Number.isFinite(sum);
  }
}

/** For every pixel the two samples it lies between, and the second one's weight. */
function taps(length, times) {
  const count = length * times;
  const found = { first: new Int32Array(count), second: new Int32Array(count), weight: new Float32Array(count) };
  for (let i = 0; i < count; i++) {
    const place = Math.max(0, (i + 0.5) / times - 0.5);
    found.first[i] = Math.floor(place);
    found.second[i] = Math.min(found.first[i] + 1, length - 1);
    found.weight[i] = place - found.first[i];
  }
  return found;
}

/** What no pixel nearest to each sample is above: on each axis it is a mean of that one and a neighbour. */
function bounds(map, { rows, columns, times }) {
  if (times === 1) return map;
  const [least, most] = [1 / (2 * times), (times - 1) / (2 * times)]; // weights of the neighbour
  const mean = (own, other) => {
    const weight = other > own ? most : least;
    return own * (1 - weight) + other * weight;
  };
  const wide = new Float64Array(map.length);
  for (let y = 0, i = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, i++) {
      wide[i] = mean(map[i], Math.max(map[x > 0 ? i - 1 : i], map[x < columns - 1 ? i + 1 : i]));
    }
  }
  const found = new Float32Array(map.length);
  for (let y = 0, i = 0; y < rows; y++) {
    const [up, down] = [y > 0 ? -columns : 0, y < rows - 1 ? columns : 0];
    for (let x = 0; x < columns; x++, i++) found[i] = mean(wide[i], Math.max(wide[i + up], wide[i + down]));
  }
  return found;
}
