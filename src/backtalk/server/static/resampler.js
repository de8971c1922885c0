// A streaming resampler for a fixed pair of rates: polyphase, windowed sinc.
//
// Browsers record at the sound card's rate (mostly 48 or 44.1 kHz). Picking every second sample
// would fold everything above 12 kHz (the hiss of an "s") back into the speech band, so the input
// is low-passed below half of the lower rate first; the two steps are one filter.

const ZERO_CROSSINGS = 16; // on each side: about 80 dB down in the stop band
const PASS_BAND = 0.92; // of half the lower rate; the rest is the filter's slope

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

function blackman(x) {
  // x in -1..1 from edge to edge
  return Math.abs(x) > 1 ? 0 : 0.42 + 0.5 * Math.cos(Math.PI * x) + 0.08 * Math.cos(2 * Math.PI * x);
}

export class Resampler {
  #phases; // one filter per position of an output sample between two input samples
  #taps;
  #up;
  #down;
  #history; // the last `taps - 1` input samples
  #at = 0; // of the next output sample, in 1/up input samples, relative to `history`

  constructor(rateIn, rateOut) {
    const common = gcd(rateIn, rateOut);
    this.#up = rateOut / common;
    this.#down = rateIn / common;
    const cutoff = PASS_BAND * Math.min(1, rateOut / rateIn); // of half the input's rate
    const half = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.#taps = 2 * half;
    this.#phases = Array.from({ length: this.#up }, (_, phase) => {
      const shift = half - 1 + phase / this.#up;
      const taps = Float32Array.from({ length: this.#taps }, (_, tap) => {
        const x = tap - shift;
        return cutoff * sinc(cutoff * x) * blackman(x / half);
      });
      const sum = taps.reduce((total, tap) => total + tap, 0);
      return taps.map((tap) => tap / sum); // every phase passes a constant unchanged
    });
    this.#history = new Float32Array(this.#taps - 1);
  }

  /** Output samples that `input` (Float32Array) makes possible. Any chunking gives the same. */
  process(input) {
    const known = new Float32Array(this.#history.length + input.length);
    known.set(this.#history);
    known.set(input, this.#history.length);
    // The last position at which a whole filter fits, any phase of it.
    const last = (known.length - this.#taps + 1) * this.#up - 1;
    const count = Math.max(0, Math.floor((last - this.#at) / this.#down) + 1);
    const output = new Float32Array(count);
    for (let i = 0; i < count; i++, this.#at += this.#down) {
      const from = Math.floor(this.#at / this.#up);
      const taps = this.#phases[this.#at % this.#up];
      let sum = 0;
      for (let tap = 0; tap < taps.length; tap++) sum += taps[tap] * known[from + tap];
      output[i] = sum;
    }
    this.#at -= input.length * this.#up;
    this.#history = known.slice(input.length);
    return output;
  }
}
