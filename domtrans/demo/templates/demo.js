const $ = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const pngUrl = (base64) => `data:image/png;base64,${base64}`;

/* ---- request and show ---- */

// Images in base64: the newest input, and the one held for blending.
let input = null, held = null, busy = false, outdated = false;

// One request at a time. Afterwards only the newest input is sent; those in between are dropped.
async function request() {
  if (input === null) return;
  if (busy) { outdated = true; return; }
  setBusy(true);
  try {
    const body = { images: held === null ? [input] : [input, held], blend: value("blend", 0), strength: value("strength", 1) };
    const response = await fetch("transfer", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const result = await response.json();
    if (response.ok) showResult(result);
    else showError(result.error);
  } catch {
    showError("the demo does not answer; is `domtrans demo` still running?");
  } finally {
    setBusy(false);
  }
  if (outdated) { outdated = false; request(); }
}

function setBusy(is) {
  busy = is;
  document.querySelector("main").setAttribute("aria-busy", is);
}

const value = (id, otherwise) => ($(id) ? Number($(id).value) : otherwise);

function setInput(base64) {
  input = base64;
  request();
}

function showError(sentence) {
  $("error").textContent = sentence[0].toUpperCase() + sentence.slice(1) + ".";
  $("error").hidden = false;
}

function showResult(result) {
  $("error").hidden = true;
  for (const [id, png, description] of [["x", result.inputs[0], "The input as f gets it"], ["output", result.output, "The output"]]) {
    $(id).src = pngUrl(png);
    $(id).alt = description;
    $(id).hidden = false;
  }
  if (result.drawing) showDrawing(result.drawing);
  if ($("edited")) $("edited").textContent = "";
  if ($("hold")) $("hold").disabled = false;
  showPrediction("input-prediction", result.input_prediction);
  showPrediction("output-prediction", result.output_prediction);
  if ($("nearest")) $("nearest").replaceChildren(...result.nearest.map(([png, cosine]) => {
    const figure = document.createElement("figure"), image = new Image(), caption = document.createElement("figcaption");
    image.src = pngUrl(png);
    image.alt = "A real image";
    caption.textContent = cosine.toFixed(2);
    figure.append(image, caption);
    return figure;
  }));
  $("timing").textContent = `Computed in ${result.milliseconds.toFixed(0)} ms.`;
}

function showPrediction(id, prediction) {
  if (!$(id)) return;
  $(id).tBodies[0].replaceChildren(...prediction.map(([name, probability]) => {
    const row = document.createElement("tr"), head = document.createElement("th"), bar = document.createElement("span");
    head.scope = "row";
    head.textContent = name.replaceAll("_", " ");
    bar.style.width = `${100 * probability}%`;
    const cell = row.appendChild(head).parentNode.insertCell();
    cell.className = "bar";
    cell.append(bar);
    row.insertCell().textContent = `${(100 * probability).toFixed(1)} %`;
    return row;
  }));
}

/* ---- editing the drawing ---- */

const dataUrl = (type, base64) => `data:${type};base64,${base64}`;

function showDrawing(drawing) {
  $("output").src = dataUrl("image/svg+xml", drawing.svg);
  $("slots").disabled = false;
  for (const [name, chosen] of Object.entries(drawing.parameters)) {
    const slot = $("drawing").elements[name];
    slot.value = chosen;
    slot.disabled = drawing.hidden.includes(name);
  }
  $("save-svg").href = $("output").src;
  $("save-parameters").href = `data:application/json;charset=utf-8,${encodeURIComponent(drawing.file)}`;
  $("save-svg").hidden = $("save-parameters").hidden = false;
}

// One request at a time, as for images; then only the newest choice is drawn.
let drawing = false, changed = false;
async function redraw() {
  if (drawing) { changed = true; return; }
  drawing = true;
  const slots = [...$("slots").querySelectorAll("select, input")];
  const parameters = Object.fromEntries(slots.map((slot) => [slot.name, slot.value]));
  try {
    const response = await fetch("draw", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ parameters }) });
    const result = await response.json();
    if (response.ok) {
      $("error").hidden = true;
      if (!changed) showDrawing(result);
      $("edited").textContent = "Changed by you. f's prediction and the nearest images are those before your changes.";
    } else showError(result.error);
  } catch {
    showError("the demo does not answer; is `domtrans demo` still running?");
  }
  drawing = false;
  if (changed) { changed = false; redraw(); }
}
$("slots")?.addEventListener("input", redraw);
$("drawing")?.addEventListener("submit", (event) => event.preventDefault());

