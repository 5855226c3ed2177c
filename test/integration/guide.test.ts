/**
 * The commands of Milvus' own guide (milvus-io/milvus-docs, site/en/adminGuide/gcp_layer7.md of v2.4.x), run literally.
 * They show that the sandbox behaves as the sources say, and what the product must do better.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
const host = 'my-release.milvus.io';

const tlsYaml = `extraConfigFiles:
  user.yaml: |+
    common:
      security:
        tlsMode: 1
`;

const backendConfig = `apiVersion: cloud.google.com/v1
kind: BackendConfig
metadata:
  name: my-release-backendconfig
  namespace: NAMESPACE
spec:
  healthCheck:
    port: 9091
    requestPath: /healthz
    type: HTTP
`;

const managedCertificate = `apiVersion: networking.gke.io/v1
kind: ManagedCertificate
metadata:
  name: my-release-milvus-tls
  namespace: NAMESPACE
spec:
  domains:
    - my-release.milvus.io
`;

const selfManagedIngress = `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: my-release-milvus
  namespace: NAMESPACE
spec:
  tls:
  - hosts:
      - my-release.milvus.io
    secretName: my-release-milvus-tls
  rules:
  - host: my-release.milvus.io
    http:
      paths:
      - path: /
        pathType: Prefix
        backend:
          service:
            name: my-release-milvus
            port:
              number: 19530
`;

/** A folder with the guide's files for one namespace, and its commands. */
class Guide {
  readonly namespace: string;
  folder = '';

  constructor(namespace: string) {
    this.namespace = namespace;
  }

  async write(name: string, text: string): Promise<string> {
    if (this.folder === '') this.folder = await mkdtemp(path.join(tmpdir(), 'guide-'));
    const file = path.join(this.folder, name);
    await writeFile(file, text.replaceAll('NAMESPACE', this.namespace));
    return file;
  }

  kubectl(...args: string[]): Promise<string> {
    return tool(env, 'kubectl', ['-n', this.namespace, ...args]);
  }

  async apply(name: string, text: string): Promise<void> {
    await this.kubectl('apply', '-f', await this.write(name, text));
  }

  helmUpgrade(chart: string, ...args: string[]): Promise<string> {
    return tool(env, 'helm', ['upgrade', 'my-release', chart, '-n', this.namespace, ...args]);
  }

  annotate(): Promise<string> {
    return this.kubectl(
      ...['annotate', 'service', 'my-release-milvus', 'cloud.google.com/app-protocols={"milvus":"HTTP2"}'],
      ...['cloud.google.com/backend-config={"default":"my-release-backendconfig"}'],
      ...['cloud.google.com/neg={"ingress": true}', '--overwrite'],
    );
  }

  async selfSigned(): Promise<{ certificate: string; key: string }> {
    const [key, request, certificate] = [
      await this.write('tls.key', ''),
      await this.write('tls.csr', ''),
      await this.write('tls.crt', ''),
    ];
    await tool(env, 'openssl', ['genrsa', '-out', key, '2048']);
    await tool(env, 'openssl', ['req', '-new', '-key', key, '-out', request, '-subj', `/CN=${host}`]);
    await tool(env, 'openssl', [
      ...['x509', '-req', '-days', '99999', '-in', request, '-signkey', key, '-out', certificate],
    ]);
    return { certificate, key };
  }

  async end(): Promise<void> {
    if (this.folder !== '') await rm(this.folder, { recursive: true });
    await tool(env, 'kubectl', ['delete', 'namespace', this.namespace, '--wait=false']);
  }
}

const client = (address: string, ca: string, collection: string): string[] => [
  ...['--address', `${address}:443`, '--server-name', host, '--ca', ca, '--collection', collection],
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
  const guide = new Guide('guide');
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
    await guide.helmUpgrade('milvus/milvus', '--set', 'service.type=ClusterIP');
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
    await guide.helmUpgrade('milvus/milvus', '-f', await guide.write('tls.yaml', tlsYaml));
    expect(await crashLog(guide)).toContain('share the same port, tls mode must be 0');
  }, 200_000);

  it('waits in vain for the managed certificate before there is an Ingress', async () => {
    await guide.apply('managed-certificate.yaml', managedCertificate);
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
  const guide = new Guide('guide-works');
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
    await guide.helmUpgrade('milvus/milvus', '--set', 'service.type=ClusterIP', ...pinned);
    await guide.helmUpgrade('milvus/milvus', '-f', await guide.write('tls.yaml', tlsYaml), ...pinned, '--wait');
    await guide.apply('backend-config.yaml', backendConfig);
    await guide.annotate();
    const made = await guide.selfSigned();
    certificate = made.certificate;
    await guide.kubectl(
      'create',
      'secret',
      'tls',
      'my-release-milvus-tls',
      `--cert=${certificate}`,
      `--key=${made.key}`,
    );
    await guide.apply('ingress.yaml', selfManagedIngress);
    address = await ingressAddress(env, guide.namespace, host);
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
