// Heatmaps and tags to people, step by step what lhrnet/decoder/grouping.py does with tags of one dimension.

import { firstOptimum } from "./assignment.js";

const NOBODY = 1e10; // cost of starting a person where there are more peaks than people

/**
 * Finds the people of one image.
 * @param {Enlarged} heat 17 heatmaps.
 * @param {Enlarged} tags 17 tag maps, of the same size as enlarged.
 * @param {object} settings the fields of GroupingConfig, and `order`, in which keypoints are visited.
 * @returns {{keypoints: number[][], score: number, tag: number}[]} x, y (corner coordinates of the enlarged maps) and
 *   score of each keypoint, 0 everywhere for one that is missing; people in the order in which grouping came upon them.
 */
export function group(heat, tags, settings) {
  const count = heat.small.length / (heat.rows * heat.columns);
  if (!heat.finite() || !tags.finite()) return [];
  const bounds = Array.from({ length: count }, (_, k) => heat.highest(k));
  const maps = { heat, tags, bounds };
  const peaks = bounds.map((_, k) => findPeaks(maps, k, settings));
  const people = assign(peaks, settings).map((person) => {
    const keypoints = Array.from({ length: count }, () => [0, 0, 0]);
    let sum = 0;
    let members = 0;
    let score = 0;
    person.peaks.forEach((peak, k) => {
      if (!peak) return;
      keypoints[k] = [...betweenPixels(maps, k, peak.index), peak.score];
      sum = Math.fround(sum + peak.tag);
      members += 1;
      score += peak.score;
    });
    return { keypoints, score: score / count, tag: Math.fround(sum / members) };
  });
  if (settings.refine) for (let k = 0; k < count; k++) refine(maps, k, people);
  return people;
}

/** Calls `look(y, x)` for the pixels nearest to a sample. */
function eachPixel(heat, sample, look) {
  const { times, columns } = heat;
  const row = Math.floor(sample / columns);
  const [top, left] = [row * times, (sample - row * columns) * times];
  for (let y = top; y < top + times; y++) {
    for (let x = left; x < left + times; x++) look(y, x);
  }
}

/** Peaks of one heatmap, the highest first: highest in their window, one a plateau, none of a large plateau. */
function findPeaks({ heat, tags, bounds }, k, settings) {
  const reach = (settings.nms_kernel - 1) / 2;
  const threshold = Math.fround(settings.detection_threshold);
  const { width } = heat;
  const found = [];
  bounds[k].forEach((bound, sample) => {
    if (!(bound > threshold)) return;
    eachPixel(heat, sample, (y, x) => {
      const value = heat.at(k, y, x);
      if (value > threshold && isHighest(heat, k, value, y, x, reach)) found.push(y * width + x);
    });
  });
  found.sort((a, b) => a - b);
  const window = settings.nms_kernel ** 2;
  return plateaus(found, new Set(found), width)
    .filter((plateau) => plateau.length <= window)
    .map(([index]) => {
      const [y, x] = [Math.floor(index / width), index % width];
      return { index, score: heat.at(k, y, x), tag: tags.at(k, y, x) };
    })
    .sort((a, b) => b.score - a.score)
    .slice(0, settings.max_people);
}

function isHighest(heat, k, value, y, x, reach) {
  for (let near = 1; near <= reach; near += Math.max(1, reach - 1)) {
    // those beside it first: they rule out nearly all
    for (let v = Math.max(0, y - near); v <= Math.min(heat.height - 1, y + near); v++) {
      for (let u = Math.max(0, x - near); u <= Math.min(heat.width - 1, x + near); u++) {
        if (heat.at(k, v, u) > value) return false;
      }
    }
  }
  return true;
}

/** Peaks that lie side by side (eight neighbours), each plateau's first one first. */
function plateaus(found, isPeak, width) {
  const seen = new Set();
  const all = [];
  for (const first of found) {
    if (seen.has(first)) continue;
    const plateau = [first];
    seen.add(first);
    for (const index of plateau) {
      const x = index % width;
      for (let dy = -1; dy <= 1; dy++) {
        for (let dx = -1; dx <= 1; dx++) {
          const next = index + dy * width + dx;
          if (x + dx < 0 || x + dx >= width || !isPeak.has(next) || seen.has(next)) continue;
          seen.add(next);
          plateau.push(next);
        }
      }
    }
    all.push(plateau);
  }
  return all;
}

