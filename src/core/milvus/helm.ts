import path from 'node:path';
import * as l10n from '@vscode/l10n';
import { parse } from 'yaml';
import { at, isRecord, items, json, number, text } from '../fields.ts';
import type { HelmUpgrade } from '../model.ts';
import type { Helm, HelmRelease } from '../ports.ts';
import { lastLines, ProcessError } from '../process.ts';
import type { Run, RunResult } from '../process.ts';
import { compareVersions } from './releases.ts';

/** Where Zilliz publishes the Milvus chart. */
export const chartRepository = 'https://zilliztech.github.io/milvus-helm/';

/** Oldest Helm whose commands and flags are used here. */
const oldestHelm = '3.8.0';

/** Helm's own limit for an upgrade, hooks included, in seconds; the roll-out is not waited for. */
const upgradeLimitSeconds = 300;

/** What went wrong with Helm. The message is localised, says what to do, and holds none of the release's values. */
export class HelmError extends Error {
  override readonly name = 'HelmError';
  readonly reason: HelmProblem;

  constructor(reason: HelmProblem, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/**
 * `missing`: no helm; `outdated`: too old; `pending`: another operation runs or was broken off; `changed`: the release is
 * not what it was; `chart`: the installed chart version was not found; `conflict`: another manager owns a field;
 * `unreachable`, `forbidden`, `timeout`, `failed`: as Helm says.
 */
export type HelmProblem =
  | 'missing'
  | 'outdated'
  | 'pending'
  | 'changed'
  | 'chart'
  | 'conflict'
  | 'unreachable'
  | 'forbidden'
  | 'timeout'
  | 'failed';

/** What Helm is run with. */
export interface HelmOptions {
  run: Run;
  /** Paths of the kubeconfig files, in kubectl's order. */
  kubeconfig: readonly string[];
  /** Name of the kubeconfig context. */
  context: string;
  /** Name or path of the program; `helm` when absent. */
  file?: string;
  /** Chart reference from the settings: `repository/chart`, a folder, an archive or an OCI reference. */
  chart?: string;
}

/** A release as `helm list` shows it. */
type Listed = Omit<HelmRelease, 'values'>;

/**
 * The user's `helm`, 3.8 or later, or 4. Values go in by standard input, never as an argument or a file. An upgrade is
 * not broken off once it has begun, because that leaves the release pending: its signal counts only before.
 */
export function createHelm(options: HelmOptions): Helm {
  const { run, kubeconfig, context, file = 'helm' } = options;
  const env = {
    KUBECONFIG: kubeconfig.join(path.delimiter),
    // Each of these would send Helm elsewhere than the chosen context, or add lines to what is parsed.
    HELM_KUBECONTEXT: undefined,
    HELM_KUBEAPISERVER: undefined,
    HELM_KUBETOKEN: undefined,
    HELM_KUBECAFILE: undefined,
    HELM_KUBEASUSER: undefined,
    HELM_KUBEASGROUPS: undefined,
    HELM_KUBEINSECURE_SKIP_TLS_VERIFY: undefined,
    HELM_KUBETLS_SERVER_NAME: undefined,
    HELM_NAMESPACE: undefined,
    HELM_DEBUG: undefined,
  };

  /** Runs Helm against the context's cluster. */
  const helm = async (
    args: readonly string[],
    call: { signal?: AbortSignal | undefined; stdin?: string; timeoutMs?: number },
  ): Promise<RunResult> => {
    try {
      const { signal, ...rest } = call;
      return await run(file, args, { ...rest, env, ...(signal ? { signal } : {}) });
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      throw new HelmError(error.reason === 'timeout' ? 'timeout' : 'missing', error.message, { cause: error });
    }
  };
  const inContext = (namespace: string): string[] => ['--kube-context', context, '--namespace', namespace];

  let known: string | undefined;
  const version = async (signal?: AbortSignal): Promise<string> => {
    if (known !== undefined) return known;
    const result = await helm(['version', '--template', '{{.Version}}'], { signal });
    const found = /v?(\d+\.\d+\.\d+\S*)/.exec(result.stdout)?.[1];
    if (result.exitCode !== 0 || found === undefined)
      throw new HelmError(
        'failed',
        l10n.t('{0} does not tell its version. It says: {1}', file, lastLines(result.stderr)),
      );
    if (compareVersions(found, oldestHelm) < 0)
      throw new HelmError('outdated', l10n.t('{0} is version {1}; {2} or later is needed.', file, found, oldestHelm));
    return (known = found);
  };

  const list = async (namespace: string, name: string, signal?: AbortSignal): Promise<Listed | undefined> => {
    const states = ['--deployed', '--failed', '--pending', '--uninstalling'];
    const filter = `^${name.replaceAll('.', '\\.')}$`;
    const result = await helm(['list', ...inContext(namespace), ...states, '--filter', filter, '--output', 'json'], {
      signal,
    });
    if (result.exitCode !== 0)
      throw explain(result, l10n.t('read the release {0}', `${namespace}/${name}`), { context, namespace, name });
    for (const entry of items(json(result.stdout))) {
      const listed = readListed(entry, namespace);
      if (listed?.name === name) return listed;
    }
    return undefined;
  };

  const located = new Map<string, readonly string[]>();
  /** Arguments that name the installed chart, proven to be it by name, version and version of Milvus. */
  const locate = async (release: Listed, signal?: AbortSignal): Promise<readonly string[]> => {
    const key = JSON.stringify([release.chartName, release.chartVersion, release.appVersion]);
    const before = located.get(key);
    if (before) return before;
    const pin = ['--version', release.chartVersion];
    const candidates: string[][] =
      options.chart === undefined || options.chart === ''
        ? [
            ...(await search(release, signal)).map((name) => [name, ...pin]),
            [release.chartName, '--repo', chartRepository, ...pin],
          ]
        : [[options.chart, ...pin]];
    const tried: string[] = [];
    for (const candidate of candidates) {
      const result = await helm(['show', 'chart', ...candidate], { signal });
      const shown = result.exitCode === 0 ? readChart(result.stdout) : undefined;
      if (
        shown?.name === release.chartName &&
        shown.version === release.chartVersion &&
        (release.appVersion === '' || shown.appVersion === release.appVersion)
      ) {
        located.set(key, candidate);
        return candidate;
      }
      const name = candidate.includes('--repo') ? chartRepository : (candidate[0] ?? '');
      tried.push(
        shown
          ? l10n.t('{0} is {1} {2} (Milvus {3})', name, shown.name, shown.version, shown.appVersion)
          : `${name}: ${lastLines(result.stderr)}`,
      );
    }
    throw new HelmError(
      'chart',
      l10n.t(
        'The installed chart {0} {1} was not found, and another version would also change Milvus. Run "helm repo add milvus {2}" and "helm repo update", or name the chart in the setting {3}. Tried: {4}',
        release.chartName,
        release.chartVersion,
        chartRepository,
        'milvusLayer7.helm.chart',
        tried.join('; '),
      ),
    );
  };

  /** Charts of the user's repositories with the installed name and version. */
  const search = async (release: Listed, signal?: AbortSignal): Promise<string[]> => {
    const args = ['search', 'repo', release.chartName, '--version', release.chartVersion, '--output', 'json'];
    const result = await helm(args, { signal });
    // Without any repository Helm fails; then the published one is left.
    if (result.exitCode !== 0) return [];
    return items(json(result.stdout))
      .filter((entry) => at(entry, 'version') === release.chartVersion)
      .map((entry) => text(at(entry, 'name')) ?? '')
      .filter((name) => name.endsWith(`/${release.chartName}`));
  };

  /** Arguments of an upgrade that keeps the chart version; refuses a release that is busy or has changed. */
  const prepare = async (upgrade: HelmUpgrade, signal?: AbortSignal): Promise<string[]> => {
    await version(signal);
    const { namespace, release: name } = upgrade;
    const release = await list(namespace, name, signal);
    if (!release)
      throw new HelmError('changed', l10n.t('Helm knows no release {0} in namespace {1}.', name, namespace));
    if (release.status.startsWith('pending') || release.status === 'uninstalling') throw pending(release);
    if (release.chartName !== upgrade.chartName || release.chartVersion !== upgrade.chartVersion)
      throw new HelmError(
        'changed',
        l10n.t(
          'Release {0} has changed: it is now chart {1} {2}, not {3}. Plan again.',
          name,
          release.chartName,
          release.chartVersion,
          upgrade.chartVersion,
        ),
      );
    const chart = await locate(release, signal);
    return [
      'upgrade',
      name,
      ...chart,
      ...inContext(namespace),
      // The values on standard input are all of the user's.
      '--reset-values',
      '--values',
      '-',
      '--output',
      'json',
      '--timeout',
      `${String(upgradeLimitSeconds)}s`,
    ];
  };

  const runUpgrade = async (
    upgrade: HelmUpgrade,
    args: readonly string[],
    doing: string,
    signal?: AbortSignal,
  ): Promise<unknown> => {
    const result = await helm(args, {
      signal,
      stdin: upgrade.values,
      timeoutMs: (upgradeLimitSeconds + 60) * 1000,
    });
    if (result.exitCode !== 0)
      throw explain({ ...result, stderr: redact(result.stderr, upgrade) }, doing, {
        context,
        namespace: upgrade.namespace,
        name: upgrade.release,
      });
    return json(result.stdout);
  };

  return {
    version,
    release: async (namespace, name, signal) => {
      await version(signal);
      const [listed, result] = await Promise.all([
        list(namespace, name, signal),
        helm(['get', 'values', name, ...inContext(namespace), '--output', 'json'], { signal }),
      ]);
      if (!listed) return undefined;
      if (result.exitCode !== 0)
        throw explain(result, l10n.t('read the values of {0}', `${namespace}/${name}`), { context, namespace, name });
      const values = json(result.stdout);
      if (values !== null && !isRecord(values))
        throw new HelmError('failed', l10n.t('The values of release {0} cannot be read.', `${namespace}/${name}`));
      return { ...listed, values: values ?? {} };
    },
    dryRun: async (upgrade, signal) => {
      const args = await prepare(upgrade, signal);
      // Before 3.13 the flag took no value and asked the API server anyway.
      const dryRun = compareVersions(await version(signal), '3.13.0') < 0 ? '--dry-run' : '--dry-run=server';
      const doing = l10n.t('try the upgrade of {0}', upgrade.release);
      const output = await runUpgrade(upgrade, [...args, dryRun], doing, signal);
      return withoutSecrets(text(at(output, 'manifest')) ?? '');
    },
    manifest: async (namespace, name, signal) => {
      await version(signal);
      const result = await helm(['get', 'manifest', name, ...inContext(namespace)], { signal });
      if (result.exitCode !== 0)
        throw explain(result, l10n.t('read the manifest of {0}', `${namespace}/${name}`), { context, namespace, name });
      return withoutSecrets(result.stdout);
    },
    upgrade: async (upgrade, signal) => {
      const args = await prepare(upgrade, signal);
      signal?.throwIfAborted();
      const output = await runUpgrade(upgrade, args, l10n.t('upgrade {0}', upgrade.release));
      const revision = number(at(output, 'version'));
      if (revision === undefined)
        throw new HelmError('failed', l10n.t('Helm upgraded {0}, but did not tell the revision.', upgrade.release));
      return revision;
    },
  };
}

function readListed(entry: unknown, namespace: string): Listed | undefined {
  const name = text(at(entry, 'name'));
  const chart = /^(.+?)-(v?\d+\.\d+\.\d+.*)$/.exec(text(at(entry, 'chart')) ?? '');
  if (name === undefined || !chart) return undefined;
  return {
    name,
    namespace: text(at(entry, 'namespace')) ?? namespace,
    revision: Number(at(entry, 'revision')) || 0,
    status: text(at(entry, 'status')) ?? 'unknown',
    chartName: chart[1] ?? '',
    chartVersion: chart[2] ?? '',
    appVersion: text(at(entry, 'app_version')) ?? '',
  };
}

function readChart(yaml: string): { name: string; version: string; appVersion: string } | undefined {
  try {
    const chart: unknown = parse(yaml, { schema: 'failsafe' });
    return {
      name: text(at(chart, 'name')) ?? '',
      version: text(at(chart, 'version')) ?? '',
      appVersion: text(at(chart, 'appVersion')) ?? '',
    };
  } catch {
    return undefined;
  }
}

/** The documents of a manifest but its Secrets. */
function withoutSecrets(manifest: string): string {
  return manifest
    .split(/^---$/m)
    .filter((document) => !/^kind:\s*["']?Secret["']?\s*$/m.test(document))
    .join('---');
}

function pending(release: Pick<Listed, 'name' | 'namespace' | 'status'>): HelmError {
  return new HelmError(
    'pending',
    l10n.t(
      'Release {0} is {1}: another Helm operation runs, or was broken off. Wait for it; if none runs, "helm rollback {0} --namespace {2}" frees the release.',
      release.name,
      release.status,
      release.namespace,
    ),
  );
}

interface Place {
  context: string;
  namespace: string;
  name: string;
}

/** The cause in words for people, from what Helm says. */
function explain(result: RunResult, doing: string, place: Place): HelmError {
  const said = lastLines(result.stderr);
  const all = result.stderr;
  if (all.includes('another operation (install/upgrade/rollback) is in progress'))
    return pending({ ...place, status: 'pending' });
  if (/conflicts? occurred while applying|Apply failed with \d+ conflict|conflict with "/.test(all))
    return new HelmError(
      'conflict',
      l10n.t(
        'Helm cannot {0}: another manager owns a field that the chart sets. Take the field away from it, then try again. Helm says: {1}',
        doing,
        said,
      ),
    );
  if (/is forbidden|cannot (list|get|create|patch|update) resource/.test(all))
    return new HelmError(
      'forbidden',
      l10n.t(
        'Helm cannot {0}: the user of context {1} may not do it in namespace {2}. Helm keeps releases in Secrets. Helm says: {3}',
        doing,
        place.context,
        place.namespace,
        said,
      ),
    );
  if (/cluster unreachable|connection refused|no such host|context "[^"]*" does not exist|i\/o timeout/i.test(all))
    return new HelmError(
      'unreachable',
      l10n.t(
        'Helm cannot {0}: it does not reach the cluster of context {1}. Helm says: {2}',
        doing,
        place.context,
        said,
      ),
    );
  if (/timed out waiting|context deadline exceeded/.test(all))
    return new HelmError('timeout', l10n.t('Helm could not {0} in time. Helm says: {1}', doing, said));
  return new HelmError('failed', l10n.t('Helm cannot {0}. Helm says: {1}', doing, said));
}

/** Shortest value that is hidden; shorter ones would make messages unreadable and hide nothing. */
const shortestSecret = 4;

/**
 * Helm's messages quote values (`cannot overwrite table with non table for …`), so every value of the release is taken
 * out of them, but the names that the message needs and what we change ourselves.
 */
function redact(message: string, upgrade: HelmUpgrade): string {
  const open = [upgrade.release, upgrade.namespace, upgrade.chartName, upgrade.chartVersion].concat(
    upgrade.changes.map((change) => change.to),
  );
  const hidden = new Set<string>();
  collect(parse(upgrade.values) as unknown, hidden);
  return [...hidden]
    .filter((value) => value.length >= shortestSecret && !open.some((name) => name.includes(value)))
    .sort((a, b) => b.length - a.length)
    .reduce((shown, value) => shown.replaceAll(value, '…'), message);
}

function collect(value: unknown, into: Set<string>): void {
  if (isRecord(value)) {
    for (const entry of Object.values(value)) collect(entry, into);
  } else if (Array.isArray(value)) {
    for (const entry of value) collect(entry, into);
  } else if (typeof value === 'number') {
    into.add(String(value));
  } else if (typeof value === 'string') {
    into.add(value);
    into.add(Buffer.from(value).toString('base64'));
    if (!value.includes('\n')) return;
    // A file such as user.yaml: each of its lines, and what stands behind the colon.
    for (const line of value.split('\n')) {
      into.add(line.trim());
      into.add(
        line
          .replace(/^[^:]*:/, '')
          .trim()
          .replace(/^(["'])(.*)\1$/, '$2'),
      );
    }
  }
}
