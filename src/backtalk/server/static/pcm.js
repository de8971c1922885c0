// Samples to and from the wire: base64 of 16-bit little endian PCM at 24 kHz, mono.

export const SAMPLE_RATE = 24000;

/** Base64 of Int16 samples (every platform with a browser is little endian). */
export function toBase64(int16) {
  const bytes = new Uint8Array(int16.buffer, int16.byteOffset, int16.byteLength);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** Float32 samples, -1..1, of base64 PCM16. */
export function fromBase64(base64) {
  const text = atob(base64);
  const pcm = new Float32Array(text.length >> 1);
  for (let i = 0; i < pcm.length; i++) {
    const value = text.charCodeAt(2 * i) | (text.charCodeAt(2 * i + 1) << 8);
    pcm[i] = (value >= 0x8000 ? value - 0x10000 : value) / 0x8000;
  }
  return pcm;
}

/** Samples in base64 PCM16. */
export const samplesIn = (base64) => (3 * base64.length) / 8 - base64.match(/=*$/)[0].length / 2;

export const toMs = (samples) => (1000 * samples) / SAMPLE_RATE;
export const toSamples = (ms) => Math.round((ms * SAMPLE_RATE) / 1000);
