// Both voices on one time line, the user's above and the agent's below: a level meter with memory.
// The gap between the two, end of one and beginning of the other, is what this project is about.

const SECONDS = 12;
const COLUMN_MS = 50;
const COLUMNS = (1000 * SECONDS) / COLUMN_MS;
const FLOOR_DB = -54;

/** Level of 0..1 on a scale of decibels, as ears have it. */
export function levelOf(rms) {
  return Math.max(0, Math.min(1, 1 - (20 * Math.log10(rms + 1e-6) + 6) / (FLOOR_DB + 6)));
}

export class Tape {
  #canvas;
  #sides; // {user, agent}: {meter, level, columns}
  #timer = null;
  #reducedMotion = window.matchMedia("(prefers-reduced-motion: reduce)");
  #talk;

  /** @param {{canvas: HTMLCanvasElement, user: Element, agent: Element, talk: Element}} places */
  constructor({ canvas, user, agent, talk }) {
    this.#canvas = canvas;
    this.#talk = talk;
    const side = (meter) => ({ meter, level: 0, columns: new Float32Array(COLUMNS) });
    this.#sides = { user: side(user), agent: side(agent) };
    const draw = () => this.#draw();
    new ResizeObserver(draw).observe(canvas);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  /** @param {"user"|"agent"} who @param {number} rms of about 20 ms */
  hear(who, rms) {
    const side = this.#sides[who];
    side.level = Math.max(side.level, levelOf(rms));
  }

  start() {
    this.#timer ??= setInterval(() => this.#step(), COLUMN_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    for (const side of Object.values(this.#sides)) side.level = 0;
    this.#show();
  }

  #step() {
    for (const side of Object.values(this.#sides)) {
      side.columns.copyWithin(0, 1);
      side.columns[COLUMNS - 1] = side.level;
    }
    this.#show();
    for (const side of Object.values(this.#sides)) side.level *= 0.35;
    if (!this.#reducedMotion.matches) this.#draw();
  }

  #show() {
    const { user, agent } = this.#sides;
    for (const { meter, level } of [user, agent]) {
      meter.style.setProperty("--level", level.toFixed(3));
      meter.setAttribute("aria-valuenow", Math.round(100 * level));
    }
    this.#talk.style.setProperty("--level", Math.max(user.level, agent.level).toFixed(3));
  }

  #draw() {
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(this.#canvas.clientWidth * scale);
    const height = Math.round(this.#canvas.clientHeight * scale);
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    const pen = this.#canvas.getContext("2d");
    const middle = height / 2;
    const step = width / COLUMNS;
    pen.clearRect(0, 0, width, height);
    for (const [{ meter, columns }, sign] of [[this.#sides.user, -1], [this.#sides.agent, 1]]) {
      pen.fillStyle = getComputedStyle(meter).color;
      columns.forEach((level, i) => {
        const size = Math.max(scale, level * (middle - 2 * scale));
        pen.globalAlpha = level > 0.02 ? 1 : 0.3;
        pen.fillRect(i * step, sign < 0 ? middle - size : middle, Math.max(1, step * 0.62), size);
      });
    }
  }
}
