// Packages the Milvus chart as the versions the sandbox offers and indexes them as a Helm repository.
//
//   node test/sandbox/chart/package.mjs --helm HELM --out FOLDER
//
// FOLDER gets milvus-<version>.tgz, index.yaml (relative URLs, so it can be served from anywhere) and
// milvus/, the newest version unpacked.
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const source = join(dirname(fileURLToPath(import.meta.url)), 'milvus');

// Up to 4.2.3 the coordinators are separate by default; chart 5 is Milvus 2.6, without index nodes.
const separateCoordinators = ['rootCoordinator', 'queryCoordinator', 'indexCoordinator', 'dataCoordinator'];
const line4 = { disable: ['streaming'], enable: ['indexNode'], messageQueue: 'rocksmq' };

/** The versions offered, oldest first: chart version, Milvus version and what differs from the newest. */
export const versions = [
  { version: '4.1.34', appVersion: '2.4.5', changes: { ...line4, enable: ['indexNode', ...separateCoordinators], disable: ['streaming', 'mixCoordinator'] } },
  { version: '4.2.0', appVersion: '2.4.6', changes: { ...line4, enable: ['indexNode', ...separateCoordinators], disable: ['streaming', 'mixCoordinator'] } },
  { version: '4.2.58', appVersion: '2.5.16', changes: line4 },
  { version: '5.0.19', appVersion: '2.6.15', changes: {} },
];

/** Replaces a text that must be there, so that a changed values.yaml is noticed. */
function replace(text, from, to) {
  if (!text.includes(from)) throw new Error(`values.yaml has no ${JSON.stringify(from)}`);
  return text.replace(from, to);
}

function valuesOf(text, { appVersion, changes }) {
  let values = replace(text, 'tag: v2.6.15', `tag: v${appVersion}`);
  for (const key of changes.enable ?? []) values = replace(values, `\n${key}:\n  enabled: false`, `\n${key}:\n  enabled: true`);
  for (const key of changes.disable ?? []) values = replace(values, `\n${key}:\n  enabled: true`, `\n${key}:\n  enabled: false`);
  if (changes.messageQueue) values = replace(values, 'messageQueue: woodpecker', `messageQueue: ${changes.messageQueue}`);
  return values;
}

/**
 * Writes the chart repository.
 * @param {{ helm: string, out: string }} options helm: path of a Helm 3 binary; out: the folder, emptied first
 * @returns {Promise<{ folder: string, versions: string[] }>} the unpacked newest chart and the versions
 */
export async function packageCharts({ helm, out }) {
  const work = await mkdtemp(join(tmpdir(), 'milvus-chart-'));
  try {
    await rm(out, { recursive: true, force: true });
    await mkdir(out, { recursive: true });
    const text = await readFile(join(source, 'values.yaml'), 'utf8');
    for (const v of versions) {
      const chart = join(work, v.version, 'milvus');
      await cp(source, chart, { recursive: true });
      await writeFile(join(chart, 'values.yaml'), valuesOf(text, v));
      await run(helm, ['package', chart, '--version', v.version, '--app-version', v.appVersion, '--destination', out]);
    }
    await cp(source, join(out, 'milvus'), { recursive: true });
    // an index of the archives alone: the unpacked folder is none of it
    await run(helm, ['repo', 'index', out]);
    return { folder: join(out, 'milvus'), versions: versions.map((v) => v.version) };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function option(name) {
  const i = process.argv.indexOf(`--${name}`);
  const value = i < 0 ? undefined : process.argv[i + 1];
  if (value === undefined) throw new Error(`--${name} is missing`);
  return value;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const made = await packageCharts({ helm: option('helm'), out: option('out') });
  console.log(`Milvus chart ${made.versions.join(', ')} in ${option('out')}`);
}