/* ---- inputs: drawing, file, example, camera ---- */

const tabs = all("[role=tab]");
function selectTab(selected) {
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", tab === selected);
    tab.tabIndex = tab === selected ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = tab !== selected;
  }
  if (selected.id !== "tab-camera") stopCamera();
}
for (const tab of tabs) {
  tab.addEventListener("click", () => selectTab(tab));
  tab.addEventListener("keydown", (event) => {
    const visible = tabs.filter((other) => !other.hidden), step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const next = visible[(visible.indexOf(tab) + step + visible.length) % visible.length];
    selectTab(next);
    next.focus();
  });
}

const canvas = $("canvas"), context = canvas.getContext("2d");
const setInputFrom = (source) => setInput(source.toDataURL("image/png").split(",")[1]);
function clear() {
  context.fillStyle = $("paper").value;
  context.fillRect(0, 0, canvas.width, canvas.height);
}
clear();
$("clear").addEventListener("click", clear);
$("paper").addEventListener("input", clear);
let lastPoint = null;
function draw(event) {
  const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
  const point = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  Object.assign(context, { strokeStyle: $("pen").value, lineWidth: Number($("width").value), lineCap: "round", lineJoin: "round" });
  context.beginPath();
  context.moveTo(...(lastPoint ?? point));
  context.lineTo(...point);
  context.stroke();
  lastPoint = point;
  setInputFrom(canvas);
}
canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); draw(event); });
canvas.addEventListener("pointermove", (event) => { if (lastPoint) draw(event); });
for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, () => { lastPoint = null; });

function setInputFromFile(file) {
  if (!file) return;
  if (file.size > MAX_BYTES) { showError(`the image file has ${(file.size / 2 ** 20).toFixed(1)} MB, and the limit is ${MAX_BYTES / 2 ** 20} MB`); return; }
  const reader = new FileReader();
  reader.addEventListener("load", () => setInput(reader.result.split(",")[1] ?? ""));
  reader.readAsDataURL(file);
}
$("file").addEventListener("change", () => { setInputFromFile($("file").files[0]); $("file").value = ""; });
addEventListener("paste", (event) => setInputFromFile(event.clipboardData.files[0]));
for (const [type, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  addEventListener(type, (event) => {
    event.preventDefault();
    $("input-panel").classList.toggle("over", over);
    if (type === "drop") setInputFromFile(event.dataTransfer.files[0]);
  });
}

for (const example of all(".example")) {
  example.addEventListener("click", () => setInput(example.firstElementChild.src.split(",")[1]));
}

const video = $("video"), frame = document.createElement("canvas");
$("tab-camera").hidden = !navigator.mediaDevices;  // browsers offer it only to local pages and over https
let timer = 0;
function stopCamera() {
  clearInterval(timer);
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  $("camera-button").textContent = "Start the camera";
}
$("camera-button").addEventListener("click", async () => {
  if (video.srcObject) { video.pause(); stopCamera(); return; }
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
    await video.play();
  } catch (error) {
    showError(`the camera cannot be used: ${error.message || error.name}`);
    return;
  }
  $("camera-button").textContent = "Stop the camera";
  timer = setInterval(() => {
    const side = Math.min(video.videoWidth, video.videoHeight);
    if (!side || busy) return;
    frame.width = frame.height = 320;
    frame.getContext("2d").drawImage(video, (video.videoWidth - side) / 2, (video.videoHeight - side) / 2, side, side, 0, 0, 320, 320);
    setInputFrom(frame);
  }, 150);
});

/* ---- editing the features ---- */

for (const slider of all(".sliders input")) {
  slider.addEventListener("input", () => {
    slider.nextElementSibling.textContent = Number(slider.value).toFixed(2);
    request();
  });
}
const STRENGTH_HELP = $("help")?.textContent;
$("hold")?.addEventListener("click", () => {
  held = held === null ? input : null;
  $("held").hidden = $("blend").disabled = held === null;
  $("held").src = held === null ? "" : $("x").src;
  $("hold").textContent = held === null ? "Blend with another image" : "Stop blending";
  $("blend").value = held === null ? 0 : 0.5;
  $("blend").dispatchEvent(new Event("input"));
  $("help").textContent = held === null ? STRENGTH_HELP : "Now choose another image. Blend 0 is that image alone, 1 this one alone.";
});

all(".example")[0]?.click();  // start with a result
