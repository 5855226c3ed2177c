/** Child processes of the tests and the demo: each runs in a process group of its own and is ended as a whole. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** How a process ended. */
export interface Exit {
  code: number | undefined;
  signal: string | undefined;
}

export interface ProcessOptions {
  cwd?: string;
  /** The whole environment. */
  env?: NodeJS.ProcessEnv;
  /** File that gets stdout and stderr, appended. Without it they are piped to `onOutput`. */
  logFile?: string;
  onOutput?: (text: string, stream: 'stdout' | 'stderr') => void;
  /** Keep a pipe to the process' stdin, which closes when this process dies. */
  stdin?: 'pipe' | 'ignore';
}

/** A running process and everything it started. */
export interface ProcessGroup {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  /** Ends the group: SIGTERM, then SIGKILL after `graceMs`. Resolves when no process of it is left. */
  stop(graceMs?: number): Promise<void>;
}

const running = new Set<ProcessGroup>();

function alive(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch {
    return false;
  }
}

function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // The group is gone already.
  }
}

/** Waits until `done` holds, looking every 50 ms; false when `ms` ran out. */
async function until(done: () => boolean, ms: number): Promise<boolean> {
  const end = Date.now() + ms;
  while (!done()) {
    if (Date.now() > end) return false;
    await sleep(50);
  }
  return true;
}

/** Starts a program in a process group of its own. */
export function startProcess(file: string, args: readonly string[], options: ProcessOptions = {}): ProcessGroup {
  const log = options.logFile === undefined ? undefined : openSync(options.logFile, 'a');
  const out = log ?? (options.onOutput ? 'pipe' : 'ignore');
  const child = spawn(file, args, {
    cwd: options.cwd,
    env: options.env ?? process.env,
    detached: true,
    stdio: [options.stdin ?? 'ignore', out, out],
  });
  if (log !== undefined) closeSync(log);
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => options.onOutput?.(text, stream));
  }
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', (error) => {
      reject(new Error(`${file} did not start: ${error.message}`, { cause: error }));
    });
    child.once('close', (code, signal) => {
      resolve({ code: code ?? undefined, signal: signal ?? undefined });
    });
  });
  const group: ProcessGroup = {
    child,
    exited,
    async stop(graceMs = 5000) {
      running.delete(group);
      const { pid } = child;
      if (pid === undefined) return;
      signalGroup(pid, 'SIGTERM');
      if (await until(() => !alive(pid), graceMs)) return;
      signalGroup(pid, 'SIGKILL');
      await until(() => !alive(pid), 2000);
    },
  };
  running.add(group);
  exited
    .catch(() => undefined)
    .finally(() => {
      // What the program itself left behind in its group is ended with it.
      if (child.pid !== undefined) signalGroup(child.pid, 'SIGTERM');
      if (child.pid === undefined || !alive(child.pid)) running.delete(group);
    });
  return group;
}

/** Ends every process group that is still running, the youngest first. */
export async function stopAll(): Promise<void> {
  for (const group of [...running].reverse()) await group.stop();
}

const cleanUps: (() => Promise<void> | void)[] = [];

/** Registers work for {@link endOnSignals}: it runs on Ctrl-C, SIGTERM and when the parent process is gone, last first. */
export function onEnd(work: () => Promise<void> | void): void {
  cleanUps.push(work);
}

/** Runs and forgets everything registered with {@link onEnd}, then ends all processes. */
export async function endAll(): Promise<void> {
  for (let work = cleanUps.pop(); work; work = cleanUps.pop()) await work();
  await stopAll();
}

/** Makes Ctrl-C, SIGTERM, SIGHUP and the death of the parent end everything before this process exits. */
export function endOnSignals(): void {
  let ending = false;
  const end = (code: number): void => {
    if (ending) return;
    ending = true;
    void endAll().finally(() => process.exit(code));
  };
  process.on('SIGINT', () => {
    end(130);
  });
  process.on('SIGTERM', () => {
    end(143);
  });
  process.on('SIGHUP', () => {
    end(129);
  });
  // The channel that test/node.mjs opens closes when that process is gone.
  process.on('disconnect', () => {
    end(143);
  });
  process.channel?.unref();
}
