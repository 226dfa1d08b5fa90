const $ = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const asImage = (png) => `data:image/png;base64,${png}`;

/* ---- ask and show ---- */

// Pictures in base64: the one that was given last, and the one that is held to be blended with it.
let picture = null, held = null, busy = false, again = false;

// One question at a time; what was given meanwhile is asked last, and what came between is not asked at all.
async function ask() {
  if (picture === null) return;
  if (busy) { again = true; return; }
  setBusy(true);
  try {
    const question = { pictures: held === null ? [picture] : [picture, held], blend: value("blend", 0), strength: value("strength", 1) };
    const answer = await fetch("/transfer", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question) });
    const look = await answer.json();
    if (answer.ok) show(look);
    else refuse(look.error);
  } catch {
    refuse("the demo does not answer; is `domtrans demo` still running?");
  } finally {
    setBusy(false);
  }
  if (again) { again = false; ask(); }
}

function setBusy(is) {
  busy = is;
  document.querySelector("main").setAttribute("aria-busy", is);
}

const value = (id, without) => ($(id) ? Number($(id).value) : without);

function give(base64) {
  picture = base64;
  ask();
}

function refuse(sentence) {
  $("error").textContent = sentence[0].toUpperCase() + sentence.slice(1) + ".";
  $("error").hidden = false;
}

function show(look) {
  $("error").hidden = true;
  for (const [id, png, words] of [["x", look.seen[0], "The picture as f sees it"], ["made", look.made, "What g makes of it"]]) {
    $(id).src = asImage(png);
    $(id).alt = words;
    $(id).hidden = false;
  }
  if ($("hold")) $("hold").disabled = false;
  showOpinion("x-opinion", look.x_opinion);
  showOpinion("made-opinion", look.made_opinion);
  if ($("nearest")) $("nearest").replaceChildren(...look.nearest.map(([png, alike]) => {
    const figure = document.createElement("figure"), image = new Image(), caption = document.createElement("figcaption");
    image.src = asImage(png);
    image.alt = "A real image";
    caption.textContent = alike.toFixed(2);
    figure.append(image, caption);
    return figure;
  }));
  $("pace").textContent = `Computed in ${look.milliseconds.toFixed(0)} ms.`;
}

function showOpinion(id, opinion) {
  if (!$(id)) return;
  $(id).tBodies[0].replaceChildren(...opinion.map(([name, share]) => {
    const row = document.createElement("tr"), head = document.createElement("th"), bar = document.createElement("span");
    head.scope = "row";
    head.textContent = head.title = name;
    bar.style.width = `${100 * share}%`;
    const cell = row.appendChild(head).parentNode.insertCell();
    cell.className = "bar";
    cell.append(bar);
    row.insertCell().textContent = `${(100 * share).toFixed(1)} %`;
    return row;
  }));
}

/* ---- where pictures come from ---- */

const tabs = all("[role=tab]");
function choose(tab) {
  for (const one of tabs) {
    one.setAttribute("aria-selected", one === tab);
    one.tabIndex = one === tab ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = one !== tab;
  }
  if (tab.id !== "tab-camera") stopCamera();
}
for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const there = tabs.filter((one) => !one.hidden), step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const next = there[(there.indexOf(tab) + step + there.length) % there.length];
    choose(next);
    next.focus();
  });
}

const sheet = $("sheet"), ink = sheet.getContext("2d");
const giveCanvas = (canvas) => give(canvas.toDataURL("image/png").split(",")[1]);
function clear() {
  ink.fillStyle = $("paper").value;
  ink.fillRect(0, 0, sheet.width, sheet.height);
}
clear();
$("clear").addEventListener("click", clear);
$("paper").addEventListener("input", clear);
let from = null;
function draw(event) {
  const box = sheet.getBoundingClientRect(), scale = sheet.width / box.width;
  const to = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  Object.assign(ink, { strokeStyle: $("pen").value, lineWidth: Number($("width").value), lineCap: "round", lineJoin: "round" });
  ink.beginPath();
  ink.moveTo(...(from ?? to));
  ink.lineTo(...to);
  ink.stroke();
  from = to;
  giveCanvas(sheet);
}
sheet.addEventListener("pointerdown", (event) => { sheet.setPointerCapture(event.pointerId); draw(event); });
sheet.addEventListener("pointermove", (event) => { if (from) draw(event); });
for (const end of ["pointerup", "pointercancel"]) sheet.addEventListener(end, () => { from = null; });

function giveFile(file) {
  if (!file) return;
  if (file.size > LARGEST) { refuse(`a picture's file may have ${LARGEST / 2 ** 20} MB, and this one has ${(file.size / 2 ** 20).toFixed(1)}`); return; }
  const reader = new FileReader();
  reader.addEventListener("load", () => give(reader.result.split(",")[1] ?? ""));
  reader.readAsDataURL(file);
}
$("file").addEventListener("change", () => { giveFile($("file").files[0]); $("file").value = ""; });
addEventListener("paste", (event) => giveFile(event.clipboardData.files[0]));
for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    $("give").classList.toggle("over", over);
    if (kind === "drop") giveFile(event.dataTransfer.files[0]);
  });
}

for (const example of all(".example")) {
  example.addEventListener("click", () => give(example.firstElementChild.src.split(",")[1]));
}

const film = $("film"), frame = document.createElement("canvas");
$("tab-camera").hidden = !navigator.mediaDevices;  // only a page of this machine, or over TLS, may use a camera
let timer = 0;
function stopCamera() {
  clearInterval(timer);
  for (const track of film.srcObject?.getTracks() ?? []) track.stop();
  film.srcObject = null;
  $("record").textContent = "Start the camera";
}
$("record").addEventListener("click", async () => {
  if (film.srcObject) { film.pause(); stopCamera(); return; }
  try {
    film.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
    await film.play();
  } catch (error) {
    refuse(`the camera cannot be used: ${error.message || error.name}`);
    return;
  }
  $("record").textContent = "Stop the camera";
  timer = setInterval(() => {
    const side = Math.min(film.videoWidth, film.videoHeight);
    if (!side || busy) return;
    frame.width = frame.height = 320;
    frame.getContext("2d").drawImage(film, (film.videoWidth - side) / 2, (film.videoHeight - side) / 2, side, side, 0, 0, 320, 320);
    giveCanvas(frame);
  }, 150);
});

/* ---- what is done to the features ---- */

for (const slider of all(".sliders input")) {
  slider.addEventListener("input", () => {
    slider.nextElementSibling.textContent = Number(slider.value).toFixed(2);
    ask();
  });
}
const HOW = $("how")?.textContent;
$("hold")?.addEventListener("click", () => {
  held = held === null ? picture : null;
  $("held").hidden = $("blend").disabled = held === null;
  $("held").src = held === null ? "" : $("x").src;
  $("hold").textContent = held === null ? "Blend with another picture" : "Blend no more";
  $("blend").value = held === null ? 0 : 0.5;
  $("blend").dispatchEvent(new Event("input"));
  $("how").textContent = held === null ? HOW : "Now give another picture. Blend 0 is that one alone, 1 this one alone.";
});

all(".example")[0]?.click();  // a page that shows what it does
