"use strict";
const root = document.documentElement;
const button = document.getElementById("language");
const speak = (language) => { root.lang = language; };
if ((navigator.language || "en").toLowerCase().startsWith("zh")) speak("zh");
button.hidden = false;
button.addEventListener("click", () => speak(root.lang === "zh" ? "en" : "zh"));

const nearest = (places, at) => {
  let low = 0, high = places.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (places[middle] < at) low = middle; else high = middle;
  }
  return Math.abs(places[high] - at) < Math.abs(places[low] - at) ? high : low;
};

const made = (name, kind, text) => {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  if (text) element.textContent = text;
  return element;
};

for (const figure of document.querySelectorAll("figure.chart")) {
  const plot = figure.querySelector(".plot"), tip = figure.querySelector(".tip"), cursor = figure.querySelector(".cursor");
  const keys = [...figure.querySelectorAll(".key")], axis = figure.querySelector(".axis");
  const lines = [...figure.querySelectorAll("path[data-x]")].map((path) => ({
    x: path.dataset.x.split(" ").map(Number), values: path.dataset.v.split(" "),
  }));
  const last = Number(plot.dataset.last);
  if (!lines.length || !lines[0].x.length) continue;

  const show = (event) => {
    const box = plot.getBoundingClientRect();
    const wanted = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * last;
    const at = lines[0].x[nearest(lines[0].x, wanted)];
    tip.replaceChildren();
    const head = made("div");
    head.append(...[...axis.childNodes].map((node) => node.cloneNode(true)), " ", made("b", "", String(at)));
    tip.append(head);
    lines.forEach((line, number) => {
      const index = nearest(line.x, at), key = keys[number];
      const row = made("div");
      row.append(key.querySelector(".swatch").cloneNode(), key.querySelector(".name").cloneNode(true), " ", made("b", "", line.values[index]));
      if (line.x[index] !== at) row.append(` (${line.x[index]})`);
      tip.append(row);
    });
    tip.hidden = false;
    const share = at / last, x = share * box.width;
    cursor.setAttribute("x1", `${share * 100}%`);
    cursor.setAttribute("x2", `${share * 100}%`);
    cursor.setAttribute("visibility", "visible");
    const left = x + 14 + tip.offsetWidth > box.width ? x - 14 - tip.offsetWidth : x + 14;
    tip.style.left = `${Math.max(-40, left)}px`;
  };
  const hide = () => { tip.hidden = true; cursor.setAttribute("visibility", "hidden"); };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", hide);
}
