// The rules of taking turns, as far as the page has a part in them: what is sent when the user
// presses, releases, types or cuts in, and what is played, ducked, dropped and truncated.

import { fromBase64, toBase64 } from "./pcm.js";

const REPORT_EVERY_MS = 150;
const RELEASE_MS = 80; // the last chunks are still on their way when the button is let go
const SHORTEST_MS = 250; // a shorter press is a slip
const DUCK_MOST_MS = 1500; // then it was no interruption

const INCLUDE = ["backtalk.latency", "backtalk.partials", "backtalk.resume", "backtalk.playout"];

/** The session a mode and a voice ask for, as `session.update` wants it. */
export function sessionConfig(mode, voice) {
  const format = { type: "audio/pcm", rate: 24000 };
  return {
    type: "realtime",
    output_modalities: ["audio"],
    audio: {
      input: {
        format,
        transcription: { model: "default" },
        turn_detection: mode === "hold" ? null : { type: "semantic_vad", interrupt_response: true },
      },
      output: { format, ...(voice && { voice }) },
    },
    include: INCLUDE,
  };
}

/** Emits `phase` ({phase}): idle, listening, hearing, thinking or speaking. */
export class Conversation extends EventTarget {
  phase = "idle";
  #client;
  #loudspeaker;
  #mode = "hands-free";
  #pressedAt = null;
  #response = null; // the one in progress
  #itemsOf = new Map(); // response id -> ids of its items with sound
  #duckTimer = null;
  #reported = { itemId: null, played_ms: 0, at: 0 };
  #isSilent = true;

