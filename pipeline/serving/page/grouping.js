// Heatmaps and tags to people, step by step what lhrnet/decoder/grouping.py does with tags of one dimension.

import { firstOptimum } from "./assignment.js";

const NOBODY = 1e10; // cost of starting a person where there are more peaks than people

/**
 * Finds the people of one image.
 * @param {Float32Array} heat 17 heatmaps of height x width.
 * @param {Float32Array} tags 17 tag maps of the same size.
 * @param {object} settings the fields of GroupingConfig, and `order`, in which keypoints are visited.
 * @returns {{keypoints: number[][], score: number, tag: number}[]} x, y (corner coordinates of the maps) and score of
 *   each keypoint, 0 everywhere for one that is missing; people in the order in which grouping came upon them.
 */
export function group(heat, tags, height, width, settings) {
  const count = heat.length / (height * width);
  const maps = { heat, tags, height, width, pixels: height * width };
  if (!finite(heat) || !finite(tags)) return [];
  const peaks = Array.from({ length: count }, (_, k) => findPeaks(maps, k, settings));
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

function finite(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return Number.isFinite(sum);
}

/** Peaks of one heatmap, the highest first: highest in their window, one a plateau, none of a large plateau. */
function findPeaks({ heat, tags, height, width, pixels }, k, settings) {
  const reach = (settings.nms_kernel - 1) / 2;
  const base = k * pixels;
  const found = [];
  const isPeak = new Set();
  for (let index = 0; index < pixels; index++) {
    const value = heat[base + index];
    if (!(value > Math.fround(settings.detection_threshold))) continue;
    const y = Math.floor(index / width);
    const x = index - y * width;
    if (isHighest(heat, base, value, x, y, reach, height, width)) {
      found.push(index);
      isPeak.add(index);
    }
  }
  const window = settings.nms_kernel ** 2;
  return plateaus(found, isPeak, width)
    .filter((plateau) => plateau.length <= window)
    .map(([index]) => ({ index, score: heat[base + index], tag: tags[base + index] }))
    .sort((a, b) => b.score - a.score)
    .slice(0, settings.max_people);
}

function isHighest(heat, base, value, x, y, reach, height, width) {
  for (let v = Math.max(0, y - reach); v <= Math.min(height - 1, y + reach); v++) {
    const row = base + v * width;
    for (let u = Math.max(0, x - reach); u <= Math.min(width - 1, x + reach); u++) {
      if (heat[row + u] > value) return false;
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
function betweenPixels({ heat, height, width, pixels }, k, index) {
  const base = k * pixels;
  const y = Math.floor(index / width);
  const x = index - y * width;
  const at = (v, u) => heat[base + v * width + u];
  const towards = (before, after) => 0.25 * Math.sign(after - before);
  const right = towards(at(y, Math.max(x - 1, 0)), at(y, Math.min(x + 1, width - 1)));
  const down = towards(at(Math.max(y - 1, 0), x), at(Math.min(y + 1, height - 1), x));
  return [x + 0.5 + right, y + 0.5 + down];
}

/** Gives people who lack keypoint k the pixel where heatmap minus rounded tag distance is highest. */
function refine(maps, k, people) {
  const { heat, tags, pixels } = maps;
  const base = k * pixels;
  for (const person of people) {
    if (person.keypoints[k][2] > 0) continue;
    let best = -1;
    let highest = -Infinity;
    for (let index = 0; index < pixels; index++) {
      const height = heat[base + index];
      if (height <= highest) continue; // the distance only takes away
      const value = Math.fround(height - rint(Math.abs(Math.fround(tags[base + index] - person.tag))));
      if (value > highest) {
        highest = value;
        best = index;
      }
    }
    const score = heat[base + best];
    if (score > 0) person.keypoints[k] = [...betweenPixels(maps, k, best), score];
  }
}
