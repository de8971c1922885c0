// The microphone: 20 ms chunks of PCM16 at 24 kHz, with the browser's echo cancellation on.

/** Emits `chunk` ({chunk: Int16Array, rms}) 50 times a second, `lost` when the device goes away. */
export class Microphone extends EventTarget {
  #context = null;
  #stream = null;
  #muted = false;

  get isOpen() {
    return this.#stream !== null;
  }

  /**
   * Ask for the microphone and start listening. Call it from a click or a key.
   * @param {string} deviceId empty for the default
   * @throws {DOMException} what getUserMedia throws; `messages.js` has the words for it
   */
  async open(deviceId) {
    this.close();
    if (!navigator.mediaDevices) throw new DOMException("not a secure context", "SecurityError");
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: {
        // Without echo cancellation the agent hears itself and interrupts itself.
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
        channelCount: 1,
        ...(deviceId && { deviceId: { exact: deviceId } }),
      },
    });
    // The context keeps the sound card's own rate: Firefox does not connect a microphone to a
    // context of another rate. The worklet resamples.
    const context = new AudioContext({ latencyHint: "interactive" });
    this.#stream = stream;
    this.#context = context;
    try {
      await context.audioWorklet.addModule("/static/capture-worklet.js");
      await context.resume();
    } catch (error) {
      this.close();
      throw error;
    }
    if (this.#stream !== stream) return; // closed while it opened
    const capture = new AudioWorkletNode(context, "backtalk-capture", { channelCount: 1 });
    capture.port.onmessage = ({ data }) => {
      if (this.#stream === stream) this.dispatchEvent(new CustomEvent("chunk", { detail: data }));
    };
    // Its output is silence; a node that leads nowhere is not run by every browser.
    context.createMediaStreamSource(stream).connect(capture).connect(context.destination);
    const [track] = stream.getAudioTracks();
    track.enabled = !this.#muted;
    track.onended = () => {
      this.close();
      this.dispatchEvent(new Event("lost"));
    };
  }

  /** What the device takes, by the browser's own word; 0 where it says nothing. */
  get latencyMs() {
    const [track] = this.#stream?.getAudioTracks() ?? [];
    return 1000 * (track?.getSettings().latency ?? 0);
  }

  /** Muted, it goes on sending silence, so that the server's clock of pauses goes on, too. */
  set muted(muted) {
    this.#muted = muted;
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  close() {
    for (const track of this.#stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.#context?.close();
    this.#stream = this.#context = null;
  }
}