  constructor(client, loudspeaker) {
    super();
    this.#client = client;
    this.#loudspeaker = loudspeaker;
    client.addEventListener("event", ({ detail }) => this.#handlers[detail.type]?.(detail));
    client.addEventListener("state", ({ detail }) => {
      if (detail.state === "closed") this.reset();
    });
    loudspeaker.addEventListener("progress", ({ detail }) => this.#report(detail));
  }

  set mode(mode) {
    this.#mode = mode;
    this.#pressedAt = null;
  }

  /** One chunk of the microphone. */
  hear(chunk) {
    if (this.#mode === "hold" && this.#pressedAt === null) return;
    this.#client.send({ type: "input_audio_buffer.append", audio: toBase64(chunk) });
  }

  press() {
    if (this.#pressedAt !== null) return;
    this.stopReply();
    this.#client.send({ type: "input_audio_buffer.clear" });
    this.#pressedAt = performance.now();
    this.#setPhase("hearing");
  }

  /** @returns {Promise<boolean>} false when the press was too short to hold a word */
  async release() {
    const pressedAt = this.#pressedAt;
    if (pressedAt === null) return true;
    await new Promise((resolve) => setTimeout(resolve, RELEASE_MS));
    if (this.#pressedAt !== pressedAt) return true; // ended, or pressed anew
    this.#pressedAt = null;
    if (performance.now() - pressedAt < SHORTEST_MS + RELEASE_MS) {
      this.#client.send({ type: "input_audio_buffer.clear" });
      this.#setPhase("listening");
      return false;
    }
    this.#client.send({ type: "input_audio_buffer.commit" });
    this.#client.send({ type: "response.create" });
    this.#setPhase("thinking");
    return true;
  }

  say(text) {
    this.stopReply();
    const content = [{ type: "input_text", text }];
    const item = { type: "message", role: "user", content };
    this.#client.send({ type: "conversation.item.create", item });
    this.#client.send({ type: "response.create" });
    this.#setPhase("thinking");
  }

  /** Stop the reply because the user did something other than speak over it. */
  stopReply() {
    if (this.#response) this.#client.send({ type: "response.cancel" });
    const items = this.#itemsOf.get(this.#response) ?? [];
    for (const itemId of new Set([...items, this.#loudspeaker.playing])) {
      if (itemId) this.#cut(itemId);
    }
    this.#response = null;
  }

  reset() {
    for (const items of this.#itemsOf.values()) for (const id of items) this.#loudspeaker.drop(id);
    this.#itemsOf.clear();
    this.#response = this.#pressedAt = null;
    this.#duck(false);
    this.#setPhase("idle");
  }

  #handlers = {
    "session.updated": () => {
      if (this.phase === "idle") this.#setPhase("listening");
    },
    "input_audio_buffer.speech_started": () => {
      this.#duck(this.#loudspeaker.playing !== null);
      this.#setPhase("hearing");
    },
    "input_audio_buffer.speech_stopped": () => {
      this.#duck(false);
      if (this.phase === "hearing") this.#setPhase(this.#loudspeaker.playing ? "speaking" : "listening");
    },
    // What was only a cough is stopped, too, but never committed.
    "input_audio_buffer.committed": () => this.#setPhase("thinking"),
    "response.created": ({ response }) => {
      this.#response = response.id;
      this.#itemsOf.set(response.id, new Set());
    },
    "response.output_audio.delta": ({ response_id, item_id, delta }) => {
      if (!this.#itemsOf.has(response_id)) this.#itemsOf.set(response_id, new Set());
      this.#itemsOf.get(response_id).add(item_id);
      this.#loudspeaker.play(item_id, fromBase64(delta));
    },
    "response.output_audio.done": ({ item_id }) => this.#loudspeaker.finish(item_id),
    "backtalk.output_audio.paused": ({ item_id, audio_end_ms }) => {
      this.#loudspeaker.rewind(item_id, audio_end_ms);
    },
    // The server knows which words of a cut reply were heard; the transcript shows them.
    "conversation.item.truncated": ({ item_id }) => {
      this.#client.send({ type: "conversation.item.retrieve", item_id });
    },
    "response.done": ({ response }) => {
      this.#duck(false);
      if (this.#response === response.id) this.#response = null;
      if (response.status !== "completed") {
        for (const itemId of this.#itemsOf.get(response.id) ?? []) this.#cut(itemId);
      }
      const isSoundless = !this.#itemsOf.get(response.id)?.size;
      const isOver = this.phase === "speaking" && !this.#loudspeaker.playing;
      if (isOver || (isSoundless && this.phase === "thinking")) this.#setPhase("listening");
      this.#itemsOf.delete(response.id);
    },
  };

  /** Stop an item and tell the server how much of it was heard, so that it remembers only that. */
  async #cut(itemId) {
    const cut = await this.#loudspeaker.drop(itemId);
    if (!cut) return;
    this.#client.send({
      type: "conversation.item.truncate",
      item_id: itemId,
      content_index: 0,
      audio_end_ms: Math.floor(Math.min(cut.playedMs, cut.receivedMs)),
    });
  }

  #duck(isDucked) {
    clearTimeout(this.#duckTimer);
    this.#loudspeaker.duck(isDucked);
    if (isDucked) this.#duckTimer = setTimeout(() => this.#duck(false), DUCK_MOST_MS);
  }

  #report({ itemId, playedMs, playing }) {
    const now = performance.now();
    const justEnded = !playing && !this.#isSilent;
    const played_ms = Math.round(playedMs);
    // After the last sample was taken some are still on their way to the ear, so it is the
    // position that decides whether there is news, not whether something plays.
    const isNews = itemId !== this.#reported.itemId || played_ms !== this.#reported.played_ms;
    if (itemId && isNews && now - this.#reported.at >= REPORT_EVERY_MS) {
      this.#reported = { itemId, played_ms, at: now };
      this.#client.send({ type: "backtalk.playout", item_id: itemId, played_ms });
    }
    if (playing && this.phase === "thinking") this.#setPhase("speaking");
    if (justEnded && !this.#response && this.phase === "speaking") this.#setPhase("listening");
    this.#isSilent = !playing;
  }

  #setPhase(phase) {
    if (this.phase === phase) return;
    this.phase = phase;
    this.dispatchEvent(new CustomEvent("phase", { detail: { phase } }));
  }
}
