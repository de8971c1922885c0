// What was said, as an interview: who, what, and under the agent's name what the turn cost.
//
// The visible list changes with every partial word, which a screen reader should not read out;
// finished lines are put into a polite live region of their own.

const SWEEP_AFTER_MS = 300; // a commit follows the end of speech at once, if it was a turn
const NAMES = { user: "You", assistant: "Agent" };

export class Transcript {
  #list;
  #announce;
  #scroll;
  #isFollowing = true;
  #lines = new Map(); // item id -> {row, text, note, role, words}

  constructor({ list, announce, scroll }) {
    this.#list = list;
    this.#announce = announce;
    this.#scroll = scroll;
    scroll.addEventListener("scroll", () => {
      this.#isFollowing = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
    });
    new ResizeObserver(() => this.#follow()).observe(scroll);
  }

  get isEmpty() {
    return this.#lines.size === 0;
  }

  clear() {
    this.#lines.clear();
    this.#list.replaceChildren();
  }

  /** Follow one server event. */
  handle(event) {
    this.#handlers[event.type]?.(event);
  }

  #handlers = {
    "input_audio_buffer.speech_started": ({ item_id }) => {
      this.#sweep();
      this.#line(item_id, "user");
    },
    "input_audio_buffer.speech_stopped": () => setTimeout(() => this.#sweep(), SWEEP_AFTER_MS),
    "input_audio_buffer.committed": ({ item_id }) => {
      this.#line(item_id, "user").committed = true;
    },
    "backtalk.transcript.partial": ({ item_id, transcript }) => this.#write(item_id, "user", transcript),
    "conversation.item.input_audio_transcription.delta": ({ item_id, delta }) => {
      const line = this.#line(item_id, "user");
      // Partials carry the whole text already; deltas are all there is where partials are not.
      if (line.row.dataset.partial !== "whole") this.#write(item_id, "user", line.words + delta, "delta");
    },
    "conversation.item.input_audio_transcription.completed": ({ item_id, transcript }) => {
      if (transcript.trim()) this.#finish(item_id, "user", transcript);
      else this.#remove(item_id);
    },
    "conversation.item.input_audio_transcription.failed": ({ item_id }) => this.#remove(item_id),
    "conversation.item.added": ({ item }) => {
      const text = (item.content ?? []).find(({ type }) => type === "input_text")?.text;
      if (item.role === "user" && text) this.#finish(item.id, "user", text);
    },
    "conversation.item.deleted": ({ item_id }) => this.#remove(item_id),
    "response.output_audio_transcript.delta": (event) => this.#append(event),
    "response.output_text.delta": (event) => this.#append(event),
    "response.output_audio_transcript.done": ({ item_id, transcript }) => this.#heard(item_id, transcript),
    "response.output_text.done": ({ item_id, text }) => this.#heard(item_id, text),
    "conversation.item.retrieved": ({ item }) => {
      const said = (item.content ?? []).find(({ type }) => type === "output_audio");
      if (item.role === "assistant" && said) this.#heard(item.id, said.transcript ?? "");
    },
    "response.done": ({ response }) => {
      this.#sweep();
      for (const { id } of response.output ?? []) this.#endReply(id, response.status === "cancelled");
    },
    "backtalk.turn.measured": ({ item_id, ttfa_ms }) => {
      const line = this.#lines.get(item_id);
      if (line && ttfa_ms != null) line.note.textContent = `${Math.round(ttfa_ms)} ms`;
    },
  };

  /** Forget what was begun but did not become a turn: a cough, an "uh-huh" over the reply. */
  #sweep() {
    for (const [id, line] of this.#lines) {
      if (line.role === "user" && !line.committed) this.#remove(id);
    }
  }

  #append({ item_id, delta }) {
    const line = this.#line(item_id, "assistant");
    this.#write(item_id, "assistant", line.words + delta);
  }

  #heard(itemId, transcript) {
    const line = this.#line(itemId, "assistant");
    if (line.words.startsWith(transcript) && line.words !== transcript) {
      line.text.textContent = transcript;
      this.#addUnheard(line, line.words.slice(transcript.length));
    } else {
      this.#write(itemId, "assistant", transcript);
    }
    line.heard = transcript;
  }

  #addUnheard(line, words) {
    const rest = document.createElement("span");
    rest.className = "unheard";
    rest.title = "Written, but not heard: the agent does not remember it";
    rest.textContent = words.trim();
    line.text.append(" ", rest);
  }

  #endReply(itemId, isCut) {
    const line = this.#lines.get(itemId);
    if (!line) return;
    delete line.row.dataset.partial;
    if (isCut) line.row.dataset.cut = "";
    this.#say("assistant", line.heard ?? line.words);
  }

  #write(itemId, role, words, partial = "whole") {
    const line = this.#line(itemId, role);
    line.words = words;
    line.text.textContent = words;
    line.row.dataset.partial = partial;
    this.#follow();
  }

  #finish(itemId, role, words) {
    this.#write(itemId, role, words);
    const line = this.#line(itemId, role);
    line.committed = true;
    delete line.row.dataset.partial;
    this.#say(role, words);
  }

  #say(role, words) {
    if (words) this.#announce.textContent = `${NAMES[role]}: ${words}`;
  }

  #remove(itemId) {
    this.#lines.get(itemId)?.row.remove();
    this.#lines.delete(itemId);
  }

  #line(itemId, role) {
    let line = this.#lines.get(itemId);
    if (!line) {
      const row = document.createElement("li");
      const who = document.createElement("p");
      const note = document.createElement("span");
      const text = document.createElement("p");
      row.className = role;
      row.dataset.partial = "";
      who.className = "who";
      text.className = "words";
      text.dir = "auto";
      note.className = "note";
      who.append(NAMES[role], note);
      row.append(who, text);
      this.#list.append(row);
      line = { row, text, note, role, words: "", heard: null, committed: false };
      this.#lines.set(itemId, line);
      this.#follow();
    }
    return line;
  }

  /** Keep the newest words in sight, unless the reader has scrolled back. */
  #follow() {
    if (this.#isFollowing) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }
}
