/** The Kubernetes layer on a real API server: credentials, server-side apply, watches, port-forward, access reviews. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, connect as connectSocket, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fields } from '../../src/core/fields.ts';
import { connect, type ConnectedCluster } from '../../src/core/kube/connect.ts';
import { explainKubeError, KubeError } from '../../src/core/kube/errors.ts';
import { loadKubeconfig } from '../../src/core/kube/kubeconfig.ts';
import { watchNamespace, type NamespaceObjects } from '../../src/core/kube/liveObjects.ts';
import type { KubeObject } from '../../src/core/model.ts';
import { systemClock } from '../../src/core/systemClock.ts';
import { control, eventually, tool } from '../milvusRelease.ts';
import { sandboxEnvironment } from '../sandboxProcess.ts';
import { MemoryLog, runningSandbox } from './setupOnSandbox.ts';

const ready = runningSandbox();
const env = sandboxEnvironment(ready);
const namespace = 'kube-layer';
const log = new MemoryLog();
const open: ConnectedCluster[] = [];
let admin: ConnectedCluster;

async function connected(context: string, more: { env?: NodeJS.ProcessEnv } = {}): Promise<ConnectedCluster> {
  const read = (file: string) => readFile(file, 'utf8');
  const kubeconfig = await loadKubeconfig([ready.kubeconfig], read);
  expect(kubeconfig.problems).toEqual([]);
  const cluster = await connect(kubeconfig, context, { clock: systemClock, log, env, readFile: read, ...more });
  open.push(cluster);
  return cluster;
}

async function failure(promise: Promise<unknown>): Promise<KubeError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(KubeError);
  return error as KubeError;
}

const backendConfig = (name: string, spec: object, metadata: object = {}): KubeObject => ({
  apiVersion: 'cloud.google.com/v1',
  kind: 'BackendConfig',
  metadata: { name, namespace, ...metadata },
  spec,
});
const configMap = (name: string, data: Record<string, string>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace },
  data,
});

beforeAll(async () => {
  admin = await connected(ready.contexts.admin);
  await admin.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
});
afterAll(async () => {
  await control(ready.control, 'PUT', '/token', { lifetimeSeconds: 60 });
  await admin.delete({ apiVersion: 'v1', kind: 'Namespace', name: namespace });
  for (const cluster of open) cluster.dispose();
  expect(log.lines.join('\n')).not.toMatch(/Bearer|PRIVATE KEY|ya29/);
});

describe('credentials', () => {
  it('logs in again when tokens expire while it works', async () => {
    await control(ready.control, 'PUT', '/token', { lifetimeSeconds: 1 });
    const cluster = await connected(ready.contexts.admin);
    const before = (await control(ready.control, 'GET', '/token')) as { issued: number };
    const until = Date.now() + 3500;
    while (Date.now() < until) {
      expect(await cluster.get({ apiVersion: 'v1', kind: 'Namespace', name: namespace })).toBeDefined();
      await systemClock.sleep(100);
    }
    const after = (await control(ready.control, 'GET', '/token')) as { issued: number };
    expect(after.issued - before.issued).toBeGreaterThanOrEqual(3);
    await control(ready.control, 'PUT', '/token', { lifetimeSeconds: 60 });
  });

  it('names the plugin and how to install it when it is not on the PATH', async () => {
    const cluster = await connected(ready.contexts.admin, { env: { PATH: '/nowhere' } });
    expect(explainKubeError(await failure(cluster.list({ apiVersion: 'v1', kind: 'Namespace' })), 'Connecting')).toBe(
      'Connecting failed: the exec plugin gke-gcloud-auth-plugin was not found on the PATH that VS Code sees. Install gke-gcloud-auth-plugin for use with kubectl by following\n  https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl#install_plugin.',
    );
  });

  it('says that nothing answers at the address of a cluster that is gone', async () => {
    const cluster = await connected(ready.contexts.unreachable);
    expect(explainKubeError(await failure(cluster.list({ apiVersion: 'v1', kind: 'Pod' })), 'Connecting')).toBe(
      `Connecting failed: nothing answers at ${cluster.server} (connection refused). Check that the cluster runs and that the kubeconfig holds its present address.`,
    );
  });
});

describe('permissions', () => {
  it('asks for access, and tells who may not do what', async () => {
    const reader = await connected(ready.contexts.reader);
    const services = { group: '', resource: 'services', namespace };
    expect(await reader.can({ ...services, verb: 'list' })).toBe(true);
    expect(await reader.can({ ...services, verb: 'patch' })).toBe(false);
    expect(await reader.can({ group: '', resource: 'secrets', namespace, verb: 'list' })).toBe(false);
    expect(await admin.can({ ...services, verb: 'patch' })).toBe(true);

    const applying = failure(reader.apply(backendConfig('forbidden', { timeoutSec: 5 })));
    expect(explainKubeError(await applying, 'Applying BackendConfig forbidden')).toMatch(
      /^Applying BackendConfig forbidden failed: \S+ may not patch backendconfigs\.cloud\.google\.com in namespace kube-layer\. Ask an administrator of the cluster for a role that allows it\.$/,
    );
    const reading = failure(reader.get({ apiVersion: 'v1', kind: 'Secret', namespace, name: 'x' }));
    expect(explainKubeError(await reading, 'Reading')).toMatch(/may not get secrets in namespace kube-layer\./);
    expect((await failure(reader.portForward(namespace, 'none', 80))).status).toBe(404);
  });
});

describe('server-side apply', () => {
  it('creates, changes, changes nothing in a dry run, and deletes', async () => {
    const ref = { apiVersion: 'cloud.google.com/v1', kind: 'BackendConfig', namespace, name: 'bc' };
    const dry = await admin.apply(backendConfig('bc', { timeoutSec: 30 }), { dryRun: true });
    expect(dry.created).toBe(true);
    expect(await admin.get(ref)).toBeUndefined();
    expect((await admin.apply(backendConfig('bc', { timeoutSec: 30 }))).created).toBe(true);
    const changed = await admin.apply(backendConfig('bc', { timeoutSec: 60 }));
    expect(changed.created).toBe(false);
    expect(changed.object.metadata.managedFields).toEqual([
      expect.objectContaining({ manager: 'milvus-layer7', operation: 'Apply' }),
    ]);
    // What was read may be applied as it is: managedFields are left out.
    const { object: again } = await admin.apply(changed.object, { dryRun: true });
    expect(again.metadata.resourceVersion).toBe(changed.object.metadata.resourceVersion);
    expect((await admin.get(ref))?.spec).toEqual({ timeoutSec: 60 });
    await admin.delete(ref);
    await admin.delete(ref);
    expect(await admin.get(ref)).toBeUndefined();
  });

  it('refuses a field that the kind does not have', async () => {
    const error = await failure(admin.apply(backendConfig('typo', { timeoutSecc: 5 }), { dryRun: true }));
    expect(explainKubeError(error, 'Applying')).toMatch(
      /^Applying failed: the API server rejects BackendConfig kube-layer\/typo: .*\.spec\.timeoutSecc: field not declared in schema\.$/s,
    );
    const invalid = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'ports', namespace }, spec: { ports: [] } };
    expect((await failure(admin.apply(invalid, { dryRun: true }))).status).toBe(422);
  });

  it('names the other manager, and takes its field over when told to', async () => {
    const owned = configMap('owned', { shared: 'theirs', other: 'theirs' });
    const file = path.join(path.dirname(ready.kubeconfig), 'kube-layer-owned.json');
    await writeFile(file, JSON.stringify(owned));
    await tool(env, 'kubectl', ['apply', '--server-side', '--field-manager', 'their-tool', '-f', file]);
    await rm(file);
    const ours = configMap('owned', { shared: 'ours' });
    const error = await failure(admin.apply(ours));
    expect(error.conflicts).toEqual([{ manager: 'their-tool', apiVersion: '', field: '.data.shared' }]);
    expect(explainKubeError(error, 'Applying')).toBe(
      'Applying failed: other tools own fields of ConfigMap kube-layer/owned that have to change: their-tool owns .data.shared. Change them there, or take them over.',
    );
    const { object } = await admin.apply(ours, { force: true });
    expect(object.data).toEqual({ shared: 'ours', other: 'theirs' });
  });

  it('tells an object that was changed in the meantime, and a namespace that is not there', async () => {
    const { object } = await admin.apply(configMap('stale', { a: '1' }));
    await admin.apply(configMap('stale', { a: '2' }));
    const stale = { ...object, data: { a: '3' } };
    expect(explainKubeError(await failure(admin.apply(stale)), 'Applying')).toBe(
      'Applying failed: ConfigMap kube-layer/stale was changed by somebody else in the meantime. Refresh and try again.',
    );
    const nowhere = configMap('x', {});
    nowhere.metadata.namespace = 'not-there';
    expect(explainKubeError(await failure(admin.apply(nowhere)), 'Applying')).toBe(
      'Applying failed: there is no namespace not-there in this cluster. Create it or choose another one.',
    );
  });

  it('passes on the warnings of admission', async () => {
    const data = {
      'tls.crt': Buffer.from('no PEM').toString('base64'),
      'tls.key': Buffer.from('no key').toString('base64'),
    };
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/tls',
      metadata: { name: 's', namespace },
      data,
    };
    const { warnings } = await admin.apply(secret, { dryRun: true });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/tls: failed to find any PEM data/);
  });

  it('finds a kind that is not built in by discovery', async () => {
    const crd = await admin.get({
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      name: 'backendconfigs.cloud.google.com',
    });
    expect(crd?.metadata.name).toBe('backendconfigs.cloud.google.com');
    const roles = await admin.list({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole' });
    expect(roles.find((role) => role.metadata.name === 'cluster-admin')?.kind).toBe('ClusterRole');
    expect(await admin.get({ apiVersion: 'not.there/v1', kind: 'Ox', name: 'x' })).toBeUndefined();
  });
});

describe('watches', () => {
  let live: NamespaceObjects | undefined;
  afterEach(() => {
    live?.dispose();
    live = undefined;
  });

  it('see what happens, in lists of several pages and after them', async () => {
    const names = Array.from({ length: 520 }, (_, n) => `page-${n}`);
    for (let from = 0; from < names.length; from += 40)
      await Promise.all(names.slice(from, from + 40).map((name) => admin.apply(configMap(name, {}))));
    const watched = watchNamespace(admin, namespace, { clock: systemClock });
    live = watched;
    await watched.ready;
    expect(watched.interruption).toBeUndefined();
    expect([...watched.objects.unreadable]).toEqual([['Milvus', expect.objectContaining({ reason: 'unknown' })]]);
    const pages = watched.objects.list('ConfigMap').filter(({ metadata }) => metadata.name.startsWith('page-'));
    expect(pages).toHaveLength(520);
    expect(pages[0]).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap' });

    await admin.apply(backendConfig('seen', { timeoutSec: 1 }));
    await admin.apply(configMap('page-0', { 'user.yaml': 'changed: true' }));
    await admin.delete({ apiVersion: 'v1', kind: 'ConfigMap', namespace, name: 'page-1' });
    await eventually('the changes', 5000, () =>
      Promise.resolve(
        watched.objects.get('BackendConfig', namespace, 'seen') !== undefined &&
          watched.objects.get('ConfigMap', namespace, 'page-1') === undefined &&
          fields(watched.objects.get('ConfigMap', namespace, 'page-0')?.data)['user.yaml'] === 'changed: true'
          ? true
          : undefined,
      ),
    );
  });

  it('go on when tokens expire', async () => {
    await control(ready.control, 'PUT', '/token', { lifetimeSeconds: 1 });
    const cluster = await connected(ready.contexts.admin);
    const watched = watchNamespace(cluster, namespace, { clock: systemClock });
    live = watched;
    await watched.ready;
    await systemClock.sleep(1500);
    await cluster.apply(backendConfig('after-expiry', { timeoutSec: 1 }));
    await eventually('the new object', 5000, () =>
      Promise.resolve(watched.objects.get('BackendConfig', namespace, 'after-expiry')),
    );
    await control(ready.control, 'PUT', '/token', { lifetimeSeconds: 60 });
  });

  it('tell what a reader may not see, and hold only the certificate of a Secret', async () => {
    const data = {
      'tls.crt': Buffer.from('CERT').toString('base64'),
      'tls.key': Buffer.from('KEY').toString('base64'),
    };
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/tls',
      metadata: { name: 'tls', namespace },
      data,
    };
    await admin.apply(secret);
    const watched = watchNamespace(admin, namespace, { clock: systemClock });
    live = watched;
    await watched.watchSecret('tls').ready;
    expect(watched.objects.get('Secret', namespace, 'tls')?.data).toEqual({
      'tls.crt': data['tls.crt'],
      'tls.key': '',
    });
    watched.dispose();

    const reading = watchNamespace(await connected(ready.contexts.reader), namespace, { clock: systemClock });
    live = reading;
    await reading.ready;
    await reading.watchSecret('tls').ready;
    expect(reading.objects.unreadable.get('Secret')?.reason).toBe('forbidden');
    expect(reading.objects.list('Secret')).toEqual([]);
    expect(reading.objects.unreadable.has('Service')).toBe(false);
  });
});

describe('pods', () => {
  it('reads logs and forwards a port, also for many connections at once', async () => {
    const port = await freePort();
    const script = [
      'import http.server,sys',
      'class H(http.server.BaseHTTPRequestHandler):',
      '  def do_GET(self):',
      '    self.send_response(200); self.end_headers(); self.wfile.write(b"hello " + self.path.encode())',
      'print("started", flush=True)',
      `http.server.ThreadingHTTPServer(("0.0.0.0", ${port}), H).serve_forever()`,
    ].join('\n');
    const container = { name: 'web', image: 'sandbox/exec', command: ['python3', '-c', script] };
    await admin.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web', namespace },
      spec: { containers: [container], terminationGracePeriodSeconds: 1 },
    });
    await eventually('the log of the pod', 30_000, async () => {
      const text = await admin.podLog(namespace, 'web', { container: 'web', tailLines: 1 }).catch(() => '');
      return text === 'started\n' ? true : undefined;
    });

    const forward = await admin.portForward(namespace, 'web', port);
    const get = async (what: string) => (await fetch(`http://127.0.0.1:${forward.port}/${what}`)).text();
    await eventually('an answer', 10_000, () => get('first').catch(() => undefined));
    const all = await Promise.all(Array.from({ length: 20 }, (_, n) => get(String(n))));
    expect(all).toEqual(Array.from({ length: 20 }, (_, n) => `hello /${n}`));
    forward.dispose();
    expect(await refused(forward.port)).toBe(true);

    // A reset by the client, and the end of the whole connection.
    const again = await admin.portForward(namespace, 'web', port);
    const reset = connectSocket(again.port, '127.0.0.1');
    await once(reset, 'connect');
    reset.resetAndDestroy();
    expect(await (await fetch(`http://127.0.0.1:${again.port}/after`)).text()).toBe('hello /after');
    const other = await connected(ready.contexts.admin);
    const cut = await other.portForward(namespace, 'web', port);
    const waiting = connectSocket(cut.port, '127.0.0.1');
    await once(waiting, 'connect');
    other.dispose();
    await once(waiting, 'close');
    again.dispose();

    const closed = await admin.portForward(namespace, 'web', await freePort());
    await expect(fetch(`http://127.0.0.1:${closed.port}/`)).rejects.toThrow();
    expect(log.lines.some((line) => line.startsWith('port-forward kube-layer/web:') && line.includes('refused'))).toBe(
      true,
    );
    closed.dispose();
    expect((await failure(admin.portForward(namespace, 'gone', port))).status).toBe(404);
    await admin.delete({ apiVersion: 'v1', kind: 'Pod', namespace, name: 'web' });
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function refused(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectSocket(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.on('error', () => {
      resolve(true);
    });
  });
}
