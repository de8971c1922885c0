// What went wrong, in words that say what to do.

const MICROPHONE = {
  NotAllowedError:
    "The browser did not allow the microphone. Allow it beside the address of this page and try again, or type.",
  NotFoundError: "No microphone was found. Connect one and try again, or type.",
  OverconstrainedError: "The chosen microphone is gone. Choose another one under Set-up.",
  NotReadableError: "The microphone could not be opened; another program may be using it.",
  SecurityError:
    "A browser gives a page the microphone only over https or on localhost. You can still type.",
};

/** Words for what `getUserMedia` threw. */
export function microphoneMessage(error) {
  return MICROPHONE[error.name] ?? `The microphone could not be opened (${error.message}).`;
}

const ENDED = {
  at_capacity: ({ retry_after_s }) =>
    "The server is full: all its places are taken. " +
    (retry_after_s ? `Try again in ${Math.ceil(retry_after_s)} s.` : "Try again in a moment."),
  model_not_found: () => "The server does not have this system. Choose another one under Set-up.",
};

// These happen in ordinary use (a press without words, a cancel that came too late).
const HARMLESS = new Set([
  "response_cancel_not_active",
  "conversation_already_has_active_response",
  "input_audio_buffer_commit_empty",
  "item_not_found", // the user had not finished, and the server took the reply back
  "resume_token_invalid", // the page begins a new session and says so
]);

/** Words for an `error` event while the session goes on, or null where nobody needs to know. */
export function errorMessage(error) {
  if (HARMLESS.has(error.code) || error.code in ENDED || error.code === "invalid_api_key") return null;
  return error.message;
}

/** Words for a session that is over and did not end by the user's wish. */
export function endedMessage({ code, error, everOpen }) {
  if (error?.code in ENDED) return ENDED[error.code](error);
  if (error?.message) return `The server ended the session: ${error.message}`;
  if (code === 1013) return ENDED.at_capacity({});
  if (!everOpen) return "The server could not be reached. Is it still running?";
  return "The connection was lost and the server has not answered since.";
}
