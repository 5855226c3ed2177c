/** Helm 3 and Helm 4 as the product runs them, on releases with values of their own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { parse, parseAllDocuments } from 'yaml';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { serviceAnnotations } from '../../src/core/gke/objects.ts';
import { createObjectSet } from '../../src/core/kube/objectSet.ts';
import { effectiveConfig } from '../../src/core/milvus/effectiveConfig.ts';
import { createHelm, HelmError } from '../../src/core/milvus/helm.ts';
import { closeLayer4Upgrade, cutOverUpgrade } from '../../src/core/milvus/helmValues.ts';
import { findReleases } from '../../src/core/milvus/releases.ts';
import type { KubeObject, MilvusRelease } from '../../src/core/model.ts';
import type { Helm, HelmRelease } from '../../src/core/ports.ts';
import { createRunner } from '../../src/core/process.ts';
import { tool } from '../milvusRelease.ts';
import { sandboxEnvironment } from '../sandboxProcess.ts';
import { runningSandbox } from './setupOnSandbox.ts';

const sandbox = runningSandbox();
const env = sandboxEnvironment(sandbox);
const odd = 'pa55 word: "0777" # é\u2028\u{1F511}';

/** Values whose types and texts are easily lost on the way. No pod has to run for these tests, so no image exists. */
const teamValues = (mode: 'cluster' | 'standalone') => ({
  cluster: { enabled: mode === 'cluster' },
  image: { all: { repository: 'nowhere/milvus', tag: 'v2.4.6' } },
  service: { type: 'LoadBalancer', annotations: { team: 'on', octal: '0777' } },
  proxy: { replicas: 2, extraEnv: [{ name: 'GOGC', value: '1e3' }] },
  standalone: { extraEnv: [{ name: 'GOGC', value: '1e3' }] },
  minio: { enabled: false },
  externalS3: {
    enabled: true,
    host: 'storage.example.com',
    port: '443',
    accessKey: 'yes',
    secretKey: 'topsecret-key',
    useSSL: true,
  },
  extraConfigFiles: {
    'user.yaml':
      '# Owner: search\ncommon:\n  security: # audited\n    authorizationEnabled: true\nquotaAndLimits:\n  limit: 0777 # octal\n',
  },
  unknownToTheChart: { text: odd, float: '1.10', none: null, list: [1, '1', { on: 'off' }] },
});

const helms = { 3: helmOf('helm3'), 4: helmOf('helm4') };

function helmOf(file: string, options: { context?: string; chart?: string } = {}): Helm {
  return createHelm({
    run: createRunner(env),
    file: path.join(sandbox.bin, file),
    kubeconfig: [sandbox.kubeconfig],
    context: options.context ?? sandbox.contexts.admin,
    ...(options.chart === undefined ? {} : { chart: options.chart }),
  });
}

/** Runs a tool with text on its standard input. */
async function feed(file: string, args: readonly string[], stdin: string): Promise<void> {
  const child = spawn(path.join(sandbox.bin, file), args, { env, stdio: ['pipe', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  child.stdin.end(stdin);
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`${file} ${args.join(' ')}: ${stderr}`);
}

async function install(version: 3 | 4, namespace: string, chart: string, values: unknown): Promise<void> {
  const args = [
    'install',
    'my-release',
    'milvus/milvus',
    '--version',
    chart,
    '--namespace',
    namespace,
    '--create-namespace',
  ];
  await feed(`helm${version}`, [...args, '--values', '-'], JSON.stringify(values));
}

async function remove(namespace: string): Promise<void> {
  await tool(env, 'kubectl', ['delete', 'namespace', '--ignore-not-found', '--wait=false', namespace]);
}

async function liveRelease(
  namespace: string,
): Promise<{ release: MilvusRelease; objects: ReturnType<typeof createObjectSet> }> {
  const kinds = 'services,deployments,configmaps';
  const { items } = JSON.parse(await tool(env, 'kubectl', ['-n', namespace, 'get', kinds, '-o', 'json'])) as {
    items: KubeObject[];
  };
  const objects = createObjectSet(items);
  const [release] = findReleases(objects);
  if (!release) throw new Error(`no release in ${namespace}`);
  return { release, objects };
}

async function installed(helm: Helm, namespace: string): Promise<HelmRelease> {
  const release = await helm.release(namespace, 'my-release');
  if (!release) throw new Error(`no release in ${namespace}`);
  return release;
}

/** Applies our annotations as the product does: server-side, as its own field manager. */
async function annotate(
  namespace: string,
  release: MilvusRelease,
  manager = 'milvus-layer7',
  extra?: Record<string, string>,
) {
  const { annotations } = serviceAnnotations(release.service, release.port.name, 'my-release-backendconfig');
  const object = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: release.service.metadata.name, namespace, annotations: extra ?? annotations },
  };
  await feed(
    'kubectl',
    ['apply', '--server-side', '--force-conflicts', '--field-manager', manager, '-f', '-'],
    JSON.stringify(object),
  );
  return annotations;
}

