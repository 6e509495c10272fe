
/** The server refused, and said why (RFC 9457). */
export class AssayProblem extends Error {
  constructor(status, members) {
    super([status, members.title, members.detail].filter(Boolean).join(" "));
    this.name = "AssayProblem";
    this.status = status;
    this.members = members;
    this.code = String(members.type ?? "").split("/").pop();
  }
}

/** A server, asked with a key. */
export class Assay {
  constructor(url, key, { fetch = globalThis.fetch.bind(globalThis) } = {}) {
    this._url = url.replace(/\/+$/, "");
    this._key = key;
    this._fetch = fetch;
    // OPERATIONS
  }

  /** Until an analysis has ended; `seconds` bounds the wait, not the analysis. */
  async wait(ident, { seconds = 3600, every = 0.5 } = {}) {
    const end = Date.now() + 1000 * seconds;
    for (let pause = every; ; pause = Math.min(5, pause * 1.2)) {
      const found = await this.analyses.get({ ident });
      if (["done", "failed", "cancelled"].includes(found.status)) return found;
      if (Date.now() >= end) throw new Error(`${found.name}: not ended after ${seconds} s`);
      await new Promise((done) => setTimeout(done, 1000 * pause));
    }
  }

  async _send(spec, args = {}) {
    const path = spec.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(args[name]));
    const url = new URL(this._url + path);
    for (const [name, wire] of Object.entries(spec.query)) {
      if (args[name] !== undefined && args[name] !== null) url.searchParams.set(wire, args[name]);
    }
    const headers = { Authorization: `Bearer ${this._key}` };
    for (const [name, wire] of Object.entries(spec.header)) {
      if (args[name] !== undefined) headers[wire] = String(args[name]);
    }
    let body;
    if (spec.body === "form" && args.body?.file !== undefined) {
      body = new FormData();
      for (const [name, value] of Object.entries(args.body)) {
        if (name === "file") body.append(name, value, value.name ?? "file");
        else if (value !== undefined) body.append(name, String(value));
      }
    } else if (spec.body === "bytes") {
      headers["Content-Type"] = "application/offset+octet-stream";
      body = args.body;
    } else if (spec.body !== "none") {
      headers["Content-Type"] = "application/json";
      body = JSON.stringify(args.body ?? {});
    }
    const answer = await this._fetch(url, { method: spec.method, headers, body });
    if (!answer.ok) {
      const text = await answer.text();
      let members = { title: answer.statusText, detail: text.slice(0, 300) };
      try {
        members = JSON.parse(text);
      } catch {
        // a proxy's page, not the server's document
      }
      throw new AssayProblem(answer.status, members);
    }
    return answer;
  }

  async _ask(spec, args) {
    const answer = await this._send(spec, args);
    if (spec.answer === "json") return answer.json();
    return spec.answer === "headers" ? answer.headers : answer;
  }

  async *_listen(spec, args) {
    const answer = await this._send(spec, args);
    let left = "";
    for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
      const events = (left + text).split("\n\n");
      left = events.pop();
      for (const event of events) {
        const data = event.split("\n").filter((line) => line.startsWith("data:"));
        if (data.length) yield JSON.parse(data.map((line) => line.slice(5).trimStart()).join("\n"));
      }
    }
  }
}
