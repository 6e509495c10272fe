// Large files in pieces, which go on where they broke off, also after the page was closed.
import { token } from "./page.js";

export const LARGE = 32 * 1024 * 1024;
const PIECE = 8 * 1024 * 1024;
const TRIES = 6;

const place = (file) => `upload:${file.name}:${file.size}:${file.lastModified}`;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function ask(path, options, signal) {
  const headers = { "X-CSRF-Token": token(), ...options.headers };
  const answer = await fetch(path, { ...options, headers, signal });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const error = new Error(problem.detail || problem.title || `HTTP ${answer.status}`);
  error.status = answer.status;
  throw error;
}

const json = (method, value) => ({ method, body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });

async function begun(file, signal) {
  const known = localStorage.getItem(place(file));
  if (known) {
    try {
      return await (await ask(`/api/v1/uploads/${known}`, {}, signal)).json();
    } catch (error) {
      if (error.status !== 404 && error.status !== 410) throw error;
    }
  }
  const made = await (await ask("/api/v1/uploads", json("POST", { name: file.name, length: file.size }), signal)).json();
  localStorage.setItem(place(file), made.id);
  return made;
}

/** Send `file` in pieces, then ask for its analysis. `progress` is told the share sent. */
export async function sendLarge(file, wish, progress, signal) {
  const upload = await begun(file, signal);
  let offset = upload.offset;
  let failures = 0;
  while (offset < file.size) {
    progress(offset / file.size);
    const body = file.slice(offset, offset + PIECE);
    const headers = { "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(offset), "Tus-Resumable": "1.0.0" };
    try {
      await ask(`/api/v1/uploads/${upload.id}`, { method: "PATCH", body, headers }, signal);
      offset += body.size;
      failures = 0;
    } catch (error) {
      if (signal.aborted || (error.status && error.status < 500 && error.status !== 409 && error.status !== 429)) throw error;
      failures += 1;
      if (failures >= TRIES) throw error;
      await pause(1000 * 2 ** failures);
      // The server knows best how much of the piece has arrived.
      offset = (await (await ask(`/api/v1/uploads/${upload.id}`, {}, signal)).json()).offset;
    }
  }
  progress(1);
  await ask("/api/v1/analyses", json("POST", { ...wish, upload_id: upload.id }), signal);
  localStorage.removeItem(place(file));
}
