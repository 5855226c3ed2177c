/**
 * Installs VS Code for the tests and the demo into `.cache/vscode`, from the package registry only: code-server without
 * its install scripts, so no compiler is needed. Runs again only when the pinned version or this recipe changes.
 */
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { cache } from '../paths.ts';
import { startProcess } from '../processes.ts';

/** Folder of the installation. */
export const vscodeFolder = path.join(cache, 'vscode');
/** The script that Node runs to start code-server. */
export const codeServerEntry = path.join(vscodeFolder, 'node_modules/code-server/out/node/entry.js');

const stampFile = path.join(vscodeFolder, 'stamp');
const recipe = ['package.json', 'package-lock.json', 'spdlogReplacement.cjs', 'install.ts'];

/** Parts of VS Code that neither the tests nor the demo use: more than half of its size. */
const unused = [
  'node_modules/@github',
  'node_modules/@microsoft/mxc-sdk',
  'node_modules/@devcontainers',
  'extensions/copilot',
  'extensions/mermaid-markdown-features',
  'extensions/ms-vscode.js-debug',
  'extensions/ms-vscode.js-debug-companion',
  'extensions/ms-vscode.vscode-js-profile-table',
  'extensions/microsoft-authentication',
];

async function run(file: string, args: readonly string[], cwd: string): Promise<void> {
  let output = '';
  const { exited } = startProcess(file, args, { cwd, onOutput: (text) => (output += text) });
  const { code } = await exited;
  if (code !== 0) throw new Error(`${file} ${args.join(' ')} failed in ${cwd}:\n${output.slice(-4000)}`);
}

/** Installs code-server when it is missing or of another version. Returns whether anything was done. */
export async function installVSCode(log: (line: string) => void): Promise<boolean> {
  const hash = createHash('sha256');
  for (const file of recipe) hash.update(readFileSync(path.join(import.meta.dirname, file)));
  const stamp = hash.digest('hex');
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return false;

  log('VS Code (code-server): about 20 s, 370 MB');
  rmSync(vscodeFolder, { recursive: true, force: true });
  mkdirSync(vscodeFolder, { recursive: true });
  for (const file of ['package.json', 'package-lock.json'])
    cpSync(path.join(import.meta.dirname, file), path.join(vscodeFolder, file));
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  await run('npm', ['ci', ...quiet], vscodeFolder);
  const vscode = path.join(vscodeFolder, 'node_modules/code-server/lib/vscode');
  // `npm ci` refuses this folder, whose shrinkwrap file is out of step with its package.json.
  await run('npm', ['install', '--omit=dev', '--no-save', ...quiet], vscode);
  cpSync(
    path.join(import.meta.dirname, 'spdlogReplacement.cjs'),
    path.join(vscode, 'node_modules/@vscode/spdlog/index.js'),
  );
  // Native too; it ends an extension host whose server was killed, which the process group does here.
  writeFileSync(path.join(vscode, 'node_modules/@vscode/native-watchdog/index.js'), 'exports.start = () => {};\n');
  for (const folder of unused) rmSync(path.join(vscode, folder), { recursive: true, force: true });
  for (const folder of ['node_modules/@vscode/ripgrep-universal/bin', 'node_modules/node-pty/prebuilds']) {
    const platforms = path.join(vscode, folder);
    for (const platform of existsSync(platforms) ? readdirSync(platforms) : [])
      if (platform !== `${process.platform}-${process.arch}`)
        rmSync(path.join(platforms, platform), { recursive: true });
  }
  writeFileSync(stampFile, stamp);
  return true;
}

const browsers = ['chromium-headless-shell', 'chromium', 'google-chrome', 'google-chrome-stable', 'chromium-browser'];

/** Finds a Chromium: the one named by `CHROMIUM`, else the first on PATH. */
export function findChromium(): string | undefined {
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter((folder) => folder !== '');
  const candidates = browsers.flatMap((name) => folders.map((folder) => path.join(folder, name)));
  return [process.env.CHROMIUM ?? '', ...candidates].find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Finds a Chromium, or installs Debian's when this is root on a Debian system.
 * Throws an error that says what to install when neither works.
 */
export async function installChromium(log: (line: string) => void): Promise<string> {
  const found = findChromium();
  if (found !== undefined) return found;
  const packages = ['chromium-headless-shell', 'fonts-dejavu-core'];
  const advice = `install Chromium (Debian: apt-get install ${packages.join(' ')}) or name one in the variable CHROMIUM`;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) throw new Error(`No Chromium found: ${advice}.`);
  log('Chromium (apt-get install chromium-headless-shell): about 30 s, 230 MB');
  const install = ['install', '-y', '-q', '--no-install-recommends', ...packages];
  try {
    await run('apt-get', install, '/').catch(async () => {
      await run('apt-get', ['update', '-q'], '/');
      await run('apt-get', install, '/');
    });
  } catch (error) {
    throw new Error(`Chromium could not be installed: ${advice}. ${String(error)}`, { cause: error });
  }
  const installed = findChromium();
  if (installed === undefined) throw new Error(`apt-get installed no Chromium: ${advice}.`);
  return installed;
}

if (process.argv[1] === import.meta.filename) {
  const started = Date.now();
  const log = (line: string): void => {
    console.log(line);
  };
  await installVSCode(log);
  await installChromium(log);
  console.log(`VS Code for the tests is ready (${((Date.now() - started) / 1000).toFixed(1)} s).`);
}
