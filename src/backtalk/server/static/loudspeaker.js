// The loudspeaker: plays replies piece by piece and knows how much of each was really heard.

import { SAMPLE_RATE, toMs, toSamples } from "./pcm.js";

/** Emits `progress` ({itemId, playedMs, playing, rms, gaps, buffered}) about every 20 ms. */
export class Loudspeaker extends EventTarget {
  #context = null;
  #node = null;
  #gain = null;
  #ready = null;
  #items = new Map(); // itemId -> {received, position (samples), time (s), heardMs, dropped}
  #dropping = new Map(); // itemId -> resolve
  #last = { itemId: null, playing: false };

  /** Start the audio thread. Call it from a click or a key, else browsers keep it silent. */
  async start(sinkId = "") {
    // At the wire's rate nothing has to be resampled here and one sample is one sample; the browser
    // converts to the sound card's rate.
    this.#context ??= new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
    this.#ready ??= this.#build();
    await this.#context.resume();
    await this.#ready;
    if (sinkId) await this.choose(sinkId);
  }

  async #build() {
    const context = this.#context;
    await context.audioWorklet.addModule("/static/playback-worklet.js");
    this.#node = new AudioWorkletNode(context, "backtalk-playback", {
      numberOfInputs: 0,
      outputChannelCount: [1],
    });
    this.#node.port.onmessage = ({ data }) => this.#hear(data);
    this.#gain = context.createGain();
    this.#node.connect(this.#gain).connect(context.destination);
  }

  static get canChoose() {
    return "setSinkId" in AudioContext.prototype;
  }

  async choose(sinkId) {
    if (Loudspeaker.canChoose) await this.#context?.setSinkId(sinkId);
  }

  /** What a sample takes from the audio thread to the ear, by the browser's own word. */
  get latencyMs() {
    return 1000 * (this.#context?.outputLatency || this.#context?.baseLatency || 0);
  }

  /** The item that can be heard now, or null. */
  get playing() {
    return this.#last.playing ? this.#last.itemId : null;
  }

  /** Queue a piece of an item's sound. What comes for an item after `drop` is not played. */
  play(itemId, pcm) {
    const item = this.#item(itemId);
    if (item.dropped || !this.#node) return;
    item.received += pcm.length;
    this.#node.port.postMessage({ do: "play", itemId, pcm }, [pcm.buffer]);
  }

  /** Nothing more of this item follows: its last samples need not wait for company. */
  finish(itemId) {
    this.#node?.port.postMessage({ do: "finish", itemId });
  }

  /** Live sound (a converter) is never played late: a backlog is skipped. */
  set live(live) {
    this.#node?.port.postMessage({ do: "live", live });
  }

  /**
   * Stop an item for good, within a fade of 10 ms.
   * @returns {Promise<{playedMs: number, receivedMs: number} | null>} null where it was not playing
   */
  async drop(itemId) {
    const item = this.#items.get(itemId);
    if (!item || item.dropped) return null;
    item.dropped = true;
    if (this.#last.itemId === itemId) this.#last.playing = false;
    await new Promise((resolve) => {
      this.#dropping.set(itemId, resolve);
      this.#node.port.postMessage({ do: "drop", itemId, position: null });
    });
    // What is on its way to the ear cannot be called back: it will have been heard.
    return { playedMs: toMs(item.position), receivedMs: toMs(item.received) };
  }

  /** Drop what is unplayed of an item; what follows continues at `fromMs` of it. */
  rewind(itemId, fromMs) {
    const item = this.#items.get(itemId);
    if (!item || item.dropped) return;
    const position = toSamples(fromMs);
    item.received = item.position = position;
    item.heardMs = fromMs;
    this.#node.port.postMessage({ do: "drop", itemId, position });
  }

  /** Quieter while the user may be interrupting. */
  duck(isDucked) {
    this.#gain?.gain.setTargetAtTime(isDucked ? 0.25 : 1, this.#context.currentTime, 0.03);
  }

  /** Milliseconds of an item that have left the loudspeaker, not only the queue. */
  playedMs(itemId) {
    const item = this.#items.get(itemId);
    if (!item) return 0;
    // What was taken from the queue less than `outputLatency` ago is still on its way to the ear.
    const onTheWay = Math.max(0, this.latencyMs / 1000 - (this.#context.currentTime - item.time));
    // The latency a browser gives wavers; what was heard once stays heard.
    item.heardMs = Math.max(item.heardMs, toMs(item.position) - 1000 * onTheWay);
    return item.heardMs;
  }

  #item(itemId) {
    if (!this.#items.has(itemId)) {
      this.#items.set(itemId, { received: 0, position: 0, time: 0, heardMs: 0, dropped: false });
    }
    return this.#items.get(itemId);
  }

  #hear(report) {
    if ("dropped" in report) {
      const resolve = this.#dropping.get(report.dropped);
      this.#dropping.delete(report.dropped);
      if (resolve) Object.assign(this.#item(report.dropped), pick(report));
      resolve?.();
      return;
    }
    const { itemId, playing, rms, gaps, buffered } = report;
    if (itemId !== null) {
      const item = this.#item(itemId);
      if (item.position !== report.position) Object.assign(item, pick(report));
      this.#last = { itemId, playing: playing && !item.dropped };
    }
    const playedMs = itemId === null ? 0 : this.playedMs(itemId);
    const detail = { itemId, playedMs, playing: this.#last.playing, rms, gaps, buffered };
    this.dispatchEvent(new CustomEvent("progress", { detail }));
  }
}

const pick = ({ position, time }) => ({ position, time });
