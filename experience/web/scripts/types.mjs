// Writes generated/schema.ts from the documents that the server's own declarations produce.
// The file is made anew before every check, test and dev run and never committed: it can't be stale, and nobody needs
// Node to change a contract. The build does not need it, because types leave no trace in the bundle, and it lies outside
// src, because uv builds the page anew whenever something in there has changed.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const generated = new URL("../../../contracts/generated/", import.meta.url);
const read = async (name) => JSON.parse(await readFile(new URL(name, generated), "utf8"));
const [http, sockets] = await Promise.all([read("openapi.json"), read("asyncapi.json")]);

// Frames of the stream exist only in the AsyncAPI document; events are in both.
const document = {
  ...http,
  components: { ...http.components, schemas: { ...sockets.components.schemas, ...http.components.schemas } },
};
const target = new URL("../generated/schema.ts", import.meta.url);
const text = `// Made by scripts/types.mjs from contracts/generated.\n${astToString(await openapiTS(document))}`;
// An unchanged file is left alone, so that watchers stay quiet.
const before = await readFile(target, "utf8").catch(() => "");
if (before !== text) {
  await mkdir(new URL(".", target), { recursive: true });
  await writeFile(target, text);
}
