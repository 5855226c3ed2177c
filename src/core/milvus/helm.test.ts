import { describe, expect, test } from 'vitest';
import type { HelmUpgrade } from '../model.ts';
import type { Helm } from '../ports.ts';
import { ProcessError } from '../process.ts';
import type { RunOptions, RunResult } from '../process.ts';
import { createHelm, HelmError } from './helm.ts';
import type { HelmOptions } from './helm.ts';

interface Call {
  args: readonly string[];
  options: RunOptions;
}

const ok = (stdout: unknown): RunResult => ({
  stdout: typeof stdout === 'string' ? stdout : JSON.stringify(stdout),
  stderr: '',
  exitCode: 0,
});
const failed = (stderr: string): RunResult => ({ stdout: '', stderr, exitCode: 1 });

const listed = {
  name: 'my-release',
  namespace: 'vectors',
  revision: '4',
  updated: '2026-01-01',
  status: 'deployed',
  chart: 'milvus-4.2.0',
  app_version: '2.4.6',
};
const chartYaml = (version: string, appVersion: string): string =>
  `apiVersion: v1\nname: milvus\nversion: ${version}\nappVersion: "${appVersion}"\n`;

/** Helm as recorded from 3.22.0; each answer may be another one. */
const recorded = {
  version: () => ok('v3.22.0'),
  list: () => ok([listed]),
  values: () => ok({ service: { type: 'LoadBalancer' } }),
  search: () => ok([{ name: 'milvus/milvus', version: '4.2.0', app_version: '2.4.6' }]),
  show: (_args: readonly string[]) => ok(chartYaml('4.2.0', '2.4.6')),
  manifest: () => ok('---\nkind: Secret\ndata:\n  key: aHVudGVyMjI=\n---\nkind: Service\n'),
  upgrade: (_call: Call): RunResult =>
    ok({ name: 'my-release', version: 5, manifest: '---\nkind: Secret\n---\nkind: Service\n' }),
};

function helmWith(
  answers: Partial<typeof recorded> = {},
  options: Partial<HelmOptions> = {},
): { helm: Helm; calls: Call[] } {
  const all = { ...recorded, ...answers };
  const calls: Call[] = [];
  const helm = createHelm({
    kubeconfig: ['/a', '/b'],
    context: 'gke_p_l_n',
    run: (_file, args, run = {}) => {
      const call = { args, options: run };
      calls.push(call);
      const answer = {
        version: all.version,
        list: all.list,
        get: args[1] === 'manifest' ? all.manifest : all.values,
        search: all.search,
        show: () => all.show(args),
        upgrade: () => all.upgrade(call),
      }[args[0] ?? ''];
      if (!answer) throw new Error(`helm ${args.join(' ')} was not expected`);
      return Promise.resolve(answer());
    },
    ...options,
  });
  return { helm, calls };
}

const upgrade: HelmUpgrade = {
  release: 'my-release',
  namespace: 'vectors',
  chartName: 'milvus',
  chartVersion: '4.2.0',
  values:
    'externalS3:\n  secretKey: hunter22\n  port: 443\nextraConfigFiles:\n  user.yaml: "minio:\\n  secretAccessKey: s3cr3t\\n"\nservice:\n  type: ClusterIP\n',
  changes: [{ path: 'service.type', to: 'ClusterIP' }],
};

async function refusal(attempt: Promise<unknown>): Promise<HelmError> {
  const error = await attempt.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof HelmError)) throw new Error(`no HelmError but ${String(error)}`);
  return error;
}

