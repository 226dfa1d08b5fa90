"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const all = (selector) => [...document.querySelectorAll(selector)];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const COLOURS = 5, DASHES = ["solid", "dash", "dot", "dashdot"];
const MAX_EVENTS = 100;  // newest events of a run that are drawn; the list below has all of them
const touch = matchMedia("(pointer: coarse)").matches;  // dragging a finger scrolls the page instead of zooming
const several = data.runs.length > 1;

// Plotly interprets some HTML in texts, and names of runs and values may come from anybody.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/* ---- curves ---- */

const hidden = new Set();
let zoomed = null;

// Smoothing as in TensorBoard: an exponential moving average with bias correction.
function smooth(values, weight) {
  let mean = 0, mass = 0;
  return values.map((value) => {
    mean = weight * mean + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return mean / mass;
  });
}

function traces(chart, against, weight) {
  return chart.curves.filter((curve) => !hidden.has(curve.run)).flatMap((curve) => {
    const line = { color: colour(`--run-${curve.run % COLOURS}`), width: 2, dash: DASHES[Math.floor(curve.run / COLOURS) % DASHES.length] };
    const name = plain(data.runs[curve.run].name);
    const shown = { x: curve[against], y: smooth(curve.value, weight), name, line, mode: curve.value.length > 1 ? "lines" : "markers",
      hovertemplate: several ? "%{y:.4~g}" : "%{y:.4~g}<extra></extra>" };
    const raw = { x: curve[against], y: curve.value, line: { ...line, width: 1 }, opacity: 0.3, mode: "lines", hoverinfo: "skip" };
    return weight > 0 ? [raw, shown] : [shown];
  });
}

function layout(chart, against, logarithmic) {
  const soft = colour("--soft"), grid = colour("--line"), alarm = colour("--alarm");
  const visible = chart.curves.map((curve) => curve.run).filter((run) => !hidden.has(run));
  const events = visible.flatMap((run) => data.runs[run].events.slice(-MAX_EVENTS).map((event) => ({ ...event, run })));
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true,
    spikecolor: soft, spikethickness: -1, spikedash: "dot" };
  return {
    showlegend: false, hovermode: "x unified", hoverdistance: -1, dragmode: touch ? false : "zoom",
    margin: { l: 8, r: 12, t: 14, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: soft, size: 11, family: "system-ui, sans-serif" },
    hoverlabel: { bgcolor: colour("--paper"), bordercolor: grid, font: { color: colour("--ink") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: colour("--ink") },
    xaxis: { ...axis, title: { text: against === "step" ? "step" : "seconds", standoff: 4 }, ...(zoomed ? { range: zoomed, autorange: false } : { autorange: true }) },
    yaxis: { ...axis, type: logarithmic ? "log" : "linear", tickformat: "~g", autorange: true },
    shapes: [
      ...events.map((event) => ({ type: "line", xref: "x", yref: "paper", x0: event[against], x1: event[against], y0: 0, y1: 1,
        line: { color: several ? colour(`--run-${event.run % COLOURS}`) : alarm, width: 1, dash: "dash" } })),
      ...chart.levels.map(([level]) => ({ type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: level, y1: level,
        line: { color: alarm, width: 1, dash: "dot" } })),
    ],
    annotations: [
      ...events.map((event) => ({ x: event[against], y: 1, xref: "x", yref: "paper", yanchor: "bottom", text: "▼", showarrow: false,
        font: { color: alarm, size: 10 }, hovertext: plain(wrap(`${event.name}, step ${event.step}: ${event.text}`)).replaceAll("\n", "<br>") })),
      ...chart.levels.map(([level, label]) => ({ x: 0, y: logarithmic ? Math.log10(level) : level, xref: "paper", yref: "y", xanchor: "left",
        yanchor: "bottom", text: plain(label), showarrow: false, font: { color: alarm, size: 10 } })),
    ],
  };
}

const wrap = (text) => text.replace(/(.{1,60})(\s|$)/g, "$1\n").trim();

