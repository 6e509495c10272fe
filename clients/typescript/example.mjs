// node example.mjs http://127.0.0.1:8321 assay_... photo.jpg
import { File } from "node:buffer";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { Assay, AssayProblem } from "./assay.js";

const [url, key, path] = process.argv.slice(2);
const server = new Assay(url, key);
try {
  const file = new File([await readFile(path)], basename(path));
  const made = await server.analyses.create({ body: { file, prior: 0.1 }, idempotencyKey: `example-${Date.now()}` });
  for await (const now of server.analyses.oneEvents({ ident: made.id })) {
    console.error(`${now.status} ${Math.round(100 * now.progress)} % ${now.stage}`);
  }
  const done = await server.wait(made.id);
  if (done.error) throw new Error(`${done.error.type}: ${done.error.cause}`);
  console.log(`${done.verdict}: ${done.headline}`);
} catch (error) {
  if (!(error instanceof AssayProblem)) throw error;
  console.error(error.message);
  process.exitCode = 3;
}
