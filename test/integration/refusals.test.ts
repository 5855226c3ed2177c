/** What a person is told when a setup cannot go on: each case made for real on the sandbox, the sentence asserted. */
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { reasonOf } from '../../src/core/kube/errors.ts';
import {
  findRelease,
  gatherFacts,
  planSetup,
  runSetup,
  type ReleaseRef,
  type SetupEvent,
  type SetupResult,
} from '../../src/core/loadbalancer/setup.ts';
import { headline } from '../../src/core/loadbalancer/headline.ts';
import { status } from '../../src/core/loadbalancer/status.ts';
import type { Finding, Intent } from '../../src/core/model.ts';
import { makeCertificate } from '../../src/core/tls/certificate.ts';
import { control, eventually, installRelease, tool } from '../milvusRelease.ts';
import { startSandbox } from '../sandboxProcess.ts';
import { runningSandbox, setupOnSandbox, type SetupOnSandbox } from './setupOnSandbox.ts';

const ready = runningSandbox();
const host = 'refused.milvus.example';
const target: ReleaseRef = { namespace: 'refused', release: 'my-release' };
const intent: Intent = {
  host,
  certificate: { kind: 'generate', keyType: 'ecdsa-p256' },
  address: { kind: 'ephemeral' },
  restart: 'proxies',
  closeLayer4: false,
};
let on: SetupOnSandbox;

beforeAll(async () => {
  on = await setupOnSandbox(ready, target.namespace);
  await installRelease(on.env, {
    name: target.release,
    namespace: target.namespace,
    chartVersion: '4.2.58',
    values: 'cluster:\n  enabled: true\nservice:\n  type: LoadBalancer\n',
  });
  await on.deps.live.ready;
  await eventually('the release in the watch', 20_000, () =>
    Promise.resolve(findRelease(on.deps.live.objects, target)?.layer4),
  );
});
afterAll(async () => {
  await control(ready.control, 'DELETE', `/dns/${host}`);
  await kubectl('delete', 'namespace', target.namespace, '--wait=false');
  on.dispose();
});

const kubectl = (...args: string[]): Promise<string> => tool(on.env, 'kubectl', args);

/** Errors of the preflight as a person reads them. */
async function refusals(other: Partial<Intent>, using: SetupOnSandbox = on): Promise<string[]> {
  const { preflight } = await planSetup(using.deps, target, { ...intent, ...other });
  return preflight.filter((finding) => finding.severity === 'error').map(sentence);
}

const sentence = ({ message, cause, fix }: Finding): string =>
  [message, cause, fix.text, ...(fix.kind === 'command' ? [fix.command] : [])].join(' ');

