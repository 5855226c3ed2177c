/**
 * The commands of Milvus' own guide (milvus-io/milvus-docs, site/en/adminGuide/gcp_layer7.md of v2.4.x), run literally.
 * They show that the sandbox behaves as the sources say, and what the product must do better.
 */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Guide, guideHost } from '../guide.ts';
import {
  control,
  eventually,
  ingressAddress,
  installRelease,
  python,
  tool,
  userValues,
  type Release,
} from '../milvusRelease.ts';
import { cacheBin, repository } from '../paths.ts';
import { sandboxEnvironment } from '../sandboxProcess.ts';
import { runningSandbox } from './setupOnSandbox.ts';

const ready = runningSandbox();
const env = sandboxEnvironment(ready);

const client = (address: string, ca: string, collection: string): string[] => [
  ...['--address', `${address}:443`, '--server-name', guideHost, '--ca', ca, '--collection', collection],
];
const readWithPython = (args: string[]): Promise<string> =>
  tool(env, python, [path.join(repository, 'test/clients/python/read.py'), ...args], 60_000);
const readWithGo = (args: string[]): Promise<string> => tool(env, path.join(cacheBin, 'read-go'), args, 60_000);

/** Whether a pod of the proxies has crashed; its log of the last run. */
async function crashLog(guide: Guide): Promise<string> {
  return await eventually('a proxy that crashed', 90_000, async () => {
    const pods = JSON.parse(await guide.kubectl('get', 'pods', '-l', 'component=proxy', '-o', 'json')) as {
      items: { metadata: { name: string }; status: { containerStatuses?: { restartCount: number }[] } }[];
    };
    const crashed = pods.items.find((pod) => pod.status.containerStatuses?.some((status) => status.restartCount > 0));
    return crashed ? await guide.kubectl('logs', crashed.metadata.name, '--previous') : undefined;
  });
}

describe('the guide on a release with values of its own', () => {
  const guide = new Guide(env, 'guide');
  let release: Release;

  beforeAll(async () => {
    release = await installRelease(env, {
      name: 'my-release',
      namespace: guide.namespace,
      chartVersion: '4.2.58',
      values: `cluster:
  enabled: true
service:
  type: LoadBalancer
minio:
  enabled: false
externalS3:
  enabled: true
  host: storage.example
  port: 443
  bucketName: our-vectors
`,
    });
  });
  afterAll(() => guide.end());

  it('resets the values, moves to another chart and loses the entities (first upgrade)', async () => {
    await guide.closeLayer4();
    expect(await userValues(env, release)).toEqual({ service: { type: 'ClusterIP' } });
    const list = JSON.parse(await tool(env, 'helm', ['list', '-n', guide.namespace, '-o', 'json'])) as {
      chart: string;
    }[];
    expect(list[0]?.chart).toBe('milvus-5.0.19');
    await guide.kubectl('rollout', 'status', 'deployment/my-release-milvus-proxy', '--timeout=120s');
    const config = await guide.kubectl(
      'get',
      'configmap',
      'my-release-milvus',
      '-o',
      'jsonpath={.data.default\\.yaml}',
    );
    expect(config).not.toContain('our-vectors');
    const ip = await guide.kubectl('get', 'pods', '-l', 'component=proxy', '-o', 'jsonpath={.items[0].status.podIP}');
    // What listens on a pod's address listens on loopback here; see test/sandbox/README.md.
    const args = ['--address', `${ip.replace(/^10\./, '127.')}:19530`, '--collection', release.collection];
    await expect(readWithPython(args)).rejects.toThrow(/not found|not exist/i);
  }, 200_000);

  it('stops the proxies of every Milvus since 2.4.13 (second upgrade)', async () => {
    await guide.turnTlsOn();
    expect(await crashLog(guide)).toContain('share the same port, tls mode must be 0');
  }, 200_000);

  it('waits in vain for the managed certificate before there is an Ingress', async () => {
    await guide.applyManagedCertificate();
    const state = (): Promise<string> =>
      guide.kubectl('get', 'managedcertificate', 'my-release-milvus-tls', '-o', 'jsonpath={.status.certificateStatus}');
    await eventually('a certificate in Provisioning', 60_000, async () =>
      (await state()) === 'Provisioning' ? true : undefined,
    );
    // The same certificate becomes Active within seconds here once it is attached; see the setup's own test.
    const until = Date.now() + 15_000;
    while (Date.now() < until) expect(await state()).toBe('Provisioning');
  }, 120_000);
});

describe('the guide with Milvus 2.4.6, where it works', () => {
  const guide = new Guide(env, 'guide-works');
  let release: Release;
  let certificate = '';
  let address = '';

  beforeAll(async () => {
    release = await installRelease(env, {
      name: 'my-release',
      namespace: guide.namespace,
      chartVersion: '4.2.0',
      values: 'cluster:\n  enabled: true\nservice:\n  type: LoadBalancer\n',
    });
    // The newest chart when 2.4.6 was the newest Milvus.
    const pinned = ['--version', '4.2.0'];
    await guide.closeLayer4(...pinned);
    await guide.turnTlsOn(...pinned, '--wait');
    await guide.applyBackendConfig();
    await guide.annotateService();
    certificate = await guide.createCertificate();
    await guide.applyIngress();
    address = await ingressAddress(env, guide.namespace, guideHost);
  }, 240_000);
  afterAll(() => guide.end());

  it('lets pymilvus read through Layer 7', async () => {
    const count = await eventually('the entities through Layer 7', 90_000, () =>
      readWithPython(client(address, certificate, release.collection)).catch(() => undefined),
    );
    expect(Number(count)).toBe(release.entities);
  }, 120_000);

  it('gives a certificate that Go refuses', async () => {
    await expect(readWithGo(client(address, certificate, release.collection))).rejects.toThrow(
      /legacy Common Name|not valid for any names|relies on legacy/,
    );
  });

  it('leaves port 80 open', async () => {
    const all = (await control(ready.control, 'GET', '/load-balancers')) as { address: string; ports: unknown[] }[];
    expect(JSON.stringify(all.filter((one) => one.address === address))).toContain('80');
  });
});
