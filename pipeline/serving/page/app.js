// The page: loads the network, takes a picture or the camera, shows the people and how long it took.

import * as ort from "./ort/ort.wasm.min.mjs";

import { drawPeople } from "./drawing.js";
import { peopleOf, toInput } from "./maps.js";

const LARGEST = 1600; // long side of the picture that is shown

const at = (id) => document.getElementById(id);
const canvas = at("picture");
const scratch = document.createElement("canvas");
let session, settings;
let busy = null; // the work that is under way
let stream = null;

function say(text, isError = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", isError);
}

async function load() {
  settings = await (await fetch("model.json")).json();
  ort.env.wasm.wasmPaths = new URL("ort/", document.baseURI).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  const file = await fetch("model.onnx");
  if (!file.ok) throw new Error(`the network cannot be loaded: ${file.status}`);
  session = await ort.InferenceSession.create(new Uint8Array(await file.arrayBuffer()), {
    executionProviders: ["wasm"],
  });
  const { card } = settings;
  at("about").textContent =
    `${card.model.name}${card.model.name === "lightweight-hrnet" ? `, r = ${card.model.r}` : ""}, ` +
    `${card.precision}, ${card.size} px, ${ort.env.wasm.numThreads} thread(s)`;
  at("file").disabled = false;
  at("camera").disabled = !navigator.mediaDevices?.getUserMedia;
}

/** Finds the people in a picture or video frame and shows both. */
async function look(source, width, height) {
  const input = toInput(source, width, height, settings.card.size, scratch);
  const begun = performance.now();
  const images = new ort.Tensor("uint8", input.pixels, [1, input.height, input.width, 3]);
  const { heat, tags } = await session.run({ images });
  const computed = performance.now();
  const people = peopleOf(heat.data, tags.data, input, width, height, settings.grouping);
  const decoded = performance.now();
  show(source, width, height, people);
  const milliseconds = { network: computed - begun, decode: decoded - computed };
  at("network").textContent = `${milliseconds.network.toFixed(0)} ms`;
  at("decode").textContent = `${milliseconds.decode.toFixed(0)} ms`;
  at("result").textContent = JSON.stringify({ width, height, people, milliseconds });
}

function show(source, width, height, people) {
  const scale = Math.min(1, LARGEST / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const scaled = people.map((person) => ({
    ...person,
    keypoints: person.keypoints.map(([x, y, score]) => [x * scale, y * scale, score]),
  }));
  at("count").textContent = drawPeople(context, scaled, settings.drawing);
}

/** Does work that does not throw when no other is under way. */
async function alone(work) {
  while (busy) await busy;
  busy = work();
  await busy;
  busy = null;
}

async function lookAtFile(file) {
  stopCamera();
  await alone(async () => {
    say("Looking…");
    try {
      const picture = await createImageBitmap(file);
      await look(picture, picture.width, picture.height);
      picture.close();
      say("");
    } catch (error) {
      const unread = error instanceof DOMException;
      say(unread ? `${file.name ?? "the picture"} is not a picture that this browser can read` : error.message, true);
    }
  });
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  at("camera").textContent = "Camera";
}

async function toggleCamera() {
  if (stream) {
    stopCamera();
    return;
  }
  const video = at("video");
  let own;
  at("camera").disabled = true; // a second click during the browser's question would open a second stream
  try {
    own = stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    say(`the camera cannot be used: ${error.message}`, true);
    return;
  } finally {
    at("camera").disabled = false;
  }
  at("camera").textContent = "Stop";
  say("");
  video.srcObject = own;
  await video.play();
  while (stream === own) {
    await alone(async () => {
      if (!video.videoWidth || stream !== own) return;
      try {
        await look(video, video.videoWidth, video.videoHeight);
      } catch (error) {
        say(error.message, true);
        stopCamera();
      }
    });
    await new Promise(requestAnimationFrame);
  }
}

at("file").addEventListener("change", (event) => {
  if (event.target.files.length) lookAtFile(event.target.files[0]);
  event.target.value = "";
});
at("camera").addEventListener("click", toggleCamera);

try {
  await load();
  if (settings.picture) await lookAtFile(await (await fetch("picture")).blob());
} catch (error) {
  say(`${error.message}`, true);
}
