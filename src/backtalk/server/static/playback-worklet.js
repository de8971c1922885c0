// On the audio thread: plays queued samples and counts, per item, exactly those that were played.
//
// Positions are samples inside an item. Times are the context's.

const START_MS = 40; // buffered before sound begins; grows with every gap, since gaps mean jitter
const START_STEP_MS = 10;
const START_MOST_MS = 80;
const FADE_MS = 10;
const LIVE_START_MS = 20; // who hears their own voice pays for every millisecond
const LIVE_MOST_MS = 120; // a live converter may not fall further behind than this
const REPORT_BLOCKS = 4;

const samples = (ms) => Math.round((ms * sampleRate) / 1000);

class Playback extends AudioWorkletProcessor {
  #queue = []; // {itemId, pcm, at}
  #buffered = 0;
  #mostBuffered = 0; // since the last report
  #positions = new Map();
  #finished = new Set();
  #fade = []; // what is left to play of a dropped item, already faded
  #running = false; // false while the start buffer fills
  #startMs = START_MS;
  #gaps = 0;
  #itemId = null; // the item being played
  #live = false;
  #blocks = 0;
  #energy = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this[data.do](data);
  }

  play({ itemId, pcm }) {
    if (!this.#positions.has(itemId)) this.#positions.set(itemId, 0);
    this.#queue.push({ itemId, pcm, at: 0 });
    this.#buffered += pcm.length;
    this.#mostBuffered = Math.max(this.#mostBuffered, this.#buffered);
    if (this.#live && this.#buffered > samples(LIVE_MOST_MS)) this.#skip(samples(START_MOST_MS));
  }

  finish({ itemId }) {
    this.#finished.add(itemId);
  }

  live({ live }) {
    this.#live = live;
    this.#startMs = live ? LIVE_START_MS : START_MS;
  }

  /** Forget an item's unplayed samples; `position` says where those that follow will begin. */
  drop({ itemId, position }) {
    const mine = this.#queue.filter((piece) => piece.itemId === itemId);
    this.#queue = this.#queue.filter((piece) => piece.itemId !== itemId);
    this.#buffered -= mine.reduce((sum, { pcm, at }) => sum + pcm.length - at, 0);
    if (this.#running && this.#itemId === itemId) {
      // A cut in mid-wave clicks. What fades out is heard, so it counts as played.
      const rest = mine.flatMap(({ pcm, at }) => Array.from(pcm.subarray(at, at + samples(FADE_MS))));
      const length = Math.min(rest.length, samples(FADE_MS));
      this.#fade = rest.slice(0, length).map((value, i) => value * (1 - (i + 1) / length));
      this.#positions.set(itemId, this.#positions.get(itemId) + length);
      this.#running = this.#queue.length > 0;
    }
    const played = this.#positions.get(itemId) ?? 0;
    if (position !== null) this.#positions.set(itemId, position);
    this.port.postMessage({ dropped: itemId, position: played, time: currentTime });
  }

  process(_inputs, [[output]]) {
    let i = 0;
    while (this.#fade.length && i < output.length) output[i++] = this.#fade.shift();
    if (!this.#running && this.#mayStart()) this.#running = true;
    if (this.#running) i = this.#fill(output, i);
    for (const value of output) this.#energy += value * value;
    if (++this.#blocks === REPORT_BLOCKS) this.#report(output.length);
    return true;
  }

  #mayStart() {
    const last = this.#queue.at(-1);
    if (!last) return false;
    return this.#buffered >= samples(this.#startMs) || this.#finished.has(last.itemId);
  }

  #fill(output, i) {
    while (i < output.length) {
      const piece = this.#queue[0];
      if (!piece) {
        this.#running = false;
        if (this.#finished.has(this.#itemId)) break;
        this.#gaps += 1; // more was to come, and it is late
        this.#startMs = Math.min(START_MOST_MS, this.#startMs + START_STEP_MS);
        break;
      }
      this.#itemId = piece.itemId;
      const count = Math.min(output.length - i, piece.pcm.length - piece.at);
      output.set(piece.pcm.subarray(piece.at, piece.at + count), i);
      this.#advance(piece, count);
      i += count;
    }
    return i;
  }

  #advance(piece, count) {
    piece.at += count;
    this.#buffered -= count;
    this.#positions.set(piece.itemId, this.#positions.get(piece.itemId) + count);
    if (piece.at === piece.pcm.length) this.#queue.shift();
  }

  #skip(keep) {
    while (this.#buffered > keep) {
      const piece = this.#queue[0];
      this.#advance(piece, Math.min(piece.pcm.length - piece.at, this.#buffered - keep));
    }
  }

  #report(blockLength) {
    this.port.postMessage({
      itemId: this.#itemId,
      position: this.#positions.get(this.#itemId) ?? 0,
      playing: this.#running,
      time: currentTime,
      gaps: this.#gaps,
      buffered: this.#mostBuffered,
      rms: Math.sqrt(this.#energy / (REPORT_BLOCKS * blockLength)),
    });
    this.#blocks = 0;
    this.#energy = 0;
    this.#mostBuffered = this.#buffered;
  }
}

registerProcessor("backtalk-playback", Playback);
