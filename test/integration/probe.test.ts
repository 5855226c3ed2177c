/** The connection test against a real load balancer and Milvus, healthy and broken in the ways that people meet. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runSetup, type ReleaseRef } from '../../src/core/loadbalancer/setup.ts';
import type { Intent, ProbeReport, ProbeStage } from '../../src/core/model.ts';
import type { ProbeRequest } from '../../src/core/ports.ts';
import { makeCertificate } from '../../src/core/tls/certificate.ts';
import { control, eventually, ingressAddress, installRelease, tool, type Release } from '../milvusRelease.ts';
import { runningSandbox, setupOnSandbox, type SetupOnSandbox } from './setupOnSandbox.ts';

const ready = runningSandbox();
const host = 'probed.milvus.example';
/** In the certificate, but in no rule of the Ingress. */
const strayHost = 'stray.milvus.example';
const target: ReleaseRef = { namespace: 'probed', release: 'my-release' };
const intent: Intent = {
  host,
  certificate: { kind: 'secret', name: 'own-tls' },
  address: { kind: 'ephemeral' },
  restart: 'proxies',
  closeLayer4: false,
};
const proxies = 'deployment/my-release-milvus-proxy';

let on: SetupOnSandbox;
let release: Release;
let ca: string;
let address: string;

beforeAll(async () => {
  on = await setupOnSandbox(ready, target.namespace);
  release = await installRelease(on.env, {
    name: target.release,
    namespace: target.namespace,
    chartVersion: '4.2.58',
    values: 'cluster:\n  enabled: true\nservice:\n  type: LoadBalancer\n',
  });
  const made = await makeCertificate({ hosts: [host, strayHost], keyType: 'rsa-2048', days: 90 });
  ca = made.ca;
  await createTlsSecret(intent.certificate.kind === 'secret' ? intent.certificate.name : '', made);
  await on.deps.live.ready;
  const result = await runSetup(on.deps, target, intent, { onEvent: () => undefined });
  if (result.outcome !== 'proven') throw new Error(JSON.stringify(result));
  address = await ingressAddress(on.env, target.namespace, host);
}, 300_000);
afterAll(async () => {
  await control(ready.control, 'DELETE', `/dns/${host}`);
  await kubectl('delete', 'namespace', target.namespace, '--wait=false');
  on.dispose();
});

const kubectl = (...args: string[]): Promise<string> => tool(on.env, 'kubectl', args);

/** As a user has it: a Secret made by kubectl from files. */
async function createTlsSecret(name: string, made: { certificate: string; key: string }): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'probe-'));
  try {
    const [certificate, key] = [path.join(folder, 'tls.crt'), path.join(folder, 'tls.key')];
    await writeFile(certificate, made.certificate);
    await writeFile(key, made.key, { mode: 0o600 });
    await kubectl('-n', target.namespace, 'create', 'secret', 'tls', name, `--cert=${certificate}`, `--key=${key}`);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function probe(request: Partial<ProbeRequest> = {}): Promise<ProbeReport> {
  return on.deps.prober(
    { host, address, port: 443, ca, readEntities: true, deadlineMs: 15_000, ...request },
    () => undefined,
  );
}

const failedStage = (report: ProbeReport): ProbeStage | undefined =>
  report.stages.find(({ state }) => state === 'failed');

describe('a load balancer in use', () => {
  it('passes without DNS, on the address, and reads what was written through Layer 4', async () => {
    const report = await probe();
    expect(report).toMatchObject({
      passed: true,
      milvusVersion: '2.5.16',
      entities: { collection: release.collection, count: release.entities },
      certificate: { names: [host, strayHost], alpn: 'h2' },
    });
    expect(report.stages[0]).toMatchObject({ id: 'dns', state: 'skipped' });
  });

  it('fails while DNS leads elsewhere, and passes once it does not', async () => {
    await control(ready.control, 'PUT', `/dns/${host}`, { A: ['35.1.2.3'] });
    expect(failedStage(await probe())).toMatchObject({
      id: 'dns',
      failure: { fix: { kind: 'dns', record: { type: 'A', name: host, value: address } } },
    });
    await control(ready.control, 'PUT', `/dns/${host}`, { A: [address], AAAA: ['2001:db8::1'] });
    expect(failedStage(await probe())).toMatchObject({
      id: 'dns',
      failure: { fix: { kind: 'dns', record: { type: 'AAAA', value: '2001:db8::1' } } },
    });
    await control(ready.control, 'PUT', `/dns/${host}`, { A: [address] });
    const report = await probe();
    expect(report.passed).toBe(true);
    expect(report.stages[0]).toMatchObject({ id: 'dns', state: 'passed' });
  });

  it('answers 404 for a host that no rule names', async () => {
    const failed = failedStage(await probe({ host: strayHost }));
    expect(failed).toMatchObject({ id: 'http2', detail: expect.stringContaining('HTTP 404') as string });
    expect(failed?.failure?.cause).toContain(`no rule for the host name ${strayHost}`);
  });

  it('has a certificate for its own hosts only', async () => {
    const failed = failedStage(await probe({ host: 'other.milvus.example' }));
    expect(failed).toMatchObject({ id: 'tls' });
    expect(failed?.failure?.actual).toContain(`the certificate is for ${host}`);
  });

  it('is not trusted without its certificate authority', async () => {
    const request: ProbeRequest = { host, address, port: 443, readEntities: false, deadlineMs: 15_000 };
    expect(failedStage(await on.deps.prober(request, () => undefined))).toMatchObject({ id: 'tls' });
  });

  it('listens on no port but 443', async () => {
    expect(failedStage(await probe({ port: 80 }))).toMatchObject({ id: 'tcp' });
  });

  it('is gone around by a port-forward', async () => {
    const pods = await kubectl(
      ...['-n', target.namespace, 'get', 'pods', '-l', 'component=proxy', '-o', 'jsonpath={.items[*].metadata.name}'],
    );
    const [pod = ''] = pods.split(' ');
    const forward = await on.deps.cluster.portForward(target.namespace, pod, 19530);
    try {
      const report = await probe({ address: '127.0.0.1', port: forward.port, via: 'portForward' });
      expect(report).toMatchObject({ passed: true, via: 'portForward', entities: { count: release.entities } });
    } finally {
      forward.dispose();
    }
  });
});

describe('a load balancer whose Milvus', () => {
  /** Waits until the test fails with this HTTP status; on the way there others are seen. */
  const untilStatus = (status: number): Promise<ProbeStage> =>
    eventually(`HTTP ${status}`, 90_000, async () => {
      const failed = failedStage(await probe());
      return failed?.detail.includes(`HTTP ${status}`) === true ? failed : undefined;
    });

  it('does not speak TLS answers 502', async () => {
    await kubectl('-n', target.namespace, 'set', 'env', proxies, 'COMMON_SECURITY_TLSMODE=0');
    const failed = await untilStatus(502);
    expect(failed.id).toBe('http2');
    expect(failed.failure?.cause).toContain('tlsMode 0');
    await kubectl('-n', target.namespace, 'set', 'env', proxies, 'COMMON_SECURITY_TLSMODE=1');
    await eventually('the connection after TLS is back', 90_000, async () =>
      (await probe()).passed ? true : undefined,
    );
  }, 200_000);

  it('has no pod answers 503', async () => {
    await kubectl('-n', target.namespace, 'scale', proxies, '--replicas=0');
    const failed = await untilStatus(503);
    expect(failed.id).toBe('http2');
    expect(failed.failure?.cause).toContain('no healthy backend');
  }, 120_000);
});
