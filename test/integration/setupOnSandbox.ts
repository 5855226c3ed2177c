/** The core of the product on a running sandbox, put together as the extension does, without VS Code. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import * as source from '../../src/core/core.chunk.ts';
import type { SetupDeps } from '../../src/core/loadbalancer/setup.ts';
import type { Clock, Disposable, Log } from '../../src/core/ports.ts';
import { sandboxEnvironment, type SandboxReady } from '../sandboxProcess.ts';

/** The sandbox that the test run started. */
export function runningSandbox(): SandboxReady {
  const text = process.env.SANDBOX;
  if (text === undefined) throw new Error('SANDBOX is not set: run npm run test:integration.');
  return JSON.parse(text) as SandboxReady;
}

/** Real time. */
export const realClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal ? { signal } : {}),
};

/** Keeps the lines, so that a test can search them. */
export class MemoryLog implements Log {
  readonly lines: string[] = [];
  readonly #keep = (message: string): void => {
    this.lines.push(message);
  };
  readonly info = this.#keep;
  readonly warn = this.#keep;
  readonly error = this.#keep;
  readonly debug = this.#keep;
}

export interface SetupOnSandbox extends Disposable {
  deps: SetupDeps;
  log: MemoryLog;
  env: NodeJS.ProcessEnv;
}

/** The exports of the core's chunk. */
export type Core = typeof source;

/** Connects through a context of the sandbox' kubeconfig and watches a namespace. `core` is the source unless given. */
export async function setupOnSandbox(
  ready: SandboxReady,
  namespace: string,
  options: { context?: string; env?: NodeJS.ProcessEnv; core?: Core } = {},
): Promise<SetupOnSandbox> {
  const core = options.core ?? source;
  const env = { ...sandboxEnvironment(ready), ...options.env };
  const log = new MemoryLog();
  const read = (file: string): Promise<string> => readFile(file, 'utf8');
  const kubeconfig = await core.loadKubeconfig(core.defaultKubeconfigPaths(env, homedir()), read);
  const context = options.context ?? ready.contexts.admin;
  const cluster = await core.connect(kubeconfig, context, { clock: realClock, log, env, readFile: read });
  const live = core.watchNamespace(cluster, namespace, { clock: realClock });
  const run = core.createRunner(env);
  const dns = core.createDns([ready.dns]);
  return {
    deps: {
      cluster,
      live,
      helm: core.createHelm({ run, kubeconfig: [ready.kubeconfig], context }),
      gcloud: core.createGcloud(run, 'sandbox-project'),
      dns,
      prober: core.createProber({ dns, clock: realClock }),
      loadProber: core.loadMilvusSdk,
      makeCertificate: core.makeCertificate,
      clock: realClock,
      log,
      probeDeadlineMs: 20_000,
    },
    log,
    env,
    dispose: () => {
      live.dispose();
      cluster.dispose();
    },
  };
}