function draw() {
  const against = document.getElementById("against").value;
  const weight = Number(document.getElementById("smoothing").value);
  const logarithmic = document.getElementById("log").checked;
  const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]],
    displayModeBar: touch ? false : "hover" };
  for (const plot of all(".plot")) {
    const chart = data.charts.find((one) => one.name === plot.dataset.chart);
    Plotly.react(plot, traces(chart, against, weight), layout(chart, against, logarithmic), config);
  }
}

function zoom(event) {
  const range = event["xaxis.autorange"] ? null : [event["xaxis.range[0]"], event["xaxis.range[1]"]];
  if (range && range[0] === undefined) return;
  if (JSON.stringify(range) === JSON.stringify(zoomed)) return;
  zoomed = range;
  draw();
}

async function decompress(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

async function begin() {
  const script = document.createElement("script");
  script.textContent = await decompress(document.getElementById("plotly").textContent);
  document.head.append(script);
  draw();
  all(".plot").forEach((plot) => plot.on("plotly_relayout", zoom));
  for (const id of ["against", "smoothing", "log"]) {
    document.getElementById(id).addEventListener("input", () => { if (id === "against") zoomed = null; draw(); });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

if (data.charts.length) {
  begin().catch((fault) => {
    const message = document.getElementById("error");
    message.textContent = `The curves could not be drawn (${fault.message}). Use a browser of 2023 or later.`;
    message.hidden = false;
  });
}

for (const button of all("button.run")) {
  const run = Number(button.dataset.run);
  button.style.setProperty("--colour", `var(--run-${run % COLOURS})`);
  button.addEventListener("click", () => {
    hidden.has(run) ? hidden.delete(run) : hidden.add(run);
    button.setAttribute("aria-pressed", String(!hidden.has(run)));
    draw();
  });
}

/* ---- samples during training ---- */

const slider = document.getElementById("step");
if (slider) {
  const steps = [...new Set(data.samples.flatMap((grids) => Object.keys(grids).map(Number)))].sort((a, b) => a - b);
  const play = document.getElementById("play");
  let playing = null;

  const show = () => {
    const step = steps[slider.value];
    document.getElementById("step-now").textContent = step.toLocaleString("en");
    slider.setAttribute("aria-valuetext", `step ${step}`);
    for (const figure of all(".grid")) {
      const grids = data.samples[figure.dataset.run];
      const steps = Object.keys(grids).map(Number).sort((a, b) => a - b);
      const newest = steps.filter((one) => one <= step).pop() ?? steps[0];
      const image = figure.querySelector("img");
      image.src = grids[newest];
      image.alt = image.alt.replace(/at step \d+$/, `at step ${newest}`);
      const at = figure.querySelector(".at");
      if (at) at.textContent = newest.toLocaleString("en");
    }
  };
  const stop = () => { clearInterval(playing); playing = null; play.textContent = "Play"; play.setAttribute("aria-pressed", "false"); };
  const move = (by) => { slider.value = Number(slider.value) + by; show(); };

  slider.parentElement.hidden = steps.length < 2;
  slider.max = steps.length - 1;
  slider.value = steps.length - 1;
  slider.addEventListener("input", () => { stop(); show(); });
  play.addEventListener("click", () => {
    if (playing) return stop();
    if (Number(slider.value) === steps.length - 1) slider.value = 0;
    show();
    play.textContent = "Stop";
    play.setAttribute("aria-pressed", "true");
    playing = setInterval(() => { move(1); if (Number(slider.value) === steps.length - 1) stop(); }, 500);
  });
  for (const image of all(".grid img")) image.addEventListener("click", () => slider.focus());
  // The arrow keys move the slider from everywhere, except where they have another meaning.
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, pre, .wide")) return;
    stop();
    move(by);
  });
  show();
}

/* ---- copy the command ---- */

for (const button of all(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {  // not every browser lets a local file write to the clipboard
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
