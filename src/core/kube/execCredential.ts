import * as l10n from '@vscode/l10n';
import { spawn, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { isRecord, text } from '../fields.ts';
import type { Clock } from '../ports.ts';
import { KubeError } from './errors.ts';
import type { ClusterEntry, ExecEntry } from './kubeconfig.ts';

/** What an exec plugin gave: a token, a client certificate, or both. Never log it. */
export interface ExecCredential {
  token?: string;
  /** PEM. */
  certificate?: string;
  /** PEM. */
  key?: string;
}

export interface ExecCredentialDeps {
  clock: Clock;
  /** Environment of the plugin, before `env` of the kubeconfig. */
  env: NodeJS.ProcessEnv;
  /** Folders to search before PATH: VS Code started from the desktop often lacks those of the shell. */
  pathFolders?: readonly string[];
  /** Limit for one run; a plugin may open a browser to log in. */
  timeoutMs?: number;
}

interface Held extends ExecCredential {
  /** Milliseconds since the epoch from which it is fetched anew. */
  renewAt: number;
}

const defaultTimeoutMs = 60_000;
/** How long a failure is told to all callers without running the plugin again: it may open a browser each time. */
const failureHeldMs = 5000;
/** A plugin whose credentials are refused again within this time has no better ones. */
const refusalHeldMs = 5000;

/**
 * Credentials from a kubeconfig's exec plugin (kubernetes/client-go plugin/pkg/client/auth/exec/exec.go): one run at a
 * time for all callers, kept until they expire or the API server refuses them.
 */
export class ExecCredentials {
  readonly #exec: ExecEntry;
  readonly #cluster: ClusterEntry;
  readonly #deps: ExecCredentialDeps;
  readonly #stop = new AbortController();
  #held: Held | undefined;
  #flight: Promise<Held> | undefined;
  #refusedAt = -Infinity;
  #failure: { error: Error; until: number } | undefined;

  constructor(exec: ExecEntry, cluster: ClusterEntry, deps: ExecCredentialDeps) {
    this.#exec = exec;
    this.#cluster = cluster;
    this.#deps = deps;
  }

  /**
   * The credentials, from the plugin if need be. A caller that aborts leaves; the run goes on for the others.
   *
   * @throws KubeError of kind `credentials`.
   */
  async get(signal?: AbortSignal): Promise<ExecCredential> {
    signal?.throwIfAborted();
    const now = this.#deps.clock.now();
    if (this.#held && now < this.#held.renewAt) return this.#held;
    if (this.#failure && now < this.#failure.until) throw this.#failure.error;
    this.#flight ??= this.#fetch();
    return orAborted(this.#flight, signal);
  }

  /**
   * Forgets a credential that the API server refused. Answers whether another try makes sense: there is a newer one
   * already, or the plugin will run again.
   */
  refuse(refused: ExecCredential): boolean {
    if (this.#held !== refused) return true;
    const now = this.#deps.clock.now();
    if (now < this.#refusedAt + refusalHeldMs) return false;
    this.#refusedAt = now;
    this.#held = undefined;
    return true;
  }

  /** Ends a running plugin with all its children. */
  dispose(): void {
    this.#stop.abort();
  }

  async #fetch(): Promise<Held> {
    try {
      this.#failure = undefined;
      this.#held = await this.#run();
      return this.#held;
    } catch (error) {
      this.#failure = { error: error as Error, until: this.#deps.clock.now() + failureHeldMs };
      throw error;
    } finally {
      this.#flight = undefined;
    }
  }

  async #run(): Promise<Held> {
    const { command, args, interactiveMode, folder, apiVersion } = this.#exec;
    if (!/^client\.authentication\.k8s\.io\/(v1|v1beta1)$/.test(apiVersion))
      throw failure(
        'invalid',
        l10n.t(
          'the exec plugin {0} uses the API version {1}, which Kubernetes removed. Install its newest version and fetch the credentials of the cluster again.',
          command,
          apiVersion === '' ? '""' : apiVersion,
        ),
      );
    if (interactiveMode === 'Always')
      throw failure(
        'interactive',
        l10n.t(
          'the exec plugin {0} asks questions in a terminal (interactiveMode: Always), which VS Code has not.',
          command,
        ),
      );
    const executable = /[\\/]/.test(command) && !path.isAbsolute(command) ? path.resolve(folder, command) : command;
    const { clock, timeoutMs = defaultTimeoutMs } = this.#deps;
    const run = await runTree(executable, args, this.#environment(), timeoutMs, clock, this.#stop.signal);
    if (run.end === 'stopped') throw this.#stop.signal.reason as Error;
    if (run.end === 'timeout')
      throw failure(
        'timeout',
        l10n.t(
          'the exec plugin {0} did not answer within {1} s and was ended. Run it in a terminal to see what it waits for.',
          command,
          Math.round(timeoutMs / 1000),
        ),
      );
    if (run.end === 'notStarted') throw this.#notStarted(run.code);
    if (run.exitCode !== 0) {
      const said = quotable(run.stderr);
      throw failure(
        'failed',
        said === ''
          ? l10n.t('the exec plugin {0} ended with code {1} and said nothing.', command, run.exitCode ?? '?')
          : l10n.t('the exec plugin {0} failed: {1}', command, said),
      );
    }
    return this.#parse(run.stdout);
  }

  #environment(): NodeJS.ProcessEnv {
    const { env, pathFolders = [] } = this.#deps;
    const merged: NodeJS.ProcessEnv = { ...env };
    const pathKey = Object.keys(merged).find((key) => key.toUpperCase() === 'PATH') ?? 'PATH';
    if (pathFolders.length > 0) merged[pathKey] = [...pathFolders, merged[pathKey] ?? ''].join(path.delimiter);
    for (const { name, value } of this.#exec.env) merged[name] = value;
    const cluster = this.#cluster;
    merged.KUBERNETES_EXEC_INFO = JSON.stringify({
      apiVersion: this.#exec.apiVersion,
      kind: 'ExecCredential',
      spec: {
        interactive: false,
        ...(this.#exec.provideClusterInfo && {
          cluster: {
            server: cluster.server,
            'certificate-authority-data': cluster.caData,
            'insecure-skip-tls-verify': cluster.skipTlsVerify || undefined,
            'tls-server-name': cluster.tlsServerName,
            'proxy-url': cluster.proxyUrl,
          },
        }),
      },
    });
    return merged;
  }

  #notStarted(code: string): KubeError {
    const { command, installHint } = this.#exec;
    if (code !== 'ENOENT')
      return failure('failed', l10n.t('the exec plugin {0} could not be started ({1}).', command, code));
    const hint = installHint?.trim();
    return failure(
      'missing',
      hint
        ? l10n.t('the exec plugin {0} was not found on the PATH that VS Code sees. {1}', command, hint)
        : l10n.t(
            'the exec plugin {0} was not found on the PATH that VS Code sees. Install it, or add its folder to the setting milvusLayer7.path.',
            command,
          ),
    );
  }

  #parse(stdout: string): Held {
    const { command, apiVersion } = this.#exec;
    let output: unknown;
    try {
      output = JSON.parse(stdout);
    } catch {
      throw failure('invalid', l10n.t('the exec plugin {0} did not print JSON.', command));
    }
    const status = isRecord(output) && isRecord(output.status) ? output.status : undefined;
    const token = text(status?.token);
    const certificate = text(status?.clientCertificateData);
    const key = text(status?.clientKeyData);
    const usable = token !== undefined || (certificate !== undefined && key !== undefined);
    if (!isRecord(output) || output.kind !== 'ExecCredential' || output.apiVersion !== apiVersion || !usable)
      throw failure(
        'invalid',
        l10n.t(
          'the exec plugin {0} printed no ExecCredential of {1} with a token or a certificate.',
          command,
          apiVersion,
        ),
      );
    const now = this.#deps.clock.now();
    const expires = Date.parse(text(status?.expirationTimestamp) ?? '');
    // A little early, so that a request does not arrive with a token that has just expired.
    const renewAt = Number.isNaN(expires) ? Infinity : expires - Math.min(10_000, (expires - now) / 10);
    return {
      ...(token === undefined ? {} : { token }),
      ...(certificate === undefined || key === undefined ? {} : { certificate, key }),
      renewAt,
    };
  }
}

function failure(why: NonNullable<KubeError['failure']>, message: string): KubeError {
  return new KubeError({ kind: 'credentials', failure: why, message });
}

/** The end of what a plugin said on stderr, with anything that looks like a token taken out. */
function quotable(stderr: string): string {
  return stderr
    .trim()
    .slice(-600)
    .replace(/ya29\.[\w.-]+|eyJ[\w-]+(\.[\w-]+)*/g, '…');
}

type TreeRun =
  | { end: 'exited'; exitCode: number | null; stdout: string; stderr: string }
  | { end: 'notStarted'; code: string }
  | { end: 'timeout' }
  | { end: 'stopped' };

/**
 * Runs a command without stdin. Settles at once on time-out and abort and ends the whole process tree: gcloud's wrappers
 * start grandchildren that hold stdout, for which execa would wait.
 */
async function runTree(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  timeoutMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<TreeRun> {
  if (signal.aborted) return { end: 'stopped' };
  const windows = process.platform === 'win32';
  const settled = new AbortController();
  let child: ChildProcess | undefined;
  const exited = new Promise<TreeRun>((resolve) => {
    let stdout = '';
    let stderr = '';
    try {
      child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: !windows, windowsHide: true });
    } catch (error) {
      resolve({ end: 'notStarted', code: codeOf(error) });
      return;
    }
    child.on('error', (error) => {
      resolve({ end: 'notStarted', code: codeOf(error) });
    });
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      if (stdout.length < 1_000_000) stdout += chunk;
    });
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      if (stderr.length < 100_000) stderr += chunk;
    });
    child.on('close', (exitCode) => {
      resolve({ end: 'exited', exitCode, stdout, stderr });
    });
  });
  const stopped = new Promise<TreeRun>((resolve) => {
    signal.addEventListener(
      'abort',
      () => {
        resolve({ end: 'stopped' });
      },
      { signal: settled.signal },
    );
  });
  const timedOut = clock.sleep(timeoutMs, settled.signal).then(
    (): TreeRun => ({ end: 'timeout' }),
    (): TreeRun => ({ end: 'stopped' }),
  );
  const run = await Promise.race([exited, stopped, timedOut]);
  settled.abort();
  if (run.end === 'timeout' || run.end === 'stopped') endTree(child, windows);
  return run;
}

function endTree(child: ChildProcess | undefined, windows: boolean): void {
  child?.stdout?.destroy();
  child?.stderr?.destroy();
  if (child?.pid === undefined) return;
  if (windows) {
    spawn('taskkill', ['/pid', String(child.pid), '/t', '/f'], { windowsHide: true, stdio: 'ignore' }).on(
      'error',
      () => {
        child.kill();
      },
    );
    return;
  }
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** The promise's result, unless the signal is aborted before. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise<T>((resolve, reject) => {
    const abort = () => {
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', abort);
    });
  });
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown error';
}
