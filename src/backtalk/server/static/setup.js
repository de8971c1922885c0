// The pickers: which system, which voice, which microphone, which loudspeaker.

import { Loudspeaker } from "./loudspeaker.js";

const option = (value, text) => new Option(text, value);

/** Fetch the systems this server has. Throws {status} where it does not answer with them. */
async function fetchModels(token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch("/v1/models", { headers, cache: "no-store" });
  } catch {
    throw { status: 0 };
  }
  if (!response.ok) throw { status: response.status };
  return (await response.json()).data;
}

/** Emits `system` and `devices` when the user chose another one. */
export class Setup extends EventTarget {
  #places;
  #models = [];

  /** @param places selects: system, voice, microphone, loudspeaker; about, loudspeakerLabel */
  constructor(places) {
    super();
    this.#places = places;
    const tell = (name) => () => this.dispatchEvent(new Event(name));
    places.system.addEventListener("change", () => {
      this.#showSystem();
      tell("system")();
    });
    places.voice.addEventListener("change", tell("system"));
    places.microphone.addEventListener("change", tell("microphone"));
    places.loudspeaker.addEventListener("change", tell("loudspeaker"));
    places.loudspeakerLabel.hidden = !Loudspeaker.canChoose;
    navigator.mediaDevices?.addEventListener("devicechange", () => this.showDevices());
    this.showDevices();
  }

  get model() {
    return this.#places.system.value;
  }

  get voice() {
    return this.#places.voice.value;
  }

  get microphoneId() {
    return this.#places.microphone.value;
  }

  get loudspeakerId() {
    return this.#places.loudspeaker.value;
  }

  get isConverter() {
    const model = this.#chosen();
    return (model?.kind ?? model?.backtalk?.kind) === "converter";
  }

  async load(token) {
    this.#models = await fetchModels(token);
    const before = this.model;
    this.#places.system.replaceChildren(...this.#models.map(({ id }) => option(id, id)));
    if (this.#models.some(({ id }) => id === before)) this.#places.system.value = before;
    this.#showSystem();
  }

  /** Labels of devices are only known once the microphone was allowed; call this again then. */
  async showDevices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    this.#fillDevices(this.#places.microphone, devices, "audioinput");
    this.#fillDevices(this.#places.loudspeaker, devices, "audiooutput");
  }

  #chosen() {
    return this.#models.find(({ id }) => id === this.model);
  }

  #showSystem() {
    const model = this.#chosen();
    const voices = model?.voices ?? model?.backtalk?.voices ?? [];
    this.#places.voice.replaceChildren(
      option("", "default"),
      ...voices.filter((voice) => voice !== "default").map((voice) => option(voice, voice)),
    );
    const parts = Object.values(model?.backtalk ?? {}).filter((part) => typeof part === "string");
    this.#places.about.textContent = parts.join(" · ");
    document.body.dataset.kind = this.isConverter ? "converter" : "responder";
  }

  #fillDevices(select, devices, kind) {
    const chosen = select.value;
    const others = devices.filter(
      (device) => device.kind === kind && device.label && device.deviceId !== "default",
    );
    select.replaceChildren(
      option("", "default"),
      ...others.map(({ deviceId, label }) => option(deviceId, label)),
    );
    if (others.some(({ deviceId }) => deviceId === chosen)) select.value = chosen;
  }
}