describe('before anything is written', () => {
  it('names the API server that cannot be reached', async () => {
    const far = await setupOnSandbox(ready, 'default', { context: ready.contexts.unreachable });
    try {
      const error: unknown = await far.deps.cluster
        .get({ apiVersion: 'v1', kind: 'Service', namespace: 'default', name: 'x' })
        .catch((reason: unknown) => reason);
      expect(reasonOf(error)).toMatch(/^nothing answers at https:\/\/127\.0\.0\.1:\d+/);
    } finally {
      far.dispose();
    }
  });

  it('names what the user may not do, and on what', async () => {
    const reader = await setupOnSandbox(ready, target.namespace, { context: ready.contexts.reader });
    try {
      await reader.deps.live.ready;
      const texts = await refusals({}, reader);
      expect(texts).toContain(
        `You may not patch ingresses.networking.k8s.io in namespace refused. The setup writes such objects with the rights of context ${ready.contexts.reader}. Ask for a role with this right, or use another context.`,
      );
      expect(texts.join('\n')).toContain('You may not create backendconfigs.cloud.google.com');
    } finally {
      reader.dispose();
    }
  });

  it('says where helm was looked for, how to install it, and the setting', async () => {
    const bare = await setupOnSandbox(ready, target.namespace);
    const without = await setupOnSandbox(ready, target.namespace, { env: { PATH: '/nowhere' } });
    try {
      await bare.deps.live.ready;
      const error: unknown = await planSetup({ ...bare.deps, helm: without.deps.helm }, target, intent).catch(
        (reason: unknown) => reason,
      );
      expect(reasonOf(error)).toMatch(/helm was not found\. PATH is \/nowhere\. Install it .*milvusLayer7\.helm\.path/);
    } finally {
      bare.dispose();
      without.dispose();
    }
  });

  it('refuses a host name that Google does not certify', async () => {
    const [text] = await refusals({ host: '*.milvus.example', certificate: { kind: 'managed' } });
    expect(text).toMatch(/^The host name \*\.milvus\.example cannot be used\. .*wildcard/i);
  });

  it('refuses an address name that is not reserved, with the command that reserves it', async () => {
    expect(await refusals({ address: { kind: 'static', name: 'nobody-ip' } })).toEqual([
      'There is no global static address named nobody-ip in the project. A regional address does not count; GKE Ingress takes global ones only. Reserve it. gcloud compute addresses create nobody-ip --global',
    ]);
  });

  it('refuses a certificate that Google would refuse, before it reaches the cluster', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'certificate-'));
    try {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 4096 });
      const key = path.join(folder, 'tls.key');
      const certificate = path.join(folder, 'tls.crt');
      await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
      await tool(on.env, 'openssl', [
        ...['req', '-x509', '-key', key, '-subj', `/CN=${host}`, '-addext', `subjectAltName=DNS:${host}`],
        ...['-days', '30', '-out', certificate],
      ]);
      await kubectl(
        '-n',
        target.namespace,
        'create',
        'secret',
        'tls',
        'large',
        `--cert=${certificate}`,
        `--key=${key}`,
      );
    } finally {
      await rm(folder, { recursive: true });
    }
    const [text] = await refusals({ certificate: { kind: 'secret', name: 'large' } });
    expect(text).toContain(
      'The key of the certificate is RSA-4096. A certificate of a GKE Ingress can only have an RSA-2048 or an ECDSA P-256 key; Google refuses others.',
    );
  });

  it('refuses a Secret that does not exist', async () => {
    const [text] = await refusals({ certificate: { kind: 'secret', name: 'absent' } });
    expect(text).toContain('Secret absent does not exist.');
  });

  it('names the add-on when the cluster does not know BackendConfig', async () => {
    const own = await startSandbox();
    try {
      const there = await setupOnSandbox(own.ready, 'default');
      try {
        await tool(own.env, 'kubectl', ['delete', 'crd', 'backendconfigs.cloud.google.com']);
        await tool(own.env, 'helm', ['install', target.release, 'milvus/milvus', '--version', '4.2.58']);
        await eventually('the release without BackendConfig', 60_000, () => {
          const { objects } = there.deps.live;
          const missing = objects.unreadable.get('BackendConfig')?.reason === 'unknown';
          return Promise.resolve(
            missing ? findRelease(objects, { namespace: 'default', release: target.release }) : undefined,
          );
        });
        const { preflight } = await planSetup(there.deps, { namespace: 'default', release: target.release }, intent);
        expect(preflight.filter((finding) => finding.severity === 'error').map(sentence)).toEqual([
          'The cluster does not know BackendConfig. The HttpLoadBalancing add-on is off, or this is no GKE cluster. Switch the add-on on. gcloud container clusters update CLUSTER --update-addons=HttpLoadBalancing=ENABLED',
        ]);
      } finally {
        there.dispose();
      }
    } finally {
      await own.stop();
    }
  }, 180_000);

  it('refuses while Helm is at work on the release, or was broken off', async () => {
    const helm = spawn(
      'helm',
      ['upgrade', target.release, 'milvus/milvus', '-n', target.namespace, '--version', '4.2.58'].concat([
        '--reuse-values',
        '--set',
        'proxy.resources.requests.cpu=100',
        '--wait',
        '--timeout',
        '5m',
      ]),
      { env: on.env, stdio: 'ignore' },
    );
    const exited = once(helm, 'exit');
    try {
      await eventually('a pending release', 30_000, async () => {
        const release = await on.deps.helm.release(target.namespace, target.release);
        return release?.status === 'pending-upgrade' ? release : undefined;
      });
      helm.kill('SIGKILL');
      await exited;
      const [text] = await refusals({});
      expect(text).toBe(
        'Helm release my-release is pending-upgrade. Another Helm command is at work, or was interrupted; Helm refuses a second one. Wait for it, or roll back to the last good revision. helm rollback my-release --namespace refused',
      );
    } finally {
      helm.kill('SIGKILL');
      await tool(on.env, 'helm', [
        'rollback',
        target.release,
        '1',
        '-n',
        target.namespace,
        '--wait',
        '--timeout',
        '3m',
      ]);
    }
  }, 240_000);
});

