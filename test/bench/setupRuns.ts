/** The way from Layer 4 to a read through Layer 7, by the product and by the commands of Milvus' guide, timed step by step. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Intent } from '../../src/core/model.ts';
import { Guide, guideHost } from '../guide.ts';
import { setupOnSandbox, type Core } from '../integration/setupOnSandbox.ts';
import { getObject, ingressAddress, installRelease, python, tool, type Release } from '../milvusRelease.ts';
import { repository } from '../paths.ts';
import type { Sandbox } from '../sandboxProcess.ts';

/** One step of a run; times in milliseconds since 1970. */
export interface TimedStep {
  name: string;
  from: number;
  to: number;
  /** What is waited for: a condition of the load balancer, or new pods. */
  waitsFor?: 'cloud' | 'pods';
}

/** One run from Layer 4 to a proven connection. */
export interface SetupRun {
  steps: TimedStep[];
  /** When the first read through Layer 7 was done. */
  proven: number;
}

/** A way to Milvus as it becomes known during a run. */
export interface Layer7Way {
  /** `host:port`. */
  address: string;
  serverName: string;
  /** PEM file of the authority; none where Go clients refuse the certificate. */
  ca?: string;
}

/** Installs a release as both runs need it: Milvus 2.4.6, where the guide's commands work, with two proxies. */
export function installTwoProxies(sandbox: Sandbox, namespace: string): Promise<Release> {
  return installRelease(sandbox.env, {
    name: 'my-release',
    namespace,
    chartVersion: '4.2.0',
    values: 'cluster:\n  enabled: true\nservice:\n  type: LoadBalancer\nproxy:\n  replicas: 2\n',
  });
}

const waits: Partial<Record<string, TimedStep['waitsFor']>> = {
  'wait-networkEndpointGroup': 'cloud',
  'wait-address': 'cloud',
  'wait-certificate': 'cloud',
  'wait-backends': 'cloud',
  'wait-rollout': 'pods',
};

function waitsFor(what: TimedStep['waitsFor']): Pick<TimedStep, 'waitsFor'> {
  return what === undefined ? {} : { waitsFor: what };
}

/**
 * The product as packaged in `dist`, from the confirmation on: the plan that the user confirms is made before. Ends when
 * Layer 4 is closed.
 * `onLayer7` is called once the load balancer has its address.
 */
export async function runProduct(
  sandbox: Sandbox,
  release: Release,
  onLayer7?: (way: Layer7Way) => void,
): Promise<SetupRun> {
  const core = createRequire(import.meta.url)(path.join(repository, 'dist/core.chunk.js')) as Core;
  const target = { namespace: release.namespace, release: release.name };
  const intent: Intent = {
    host: guideHost,
    certificate: { kind: 'generate', keyType: 'rsa-2048' },
    address: { kind: 'ephemeral' },
    restart: 'proxies',
    closeLayer4: true,
  };
  const on = await setupOnSandbox(sandbox.ready, release.namespace, { core });
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-'));
  try {
    await core.planSetup(on.deps, target, intent);
    const steps: TimedStep[] = [];
    let begun = Date.now();
    let proven: number | undefined;
    let layer7: Promise<void> | undefined;
    const announce = async (address: string): Promise<void> => {
      const secret = await getObject<{ data: Record<string, string> }>(
        sandbox.env,
        release.namespace,
        'secret',
        `${release.service}-tls`,
      );
      const file = path.join(folder, 'ca.crt');
      writeFileSync(file, Buffer.from(secret?.data['ca.crt'] ?? '', 'base64'));
      onLayer7?.({ address: `${address}:443`, serverName: guideHost, ca: file });
    };
    const result = await core.runSetup(on.deps, target, intent, {
      onEvent: (event) => {
        if (onLayer7 && event.kind === 'status' && event.status.address !== undefined)
          layer7 ??= announce(event.status.address);
        if (event.kind !== 'step') return;
        const now = Date.now();
        if (event.state === 'running') {
          // What lies between two steps is the planning of the next one.
          steps.push({ name: 'plan', from: begun, to: now });
          begun = now;
          return;
        }
        const { id } = event.step;
        steps.push({ name: id, from: begun, to: now, ...waitsFor(waits[id]) });
        if (id === 'prove') proven = now;
        begun = now;
      },
    });
    await layer7;
    if (result.outcome !== 'proven' || proven === undefined)
      throw new Error(`The setup ended ${result.outcome}${'message' in result ? `: ${result.message}` : ''}.`);
    return { steps, proven };
  } finally {
    rmSync(folder, { recursive: true });
    on.dispose();
  }
}

/**
 * The guide's commands as a script of a person who knows where to wait: after the upgrade for the proxies, after the
 * Ingress for its address, and at the end until pymilvus reads the entities. The chart is pinned, which the guide leaves
 * out, so that Milvus stays at 2.4.6.
 */
export async function runGuide(
  sandbox: Sandbox,
  release: Release,
  onLayer7?: (way: Layer7Way) => void,
): Promise<SetupRun> {
  const guide = new Guide(sandbox.env, release.namespace);
  const pinned = ['--version', release.chartVersion];
  const steps: TimedStep[] = [];
  const step = async <T>(name: string, work: () => Promise<T>, waited?: TimedStep['waitsFor']): Promise<T> => {
    const from = Date.now();
    const result = await work();
    steps.push({ name, from, to: Date.now(), ...waitsFor(waited) });
    return result;
  };
  try {
    await step('close Layer 4', () => guide.closeLayer4(...pinned));
    await step('turn TLS on', () => guide.turnTlsOn(...pinned));
    await step(
      'wait for the roll-out',
      () => guide.kubectl('rollout', 'status', `deployment/${release.service}-proxy`, '--timeout=5m'),
      'pods',
    );
    await step('BackendConfig', () => guide.applyBackendConfig());
    await step('annotations', () => guide.annotateService());
    const certificate = await step('certificate', () => guide.createCertificate());
    await step('Ingress', () => guide.applyIngress());
    const address = await step(
      'wait for the address',
      () => ingressAddress(sandbox.env, release.namespace, guideHost),
      'cloud',
    );
    onLayer7?.({ address: `${address}:443`, serverName: guideHost });
    const args = ['--address', `${address}:443`, '--server-name', guideHost, '--ca', certificate];
    const read = (): Promise<string> =>
      tool(
        sandbox.env,
        python,
        [path.join(repository, 'test/clients/python/read.py'), ...args, '--collection', release.collection],
        60_000,
      );
    const waiting = Date.now();
    const deadline = waiting + 300_000;
    for (;;) {
      const from = Date.now();
      try {
        const count = Number(await read());
        const proven = Date.now();
        if (count !== release.entities) throw new Error(`pymilvus read ${count} of ${release.entities} entities.`);
        steps.push({ name: 'wait for healthy backends', from: waiting, to: from, waitsFor: 'cloud' });
        steps.push({ name: 'read', from, to: proven });
        return { steps, proven };
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await sleep(500);
      }
    }
  } finally {
    await guide.forget();
  }
}
