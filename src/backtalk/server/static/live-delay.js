// How old converted sound is when it is heard: counted in samples, since every sample that goes to
// the server comes back from it, in order.

import { toMs, toSamples } from "./pcm.js";

const RECENT = 100; // pieces, about a second and a half

export class LiveDelay {
  #sent = 0;
  #received = 0;
  #sentAt = 0; // when the last chunk was full
  #recent = [];
  #isLost = false;

  /** A new session: nothing is on its way. */
  reset() {
    this.#sent = this.#received = 0;
    this.#recent = [];
    this.#isLost = false;
  }

  /** A socket broke, and with it the count of what is on its way. */
  lose() {
    this.#recent = [];
    this.#isLost = true;
  }

  /** A chunk of the microphone is full and goes to the server. */
  sent(samples) {
    this.#sent += samples;
    this.#sentAt = performance.now();
  }

  /** The server left out so much of what it was sent. */
  dropped(ms) {
    this.#received += toSamples(ms);
  }

  /** A piece came back. */
  received(samples) {
    this.#received += samples;
    const age = toMs(this.#sent - this.#received) + performance.now() - this.#sentAt;
    this.#recent.push(age);
    if (this.#recent.length > RECENT) this.#recent.shift();
  }

  /** Median age of sound that comes back, ms; null while it is not known. */
  get ms() {
    if (this.#isLost || !this.#recent.length) return null;
    const sorted = [...this.#recent].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  }
}
