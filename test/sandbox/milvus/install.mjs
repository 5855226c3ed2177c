// Installs the Python environment of the sandbox: Milvus Lite and pymilvus, at exact versions.
//
//   node test/sandbox/milvus/install.mjs FOLDER
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const requirements = join(dirname(fileURLToPath(import.meta.url)), 'requirements.txt');

/** Finds a Python that the pinned wheels support and that can make environments. */
async function findPython() {
  for (const name of ['python3.11', 'python3.12', 'python3.13', 'python3']) {
    try {
      const { stdout } = await run(name, ['-c', 'import sys, venv, ensurepip; print(sys.version_info >= (3, 11))']);
      if (stdout.trim() === 'True') return name;
    } catch {
      // not there, or without venv: the next one
    }
  }
  throw new Error('No Python 3.11 or newer with venv found. Install python3 and python3-venv.');
}

/**
 * Makes the environment when it is missing or made from other requirements.
 * @param {{ folder: string, log?: (line: string) => void }} options folder: the virtual environment
 * @returns {Promise<boolean>} whether anything had to be installed
 */
export async function installPython({ folder, log = () => {} }) {
  const stamp = join(folder, 'requirements.sha256');
  const wanted = createHash('sha256')
    .update(await readFile(requirements))
    .digest('hex');
  const present = await readFile(stamp, 'utf8').catch(() => '');
  if (present === wanted) return false;
  const python = await findPython();
  log(`Installing Milvus Lite and pymilvus with ${python}`);
  await rm(folder, { recursive: true, force: true });
  await run(python, ['-m', 'venv', folder]);
  await run(
    join(folder, 'bin', 'python'),
    ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '-r', requirements],
    {
      maxBuffer: 1 << 26,
    },
  );
  await writeFile(stamp, wanted); // last, so that a broken installation is made again
  return true;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2];
  if (folder === undefined) throw new Error('usage: install.mjs FOLDER');
  const changed = await installPython({ folder, log: (line) => console.log(line) });
  console.log(changed ? `Installed in ${folder}` : `Up to date: ${folder}`);
}
