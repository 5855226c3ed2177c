// Builds the sandbox into .cache of the repository: Go programs, the Python environment of Milvus Lite and the
// repository of the sandbox' Milvus charts. What is there and up to date is left alone.
//
//   node test/sandbox/build.mjs
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageCharts } from './chart/package.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const cache = path.resolve(here, '../../.cache');
const bin = path.join(cache, 'bin');

// A Kubernetes built as a module knows no version of its own, and kubectl and Helm cannot parse what it reports
// then (k8s.io/component-base/version).
const kubernetes = 'v1.36.3-gke.1000000';
const versionFlags = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap((p) => [
  `-X ${p}.gitVersion=${kubernetes}`,
  `-X ${p}.gitMajor=1`,
  `-X ${p}.gitMinor=36`,
  `-X ${p}.gitTreeState=clean`,
  `-X ${p}.gitCommit=0000000`,
  `-X ${p}.buildDate=2026-01-01T00:00:00Z`,
]);

const programs = [
  { name: 'gcloud', packages: ['cmd/gcloud'] },
  { name: 'sandbox', packages: ['.'], target: './cmd/sandbox', stamped: true },
  { name: 'glbc', packages: [], target: 'k8s.io/ingress-gce/cmd/glbc' },
  { name: 'kubectl', packages: [], target: 'k8s.io/kubernetes/cmd/kubectl', stamped: true },
  { name: 'milvus', packages: ['cmd/milvus', 'milvus'] },
  { name: 'read-go', module: '../clients/go', packages: ['../clients/go'], target: '.' },
  { name: 'helm3', module: 'helm3', packages: [], target: 'helm.sh/helm/v3/cmd/helm', helm: 'helm.sh/helm/v3' },
  { name: 'helm4', module: 'helm4', packages: [], target: 'helm.sh/helm/v4/cmd/helm', helm: 'helm.sh/helm/v4' },
];

/** Files below a folder that match, in a stable order. */
function files(folder, match) {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => path.join(e.parentPath, e.name))
    .filter(match)
    .sort();
}

function hash(inputs, ...words) {
  const h = createHash('sha256');
  for (const w of words) h.update(`${w}\n`);
  for (const f of inputs) h.update(`${path.relative(here, f)}\n`).update(fs.readFileSync(f));
  return h.digest('hex');
}

/** Go files of the sandbox without tests, and what they embed. */
const isSource = (f) => /\.(go|ya?ml|tpl)$/.test(f) && !f.endsWith('_test.go') && !/\/(helm3|helm4)\//.test(f);

function run(command, args, options, log) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let said = '';
    let downloads = 0;
    const take = (chunk) => {
      const text = String(chunk);
      downloads += text.split('go: downloading ').length - 1;
      said = (said + text).slice(-4000);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    const begin = Date.now();
    const tick = setInterval(() => {
      log(
        `  … ${Math.round((Date.now() - begin) / 1000)} s${downloads > 0 ? `, ${downloads} modules downloaded` : ''}`,
      );
    }, 15_000);
    child.on('error', (error) => {
      clearInterval(tick);
      reject(new Error(`${command} could not be started: ${error.message}`));
    });
    child.on('close', (code, signal) => {
      clearInterval(tick);
      if (code === 0) resolve();
      else reject(new Error(`${command} ${args.join(' ')} ended with ${signal ?? code}:\n${said.trim()}`));
    });
  });
}

/** Does the work unless the stamp beside says that its inputs are unchanged. */
async function step(name, stamp, output, expect, work, log) {
  const file = path.join(cache, 'stamps', name);
  if (fs.existsSync(output) && fs.existsSync(file) && fs.readFileSync(file, 'utf8') === stamp) return false;
  log(`${name}: building${expect ? ` (first time about ${expect})` : ''}`);
  const begin = Date.now();
  await work();
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, stamp);
  log(`${name}: built in ${((Date.now() - begin) / 1000).toFixed(1)} s`);
  return true;
}

