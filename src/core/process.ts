import * as l10n from '@vscode/l10n';
import { execa } from 'execa';
import type { ExecaError } from 'execa';

/** What a command is run with. */
export interface RunOptions {
  /** Written to the command's standard input, which is closed otherwise. */
  stdin?: string;
  /** Variables added to the runner's environment; `undefined` takes one away. */
  env?: Readonly<Record<string, string | undefined>>;
  /** Ends the command and rejects with its reason. */
  signal?: AbortSignal;
  /** Milliseconds after which the command is ended; a minute when absent. */
  timeoutMs?: number;
}

/** How a command that ran ended. `exitCode` is -1 when a signal ended it. */
export interface RunResult {
  stdout: string;
  stderr: string;
  exitCode: number;
}

/**
 * Runs a program with arguments that pass no shell. A program that fails is a result, not an error.
 *
 * @throws ProcessError when it could not be started, or did not end in time.
 */
export type Run = (file: string, args: readonly string[], options?: RunOptions) => Promise<RunResult>;

/** A program that could not be run. The message is localised and holds neither arguments nor output. */
export class ProcessError extends Error {
  override readonly name = 'ProcessError';
  /** `missing`: not found on PATH; `refused`: found, but not startable; `timeout`: did not end in time. */
  readonly reason: 'missing' | 'refused' | 'timeout';
  readonly file: string;

  constructor(reason: ProcessError['reason'], file: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.file = file;
  }
}

/** Longest output that is kept, in characters; what is longer is cut. A Helm release with its chart has some hundred thousand. */
const maxBuffer = 64 * 1024 * 1024;

/**
 * Makes a runner with exactly this environment; programs are looked up on its PATH.
 *
 * On POSIX systems a program leads its own process group, so that ending it also ends what it started, such as an exec
 * credential plugin that hangs; and Ctrl-C in a terminal does not break off a Helm upgrade half-way.
 */
export function createRunner(env: Readonly<Record<string, string | undefined>>): Run {
  return async (file, args, options = {}) => {
    const { signal, timeoutMs = 60_000 } = options;
    signal?.throwIfAborted();
    const ownGroup = process.platform !== 'win32';
    const full = withoutUndefined({ ...env, ...options.env });
    const running = execa(file, [...args], {
      env: full,
      extendEnv: false,
      ...(options.stdin === undefined ? { stdin: 'ignore' as const } : { input: options.stdin }),
      detached: ownGroup,
      windowsHide: true,
      stripFinalNewline: false,
      maxBuffer,
      reject: false,
    });

    const stop = (): void => {
      endGroup(running.pid, ownGroup);
    };
    const deadline = AbortSignal.timeout(timeoutMs);
    const signals = signal ? [signal, deadline] : [deadline];
    for (const each of signals) each.addEventListener('abort', stop, { once: true });
    const result = await running.finally(() => {
      for (const each of signals) each.removeEventListener('abort', stop);
    });

    signal?.throwIfAborted();
    if (deadline.aborted)
      throw new ProcessError(
        'timeout',
        file,
        l10n.t('{0} did not end within {1} s and was stopped.', file, Math.round(timeoutMs / 1000)),
      );
    if (result instanceof Error && result.exitCode === undefined && result.signal === undefined)
      throw notStarted(result as ExecaError, file, full);
    return { stdout: result.stdout, stderr: result.stderr, exitCode: result.exitCode ?? -1 };
  };
}

function endGroup(pid: number | undefined, ownGroup: boolean): void {
  if (pid === undefined) return;
  try {
    process.kill(ownGroup ? -pid : pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

function withoutUndefined(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function notStarted(error: ExecaError, file: string, env: Readonly<Record<string, string>>): ProcessError {
  const path = env.PATH ?? env.Path ?? '';
  if (error.code === 'ENOENT')
    return new ProcessError(
      'missing',
      file,
      [l10n.t('{0} was not found. PATH is {1}.', file, path === '' ? l10n.t('empty') : path), howToInstall(file)].join(
        ' ',
      ),
    );
  return new ProcessError(
    'refused',
    file,
    l10n.t('{0} cannot be started ({1}).', file, error.code ?? error.shortMessage),
  );
}

function howToInstall(file: string): string {
  const name = /([^/\\]+?)(\.exe)?$/.exec(file)?.[1];
  if (name === 'helm')
    return l10n.t(
      'Install it (https://helm.sh/docs/intro/install/), or name it in the setting {0}.',
      'milvusLayer7.helm.path',
    );
  if (name === 'gcloud')
    return l10n.t(
      'Install it (https://cloud.google.com/sdk/docs/install), or name it in the setting {0}.',
      'milvusLayer7.gcloud.path',
    );
  return l10n.t('Install it, or add its folder to the setting {0}.', 'milvusLayer7.path');
}

/** What a program said last, for a message: the last three lines of its stderr that are not empty. Localised when it said nothing. */
export function lastLines(stderr: string): string {
  const lines = stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return lines.slice(-3).join(' ') || l10n.t('nothing');
}
