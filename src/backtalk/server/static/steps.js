// How a converter keeps time: it has no turns, so its figures are those of its steps.

const byId = (id) => document.getElementById(id);
const ms = (value) => (value == null ? "–" : `${value.toFixed(1)} ms`);

/** Show a `backtalk.steps.measured` event. */
export function showSteps({ step_p50_ms, step_p95_ms, late_steps, floor_ms }) {
  byId("step-p50").textContent = ms(step_p50_ms);
  byId("step-p95").textContent = ms(step_p95_ms);
  byId("step-late").textContent = late_steps ?? "–";
  byId("step-floor").textContent = ms(floor_ms);
  byId("steps").hidden = false;
}