describe('a release', () => {
  test('is read with its values, in this context and namespace', async () => {
    const { helm, calls } = helmWith();
    expect(await helm.release('vectors', 'my-release')).toEqual({
      name: 'my-release',
      namespace: 'vectors',
      revision: 4,
      status: 'deployed',
      chartName: 'milvus',
      chartVersion: '4.2.0',
      appVersion: '2.4.6',
      values: { service: { type: 'LoadBalancer' } },
    });
    for (const { args, options } of calls.slice(1)) {
      expect(args.join(' ')).toContain('--kube-context gke_p_l_n --namespace vectors');
      expect(options.env).toMatchObject({
        KUBECONFIG: '/a:/b',
        HELM_KUBEAPISERVER: undefined,
        HELM_KUBETOKEN: undefined,
      });
    }
  });

  test('without values of its own', async () => {
    expect((await helmWith({ values: () => ok('null') }).helm.release('vectors', 'my-release'))?.values).toEqual({});
  });

  test('in a pending state is told, not hidden', async () => {
    const { helm } = helmWith({ list: () => ok([{ ...listed, status: 'pending-upgrade' }]) });
    expect((await helm.release('vectors', 'my-release'))?.status).toBe('pending-upgrade');
  });

  test('that is unknown', async () => {
    expect(await helmWith({ list: () => ok([]) }).helm.release('vectors', 'my-release')).toBeUndefined();
  });

  test('with dots in its name is looked for by exactly that name', async () => {
    const { helm, calls } = helmWith({ list: () => ok([listed]) });
    expect(await helm.release('vectors', 'my.release')).toBeUndefined();
    expect(calls[1]?.args).toContain('^my\\.release$');
  });

  test('manifest without its Secrets', async () => {
    expect(await helmWith().helm.manifest('vectors', 'my-release')).toBe('---\nkind: Service\n');
  });

  test.each<[string, HelmError['reason'], string]>([
    [
      'Error: Kubernetes cluster unreachable: Get "https://127.0.0.1:1/version": dial tcp 127.0.0.1:1: connect: connection refused',
      'unreachable',
      'it does not reach the cluster of context gke_p_l_n',
    ],
    [
      'Error: list: failed to list: secrets is forbidden: User "reader" cannot list resource "secrets"',
      'forbidden',
      'may not do it in namespace vectors',
    ],
    ['Error: query: failed to query with labels: context deadline exceeded', 'timeout', 'in time'],
    [
      'Error: something new',
      'failed',
      'Helm cannot read the release vectors/my-release. Helm says: Error: something new',
    ],
  ])('explains: %s', async (stderr, reason, message) => {
    const error = await refusal(helmWith({ list: () => failed(stderr) }).helm.release('vectors', 'my-release'));
    expect(error.reason).toBe(reason);
    expect(error.message).toContain(message);
  });
});

describe('an upgrade', () => {
  test('keeps the chart, replaces the values, and gets them by standard input only', async () => {
    const { helm, calls } = helmWith();
    expect(await helm.upgrade(upgrade)).toBe(5);
    const last = calls.at(-1);
    expect(last?.args).toEqual([
      ...['upgrade', 'my-release', 'milvus/milvus', '--version', '4.2.0'],
      ...['--kube-context', 'gke_p_l_n', '--namespace', 'vectors'],
      ...['--reset-values', '--values', '-', '--output', 'json', '--timeout', '300s'],
    ]);
    expect(last?.options.stdin).toBe(upgrade.values);
    expect(calls.flatMap(({ args }) => args).join(' ')).not.toMatch(/hunter22|s3cr3t/);
  });

  test.each([
    ['v3.22.0', '--dry-run=server'],
    ['v4.3.1', '--dry-run=server'],
    ['v3.12.3', '--dry-run'],
  ])('is tried by Helm %s with %s; Secrets are left out of what it shows', async (version, flag) => {
    const { helm, calls } = helmWith({ version: () => ok(version) });
    expect(await helm.dryRun(upgrade)).toBe('---\nkind: Service\n');
    expect(calls.at(-1)?.args.at(-1)).toBe(flag);
  });

  test('is not started when it was cancelled, and not broken off once started', async () => {
    const controller = new AbortController();
    const { helm, calls } = helmWith({
      upgrade: ({ options }) => {
        expect(options.signal).toBeUndefined();
        controller.abort(new Error('cancelled'));
        return recorded.upgrade({ args: [], options: {} });
      },
    });
    expect(await helm.upgrade(upgrade, controller.signal)).toBe(5);
    const before = calls.length;
    await expect(helm.upgrade(upgrade, controller.signal)).rejects.toThrow('cancelled');
    expect(calls.slice(before).map(({ args }) => args[0])).not.toContain('upgrade');
  });

  test.each<[string, Partial<typeof recorded>, HelmError['reason'], string]>([
    [
      'a pending release',
      { list: () => ok([{ ...listed, status: 'pending-upgrade' }]) },
      'pending',
      '"helm rollback my-release --namespace vectors" frees the release',
    ],
    [
      'a release that is gone',
      { list: () => ok([]) },
      'changed',
      'Helm knows no release my-release in namespace vectors.',
    ],
    [
      'a chart upgraded meanwhile',
      { list: () => ok([{ ...listed, chart: 'milvus-5.0.19' }]) },
      'changed',
      'it is now chart milvus 5.0.19, not 4.2.0',
    ],
    ['an old Helm', { version: () => ok('v3.7.2') }, 'outdated', 'helm is version 3.7.2; 3.8.0 or later is needed.'],
    [
      'no chart anywhere',
      { search: () => ok([]), show: () => failed('Error: no chart version found for milvus-4.2.0') },
      'chart',
      'Run "helm repo add milvus https://zilliztech.github.io/milvus-helm/" and "helm repo update"',
    ],
  ])('is refused for %s before anything is written', async (_, answers, reason, message) => {
    const { helm, calls } = helmWith(answers);
    const error = await refusal(helm.upgrade(upgrade));
    expect(error.reason).toBe(reason);
    expect(error.message).toContain(message);
    expect(calls.map(({ args }) => args[0])).not.toContain('upgrade');
  });

  test.each<[string, HelmError['reason']]>([
    ['Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress', 'pending'],
    [
      'Error: UPGRADE FAILED: conflict occurred while applying object vectors/my-release-milvus /v1, Kind=Service: Apply failed with 1 conflict: conflict with "kubectl" using v1: .spec.type',
      'conflict',
    ],
    ['Error: UPGRADE FAILED: cannot patch "x" with kind Deployment: deployments.apps "x" is forbidden', 'forbidden'],
    ['Error: UPGRADE FAILED: post-upgrade hooks failed: timed out waiting for the condition', 'timeout'],
  ])('that fails is explained: %s', async (stderr, reason) => {
    expect((await refusal(helmWith({ upgrade: () => failed(stderr) }).helm.upgrade(upgrade))).reason).toBe(reason);
  });

  test('shows no value of the release in what Helm says', async () => {
    const stderr = [
      'coalesce.go:289: warning: cannot overwrite table with non table for milvus.externalS3 (map[secretKey:hunter22])',
      'Error: YAML parse error: secretAccessKey: s3cr3t, aHVudGVyMjI= in my-release',
    ].join('\n');
    const { message } = await refusal(helmWith({ upgrade: () => failed(stderr) }).helm.upgrade(upgrade));
    expect(message).not.toMatch(/hunter22|s3cr3t|aHVudGVyMjI=/);
    expect(message).toContain('map[secretKey:…]');
    expect(message).toContain('in my-release');
  });

  test('that does not tell its revision', async () => {
    expect((await refusal(helmWith({ upgrade: () => ok('') }).helm.upgrade(upgrade))).message).toContain(
      'did not tell the revision',
    );
  });
});

