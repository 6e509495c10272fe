// Rows and pages of analyses that follow what the server does: by events, else by asking.
const POLL = 3000; // ms
const lists = () => [...document.querySelectorAll("[data-live]")];
const words = () => JSON.parse(lists()[0]?.dataset.words ?? "{}");
const one = document.querySelector("[data-analysis]:has(progress)"); // it has not ended

function stage(analysis) {
  const said = words();
  if (analysis.status === "queued") return said.queued;
  return said.stages[analysis.stage.split(".")[0]] ?? said.stages.other;
}

async function fresh(id) {
  const answer = await fetch(`/analyses/${id}/row`, { headers: { "HX-Request": "true" } });
  if (!answer.ok) return null;
  const box = document.createElement("template");
  box.innerHTML = (await answer.text()).trim();
  return box.content.firstElementChild;
}

const fetching = new Set();

async function replace(row, list, analysis) {
  if (fetching.has(analysis.id)) return;
  fetching.add(analysis.id);
  try {
    const made = await fresh(analysis.id);
    if (!made) return;
    const now = document.getElementById(`row-${analysis.id}`);
    if (now) {
      const tick = now.querySelector(".tick");
      if (tick) { // lists to choose from keep their boxes
        tick.disabled = made.dataset.status !== "done";
        made.prepend(tick);
      }
      const focused = now.contains(document.activeElement);
      now.replaceWith(made);
      if (focused) made.querySelector("a").focus();
    } else if (list?.dataset.live === "list") {
      list.prepend(made);
      document.getElementById("none-yet")?.setAttribute("hidden", "");
      while (list.children.length > 20) list.lastElementChild.remove();
    }
  } finally {
    fetching.delete(analysis.id);
  }
}

function tell(analysis) {
  if (one && one.dataset.analysis === analysis.id) return tellOne(analysis);
  const row = document.getElementById(`row-${analysis.id}`);
  const list = lists()[0];
  if (!row) {
    if (list?.dataset.live === "list" && Date.parse(analysis.created_at) > newest()) replace(null, list, analysis);
    return;
  }
  if (row.dataset.status !== analysis.status && analysis.status !== "running") {
    row.dataset.status = analysis.status;
    replace(row, list, analysis);
    return;
  }
  const bar = row.querySelector("progress");
  if (!bar) return;
  row.dataset.status = analysis.status;
  bar.value = analysis.progress;
  row.querySelector("[data-stage]").textContent = stage(analysis);
}

function newest() {
  const first = document.querySelector("[data-live=list] .item time");
  return first ? Date.parse(first.dateTime) - 1000 : 0;
}

function tellOne(analysis) {
  if (["done", "failed", "cancelled"].includes(analysis.status)) {
    location.reload();
    return;
  }
  one.querySelector("progress").value = analysis.progress;
  one.querySelector("[data-stage]").textContent = stage(analysis);
  const found = document.getElementById("found-so-far");
  const have = found.children.length;
  const all = analysis.partial.flatMap((p) => p.findings);
  for (const finding of all.slice(have)) {
    const item = document.createElement("li");
    item.textContent = finding.because;
    found.append(item);
  }
  found.closest("section").hidden = all.length === 0;
}

async function poll() {
  try {
    if (one) {
      const answer = await fetch(`/api/v1/analyses/${one.dataset.analysis}`);
      if (answer.ok) tell(await answer.json());
    } else {
      const answer = await fetch("/api/v1/analyses?limit=20");
      if (answer.ok) for (const item of (await answer.json()).items.reverse()) tell(item);
    }
  } catch {
    // the server is away; ask again later
  }
  setTimeout(poll, POLL);
}

function listen() {
  const source = new EventSource(one ? `/api/v1/analyses/${one.dataset.analysis}/events` : "/api/v1/events");
  let failures = 0;
  source.addEventListener("analysis", (event) => {
    failures = 0;
    tell(JSON.parse(event.data));
  });
  source.addEventListener("error", () => {
    failures += 1;
    if (failures < 3 && source.readyState !== EventSource.CLOSED) return;
    source.close();
    setTimeout(poll, POLL);
  });
  addEventListener("pagehide", () => source.close());
}

if (one || document.querySelector("[data-live=list], [data-live=rows]")) {
  if ("EventSource" in window) listen();
  else poll();
}
