/** The whole setup on real controllers, headless: interrupted before and after every write, and each way to a certificate. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Intent } from '../../src/core/model.ts';
import type { Cluster } from '../../src/core/ports.ts';
import { plan } from '../../src/core/loadbalancer/plan.ts';
import {
  findRelease,
  gatherFacts,
  readTlsSecret,
  runSetup,
  type ReleaseRef,
  type SetupDeps,
  type SetupEvent,
  type SetupResult,
} from '../../src/core/loadbalancer/setup.ts';
import { control, eventually, installRelease, python, tool, userValues, type Release } from '../milvusRelease.ts';
import { repository } from '../paths.ts';
import { runningSandbox, setupOnSandbox, type SetupOnSandbox } from './setupOnSandbox.ts';

const ready = runningSandbox();

/** Thrown in place of a write or right after it, as if the process had been killed there. */
class Killed extends Error {
  override readonly name = 'Killed';
  override readonly message = 'killed here';
}

/** Counts the writes and dies at one of them. */
function dyingAt(deps: SetupDeps, where: { write: number; when: 'before' | 'after' } | undefined): SetupDeps {
  let writes = 0;
  const write = async <T>(doIt: () => Promise<T>): Promise<T> => {
    writes += 1;
    if (where?.write === writes && where.when === 'before') throw new Killed();
    const result = await doIt();
    if (where?.write === writes && where.when === 'after') throw new Killed();
    return result;
  };
  const { cluster, helm, gcloud } = deps;
  return {
    ...deps,
    cluster: withApply(cluster, (...args) =>
      args[1]?.dryRun === true ? cluster.apply(...args) : write(() => cluster.apply(...args)),
    ),
    helm: { ...helm, upgrade: (...args: Parameters<typeof helm.upgrade>) => write(() => helm.upgrade(...args)) },
    gcloud: {
      ...gcloud,
      reserveAddress: (...args: Parameters<typeof gcloud.reserveAddress>) =>
        write(() => gcloud.reserveAddress(...args)),
    },
  };
}

