// One message at a time at the top of the page, and the question for a token.

const byId = (id) => document.getElementById(id);
const TOKEN_KEY = "backtalk.token";

let act = null;

/** Show a message; `action` ({label, run}) gives it a button. */
export function showNotice(text, action = null) {
  act = action?.run ?? null;
  byId("notice-text").textContent = text;
  byId("notice-action").hidden = !action;
  byId("notice-action").textContent = action?.label ?? "";
  byId("notice").hidden = false;
}

export function hideNotice() {
  byId("notice").hidden = true;
}

byId("notice-close").addEventListener("click", hideNotice);
byId("notice-action").addEventListener("click", () => {
  hideNotice();
  act?.();
});

/** The token of this tab; it is kept no longer than the tab, and never in an address. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN_KEY) ?? "",

  /** Ask the user. @returns {Promise<boolean>} false when they would rather not */
  ask() {
    const dialog = byId("token-dialog");
    const field = byId("token");
    const wasWrong = token.get() !== "";
    byId("token-hint").textContent = wasWrong
      ? "The server did not accept that token. Try another one."
      : "It is the one the server was started with. It stays in this tab only.";
    field.value = "";
    if (!dialog.open) dialog.showModal();
    return new Promise((resolve) => {
      byId("token-cancel").onclick = () => dialog.close();
      dialog.onclose = () => {
        const isGiven = dialog.returnValue === "given" && field.value !== "";
        if (isGiven) sessionStorage.setItem(TOKEN_KEY, field.value);
        field.value = dialog.returnValue = "";
        resolve(isGiven);
      };
      byId("token-form").onsubmit = () => {
        dialog.returnValue = "given";
      };
    });
  },
};
