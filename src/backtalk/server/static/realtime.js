// One Realtime session over WebSockets that may break and be replaced while the session goes on.

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MOST_MS = 8000;
const GIVE_UP_MS = 90_000;
const PENDING_MOST = 500; // 10 s of 20 ms chunks

// After these there is no point in trying again by oneself.
const FINAL_ERRORS = new Set(["at_capacity", "invalid_api_key", "model_not_found"]);
const FINAL_CLOSES = new Set([1000, 1003, 1008, 1009, 1013]);

/**
 * Emits `event` (every server event), `state` ({state, error, code, everOpen}).
 *
 * States: idle, connecting, open, reconnecting, closed (by us or for good).
 */
export class RealtimeClient extends EventTarget {
  state = "idle";
  #socket = null;
  #options = null; // {model, token, session}
  #resumeToken = null;
  #lastEventId = null;
  #pending = [];
  #attempts = 0;
  #lostAt = null;
  #everOpen = false;
  #error = null; // the last `error` event of this socket
  #timer = null;

  constructor() {
    super();
    window.addEventListener("online", () => {
      if (this.#timer !== null) this.#open();
    });
  }

  /** @param {{model: string, token: string, session: object}} options */
  connect(options) {
    this.close();
    this.#options = options;
    this.#forget();
    this.#everOpen = false;
    this.#setState("connecting");
    this.#open();
  }

  /** Change the session's configuration, now and for every session that replaces it. */
  update(session) {
    if (this.#options) this.#options.session = session;
    this.send({ type: "session.update", session });
  }

  /** Send a client event. While connecting it waits; sound is not worth waiting longer than that. */
  send(event) {
    if (this.state === "open") this.#socket.send(JSON.stringify(event));
    else if (this.state === "connecting" || this.#isWorthKeeping(event)) {
      this.#pending.push(event);
      if (this.#pending.length > PENDING_MOST) this.#pending.shift();
    }
  }

  close() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#drop(1000);
    this.#pending = [];
    if (this.state !== "idle" && this.state !== "closed") this.#setState("closed");
  }

  #isWorthKeeping({ type }) {
    return this.state === "reconnecting" && !/^(input_audio_buffer\.append|backtalk\.playout)$/.test(type);
  }

  #forget() {
    this.#resumeToken = this.#lastEventId = this.#lostAt = null;
    this.#attempts = 0;
  }

  #open() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const { model, token } = this.#options;
    const url = new URL("/v1/realtime", window.location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("model", model);
    if (this.#resumeToken) {
      url.searchParams.set("resume", this.#resumeToken);
      if (this.#lastEventId) url.searchParams.set("last_event_id", this.#lastEventId);
    }
    const protocols = ["realtime"];
    if (token) protocols.push(`openai-insecure-api-key.${token}`);
    this.#error = null;
    try {
      this.#socket = new WebSocket(url, protocols);
    } catch {
      // Only a token with characters that no header may carry gets here.
      this.#end(0, { code: "invalid_api_key" });
      return;
    }
    const socket = this.#socket;
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#closed(code, reason);
    };
  }

  #receive(event) {
    if (event.event_id) this.#lastEventId = event.event_id;
    if (event.type === "error") this.#error = event.error;
    if (event.type === "backtalk.session.resume_token") this.#resumeToken = event.token;
    if (event.type === "session.created") {
      this.#opened({ type: "session.update", session: this.#options.session });
    }
    if (event.type === "backtalk.session.resumed") this.#opened();
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
  }

  #opened(...first) {
    this.#everOpen = true;
    this.#attempts = 0;
    this.#lostAt = null;
    this.#setState("open");
    for (const event of [...first, ...this.#pending.splice(0)]) this.send(event);
  }

  #closed(code, reason) {
    this.#drop();
    if (this.#error?.code === "resume_token_invalid") {
      this.#forget(); // the session is gone: begin a new one
      this.#setState("connecting");
      this.#open();
      return;
    }
    const error = this.#error ?? (reason ? { code: null, message: reason } : null);
    this.#lostAt ??= performance.now();
    const tooLate = performance.now() - this.#lostAt > GIVE_UP_MS;
    // A socket that never opened may have been refused for its token; the page finds out.
    if (!this.#everOpen || tooLate || FINAL_CLOSES.has(code) || FINAL_ERRORS.has(error?.code)) {
      this.#end(code, error);
      return;
    }
    const wait = Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * 2 ** this.#attempts++);
    this.#setState("reconnecting");
    // Half of the wait is random, so that a restarted server is not hit by everybody at once.
    this.#timer = setTimeout(() => this.#open(), wait * (0.5 + 0.5 * Math.random()));
  }

  #end(code, error) {
    this.#pending = [];
    this.#setState("closed", { code, error, everOpen: this.#everOpen });
  }

  #drop(code) {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    if (code) socket.close(code);
  }

  #setState(state, detail = {}) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, ...detail } }));
  }
}
