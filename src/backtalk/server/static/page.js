// Puts the parts together: what the user does, what the session says, and what is shown.

import { Conversation, sessionConfig } from "./conversation.js";
import { LiveDelay } from "./live-delay.js";
import { Loudspeaker } from "./loudspeaker.js";
import { endedMessage, errorMessage, microphoneMessage } from "./messages.js";
import { Microphone } from "./microphone.js";
import { hideNotice, showNotice, token } from "./notice.js";
import { samplesIn } from "./pcm.js";
import { RealtimeClient } from "./realtime.js";
import { Setup } from "./setup.js";
import { clearSteps, showMouthToEar, showSteps } from "./steps.js";
import { TalkButton } from "./talk-button.js";
import { Tape } from "./tape.js";
import { Transcript } from "./transcript.js";
import { Waterfall } from "./waterfall.js";

const byId = (id) => document.getElementById(id);

const client = new RealtimeClient();
const microphone = new Microphone();
const loudspeaker = new Loudspeaker();
const conversation = new Conversation(client, loudspeaker);
const delay = new LiveDelay();
const transcript = new Transcript({
  list: byId("transcript"),
  announce: byId("announce"),
  scroll: byId("scroll"),
});
const waterfall = new Waterfall({
  list: byId("waterfall"),
  legend: byId("legend"),
  ttfa: byId("ttfa"),
  p50: byId("p50"),
  p95: byId("p95"),
  turns: byId("turns"),
});
const tape = new Tape({
  canvas: byId("tape-canvas"),
  user: byId("level-you"),
  agent: byId("level-agent"),
  talk: byId("talk"),
});
const setup = new Setup({
  system: byId("system"),
  voice: byId("voice"),
  microphone: byId("microphone"),
  loudspeaker: byId("loudspeaker"),
  loudspeakerLabel: byId("loudspeaker-label"),
  about: byId("about"),
});

// A converter has no turns that could be held or typed.
const mode = () =>
  setup.isConverter ? "hands-free" : document.querySelector("input[name=mode]:checked").value;
const isHold = () => mode() === "hold";
const isConnected = () => ["connecting", "open", "reconnecting"].includes(client.state);
const talk = new TalkButton(byId("talk"), isHold);

// --- beginning and ending -------------------------------------------------------------------

async function loadSystems() {
  try {
    await setup.load(token.get());
    return true;
  } catch ({ status }) {
    if (status === 401 || status === 403) return (await token.ask()) && loadSystems();
    const text = status === 429 ? "Too many wrong tokens. Wait a minute." : endedMessage({});
    showNotice(text, { label: "Try again", run: loadSystems });
    return false;
  }
}

async function connect() {
  if (isConnected()) return true;
  hideNotice();
  await loudspeaker.start(setup.loudspeakerId);
  if (!setup.model && !(await loadSystems())) return false;
  loudspeaker.live = setup.isConverter;
  conversation.mode = mode();
  const session = sessionConfig(mode(), setup.voice);
  client.connect({ model: setup.model, token: token.get(), session });
  return true;
}

async function listen() {
  if (microphone.isOpen) return true;
  try {
    await microphone.open(setup.microphoneId);
  } catch (error) {
    showNotice(microphoneMessage(error));
    return false;
  }
  setup.showDevices();
  show();
  return true;
}

function end() {
  microphone.close();
  client.close();
  show();
}

async function start() {
  // The microphone first: a session that nobody can speak to would take a place for nothing.
  if (await listen()) {
    if (!(await connect())) microphone.close();
  }
  show();
}

// --- what the user does -------------------------------------------------------------------------

talk.addEventListener("toggle", () => (microphone.isOpen ? end() : start()));
talk.addEventListener("press", async () => {
  if (!isConnected() || !microphone.isOpen) await start();
  if (talk.isHeld && microphone.isOpen) conversation.press();
});
talk.addEventListener("release", async () => {
  if (!(await conversation.release())) byId("phase").textContent = "Hold it while you speak";
});
byId("end").addEventListener("click", end);
byId("mute").addEventListener("click", ({ currentTarget: button }) => {
  const isMuted = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", isMuted);
  microphone.muted = isMuted;
  show();
});
byId("mode").addEventListener("change", () => {
  talk.release();
  conversation.mode = mode();
  if (isConnected()) client.update(sessionConfig(mode(), setup.voice));
  show();
});
byId("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = byId("words").value.trim();
  if (!text || !(await connect())) return;
  byId("words").value = "";
  conversation.say(text);
});
document.addEventListener("keydown", ({ code }) => {
  if (code === "Escape" && !byId("token-dialog").open) conversation.stopReply();
});
setup.addEventListener("system", async () => {
  // The voice and the system of a session are fixed: choosing begins another one.
  if (isConnected()) {
    client.close();
    await connect();
  }
  show();
});
setup.addEventListener("microphone", () => {
  if (!microphone.isOpen) return;
  microphone.close();
  listen();
});
setup.addEventListener("loudspeaker", () => loudspeaker.choose(setup.loudspeakerId));

