/** Milvus releases on a sandbox, installed and used as a team would: by Helm, through Layer 4, with entities in it. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { cache } from './paths.ts';

const execute = promisify(execFile);

/** Python with pymilvus, made by the sandbox' build. */
export const python = path.join(cache, 'python/bin/python');

/** Runs a tool of the sandbox (`helm`, `kubectl`, `gcloud`, python); returns stdout. Throws with its stderr. */
export async function tool(
  env: NodeJS.ProcessEnv,
  file: string,
  args: readonly string[],
  timeoutMs = 300_000,
): Promise<string> {
  try {
    const { stdout } = await execute(file, [...args], { env, timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { stderr = '', message } = error as { stderr?: string; message: string };
    throw new Error(`${path.basename(file)} ${args.join(' ')} failed: ${stderr === '' ? message : stderr}`, {
      cause: error,
    });
  }
}

/** An object of the cluster, as kubectl prints it. */
export async function getObject<T>(
  env: NodeJS.ProcessEnv,
  namespace: string,
  kind: string,
  name: string,
): Promise<T | undefined> {
  const text = await tool(env, 'kubectl', ['-n', namespace, 'get', kind, name, '--ignore-not-found', '-o', 'json']);
  return text.trim() === '' ? undefined : (JSON.parse(text) as T);
}

/** Asks again until there is an answer; throws when `ms` ran out. */
export async function eventually<T>(what: string, ms: number, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms / 1000} s`);
    await sleep(200);
  }
}

/** What to install. */
export interface ReleaseRequest {
  name: string;
  namespace: string;
  chartVersion: string;
  /** The values file, as its user wrote it. */
  values: string;
}

/** An installed release that holds entities. */
export interface Release extends ReleaseRequest {
  /** Name of the client Service. */
  service: string;
  /** Address of the Layer-4 load balancer. */
  layer4: string;
  collection: string;
  entities: number;
}

/** Installs a release behind Layer 4, waits until its pods are ready, and writes entities through Layer 4. */
export async function installRelease(
  env: NodeJS.ProcessEnv,
  request: ReleaseRequest,
  entities = 1000,
): Promise<Release> {
  const folder = mkdtempSync(path.join(tmpdir(), 'values-'));
  try {
    const values = path.join(folder, 'values.yaml');
    writeFileSync(values, request.values);
    await tool(env, 'helm', [
      ...[
        'install',
        request.name,
        'milvus/milvus',
        '--version',
        request.chartVersion,
        '--namespace',
        request.namespace,
      ],
      ...['--create-namespace', '--values', values, '--wait', '--timeout', '4m'],
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const service = request.name.includes('milvus') ? request.name : `${request.name}-milvus`;
  const layer4 = await eventually(`Layer-4 address of ${service}`, 60_000, async () => {
    const object = await getObject<{ status?: { loadBalancer?: { ingress?: { ip?: string }[] } } }>(
      env,
      request.namespace,
      'service',
      service,
    );
    return object?.status?.loadBalancer?.ingress?.[0]?.ip;
  });
  const collection = 'articles';
  const script = path.join(import.meta.dirname, 'clients/python/write.py');
  const args = ['--address', `${layer4}:19530`, '--collection', collection, '--entities', String(entities)];
  const written = Number(await tool(env, python, [script, ...args], 120_000));
  if (written !== entities) throw new Error(`${collection} holds ${written} entities instead of ${entities}.`);
  return { ...request, service, layer4, collection, entities };
}

/** The user's values of a release as Helm keeps them. */
export async function userValues(env: NodeJS.ProcessEnv, release: ReleaseRequest): Promise<unknown> {
  const text = await tool(env, 'helm', ['get', 'values', release.name, '-n', release.namespace, '-o', 'yaml']);
  return parse(text);
}

/** Address of the Ingress whose rule names the host; waits for it. */
export async function ingressAddress(
  env: NodeJS.ProcessEnv,
  namespace: string,
  host: string,
  ms = 120_000,
): Promise<string> {
  interface Ingress {
    spec: { rules?: { host?: string }[] };
    status?: { loadBalancer?: { ingress?: { ip?: string }[] } };
  }
  return await eventually(`address of the Ingress for ${host}`, ms, async () => {
    const text = await tool(env, 'kubectl', ['-n', namespace, 'get', 'ingress', '-o', 'json']);
    const { items } = JSON.parse(text) as { items: Ingress[] };
    const ingress = items.find(({ spec }) => spec.rules?.some((rule) => rule.host === host) === true);
    return ingress?.status?.loadBalancer?.ingress?.[0]?.ip;
  });
}

/** Calls the sandbox' control endpoint; see `test/sandbox/README.md`. */
export async function control(
  url: string,
  method: 'GET' | 'PUT' | 'DELETE',
  call: string,
  body?: unknown,
): Promise<unknown> {
  const response = await fetch(`${url}${call}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${call}: ${response.status} ${text}`);
  return text.trim() === '' ? undefined : (JSON.parse(text) as unknown);
}