describe('the installed chart', () => {
  const reference = (calls: Call[]): string | undefined => calls.at(-1)?.args[2];

  test('is not mistaken for another chart of the same name and version', async () => {
    const { helm, calls } = helmWith({
      search: () =>
        ok([
          { name: 'bitnami/milvus', version: '4.2.0', app_version: '2.3.4' },
          { name: 'zilliz/milvus', version: '4.2.0', app_version: '2.4.6' },
          { name: 'zilliz/milvus-operator', version: '4.2.0', app_version: '2.4.6' },
        ]),
      show: (args) => ok(chartYaml('4.2.0', args[2] === 'zilliz/milvus' ? '2.4.6' : '2.3.4')),
    });
    await helm.upgrade(upgrade);
    expect(reference(calls)).toBe('zilliz/milvus');
  });

  test('comes from its publisher when no repository has it', async () => {
    const { helm, calls } = helmWith({ search: () => failed('Error: no repositories configured') });
    await helm.upgrade(upgrade);
    expect(calls.at(-1)?.args.slice(2, 7)).toEqual([
      'milvus',
      '--repo',
      'https://zilliztech.github.io/milvus-helm/',
      '--version',
      '4.2.0',
    ]);
  });

  test('comes from the setting when there is one', async () => {
    const { helm, calls } = helmWith({}, { chart: '/charts/milvus' });
    await helm.upgrade(upgrade);
    expect(reference(calls)).toBe('/charts/milvus');
    expect(calls.map(({ args }) => args[0])).not.toContain('search');
  });

  test('is not replaced by another version that the setting names', async () => {
    const { helm } = helmWith({ show: () => ok(chartYaml('5.0.19', '2.6.15')) }, { chart: '/charts/milvus' });
    expect((await refusal(helm.upgrade(upgrade))).message).toContain('/charts/milvus is milvus 5.0.19 (Milvus 2.6.15)');
  });

  test('is looked for once', async () => {
    const { helm, calls } = helmWith();
    await helm.dryRun(upgrade);
    await helm.upgrade(upgrade);
    expect(calls.filter(({ args }) => args[0] === 'show')).toHaveLength(1);
  });
});

test('without Helm', async () => {
  const helm = createHelm({
    kubeconfig: [],
    context: 'c',
    run: () => Promise.reject(new ProcessError('missing', 'helm', 'helm was not found.')),
  });
  expect(await refusal(helm.version())).toMatchObject({ reason: 'missing', message: 'helm was not found.' });
});
