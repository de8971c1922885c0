// Light, dark or as the system. A classic script in the head, so that it runs before the first
// paint: a module would let the wrong colours flash.
(() => {
  const root = document.documentElement;
  const chosen = localStorage.getItem("backtalk.theme");
  if (chosen) root.dataset.theme = chosen;

  const next = { auto: "light", light: "dark", dark: "auto" };
  const names = { auto: "as the system", light: "light", dark: "dark" };

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = document.getElementById("theme-text");
    const show = () => {
      const theme = root.dataset.theme ?? "auto";
      label.textContent = theme[0].toUpperCase() + theme.slice(1);
      button.setAttribute("aria-label", `Colours: ${names[theme]}`);
    };
    button.addEventListener("click", () => {
      const theme = next[root.dataset.theme ?? "auto"];
      if (theme === "auto") {
        delete root.dataset.theme;
        localStorage.removeItem("backtalk.theme");
      } else {
        root.dataset.theme = theme;
        localStorage.setItem("backtalk.theme", theme);
      }
      show();
    });
    show();
  });
})();