// --- what the session says --------------------------------------------------------------------------

microphone.addEventListener("chunk", ({ detail }) => {
  // What waits for a connection is worth hearing to who answers it, and old to who says it again.
  if (!setup.isConverter || client.state === "open") {
    delay.sent(detail.chunk.length);
    conversation.hear(detail.chunk);
  }
  tape.hear("user", detail.rms);
});
microphone.addEventListener("lost", () => {
  showNotice("The microphone was unplugged. Choose another one under Set-up, or type.");
  show();
});
loudspeaker.addEventListener("progress", ({ detail }) => {
  tape.hear("agent", detail.rms);
  byId("gaps").textContent = detail.gaps;
  const devicesMs = microphone.latencyMs + loudspeaker.latencyMs;
  if (setup.isConverter) showMouthToEar(delay.ms, detail.buffered, devicesMs);
});
client.addEventListener("event", ({ detail }) => {
  if (detail.type === "session.created") {
    transcript.clear(); // a session that was resumed does not say this, and its words stay
    waterfall.clear();
    clearSteps();
    delay.reset();
  }
  if (detail.type === "backtalk.session.resumed") delay.lose();
  if (detail.type === "response.output_audio.delta") delay.received(samplesIn(detail.delta));
  transcript.handle(detail);
  showEmpty();
  if (detail.type === "backtalk.turn.measured") waterfall.add(detail);
  if (detail.type === "backtalk.steps.measured") {
    delay.dropped(detail.dropped_ms ?? 0);
    showSteps(detail);
  }
  if (detail.type === "error") {
    const message = errorMessage(detail.error);
    if (message) showNotice(message);
  }
});
client.addEventListener("state", async ({ detail }) => {
  show();
  if (detail.state !== "closed" || !("code" in detail)) return;
  microphone.close();
  show();
  // A browser does not say why a handshake was refused; the list of systems asks the same guard.
  const isRefused = detail.error?.code === "invalid_api_key" || !detail.everOpen;
  const again = { label: "Try again", run: start };
  if (detail.error?.code === "invalid_api_key") {
    if (await token.ask()) start();
  } else if (isRefused && !detail.error && (await loadSystems())) {
    showNotice("The server refused the connection.", again);
  } else if (byId("notice").hidden || detail.error) {
    showNotice(endedMessage(detail), again);
  }
});
conversation.addEventListener("phase", show);

// --- what is shown -------------------------------------------------------------------------------------

const STATES = {
  idle: "Not connected",
  connecting: "Connecting",
  open: "Connected",
  reconnecting: "Reconnecting",
  closed: "Not connected",
};

function phaseText() {
  if (client.state === "connecting") return "Connecting";
  if (client.state === "reconnecting") return "The line dropped; calling back";
  if (client.state !== "open") return isHold() ? "Hold, or hold Space, while you speak" : "Press to start";
  if (setup.isConverter) return "Speak: you hear yourself in the other voice";
  if (microphone.isOpen && byId("mute").getAttribute("aria-pressed") === "true") return "Muted";
  const waiting = isHold() || !microphone.isOpen ? "Your turn" : "Listening";
  return { hearing: "Hearing you", thinking: "Thinking", speaking: "Speaking" }[conversation.phase] ?? waiting;
}

function showEmpty() {
  byId("transcript").hidden = setup.isConverter;
  byId("empty").hidden = !setup.isConverter && !transcript.isEmpty;
  byId("hint-responder").hidden = setup.isConverter;
  byId("hint-converter").hidden = !setup.isConverter;
}

function show() {
  const isListening = microphone.isOpen && isConnected();
  const { dataset } = document.body;
  dataset.phase = client.state === "open" ? conversation.phase : client.state;
  dataset.mode = mode();
  dataset.listening = isListening;
  byId("connection").dataset.state = client.state;
  byId("connection-text").textContent = STATES[client.state];
  byId("phase").textContent = phaseText();
  byId("talk-text").textContent = isHold() ? "Hold to talk" : isListening ? "End" : "Start talking";
  byId("end").hidden = !isConnected() || (!isHold() && isListening);
  if (!setup.isConverter) byId("steps").hidden = true;
  byId("other-name").textContent = setup.isConverter ? "Other" : "Agent";
  showEmpty();
  if (isConnected()) tape.start();
  else tape.stop();
}

loadSystems().then(show);
