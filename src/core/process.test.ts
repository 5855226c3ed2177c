import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createRunner, ProcessError } from './process.ts';
import type { RunOptions } from './process.ts';

const node = process.execPath;
const run = createRunner({ PATH: '/nowhere', SHOWN: 'yes' });
const script = (code: string): string[] => ['--eval', code];

/** A process that has ended but was not yet waited for by its parent counts as gone, where the system tells. */
async function isGone(pid: number): Promise<boolean> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    try {
      process.kill(pid, 0);
      if ((await readFile(`/proc/${String(pid)}/stat`, 'utf8').catch(() => '')).includes(') Z ')) return true;
    } catch {
      return true;
    }
    await sleep(20);
  }
  return false;
}

test('passes arguments without a shell, input, and only the given environment', async () => {
  const code = `process.stdin.pipe(process.stdout, { end: false });
    process.stdin.on('end', () => console.error(JSON.stringify([process.argv.slice(1), process.env.SHOWN, process.env.ADDED, process.env.HOME])));`;
  const result = await run(node, [...script(code), '$(id); `id` "x"', '*'], {
    stdin: 'values\n',
    env: { ADDED: '1', HOME: undefined },
  });
  expect(result.stdout).toBe('values\n');
  expect(JSON.parse(result.stderr)).toEqual([['$(id); `id` "x"', '*'], 'yes', '1', null]);
  expect(result.exitCode).toBe(0);
});

test('a program that fails is a result', async () => {
  expect(await run(node, script('console.error("why"); process.exit(3)'))).toEqual({
    stdout: '',
    stderr: 'why\n',
    exitCode: 3,
  });
  expect(await run(node, script('process.kill(process.pid, "SIGTERM")'))).toMatchObject({ exitCode: -1 });
});

test('a program that does not read its input is no error', async () => {
  expect((await run(node, script('0'), { stdin: 'x'.repeat(1_000_000) })).exitCode).toBe(0);
});

describe('a program that is not there', () => {
  test.each([
    [
      'helm',
      'helm was not found. PATH is /nowhere. Install it (https://helm.sh/docs/intro/install/), or name it in the setting milvusLayer7.helm.path.',
    ],
    [
      'gcloud',
      'gcloud was not found. PATH is /nowhere. Install it (https://cloud.google.com/sdk/docs/install), or name it in the setting milvusLayer7.gcloud.path.',
    ],
    [
      'kubectl',
      'kubectl was not found. PATH is /nowhere. Install it, or add its folder to the setting milvusLayer7.path.',
    ],
  ])('%s', async (file, message) => {
    const error = await run(file, []).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ProcessError);
    expect(error).toMatchObject({ reason: 'missing', file, message });
  });

  test('or cannot be started', async () => {
    await expect(run(import.meta.dirname, [])).rejects.toMatchObject({ reason: 'refused' });
  });
});

describe('a program that does not end', { timeout: 30_000 }, () => {
  // A grandchild holds the output open, as a hanging credential plugin does.
  const hanging = `const child = require('child_process').spawn(process.execPath, ['--eval', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
    require('fs').writeFileSync(process.env.PIDS, process.pid + ' ' + child.pid); setInterval(() => {}, 1000);`;

  /** Runs it in a folder where it notes its processes; `started` resolves once it has. */
  async function hang(
    options: (started: Promise<void>) => RunOptions,
  ): Promise<{ error: unknown; processes: readonly number[] }> {
    const folder = await mkdtemp(`${tmpdir()}/process-`);
    const pids = `${folder}/pids`;
    const noted = async (): Promise<string> => await readFile(pids, 'utf8').catch(() => '');
    const over = new AbortController();
    const started = (async () => {
      while ((await noted()) === '' && !over.signal.aborted) await sleep(10);
    })();
    try {
      const error = await run(node, script(hanging), { env: { PIDS: pids }, ...options(started) }).catch(
        (reason: unknown) => reason,
      );
      return { error, processes: (await noted()).split(' ').filter(Boolean).map(Number) };
    } finally {
      over.abort();
      await started;
      await rm(folder, { recursive: true });
    }
  }

  const allGone = async (processes: readonly number[]): Promise<boolean> =>
    (await Promise.all(processes.map(isGone))).every(Boolean);

  test('ends with what it started when it is cancelled', async () => {
    const reason = new Error('cancelled');
    const { error, processes } = await hang((started) => {
      const controller = new AbortController();
      void started.then(() => {
        controller.abort(reason);
      });
      return { signal: controller.signal };
    });
    expect(error).toBe(reason);
    expect(processes).toHaveLength(2);
    expect(await allGone(processes)).toBe(true);
  });

  test('ends with what it started when its time is over', async () => {
    // On a busy machine the time may be over before the program has started its own.
    for (let timeoutMs = 1000; ; timeoutMs *= 2) {
      const { error, processes } = await hang(() => ({ timeoutMs }));
      expect(error).toMatchObject({
        reason: 'timeout',
        message: expect.stringContaining(`did not end within ${String(timeoutMs / 1000)} s`) as string,
      });
      if (processes.length < 2) continue;
      expect(await allGone(processes)).toBe(true);
      return;
    }
  });

  test('is not even started when it was cancelled before', async () => {
    const reason = new Error('cancelled');
    await expect(run('no such program', [], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