/** The same cluster with another `apply`. */
function withApply(cluster: Cluster, apply: Cluster['apply']): Cluster {
  return new Proxy(cluster, {
    get: (target, name) => {
      if (name === 'apply') return apply;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** Runs a setup that dies before its first write, then one that dies after it, and so on, until one comes to its end. */
async function killedEverywhere(
  deps: SetupDeps,
  target: ReleaseRef,
  intent: Intent,
  onEvent: (event: SetupEvent) => void = () => undefined,
): Promise<{ positions: string[]; result: SetupResult }> {
  const positions: string[] = [];
  for (;;) {
    let step = '?';
    const when = positions.length % 2 === 0 ? 'before' : 'after';
    const result = await runSetup(dyingAt(deps, { write: 1, when }), target, intent, {
      onEvent: (event) => {
        if (event.kind === 'step') step = event.step.id;
        onEvent(event);
      },
    });
    if (result.outcome === 'proven') return { positions, result };
    expect(result).toMatchObject({ outcome: 'failed', message: expect.stringContaining('killed here') as string });
    positions.push(`${when} ${step}`);
    expect(positions.length).toBeLessThan(40);
  }
}

const aroundEach = (...steps: string[]): string[] => steps.flatMap((step) => [`before ${step}`, `after ${step}`]);

/** What a setup still has to do; empty when it is finished. */
async function remaining(deps: SetupDeps, target: ReleaseRef, intent: Intent): Promise<string[]> {
  const release = findRelease(deps.live.objects, target);
  if (!release) throw new Error(`no release ${target.release}`);
  const facts = await gatherFacts(deps, deps.live.objects, release, { intent });
  return plan(deps.live.objects, { ...facts, intent }).steps.map((step) => step.id);
}

/** Entities that a client of each language counts through the load balancer. */
async function readByEveryClient(
  env: NodeJS.ProcessEnv,
  address: string,
  host: string,
  ca: string,
  collection: string,
) {
  const args = ['--address', `${address}:443`, '--server-name', host, '--ca', ca, '--collection', collection];
  const clients = path.join(repository, 'test/clients');
  const [go, py, node] = await Promise.all([
    tool(env, path.join(repository, '.cache/bin/read-go'), args),
    tool(env, python, [path.join(clients, 'python/read.py'), ...args]),
    tool(env, process.execPath, [path.join(clients, 'node/read.mjs'), ...args]),
  ]);
  return { go: Number(go), python: Number(py), node: Number(node) };
}

const values = `# Our Milvus. Keep the comments.
cluster:
  enabled: true
proxy:
  replicas: 2
  extraEnv:
    - name: GOMAXPROCS
      value: "2"
service:
  type: LoadBalancer
extraConfigFiles:
  user.yaml: |
    # tuned by hand
    proxy:
      maxTaskNum: 2048
`;

describe('a setup that is killed before and after every write', () => {
  const host = 'killed.milvus.example';
  const target: ReleaseRef = { namespace: 'killed', release: 'my-release' };
  const intent: Intent = {
    host,
    certificate: { kind: 'generate', keyType: 'ecdsa-p256' },
    address: { kind: 'reserve', name: 'killed-ip' },
    restart: 'proxies',
    closeLayer4: true,
  };
  let on: SetupOnSandbox;
  let release: Release;
  let before: Record<string, unknown>;

  beforeAll(async () => {
    on = await setupOnSandbox(ready, target.namespace);
    release = await installRelease(on.env, {
      name: target.release,
      namespace: target.namespace,
      chartVersion: '4.2.58',
      values,
    });
    before = (await userValues(on.env, release)) as Record<string, unknown>;
  });
  afterAll(async () => {
    await tool(on.env, 'kubectl', ['delete', 'namespace', target.namespace, '--wait=false']);
    on.dispose();
  });

  it('ends proven, with every position killed once', async () => {
    const { positions } = await killedEverywhere(on.deps, target, intent);
    expect(positions).toEqual(
      aroundEach(
        ...['address', 'backendConfig', 'service', 'certificate', 'ingress', 'cutOver', 'prove', 'closeLayer4'],
      ),
    );
  }, 400_000);

  it('plans nothing once it is finished', async () => {
    expect(
      await eventually('an empty plan', 30_000, async () => {
        const steps = await remaining(on.deps, target, intent);
        return steps.length === 0 ? steps : undefined;
      }),
    ).toEqual([]);
  });

  it('changed of the values only what the plan named', async () => {
    const after = (await userValues(on.env, release)) as Record<string, Record<string, unknown>>;
    const { proxy, service, ...rest } = after;
    const { proxy: proxyBefore, service: _service, ...restBefore } = before;
    expect(rest).toEqual(restBefore);
    expect(proxy).toMatchObject({ replicas: 2 });
    expect(proxy?.extraEnv).toEqual([
      ...(proxyBefore as { extraEnv: unknown[] }).extraEnv,
      { name: 'COMMON_SECURITY_TLSMODE', value: '1' },
      { name: 'PROXY_HTTP_PORT', value: '8080' },
    ]);
    expect(service).toMatchObject({ type: 'ClusterIP' });
    expect(Object.keys(service?.annotations ?? {}).sort()).toEqual([
      'cloud.google.com/app-protocols',
      'cloud.google.com/backend-config',
      'cloud.google.com/neg',
    ]);
  });

  it('lets a Go, a Python and a Node client read what was written before', async () => {
    const secret = await readTlsSecret(on.deps.cluster, target.namespace, 'my-release-milvus-tls');
    const ingress = on.deps.live.objects.get('Ingress', target.namespace, 'my-release-milvus');
    const address =
      (ingress?.status as { loadBalancer: { ingress: { ip: string }[] } }).loadBalancer.ingress[0]?.ip ?? '';
    const { mkdtemp, rm, writeFile } = await import('node:fs/promises');
    const folder = await mkdtemp(path.join((await import('node:os')).tmpdir(), 'ca-'));
    try {
      const ca = path.join(folder, 'ca.crt');
      await writeFile(ca, secret.ca ?? '');
      expect(await readByEveryClient(on.env, address, host, ca, release.collection)).toEqual({
        go: release.entities,
        python: release.entities,
        node: release.entities,
      });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('logs nothing of the private key', async () => {
    const key = await tool(on.env, 'kubectl', [
      ...['-n', target.namespace, 'get', 'secret', 'my-release-milvus-tls', '-o', 'jsonpath={.data.tls\\.key}'],
    ]);
    expect(key.length).toBeGreaterThan(100);
    const body = Buffer.from(key, 'base64').toString('utf8').split('\n')[1] ?? '';
    expect(on.log.lines.join('\n')).not.toContain(key.slice(0, 40));
    expect(on.log.lines.join('\n')).not.toContain(body);
    expect(on.log.lines.length).toBeGreaterThan(3);
  });
});

describe('a Google-managed certificate and a TLS policy, killed before and after every write', () => {
  const host = 'managed.milvus.example';
  const target: ReleaseRef = { namespace: 'managed', release: 'vectors' };
  const intent: Intent = {
    host,
    certificate: { kind: 'managed' },
    address: { kind: 'reserve', name: 'managed-ip' },
    restart: 'release',
    closeLayer4: false,
    sslPolicy: 'modern',
  };
  let on: SetupOnSandbox;
  let release: Release;

  beforeAll(async () => {
    on = await setupOnSandbox(ready, target.namespace);
    await tool(on.env, 'gcloud', [
      ...['compute', 'ssl-policies', 'create', 'modern', '--profile=MODERN', '--min-tls-version=1.2', '--global'],
    ]);
    release = await installRelease(on.env, {
      name: target.release,
      namespace: target.namespace,
      chartVersion: '5.0.19',
      values: 'cluster:\n  enabled: false\nservice:\n  type: LoadBalancer\n',
    });
  });
  afterAll(async () => {
    await control(ready.control, 'DELETE', `/dns/${host}`);
    await tool(on.env, 'kubectl', ['delete', 'namespace', target.namespace, '--wait=false']);
    on.dispose();
  });

  it('waits for DNS, becomes Active once the record is made, and is proven', async () => {
    const seen: string[] = [];
    const { positions, result } = await killedEverywhere(on.deps, target, intent, (event) => {
      if (event.kind !== 'status') return;
      const dns = event.status.stages.find((stage) => stage.id === 'dns');
      const certificate = event.status.stages.find((stage) => stage.id === 'certificate');
      seen.push(`${dns?.state ?? ''} ${certificate?.evidence ?? ''}`);
      // What a person does at the DNS provider once the panel names the record.
      if (dns?.waitsFor?.includes(event.status.address ?? '?') === true)
        void control(ready.control, 'PUT', `/dns/${host}`, { A: [event.status.address] });
    });
    expect(positions).toEqual(
      aroundEach(
        ...[
          'address',
          'backendConfig',
          'service',
          'managedCertificate',
          'frontendConfig',
          'ingress',
          'cutOver',
          'prove',
        ],
      ),
    );
    expect(result).toMatchObject({ outcome: 'proven' });
    const again = await on.deps.prober({ host, port: 443, readEntities: true, deadlineMs: 20_000 }, () => undefined);
    expect(again).toMatchObject({
      passed: true,
      milvusVersion: '2.6.15',
      entities: { count: release.entities },
    });
    expect(seen.join('\n')).toContain('Provisioning');
  }, 300_000);
});