const expectations = {
  sandbox: '6 min',
  glbc: '1 min',
  kubectl: '30 s',
  helm3: '90 s',
  helm4: '2 min',
  python: '2 min',
};

async function buildProgram(p, log) {
  const folder = path.join(here, p.module ?? '');
  const inputs = [
    path.join(folder, 'go.mod'),
    path.join(folder, 'go.sum'),
    ...p.packages.flatMap((d) => files(path.join(here, d), isSource)),
  ];
  const flags = ['-s', '-w', ...(p.stamped ? versionFlags : [])];
  if (p.helm !== undefined) {
    const version = new RegExp(`${p.helm.replaceAll('.', '\\.')} (v\\S+)`).exec(
      fs.readFileSync(inputs[0], 'utf8'),
    )?.[1];
    if (version === undefined) throw new Error(`${inputs[0]} does not name a version of ${p.helm}`);
    flags.push(`-X ${p.helm}/internal/version.version=${version}`);
  }
  const output = path.join(bin, p.name);
  const args = ['build', '-ldflags', flags.join(' '), '-o', `${output}.new`, p.target ?? `./cmd/${p.name}`];
  await step(
    p.name,
    hash(inputs, ...args),
    output,
    expectations[p.name],
    async () => {
      await run('go', args, { cwd: folder, env: { ...process.env, GOFLAGS: '', GOWORK: 'off' } }, log);
      fs.renameSync(`${output}.new`, output); // a running program keeps its own file
    },
    log,
  );
  if (p.name === 'gcloud') {
    const plugin = path.join(bin, 'gke-gcloud-auth-plugin');
    fs.rmSync(plugin, { force: true });
    fs.symlinkSync('gcloud', plugin);
  }
}

async function buildPython(log) {
  const requirements = path.join(here, 'requirements.txt');
  const folder = path.join(cache, 'python');
  const python = path.join(folder, 'bin', 'python3');
  await step(
    'python',
    hash([requirements]),
    python,
    expectations.python,
    async () => {
      fs.rmSync(folder, { recursive: true, force: true });
      await run('python3', ['-m', 'venv', folder], {}, log);
      await run(
        python,
        ['-m', 'pip', 'install', '--disable-pip-version-check', '--quiet', '-r', requirements],
        {},
        log,
      );
    },
    log,
  );
}

async function buildCharts(log) {
  const out = path.join(cache, 'charts');
  await step(
    'charts',
    hash(files(path.join(here, 'chart'), () => true)),
    path.join(out, 'index.yaml'),
    '',
    () => packageCharts({ helm: path.join(bin, 'helm3'), out }),
    log,
  );
}

/** One build at a time: the lock names the process that holds it. */
async function locked(work, log) {
  fs.mkdirSync(bin, { recursive: true });
  const lock = path.join(cache, 'build.lock');
  for (let said = false; ;) {
    try {
      fs.writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = Number(fs.readFileSync(lock, 'utf8'));
    let alive = holder > 0;
    try {
      process.kill(holder, 0);
    } catch {
      alive = false;
    }
    if (!alive) {
      fs.rmSync(lock, { force: true });
      continue;
    }
    if (!said) log(`another build is under way (process ${holder}); waiting`);
    said = true;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  try {
    await work();
  } finally {
    fs.rmSync(lock, { force: true });
  }
}

/**
 * Builds what is missing or stale.
 * @param {{ log?: (line: string) => void }} [options] `log` gets the progress line by line
 */
export async function buildSandbox({ log = console.error } = {}) {
  const begin = Date.now();
  await locked(async () => {
    for (const p of programs) await buildProgram(p, log);
    await buildPython(log);
    await buildCharts(log);
  }, log);
  log(`sandbox: up to date after ${((Date.now() - begin) / 1000).toFixed(1)} s`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  buildSandbox().catch((error) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  });
}
