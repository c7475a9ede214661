// Zoom and pan along time for every diagram on a page: wheel, pinch, + and - zoom; drag and arrow keys pan; 0 and a
// double click show all of it again. The wheel is the page's own until a diagram was clicked or Ctrl is held.
(() => {
  "use strict";
  const NEAREST = 40, STEP = 1.5, PUSH = 0.2, A_DRAG = 4, BETWEEN_TICKS = 70;
  const HINT = "click, then wheel or + − to zoom; drag or ← → to move; 0 for all";
  const SVG = "http://www.w3.org/2000/svg";

  const roundStep = (raw) => {
    const power = 10 ** Math.floor(Math.log10(raw));
    return [1, 2, 5, 10].find((factor) => factor * power >= raw * (1 - 1e-9)) * power;
  };

  const element = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const enliven = (svg) => {
    const plane = svg.querySelector(".plane"), axis = svg.querySelector(".axis"), hint = svg.querySelector(".hint");
    const { from, lasts, width, top, bottom } = Object.fromEntries(
      Object.entries(axis.dataset).map(([name, value]) => [name, Number(value)]),
    );
    const left = axis.transform.baseVal[0].matrix.e, ticksOfAll = [...axis.childNodes];
    const fixed = [...plane.querySelectorAll(".fix")].map((node) => {
      const { e: x, f: y } = node.transform.baseVal[0].matrix;
      return { node, x, y, zoom: Number(node.dataset.from || 1) };
    });
    const pointers = new Map();
    let zoom = 1, shift = 0, drawn = 1, waiting = 0, dragged = false;

    const ticks = () => {
      if (zoom === 1) return axis.replaceChildren(...ticksOfAll);
      const step = roundStep((lasts / zoom) * (BETWEEN_TICKS / width));
      const digits = Math.min(12, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
      const begin = from - (shift / width) * (lasts / zoom), nodes = [];
      for (let number = Math.ceil(begin / step); number * step <= begin + lasts / zoom; number += 1) {
        const x = (((number * step - begin) / lasts) * zoom * width).toFixed(2);
        nodes.push(element("path", { class: "grid", d: `M${x} ${top}V${bottom}` }));
        nodes.push(element("text", { class: "tick", x, y: bottom + 14 }, (number * step).toFixed(digits)));
      }
      return axis.replaceChildren(...nodes);
    };

    const draw = () => {
      waiting = 0;
      plane.setAttribute("transform", `translate(${shift} 0) scale(${zoom} 1)`);
      if (zoom !== drawn) {
        for (const { node, x, y, zoom: shownFrom } of fixed) {
          node.setAttribute("transform", `translate(${x} ${y}) scale(${1 / zoom} 1)`);
          node.classList.toggle("late", shownFrom > zoom);
        }
        drawn = zoom;
      }
      ticks();
      svg.style.touchAction = zoom === 1 ? "pan-x pan-y" : "pan-y";
      svg.style.cursor = zoom === 1 ? "" : "grab";
      svg.dataset.zoom = zoom.toFixed(2);
      svg.dataset.shift = shift.toFixed(1);
    };

    const show = (newZoom, newShift) => {
      zoom = Math.min(NEAREST, Math.max(1, newZoom));
      if (zoom < 1.01) zoom = 1;
      shift = Math.min(0, Math.max(width * (1 - zoom), newShift));
      waiting ||= requestAnimationFrame(draw);
    };
    const zoomAround = (factor, x) => {
      const next = Math.min(NEAREST, Math.max(1, zoom * factor));
      show(next, x - ((x - shift) * next) / zoom);
    };
    const inside = (clientX) => {
      const { a: scale, e: begin } = svg.getScreenCTM();
      const x = (clientX - begin) / scale - left;
      return Math.min(width, Math.max(0, x));
    };
    const spread = () => {
      const [one, other] = [...pointers.values()];
      return { apart: Math.max(10, Math.abs(one - other)), middle: inside((one + other) / 2) };
    };

    svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== svg) return;
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 16 : 1, sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (sideways) show(zoom, shift - event.deltaX * lines);
      else zoomAround(Math.exp((-event.deltaY * lines * (event.ctrlKey ? 4 : 1)) / 400), inside(event.clientX));
    }, { passive: false });

    svg.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const middle = width / 2;
      const does = {
        "+": () => zoomAround(STEP, middle), "=": () => zoomAround(STEP, middle),
        "-": () => zoomAround(1 / STEP, middle), _: () => zoomAround(1 / STEP, middle),
        0: () => show(1, 0),
        ArrowLeft: zoom > 1 && (() => show(zoom, shift + PUSH * width)),
        ArrowRight: zoom > 1 && (() => show(zoom, shift - PUSH * width)),
      }[event.key];
      if (!does) return;
      event.preventDefault();
      does();
    });

    svg.addEventListener("dblclick", () => show(1, 0));
    svg.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, event.clientX);
      dragged = false;
    });
    svg.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (before === undefined) return;
      if (pointers.size === 2) {
        const then = spread();
        pointers.set(event.pointerId, event.clientX);
        const now = spread();
        zoomAround(now.apart / then.apart, now.middle);
      } else if (zoom > 1 && (dragged || Math.abs(event.clientX - before) >= A_DRAG)) {
        if (!dragged) svg.setPointerCapture(event.pointerId);
        dragged = true;
        pointers.set(event.pointerId, event.clientX);
        show(zoom, shift + inside(event.clientX) - inside(before));
      }
    });
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
      svg.addEventListener(name, (event) => pointers.delete(event.pointerId));
    }

    hint.textContent = HINT;
    svg.setAttribute("aria-keyshortcuts", "+ - 0 ArrowLeft ArrowRight");
    draw();
  };

  const all = () => {
    for (const svg of document.querySelectorAll("svg.space-time:not([data-zoom])")) enliven(svg);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
