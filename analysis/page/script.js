"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Light and dark: as the system says, until somebody asks for the other.
  const theme = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const wanted = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = wanted;
    try { localStorage.setItem("lab-theme", wanted); } catch (error) { /* a page from a file may not keep anything */ }
    label();
  });
  dark.addEventListener("change", label);
  label();

  // Charts: one view for each; the legend and the choices are signals of it.
  const views = [];
  const shown = () => all(".legend input").filter(box => box.checked).map(box => box.value);
  const ERRORS = 1; // of Vega's levels of what it logs: that nothing is left to be drawn is no news
  const options = {
    renderer: "svg", logLevel: ERRORS, defaultStyle: false, tooltip: { disableDefaultStyle: true },
    actions: { export: true, source: false, compiled: false, editor: false },
    i18n: { SVG_ACTION: "SVG", PNG_ACTION: "PNG" },
  };
  const draw = async place => {
    const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
    const name = place.dataset.spec.replace("spec-", "");
    const { view } = await vegaEmbed(place, spec, { ...options, downloadFileName: name });
    views.push(view);
    for (const choice of all("select", place.parentElement)) {
      choice.addEventListener("change", () => view.signal(choice.dataset.parameter, choice.value).runAsync());
    }
    const picture = place.querySelector("svg");
    picture.setAttribute("role", "img");
    picture.firstElementChild.setAttribute("aria-hidden", "true");
    picture.setAttribute("aria-label", place.closest("figure").querySelector("figcaption").innerText.replace(/\s+/g, " "));
  };
  // What is chosen in one chart is chosen in all that offer it.
  for (const choice of all("select")) {
    choice.addEventListener("input", () => {
      for (const other of all(`select[data-parameter="${choice.dataset.parameter}"]`)) {
        const offers = [...other.options].some(option => option.value === choice.value);
        if (other === choice || other.value === choice.value || !offers) continue;
        other.value = choice.value;
        other.dispatchEvent(new Event("change"));
      }
    });
  }
  const drawn = Promise.all(all(".drawn").map(draw)).then(
    () => { document.documentElement.dataset.drawn = "all"; },
    error => { document.documentElement.dataset.drawn = "failed"; console.error(error); });
  for (const box of all(".legend input")) {
    box.addEventListener("change", () => {
      if (!shown().length) box.checked = true; // there is nothing to be seen in a chart of none
      drawn.then(() => views.forEach(view => view.signal("shown", shown()).runAsync()));
    });
  }

  // Diagrams: opened by a click, Enter or Space, as any button.
  for (const button of all(".diagrams button")) {
    button.addEventListener("click", () => {
      const diagram = document.getElementById(button.getAttribute("aria-controls"));
      diagram.hidden = !diagram.hidden;
      button.setAttribute("aria-expanded", String(!diagram.hidden));
    });
  }

  // On paper what is folded is open, and afterwards as it was.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details.table:not([open])");
    opened.forEach(each => { each.open = true; });
    views.forEach(view => view.resize().run());
  });
  addEventListener("afterprint", () => opened.forEach(each => { each.open = false; }));
})();
