// On the audio thread: the microphone's blocks become 20 ms of PCM16 at 24 kHz.

import { Resampler } from "./resampler.js";

const RATE = 24000;
const CHUNK = RATE / 50;

class Capture extends AudioWorkletProcessor {
  #resampler = new Resampler(sampleRate, RATE);
  #chunk = new Int16Array(CHUNK);
  #filled = 0;
  #energy = 0;

  process([input]) {
    const channel = input[0];
    if (!channel) return true; // nothing is connected yet
    for (const value of this.#resampler.process(channel)) {
      const clipped = Math.max(-1, Math.min(1, value));
      this.#chunk[this.#filled++] = Math.round(clipped * 32767);
      this.#energy += clipped * clipped;
      if (this.#filled === CHUNK) this.#send();
    }
    return true;
  }

  #send() {
    const chunk = this.#chunk;
    const rms = Math.sqrt(this.#energy / CHUNK);
    this.#chunk = new Int16Array(CHUNK);
    this.#filled = 0;
    this.#energy = 0;
    this.port.postMessage({ chunk, rms }, [chunk.buffer]);
  }
}

registerProcessor("backtalk-capture", Capture);
