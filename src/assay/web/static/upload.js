// The start page: many files by drop, dialog, folder or clipboard; large ones can be resumed.
import { token } from "./page.js";
import { sendLarge, LARGE } from "./resume.js";

const AT_ONCE = 3;
const drop = document.getElementById("drop");
if (drop) start();

function start() {
  const words = JSON.parse(drop.dataset.words);
  const most = Number(drop.dataset.most);
  const list = document.getElementById("sending");
  const told = document.getElementById("told");
  const waiting = [];
  let busy = 0;

  const say = (template, values = {}) => template.replace(/\{(\w+)\}/g, (_, n) => values[n]);

  function add(file) {
    const item = document.createElement("li");
    item.className = "item";
    const what = document.createElement("div");
    what.className = "item-what";
    const name = document.createElement("bdi");
    name.className = "item-name";
    name.textContent = file.name;
    const state = document.createElement("p");
    state.className = "meta";
    state.textContent = words.waiting;
    what.append(name, state);
    const side = document.createElement("div");
    side.className = "item-state";
    const bar = document.createElement("progress");
    bar.max = 1;
    bar.value = 0;
    bar.setAttribute("aria-label", say(words.progress, { name: file.name }));
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = words.stop;
    side.append(bar, button);
    item.append(what, side);
    list.append(item);
    list.hidden = false;
    const job = { file, item, state, bar, button, abort: new AbortController() };
    button.addEventListener("click", () => {
      if (job.over) {
        item.remove();
        add(file);
        return;
      }
      job.abort.abort();
      finish(job, words.stopped, true);
    });
    if (file.size === 0) return finish(job, say(words.failed, { why: words.empty }), false);
    if (file.size > most) return finish(job, say(words.failed, { why: words.too_large }), false);
    waiting.push(job);
    next();
  }

  function finish(job, said, again) {
    job.over = true;
    job.state.textContent = said;
    told.textContent = `${job.file.name}: ${said}`;
    job.bar.hidden = true;
    if (again) job.button.textContent = words.again;
    else job.button.remove();
  }

  async function next() {
    while (busy < AT_ONCE && waiting.length) {
      const job = waiting.shift();
      if (job.over) continue;
      busy += 1;
      send(job).finally(() => {
        busy -= 1;
        next();
      });
    }
  }

  async function send(job) {
    const progress = (share) => {
      job.bar.value = share;
      job.state.textContent = share < 1 ? say(words.sending, { percent: Math.floor(100 * share) }) : words.hashing;
    };
    const wish = {};
    if (document.getElementById("zero-retention")?.checked) wish.zero_retention = true;
    const prior = document.getElementById("prior")?.value;
    if (prior) wish.prior = Number(prior);
    try {
      const ways = job.file.size > LARGE ? sendLarge : sendWhole;
      await ways(job.file, wish, progress, job.abort.signal);
      if (job.over) return;
      finish(job, words.sent, false);
      setTimeout(() => {
        job.item.remove();
        list.hidden = list.children.length === 0;
      }, 4000);
    } catch (error) {
      if (!job.over) finish(job, say(words.failed, { why: error.message || words.lost }), true);
    }
  }

  function sendWhole(file, wish, progress, signal) {
    return new Promise((done, failed) => {
      const body = new FormData();
      for (const [name, value] of Object.entries(wish)) body.append(name, String(value));
      body.append("file", file, file.name);
      const request = new XMLHttpRequest(); // fetch tells nothing of what has been sent
      request.open("POST", "/api/v1/analyses");
      request.setRequestHeader("X-CSRF-Token", token());
      request.upload.addEventListener("progress", (event) => progress(event.loaded / event.total));
      request.addEventListener("load", () => {
        if (request.status === 201 || request.status === 200) return done();
        let why = "";
        try {
          const problem = JSON.parse(request.responseText);
          why = problem.detail || problem.title;
        } catch {
          why = `HTTP ${request.status}`;
        }
        failed(new Error(why));
      });
      request.addEventListener("error", () => failed(new Error(words.lost)));
      signal.addEventListener("abort", () => request.abort());
      request.send(body);
    });
  }

  const take = (files) => [...files].forEach(add);
  for (const [button, input] of [["pick-files", "files"], ["pick-folder", "folder"]]) {
    const field = document.getElementById(input);
    document.getElementById(button).addEventListener("click", () => field.click());
    field.addEventListener("change", () => {
      // A folder may hold anything; what cannot be media is left out.
      const files = [...field.files];
      take(input === "folder" ? files.filter((f) => !f.name.startsWith(".") && !/^(text|application)\//.test(f.type)) : files);
      field.value = "";
    });
  }

  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    depth += 1;
    drop.classList.add("over");
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) drop.classList.remove("over");
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    depth = 0;
    drop.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((i) => i.webkitGetAsEntry?.()).filter(Boolean);
    if (entries.some((e) => e.isDirectory)) for (const entry of entries) await walk(entry);
    else take(event.dataTransfer.files);
  });

  async function walk(entry) {
    if (entry.isFile) {
      if (!entry.name.startsWith(".")) add(await new Promise((done, failed) => entry.file(done, failed)));
      return;
    }
    const reader = entry.createReader();
    for (;;) { // a reader gives at most a hundred at a time
      const part = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!part.length) return;
      for (const inner of part) await walk(inner);
    }
  }

  addEventListener("paste", (event) => {
    if (event.target.closest?.("input, textarea")) return;
    const files = [...event.clipboardData.files];
    if (!files.length) return;
    event.preventDefault();
    const stamp = new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-");
    files.forEach((file, n) => {
      const named = file.name && file.name !== "image.png" ? file.name : `${words.pasted}-${stamp}${n ? `-${n}` : ""}.${file.type.split("/")[1] || "bin"}`;
      add(new File([file], named, { type: file.type }));
    });
  });

  drop.addEventListener("submit", (event) => event.preventDefault());
}