describe('on the way', () => {
  const remove = (kind: string, name: string): Promise<string> =>
    kubectl('-n', target.namespace, 'delete', kind, name, '--ignore-not-found');
  afterEach(async () => {
    await remove('ingress', 'my-release-milvus');
    await remove('backendconfig', 'my-release-backendconfig');
  });

  async function setUp(
    other: Partial<Intent> = {},
    limitMs = 60_000,
  ): Promise<{ result: SetupResult; events: SetupEvent[] }> {
    const events: SetupEvent[] = [];
    const result = await runSetup(
      { ...on.deps, proofPatienceMs: 0 },
      target,
      { ...intent, ...other },
      {
        onEvent: (event) => events.push(event),
        signal: AbortSignal.timeout(limitMs),
      },
    );
    return { result, events };
  }

  it('names who owns the fields in conflict, and writes nothing over them', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'manifest-'));
    const file = path.join(folder, 'backendconfig.yaml');
    try {
      await writeFile(
        file,
        'apiVersion: cloud.google.com/v1\nkind: BackendConfig\nmetadata: {name: my-release-backendconfig}\nspec: {timeoutSec: 40}\n',
      );
      await kubectl('-n', target.namespace, 'apply', '--server-side', '--field-manager=team-a', '-f', file);
    } finally {
      await rm(folder, { recursive: true });
    }
    const { result } = await setUp();
    expect(result).toMatchObject({ outcome: 'conflict', managers: ['team-a'], step: { id: 'backendConfig' } });
    expect(result.outcome === 'conflict' && result.message).toMatch(/team-a.*spec\.timeoutSec/);
    const left = await kubectl(
      '-n',
      target.namespace,
      'get',
      'backendconfig',
      'my-release-backendconfig',
      '-o',
      'jsonpath={.spec}',
    );
    expect(JSON.parse(left)).toEqual({ timeoutSec: 40 });
  });

  it('stops before the next write when it is cancelled', async () => {
    const cancel = new AbortController();
    const done: string[] = [];
    const result = await runSetup(on.deps, target, intent, {
      signal: cancel.signal,
      onEvent: (event) => {
        if (event.kind !== 'step' || event.state !== 'done') return;
        done.push(event.step.id);
        if (event.step.id === 'backendConfig') cancel.abort();
      },
    });
    expect(result).toEqual({ outcome: 'cancelled' });
    expect(done).toEqual(['backendConfig']);
    const ingress = await kubectl('-n', target.namespace, 'get', 'ingress', '-o', 'name');
    expect(ingress.trim()).toBe('');
    const { steps } = await planSetup(on.deps, target, intent);
    expect(steps[0]?.id).toBe('service');
  });

  it('says that no pod is ready when the release is scaled to zero', async () => {
    await kubectl('-n', target.namespace, 'scale', 'deployment/my-release-milvus-proxy', '--replicas=0');
    try {
      await eventually('no pods', 30_000, async () => {
        const pods = await kubectl('-n', target.namespace, 'get', 'pods', '-l', 'component=proxy', '-o', 'name');
        return pods.trim() === '' ? true : undefined;
      });
      const { result } = await setUp();
      expect(result).toMatchObject({
        outcome: 'failed',
        step: { id: 'wait-backends' },
        message: 'No pod of my-release is ready, so the load balancer has no backend. The release is scaled to zero.',
      });
    } finally {
      await kubectl('-n', target.namespace, 'scale', 'deployment/my-release-milvus-proxy', '--replicas=1');
      await kubectl('-n', target.namespace, 'rollout', 'status', 'deployment/my-release-milvus-proxy', '--timeout=60s');
    }
  }, 200_000);

  it('names a static address that another load balancer uses', async () => {
    await tool(on.env, 'gcloud', [
      'compute',
      'addresses',
      'create',
      'taken-ip',
      '--global',
      '--project=sandbox-project',
    ]);
    const folder = await mkdtemp(path.join(tmpdir(), 'manifest-'));
    const file = path.join(folder, 'ingress.yaml');
    try {
      await writeFile(
        file,
        'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: other\n  annotations:\n    kubernetes.io/ingress.class: gce\n    kubernetes.io/ingress.global-static-ip-name: taken-ip\n    kubernetes.io/ingress.allow-http: "false"\nspec:\n  tls: [{secretName: other}]\n  defaultBackend: {service: {name: my-release-milvus, port: {number: 19530}}}\n',
      );
      await kubectl('create', 'namespace', 'refused-other');
      const made = await makeCertificate({ hosts: ['other.milvus.example'], keyType: 'ecdsa-p256', days: 30 });
      const [certificate, key] = [path.join(folder, 'tls.crt'), path.join(folder, 'tls.key')];
      await writeFile(certificate, made.certificate);
      await writeFile(key, made.key, { mode: 0o600 });
      await kubectl('-n', 'refused-other', 'create', 'secret', 'tls', 'other', `--cert=${certificate}`, `--key=${key}`);
      await tool(on.env, 'helm', [
        ...['install', 'other', 'milvus/milvus', '--version', '4.2.58', '-n', 'refused-other'],
        ...['--set', 'cluster.enabled=false,fullnameOverride=my-release-milvus'],
      ]);
      await kubectl(
        '-n',
        'refused-other',
        'annotate',
        'service',
        'my-release-milvus',
        'cloud.google.com/neg={"ingress":true}',
      );
      await kubectl('-n', 'refused-other', 'apply', '-f', file);
      await eventually('the other load balancer', 60_000, async () => {
        const ip = await kubectl(
          '-n',
          'refused-other',
          'get',
          'ingress',
          'other',
          '-o',
          'jsonpath={.status.loadBalancer.ingress[0].ip}',
        );
        return ip === '' ? undefined : ip;
      });
      const { result } = await setUp({ address: { kind: 'static', name: 'taken-ip' } }, 90_000);
      expect(result).toMatchObject({ outcome: 'failed', step: { id: 'wait-address' } });
      expect(result.outcome === 'failed' && result.message).toContain(
        'The static address is used by another load balancer.',
      );
    } finally {
      await rm(folder, { recursive: true });
      await kubectl('delete', 'namespace', 'refused-other', '--wait=false');
    }
  }, 240_000);

  it('says to which address the domain points, and which record to change', async () => {
    await control(ready.control, 'PUT', `/dns/${host}`, { A: ['127.9.9.9'] });
    const { result, events } = await setUp({}, 120_000);
    expect(result.outcome).toBe('failed');
    const report = events.findLast((event) => event.kind === 'report')?.report;
    const failed = report?.stages.find((stage) => stage.state === 'failed');
    expect(failed?.id).toBe('dns');
    expect(failed?.failure?.actual).toContain('127.9.9.9');
    expect(failed?.failure?.fix).toMatchObject({ kind: 'dns', record: { type: 'A', name: host } });
    const release = findRelease(on.deps.live.objects, target);
    if (!release) throw new Error('no release');
    const now = status(on.deps.live.objects, await gatherFacts(on.deps, on.deps.live.objects, release, { intent }));
    expect(`${headline(now).text} ${headline(now).detail}`).toMatch(
      /^Blocked: The domain refused\.milvus\.example points to 127\.9\.9\.9, not to the load balancer 127\.\S+\. Change the A record to 127\./,
    );
    await control(ready.control, 'DELETE', `/dns/${host}`);
  }, 200_000);

  it('names the stage at which the connection test fails', async () => {
    await control(ready.control, 'PUT', '/parts/load-balancer', { state: 'paused' });
    try {
      const { result } = await setUp({}, 120_000);
      expect(result).toMatchObject({ outcome: 'failed', step: { id: 'prove' } });
      expect(result.outcome === 'failed' && result.message).toMatch(/^The connection test failed at (tcp|tls): /);
    } finally {
      await control(ready.control, 'PUT', '/parts/load-balancer', { state: 'running' });
    }
  }, 200_000);
});
