const options = document.getElementById("options");
const model = options.elements.model;
const fidelity = options.elements.fidelity;
const drop = document.getElementById("drop");
const files = document.getElementById("files");
const here = location.origin + location.pathname; // without the name and password that may stand in the address
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const size = options.elements.size;
const amount = options.elements.amount;
const together = document.getElementById("together");
// Names what this page sends, for one download of all; nobody can guess it.
const batch = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
let sending = Promise.resolve(); // one upload at a time, in the order of the files

function showFidelity() {
  document.getElementById("fidelity").hidden = !("blends" in model.selectedOptions[0].dataset);
  options.querySelector("output").textContent = fidelity.value;
}

function showSize() {
  const data = size.selectedOptions[0].dataset;
  amount.parentElement.hidden = !("unit" in data);
  if (!("unit" in data)) return;
  [amount.value, amount.step, amount.min] = [data.usual, data.step, data.step];
  amount.parentElement.querySelector("span").textContent = data.unit;
}

// Of results that can be fetched there must be two for one file to be worth it.
function showTogether() {
  const count = document.querySelectorAll(".download:not([hidden])").length;
  together.hidden = count < 2;
  together.href = `batches/${batch}`;
  together.textContent = `Download all ${count} as one ZIP`;
}

function inTime(seconds) {
  if (seconds < 90) return `${Math.max(1, seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} minutes` : `${(seconds / 3600).toFixed(1)} hours`;
}

function chosen(name) {
  const query = new URLSearchParams({ name, model: model.value, batch });
  if (size.value) query.set(size.value.split("=")[0], size.value.split("=")[1] ?? amount.value);
  if ("blends" in model.selectedOptions[0].dataset) query.set("fidelity", fidelity.value);
  for (const flag of ["match_input", "self_ensemble"]) if (options.elements[flag].checked) query.set(flag, "1");
  if (options.elements.format.value) query.set("format", options.elements.format.value);
  return query;
}

function inWords() {
  const words = [model.selectedOptions[0].text];
  if (size.value.includes("=")) words.push(size.selectedOptions[0].text);
  else if (size.value) words.push(`${size.selectedOptions[0].text.toLowerCase()} ${amount.value} ${size.selectedOptions[0].dataset.unit}`);
  if ("blends" in model.selectedOptions[0].dataset) words.push(`fidelity ${fidelity.value}`);
  if (options.elements.match_input.checked) words.push("matched");
  if (options.elements.self_ensemble.checked) words.push("self-ensemble");
  return words.join(", ");
}

async function answer(response) {
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(said.error || `The server answered ${response.status}`);
  return said;
}

// The card of a picture, which goes on by itself.
function enlarge(file) {
  const figure = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const find = (selector) => figure.querySelector(selector);
  const [query, words] = [chosen(file.name || "pasted.png"), inWords()];
  let job = "";
  let removed = false;
  let asking = 0;

  function say(text, failed = false) {
    const state = find(".state");
    if (state.textContent !== text) state.textContent = text; // once: a screen reader reads every change
    state.classList.toggle("failed", failed);
  }

  function end() {
    find("progress").hidden = true;
    find(".remove").textContent = "Remove";
    find(".again").hidden = false;
    leave();
  }

  function cancel() {
    if (job) fetch(`${here}jobs/${job}`, { method: "DELETE", keepalive: true });
  }
  const leaving = (event) => event.persisted || cancel();
  const leave = () => removeEventListener("pagehide", leaving);
  addEventListener("pagehide", leaving);

  find("h2").textContent = file.name || "pasted.png";
  find(".facts").textContent = words;
  find(".again").addEventListener("click", () => figure.before(enlarge(file)));
  find(".remove").addEventListener("click", () => {
    removed = true;
    cancel();
    leave();
    clearInterval(asking);
    figure.remove();
    showTogether();
    files.focus();
  });

  async function send() {
    if (file.size > Number(document.body.dataset.maxBytes)) {
      throw new Error(`${(file.size / 1e6).toFixed(1)} MB is over the limit, which is written above`);
    }
    await file.slice(0, 1).arrayBuffer().catch(() => {
      throw new Error("cannot be read; if it is a folder, give the pictures in it");
    });
    while (!removed) {
      say("Sending …");
      const response = await fetch(`${here}jobs?${query}`, { method: "POST", body: file });
      if (![429, 503].includes(response.status)) return answer(response);
      say("Waits for a place in the queue …");
      await sleep(2000);
    }
  }

  async function follow(status) {
    while (!removed) {
      if (status.state === "failed") throw new Error(status.error);
      if (status.state === "done") return show(status);
      const before = status.ahead === 1 ? "1 picture" : `${status.ahead} pictures`;
      const left = status.seconds_left === null ? "" : `, about ${inTime(status.seconds_left)} left`;
      const target = status.result_width ? ` to ${status.result_width} × ${status.result_height}` : "";
      say(status.state === "waiting" ? `Waits; ${before} before it${left}` : `Enlarging${target}${left || " …"}`);
      if (status.progress || status.state === "waiting") find("progress").value = status.progress;
      else find("progress").removeAttribute("value"); // a small picture is one step: the bar shows that it moves
      await sleep(400);
      try {
        status = await fetch(`${here}jobs/${job}`).then(answer);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        say("The server does not answer; asking again …");
        await sleep(1600);
      }
    }
  }

  function show(status) {
    const { width, height, result_width: wide, result_height: high, frames } = status;
    const weight = status.bytes < 1e6 ? `${Math.ceil(status.bytes / 1e3)} kB` : `${(status.bytes / 1e6).toFixed(1)} MB`;
    for (const option of figure.querySelectorAll("option.model")) option.textContent = words;
    find(".smooth").src = find(".lr").src = `jobs/${job}/before`;
    find(".sr").src = `jobs/${job}/after`;
    const download = find(".download");
    download.href = `jobs/${job}/result`;
    download.textContent = `Download ${status.name} (${weight})`;
    download.hidden = false;
    [figure.dataset.width, figure.dataset.height] = [wide, high];
    const shown = frames > 1 ? `; the first of ${frames} frames is shown` : "";
    const by = status.choice ? `; by ${status.choice}` : "";
    say(`${width} × ${height} to ${wide} × ${high} in ${status.seconds} s${by}${shown}`);
    find(".result").hidden = false;
    comparison(figure);
    end();
    showTogether();
    asking = setInterval(keep, 600_000); // what is asked for stays
  }

  async function keep() {
    const response = await fetch(`${here}jobs/${job}`).catch(() => ({ status: 0 }));
    if (response.status !== 404) return;
    clearInterval(asking);
    find(".download").hidden = true;
    say("The result is not kept any more: enlarge it again", true);
    showTogether();
  }

  const sent = sending.then(send);
  sending = sent.catch(() => {});
  sent
    .then((status) => {
      job = status?.id ?? "";
      if (removed) return cancel();
      return follow(status);
    })
    .catch((error) => {
      say(error instanceof TypeError ? "The server does not answer" : error.message, true);
      end();
    });
  return figure;
}

function take(list) {
  document.getElementById("pictures").prepend(...[...list].map(enlarge));
}

model.addEventListener("change", showFidelity);
size.addEventListener("change", showSize);
fidelity.addEventListener("input", showFidelity);
options.addEventListener("submit", (event) => event.preventDefault());
files.addEventListener("change", () => {
  take(files.files);
  files.value = ""; // so that the same file can be chosen again
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));
showFidelity();
showSize();
