/** Builds and runs the sandbox (`test/sandbox`) for tests, bench and demo. */
import { copyFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cache, cacheBin, repository } from './paths.ts';
import { onEnd, startProcess } from './processes.ts';

/** What `sandbox up` prints when it is ready; see `test/sandbox/README.md`. */
export interface SandboxReady {
  kubeconfig: string;
  contexts: { admin: string; reader: string; unreachable: string; withoutMilvus: string };
  /** URL of the API server. */
  server: string;
  /** URL of the control endpoint. */
  control: string;
  /** `host:port` of the DNS server. */
  dns: string;
  /** Folder to put in front of PATH: helm, kubectl, gcloud, gke-gcloud-auth-plugin. */
  bin: string;
  /** PEM file of the authority that stands for the public ones; it signs Google-managed certificates. */
  publicCA: string;
  /** Variables to add to the environment of everything that uses it. */
  env: Record<string, string>;
  chart: { folder: string; repository: string; versions: string[] };
  speed: number;
  logs: Record<string, string>;
  versions: Record<string, string>;
  readyAfterMs: number;
}

export interface Sandbox {
  ready: SandboxReady;
  /** This process' environment with the sandbox' PATH and variables. */
  env: NodeJS.ProcessEnv;
  /** Ends it and deletes its folder. */
  stop(): Promise<void>;
}

/** Environment in which the sandbox' tools and kubeconfig are the user's. */
export function sandboxEnvironment(ready: SandboxReady): NodeJS.ProcessEnv {
  return {
    ...process.env,
    ...ready.env,
    KUBECONFIG: ready.kubeconfig,
    PATH: `${ready.bin}${path.delimiter}${process.env.PATH ?? ''}`,
  };
}

/** Builds what is missing or stale. `log` gets its progress line by line. */
export async function buildSandbox(log: (line: string) => void): Promise<void> {
  const lines = new Lines(log);
  // Nice: the quick stages run beside a first build of some minutes.
  const { exited } = startProcess('nice', ['-n', '5', process.execPath, path.join('test/sandbox/build.mjs')], {
    cwd: repository,
    onOutput: (text) => {
      lines.add(text);
    },
  });
  const { code } = await exited;
  if (code !== 0) throw new Error(`The sandbox did not build:\n${lines.tail()}`);
}

export interface SandboxOptions {
  /** How many times faster than Google's the cloud works. */
  speed?: number;
  helm?: 3 | 4;
  log?: (line: string) => void;
  /** Folder that gets a copy of the sandbox' logs when it ends. */
  keepLogsIn?: string;
}

/** Starts a sandbox in a folder of its own and waits until it is ready. Throws with its last lines when it ends first. */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const folder = mkdtempSync(path.join(tmpdir(), 'sandbox-'));
  const lines = new Lines(options.log ?? (() => undefined));
  const args = ['up', '--dir', folder, '--cache', cache, '--until-stdin-closes'];
  if (options.speed !== undefined) args.push('--speed', String(options.speed));
  if (options.helm !== undefined) args.push('--helm', String(options.helm));
  let stdout = '';
  let answer: ((ready: SandboxReady) => void) | undefined;
  const group = startProcess(path.join(cacheBin, 'sandbox'), args, {
    stdin: 'pipe',
    onOutput: (text, stream) => {
      if (stream === 'stderr') {
        lines.add(text);
        return;
      }
      stdout += text;
      const end = stdout.indexOf('\n');
      if (end >= 0) answer?.(JSON.parse(stdout.slice(0, end)) as SandboxReady);
    },
  });
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> =>
    (stopped ??= (async () => {
      await group.stop(20_000);
      if (options.keepLogsIn !== undefined)
        for (const name of readdirSync(folder))
          if (name.endsWith('.log')) copyFileSync(path.join(folder, name), path.join(options.keepLogsIn, name));
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    })());
  onEnd(stop);
  try {
    const ready = await new Promise<SandboxReady>((resolve, reject) => {
      answer = resolve;
      const timer = setTimeout(() => {
        reject(new Error(`The sandbox was not ready within 3 min:\n${lines.tail()}`));
      }, 180_000);
      group.exited.then(
        ({ code, signal }) => {
          reject(new Error(`The sandbox ended (${code ?? signal ?? ''}) before it was ready:\n${lines.tail()}`));
        },
        (error: unknown) => {
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      );
      void group.exited.finally(() => {
        clearTimeout(timer);
      });
      const answered = answer;
      answer = (value) => {
        clearTimeout(timer);
        answered(value);
      };
    });
    return { ready, env: sandboxEnvironment(ready), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Splits output into lines and keeps the last ones for an error. */
class Lines {
  readonly #log: (line: string) => void;
  readonly #last: string[] = [];
  #rest = '';

  constructor(log: (line: string) => void) {
    this.#log = log;
  }

  add(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      this.#last.push(line);
      if (this.#last.length > 60) this.#last.shift();
      this.#log(line);
    }
  }

  tail(): string {
    return [...this.#last, this.#rest].join('\n');
  }
}