/** The objects of a manifest by kind and name. */
function objectsOf(manifest: string): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const document of parseAllDocuments(manifest)) {
    const object = document.toJS() as KubeObject | null;
    if (object) found.set(`${object.kind} ${object.metadata.name}`, object);
  }
  return found;
}

function changedObjects(before: string, after: string): string[] {
  const [a, b] = [objectsOf(before), objectsOf(after)];
  return [...new Set([...a.keys(), ...b.keys()])]
    .filter((key) => JSON.stringify(a.get(key)) !== JSON.stringify(b.get(key)))
    .sort();
}

async function refusal(attempt: Promise<unknown>): Promise<HelmError> {
  const error = await attempt.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof HelmError)) throw new Error(`no HelmError but ${String(error)}`);
  return error;
}

beforeAll(async () => {
  await tool(env, 'helm', ['repo', 'update']);
});

const combinations = ([3, 4] as const).flatMap((version) =>
  ['4.2.0', '4.2.58', '5.0.19'].flatMap((chart) =>
    (['cluster', 'standalone'] as const).map((mode) => ({ version, chart, mode })),
  ),
);

describe.each(combinations)('Helm $version, chart $chart, $mode', ({ version, chart, mode }) => {
  const helm = helms[version];
  const namespace = `helm${version}-${chart.replaceAll('.', '-')}-${mode}`;
  const server = mode === 'cluster' ? 'proxy' : 'standalone';
  const values = teamValues(mode);

  beforeAll(() => install(version, namespace, chart, values));
  afterAll(() => remove(namespace));

  test('the cut-over keeps all values and changes only what it says', async () => {
    expect(await helm.version()).toMatch(new RegExp(`^${version}\\.`));
    const before = await installed(helm, namespace);
    expect(before).toMatchObject({ revision: 1, status: 'deployed', chartName: 'milvus', chartVersion: chart, values });

    const { release } = await liveRelease(namespace);
    expect(release).toMatchObject({
      installer: 'helm',
      name: 'my-release',
      mode,
      version: '2.4.6',
      port: { name: 'milvus', number: 19530 },
    });
    const annotations = await annotate(namespace, release);
    const upgrade = cutOverUpgrade(before, release, { restart: 'proxies', serviceAnnotations: annotations });
    if (!upgrade) throw new Error('nothing to upgrade');

    const manifest = await helm.manifest(namespace, 'my-release');
    const planned = await helm.dryRun(upgrade);
    expect(planned).not.toMatch(/^kind: Secret$/m);
    expect((await installed(helm, namespace)).revision).toBe(1);
    expect(changedObjects(manifest, planned)).toEqual([
      `Deployment my-release-milvus-${server}`,
      'Service my-release-milvus',
    ]);

    expect(await helm.upgrade(upgrade)).toBe(2);
    const after = await installed(helm, namespace);
    expect(after).toMatchObject({ revision: 2, status: 'deployed', chartVersion: chart });
    const env = [
      { name: 'GOGC', value: '1e3' },
      { name: 'COMMON_SECURITY_TLSMODE', value: '1' },
      { name: 'PROXY_HTTP_PORT', value: '8080' },
    ];
    expect(after.values).toEqual({
      ...values,
      [server]: { ...values[server], extraEnv: env },
      service: { ...values.service, annotations: { ...values.service.annotations, ...annotations } },
    });
    expect(changedObjects(planned, await helm.manifest(namespace, 'my-release'))).toEqual([]);

    const live = await liveRelease(namespace);
    expect(live.release.service.metadata.annotations).toMatchObject({ team: 'on', octal: '0777', ...annotations });
    expect(effectiveConfig(live.objects, live.release)).toMatchObject({
      tlsMode: 1,
      restPort: 8080,
      authorizationEnabled: true,
    });
    expect(
      cutOverUpgrade(after, live.release, { restart: 'proxies', serviceAnnotations: annotations }),
    ).toBeUndefined();
  });

  test('Layer 4 closes without a restart', async () => {
    const { release } = await liveRelease(namespace);
    const before = await installed(helm, namespace);
    const upgrade = closeLayer4Upgrade(before, release);
    if (!upgrade) throw new Error('nothing to upgrade');
    const manifest = await helm.manifest(namespace, 'my-release');
    expect(await helm.upgrade(upgrade)).toBe(before.revision + 1);
    expect(changedObjects(manifest, await helm.manifest(namespace, 'my-release'))).toEqual([
      'Service my-release-milvus',
    ]);
    const live = await liveRelease(namespace);
    expect(live.release.service.spec).toMatchObject({ type: 'ClusterIP' });
    expect(closeLayer4Upgrade(await installed(helm, namespace), live.release)).toBeUndefined();
  });
});