/** Keypoint after keypoint, each peak joins the person whose mean tag is nearest, or starts one. */
function assign(peaks, settings) {
  const people = [];
  const start = (k, peak) => {
    const person = { peaks: new Array(peaks.length).fill(null), sum: peak.tag, members: 1 };
    person.peaks[k] = peak;
    people.push(person);
  };
  for (const k of settings.order) {
    const here = peaks[k];
    if (!here.length) continue;
    const known = people.slice(0, settings.max_people);
    if (!known.length) {
      for (const peak of here) start(k, peak);
      continue;
    }
    const distance = here.map((peak) =>
      known.map((person) => Math.abs(peak.tag - Math.fround(person.sum / person.members))),
    );
    const cost = here.map((peak, i) => {
      const row = new Float64Array(Math.max(known.length, here.length)).fill(NOBODY);
      distance[i].forEach((apart, j) => (row[j] = rint(apart) * 100 - peak.score));
      return row;
    });
    const chosen = firstOptimum(cost);
    const lonely = [];
    here.forEach((peak, i) => {
      const j = chosen[i];
      if (j >= known.length || !(distance[i][j] < settings.tag_threshold)) {
        lonely.push(peak);
        return;
      }
      known[j].peaks[k] = peak;
      known[j].sum = Math.fround(known[j].sum + peak.tag);
      known[j].members += 1;
    });
    for (const peak of lonely) start(k, peak);
  }
  return people;
}

/** Rounds halves to the even neighbour. */
function rint(value) {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest === 0.5) return down % 2 === 0 ? down : down + 1;
  return rest < 0.5 ? down : down + 1;
}

/** A point a quarter of a pixel from the pixel's centre, towards the higher neighbour on each axis. */
function betweenPixels({ heat }, k, index) {
  const { height, width } = heat;
  const y = Math.floor(index / width);
  const x = index - y * width;
  const towards = (before, after) => 0.25 * Math.sign(after - before);
  const right = towards(heat.at(k, y, Math.max(x - 1, 0)), heat.at(k, y, Math.min(x + 1, width - 1)));
  const down = towards(heat.at(k, Math.max(y - 1, 0), x), heat.at(k, Math.min(y + 1, height - 1), x));
  return [x + 0.5 + right, y + 0.5 + down];
}

/** Gives people who lack keypoint k the pixel where heatmap minus rounded tag distance is highest. */
function refine(maps, k, people) {
  const { heat, tags, bounds } = maps;
  const { width, times, columns, rows } = heat;
  const lacking = people.filter((person) => !(person.keypoints[k][2] > 0));
  if (!lacking.length) return;
  const [low, high] = [tags.lowest(k), tags.highest(k)];
  for (const person of lacking) {
    let best = -1;
    let highest = -Infinity;
    const look = (y, x) => {
      const height = heat.at(k, y, x);
      if (height < highest) return;
      const index = y * width + x;
      const value = Math.fround(height - rint(Math.abs(Math.fround(tags.at(k, y, x) - person.tag))));
      if (value > highest || (value === highest && index < best)) {
        highest = value;
        best = index;
      }
    };
    for (let row = 0, sample = 0; row < rows; row++) {
      const beyond = row * times * width > best; // among equals the first pixel counts, and here all come after it
      const tagRow = Math.floor((row * times) / tags.times) * tags.columns;
      for (let column = 0; column < columns; column++, sample++) {
        const bound = bounds[k][sample];
        if (bound < highest) continue;
        const near = tagRow + Math.floor((column * times) / tags.times);
        const apart = Math.max(low[near] - person.tag, person.tag - high[near], 0);
        const value = Math.fround(bound - rint(Math.fround(apart)));
        if (value < highest || (value === highest && beyond && best >= 0)) continue;
        eachPixel(heat, sample, look);
      }
    }
    const score = heat.at(k, Math.floor(best / width), best % width);
    if (score > 0) person.keypoints[k] = [...betweenPixels(maps, k, best), score];
  }
}
