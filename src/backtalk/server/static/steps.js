// How a converter keeps time: it has no turns, so its figures are those of its steps, and how old
// what you say is when you hear it.

import { toMs } from "./pcm.js";

const byId = (id) => document.getElementById(id);
const ms = (value, digits = 1) => (value == null ? "–" : `${value.toFixed(digits)} ms`);

const SMOOTHING = 0.05; // of 50 values a second

let mouthToEarMs = null;
let late = 0;
let dropped = 0;

/** A session begins: nothing is known of it. */
export function clearSteps() {
  late = dropped = 0;
  mouthToEarMs = null;
  for (const place of document.querySelectorAll("#steps dd")) place.textContent = "–";
  byId("steps").hidden = true;
}

/** Show a `backtalk.steps.measured` event. */
export function showSteps(measured) {
  late += measured.late_steps;
  dropped += measured.dropped_ms ?? 0;
  byId("step-p50").textContent = ms(measured.step_p50_ms);
  byId("step-p95").textContent = ms(measured.step_p95_ms);
  byId("step-p99").textContent = ms(measured.step_p99_ms);
  byId("step-late").textContent = late;
  byId("step-dropped").textContent = ms(dropped, 0);
  byId("step-floor").textContent = ms(measured.floor_ms);
  byId("steps").hidden = false;
}

/**
 * Show how old sound is when it is heard.
 * @param {?number} backMs age of what comes back from the server; null while it is not known
 * @param {number} bufferedSamples that wait for the loudspeaker
 * @param {number} devicesMs what microphone and loudspeaker take, by the browser's own word
 */
export function showMouthToEar(backMs, bufferedSamples, devicesMs) {
  const sum = backMs === null ? null : backMs + toMs(bufferedSamples) + devicesMs;
  mouthToEarMs = sum === null ? null : sum * SMOOTHING + (mouthToEarMs ?? sum) * (1 - SMOOTHING);
  byId("mouth-to-ear").textContent = ms(mouthToEarMs, 0);
}