describe.each([3, 4] as const)('Helm %i', (version) => {
  const helm = helms[version];
  const namespace = `helm${version}-release`;
  const values = teamValues('cluster');

  beforeAll(() => install(version, namespace, '4.2.58', values));
  afterAll(() => remove(namespace));

  test('the whole release can get its configuration by user.yaml', async () => {
    const { release } = await liveRelease(namespace);
    const upgrade = cutOverUpgrade(await installed(helm, namespace), release, {
      restart: 'release',
      serviceAnnotations: {},
    });
    if (!upgrade) throw new Error('nothing to upgrade');
    const manifest = await helm.manifest(namespace, 'my-release');
    await helm.upgrade(upgrade);
    const changed = changedObjects(manifest, await helm.manifest(namespace, 'my-release'));
    expect(changed[0]).toBe('ConfigMap my-release-milvus');
    expect(changed.slice(1).every((name) => name.startsWith('Deployment my-release-milvus-'))).toBe(true);
    expect(changed.length).toBeGreaterThan(3);

    const live = await liveRelease(namespace);
    expect(effectiveConfig(live.objects, live.release)).toMatchObject({
      tlsMode: 1,
      restPort: 8080,
      authorizationEnabled: true,
      source: { 'common.security.tlsMode': 'ConfigMap my-release-milvus, user.yaml' },
    });
    expect((await installed(helm, namespace)).values).toEqual({
      ...values,
      extraConfigFiles: (parse(upgrade.values) as Record<string, unknown>).extraConfigFiles,
    });
  });

  test('unknown releases, missing rights, unreachable clusters', async () => {
    expect(await helm.release('default', 'nobody')).toBeUndefined();
    const reader = helmOf(`helm${version}`, { context: sandbox.contexts.reader });
    expect((await refusal(reader.release(namespace, 'my-release'))).reason).toBe('forbidden');
    const unreachable = helmOf(`helm${version}`, { context: sandbox.contexts.unreachable });
    expect((await refusal(unreachable.release(namespace, 'my-release'))).reason).toBe('unreachable');
    const absent = helmOf(`helm${version}`, { context: 'no such context' });
    expect((await refusal(absent.release(namespace, 'my-release'))).reason).toBe('unreachable');
  });

  test('a chart from the setting is used only when it is the installed one', async () => {
    const { release } = await liveRelease(namespace);
    const before = await installed(helm, namespace);
    const upgrade = cutOverUpgrade(before, release, { restart: 'release', serviceAnnotations: { chart: 'setting' } });
    if (!upgrade) throw new Error('nothing to upgrade');
    const archive = (chart: string): Helm =>
      helmOf(`helm${version}`, { chart: `${sandbox.chart.repository}/milvus-${chart}.tgz` });
    const error = await refusal(archive('5.0.19').upgrade(upgrade));
    expect(error.reason).toBe('chart');
    expect(error.message).toContain('milvus 5.0.19');
    expect((await refusal(helmOf(`helm${version}`, { chart: '/no/such/chart' }).upgrade(upgrade))).reason).toBe(
      'chart',
    );
    expect(await archive('4.2.58').upgrade(upgrade)).toBeGreaterThan(before.revision);
  });

  test('no value of the release in what is said when the chart fails', async () => {
    const { release } = await liveRelease(namespace);
    const upgrade = closeLayer4Upgrade(await installed(helm, namespace), release);
    if (!upgrade) throw new Error('nothing to upgrade');
    const broken = {
      ...upgrade,
      values: JSON.stringify({ ...values, service: { type: { is: 'topsecret-value' } }, proxy: 'topsecret-value' }),
    };
    const { message } = await refusal(helm.dryRun(broken));
    expect(message).toContain('Helm cannot try the upgrade of my-release.');
    expect(message).not.toContain('topsecret');
  });

  // Helm 3 patches over what others own; Helm 4 applies server-side.
  test('a Service that someone else annotated otherwise', async () => {
    const { release } = await liveRelease(namespace);
    await annotate(namespace, release, 'someone', { team: 'theirs' });
    const before = await installed(helm, namespace);
    const upgrade = cutOverUpgrade(before, release, { restart: 'release', serviceAnnotations: { team: 'ours' } });
    if (!upgrade) throw new Error('nothing to upgrade');
    if (version === 3) {
      await helm.upgrade(upgrade);
      return;
    }
    const error = await refusal(helm.upgrade(upgrade));
    expect(error.reason).toBe('conflict');
    expect(error.message).toContain('"someone"');
  });

  test('a pending release is told and left alone', async () => {
    const { release } = await liveRelease(namespace);
    const before = await installed(helm, namespace);
    await setStatus(namespace, before.revision, 'pending-upgrade');
    try {
      expect((await installed(helm, namespace)).status).toBe('pending-upgrade');
      const upgrade = closeLayer4Upgrade(before, release);
      if (!upgrade) throw new Error('nothing to upgrade');
      expect((await refusal(helm.upgrade(upgrade))).reason).toBe('pending');
    } finally {
      await setStatus(namespace, before.revision, before.status);
    }
  });
});

/** Rewrites the status in Helm's record of a revision, a Secret: its label, and base64 of base64 of gzip of JSON. */
async function setStatus(namespace: string, revision: number, status: string): Promise<void> {
  const secret = ['-n', namespace, 'secret', `sh.helm.release.v1.my-release.v${revision}`];
  const { data } = JSON.parse(await tool(env, 'kubectl', ['get', ...secret, '-o', 'json'])) as {
    data: { release: string };
  };
  const decode = (text: string): Buffer => Buffer.from(text, 'base64');
  const record = JSON.parse(gunzipSync(decode(decode(data.release).toString())).toString()) as {
    info: { status: string };
  };
  record.info.status = status;
  const release = Buffer.from(gzipSync(JSON.stringify(record)).toString('base64')).toString('base64');
  const patch = JSON.stringify({ metadata: { labels: { status } }, data: { release } });
  await tool(env, 'kubectl', ['patch', ...secret, '--type=merge', '-p', patch]);
}
