// From a picture to the network's input and from its maps to people in the picture's pixels: lhrnet/inference.py with
// the protocol "plain".

import { Enlarged } from "./enlarged.js";
import { group } from "./grouping.js";

const STEP = 64; // input sides are multiples of this many pixels
const LONGEST = 8; // the long side is at most so many short ones

/** Width and height of the network's input: the short side at `size`, both rounded up. */
export function inputSize(width, height, size) {
  const up = (value) => Math.floor((value + STEP - 1) / STEP) * STEP;
  const short = up(size);
  const long = Math.min(up((short / Math.min(width, height)) * Math.max(width, height)), LONGEST * short);
  return width < height ? [short, long] : [long, short];
}

/**
 * Draws a picture as large as the input holds, in its middle.
 * @returns {{pixels: Uint8Array, width: number, height: number, scale: number}} RGB bytes.
 */
export function toInput(picture, pictureWidth, pictureHeight, size, canvas) {
  const [width, height] = inputSize(pictureWidth, pictureHeight, size);
  const scale = Math.min(width / pictureWidth, height / pictureHeight);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "black";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  const [w, h] = [pictureWidth * scale, pictureHeight * scale];
  context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
  const rgba = context.getImageData(0, 0, width, height).data;
  const pixels = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    pixels[to++] = rgba[from];
    pixels[to++] = rgba[from + 1];
    pixels[to++] = rgba[from + 2];
  }
  return { pixels, width, height, scale };
}

/**
 * People in the picture's pixels, the surest first.
 * @param {Float32Array} heat 17 maps at half of the input's size.
 * @param {Float32Array} tags 17 maps at a quarter of it.
 * @param {object} input as `toInput` gives it.
 */
export function peopleOf(heat, tags, input, pictureWidth, pictureHeight, settings) {
  const { width, height, scale } = input;
  const found = group(
    new Enlarged(heat, height / 2, width / 2, 2),
    new Enlarged(tags, height / 4, width / 4, 4),
    settings,
  );
  for (const person of found) {
    person.keypoints = person.keypoints.map(([x, y, score]) =>
      score > 0
        ? [(x - width / 2) / scale + pictureWidth / 2, (y - height / 2) / scale + pictureHeight / 2, score]
        : [0, 0, 0],
    );
  }
  return found.sort((a, b) => b.score - a.score);
}
