// What every turn cost: one bar of additive stages per turn, and running percentiles.

// In the order of the critical path, so that the bars read from left to right as time.
const STAGES = {
  end_of_turn_wait: "end-of-turn wait",
  asr: "ASR",
  llm_first_token: "LLM first token",
  first_chunk: "first chunk",
  tts_first_audio: "TTS first audio",
  voice_conversion: "voice conversion",
  hold: "hold",
  leading_silence: "leading silence",
  transport: "transport",
};
const SVG = "http://www.w3.org/2000/svg";
const ROWS_MOST = 100;

/** Nearest-rank percentile of numbers, or null of none. */
export function percentile(values, share) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

const ms = (value) => (value === null ? "–" : `${Math.round(value)}`);

export class Waterfall {
  #places;
  #turns = []; // {stages, total, bars}
  #used = new Set();
  #count = 0;

  /** @param places elements: list, legend, ttfa, p50, p95, turns */
  constructor(places) {
    this.#places = places;
  }

  clear() {
    this.#turns = [];
    this.#used.clear();
    this.#count = 0;
    this.#places.list.replaceChildren();
    this.#places.legend.replaceChildren();
    this.#showFigures();
  }

  /** Add the turn of a `backtalk.turn.measured` event. */
  add({ ttfa_ms, stages_ms, barge_in_ms, underruns }) {
    const stages = Object.keys(STAGES)
      .map((name) => ({ name, ms: stages_ms?.[name] ?? 0 }))
      .filter((stage) => stage.ms > 0);
    const turn = { ttfa: ttfa_ms ?? null, stages, total: stages.reduce((sum, { ms }) => sum + ms, 0) };
    this.#count += 1;
    turn.row = this.#row(turn, { barge_in_ms, underruns });
    this.#places.list.prepend(turn.row);
    this.#turns.push(turn);
    if (this.#turns.length > ROWS_MOST) this.#turns.shift().row.remove();
    this.#showLegend(stages);
    this.#scale();
    this.#showFigures();
  }

  #row(turn, { barge_in_ms, underruns }) {
    const row = document.createElement("li");
    const number = document.createElement("span");
    number.className = "number";
    number.textContent = this.#count;
    const bar = document.createElementNS(SVG, "svg");
    bar.setAttribute("aria-hidden", "true");
    turn.bars = turn.stages.map(({ name, ms }) => {
      const part = document.createElementNS(SVG, "rect");
      part.setAttribute("class", `stage-${name}`);
      part.setAttribute("height", "100%");
      const title = document.createElementNS(SVG, "title");
      title.textContent = `${STAGES[name]} (${name}): ${Math.round(ms)} ms`;
      part.append(title);
      bar.append(part);
      return part;
    });
    const total = document.createElement("span");
    total.className = "total";
    total.textContent = turn.ttfa === null ? "unheard" : ms(turn.ttfa);
    row.append(number, bar, total);
    const remarks = [];
    if (barge_in_ms != null) remarks.push(`cut in, silent after ${Math.round(barge_in_ms)} ms`);
    if (underruns) remarks.push(underruns === 1 ? "1 gap" : `${underruns} gaps`);
    if (remarks.length) {
      const remark = document.createElement("span");
      remark.className = "remark";
      remark.textContent = remarks.join(", ");
      row.append(remark);
    }
    const parts = turn.stages.map(({ name, ms }) => `${STAGES[name]} ${Math.round(ms)}`);
    const first = turn.ttfa === null ? "not heard" : `first audio ${Math.round(turn.ttfa)} ms`;
    row.setAttribute("aria-label", [`Turn ${this.#count}: ${first}`, ...parts, ...remarks].join(", "));
    return row;
  }

  /** All bars share one scale, so that a slow turn is a long bar. */
  #scale() {
    const longest = Math.max(1, ...this.#turns.map(({ total }) => total));
    for (const { stages, bars } of this.#turns) {
      let at = 0;
      stages.forEach((stage, i) => {
        bars[i].setAttribute("x", `${(100 * at) / longest}%`);
        bars[i].setAttribute("width", `${(100 * stage.ms) / longest}%`);
        at += stage.ms;
      });
    }
  }

  #showLegend(stages) {
    for (const { name } of stages) this.#used.add(name);
    const entries = Object.keys(STAGES)
      .filter((name) => this.#used.has(name))
      .map((name) => {
        const entry = document.createElement("li");
        const swatch = document.createElement("i");
        swatch.className = `stage-${name}`;
        entry.append(swatch, STAGES[name]);
        entry.title = name;
        return entry;
      });
    this.#places.legend.replaceChildren(...entries);
  }

  #showFigures() {
    const heard = this.#turns.map(({ ttfa }) => ttfa).filter((value) => value !== null);
    this.#places.ttfa.textContent = heard.length ? ms(heard.at(-1)) : "";
    this.#places.p50.textContent = ms(percentile(heard, 0.5));
    this.#places.p95.textContent = ms(percentile(heard, 0.95));
    this.#places.turns.textContent = this.#count;
  }
}
