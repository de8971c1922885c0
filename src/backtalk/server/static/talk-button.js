// One button with two meanings: hands-free it starts and ends, else it is held while speaking.

const INTERACTIVE = "a, button, input, select, textarea, dialog, [tabindex]";

/** Emits `toggle` (hands-free), `press` and `release` (hold to talk). */
export class TalkButton extends EventTarget {
  isHeld = false;
  #button;
  #holds;

  /** @param {HTMLButtonElement} button @param {() => boolean} holds whether it is to be held */
  constructor(button, holds) {
    super();
    this.#button = button;
    this.#holds = holds;
    button.addEventListener("click", () => {
      if (!holds()) this.dispatchEvent(new Event("toggle"));
    });
    button.addEventListener("pointerdown", (event) => {
      if (!holds() || event.button !== 0) return;
      button.setPointerCapture(event.pointerId); // a finger that slides off still holds it
      this.#press();
    });
    for (const type of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) {
      button.addEventListener(type, () => this.release());
    }
    button.addEventListener("contextmenu", (event) => {
      if (holds()) event.preventDefault(); // a long press on a phone
    });
    document.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("keyup", ({ code }) => {
      if (code === "Space" || code === "Enter") this.release();
    });
    window.addEventListener("blur", () => this.release());
  }

  #key(event) {
    if (!this.#holds()) return;
    const isMine = event.target === this.#button;
    const isSpace = event.code === "Space" && (isMine || !event.target.matches(INTERACTIVE));
    if (!isSpace && !(isMine && event.code === "Enter")) return;
    event.preventDefault(); // neither scroll nor click
    if (!event.repeat) this.#press();
  }

  #press() {
    if (this.isHeld) return;
    this.isHeld = true;
    this.dispatchEvent(new Event("press"));
  }

  release() {
    if (!this.isHeld) return;
    this.isHeld = false;
    this.dispatchEvent(new Event("release"));
  }
}
