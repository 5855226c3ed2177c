import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { Clock } from '../ports.ts';
import { systemClock } from '../systemClock.ts';
import { KubeError } from './errors.ts';
import { ExecCredentials, type ExecCredentialDeps } from './execCredential.ts';
import { until } from './faultServer.ts';
import type { ClusterEntry, ExecEntry } from './kubeconfig.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'exec-'));
});
afterAll(() => rm(folder, { recursive: true }));

const apiVersion = 'client.authentication.k8s.io/v1';
const cluster: ClusterEntry = { name: 'c', server: 'https://c.example', skipTlsVerify: false, caData: 'Q0E=' };
const answer = (status: object) => JSON.stringify({ apiVersion, kind: 'ExecCredential', status });

let scripts = 0;
/** A plugin as a shell script; `$RUNS` is a file that gets a line for each run. */
async function plugin(script: string, entry: Partial<ExecEntry> = {}, deps: Partial<ExecCredentialDeps> = {}) {
  scripts += 1;
  const name = `plugin-${scripts}`;
  const runsFile = path.join(folder, `${name}.runs`);
  await writeFile(path.join(folder, name), `#!/bin/sh\necho run >> "$RUNS"\n${script}\n`, { mode: 0o755 });
  const exec: ExecEntry = {
    apiVersion,
    command: `./${name}`,
    args: [],
    env: [],
    provideClusterInfo: false,
    folder,
    ...entry,
  };
  const credentials = new ExecCredentials(exec, cluster, {
    clock: systemClock,
    env: { ...process.env, RUNS: runsFile },
    ...deps,
  });
  return {
    credentials,
    name,
    runs: async () => (await readFile(runsFile, 'utf8').catch(() => '')).split('\n').length - 1,
  };
}

async function failure(promise: Promise<unknown>): Promise<KubeError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(KubeError);
  return error as KubeError;
}

const isAlive = async (pid: number) => {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // On Linux a process that has ended stays until its new parent asks for it.
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return !/\) [ZX]/.test(state);
};

describe('ExecCredentials', () => {
  it('runs the plugin once for ten callers and keeps what it gave', async () => {
    const { credentials, runs } = await plugin(`sleep 0.05; echo '${answer({ token: 'tok' })}'`);
    const all = await Promise.all(Array.from({ length: 10 }, () => credentials.get()));
    expect(new Set(all.map((credential) => credential.token))).toEqual(new Set(['tok']));
    await credentials.get();
    expect(await runs()).toBe(1);
  });

  it('runs it again shortly before the credential expires, and after it was refused, but not for an older one', async () => {
    let now = Date.parse('2030-01-01T00:00:00Z');
    const clock: Clock = { now: () => now, sleep: (ms, signal) => systemClock.sleep(ms, signal) };
    const { credentials, runs } = await plugin(
      `echo '${answer({ token: 'tok', expirationTimestamp: '2030-01-01T00:10:00Z' })}'`,
      {},
      { clock },
    );
    const first = await credentials.get();
    now += 9.8 * 60_000;
    expect(await credentials.get()).toBe(first);
    now += 0.1 * 60_000;
    const second = await credentials.get();
    expect(await runs()).toBe(2);
    expect(credentials.refuse(first)).toBe(true);
    await credentials.get();
    expect(await runs()).toBe(2);
    expect(credentials.refuse(second)).toBe(true);
    const third = await credentials.get();
    expect(await runs()).toBe(3);
    // A plugin that has nothing better is not run again and again.
    expect(credentials.refuse(third)).toBe(false);
    await credentials.get();
    expect(await runs()).toBe(3);
    now += 6000;
    expect(credentials.refuse(third)).toBe(true);
  });

  it('gives it no stdin, the environment of the kubeconfig, the extra folders and the cluster', async () => {
    const { credentials } = await plugin(
      `cat; printf '{"apiVersion":"${apiVersion}","kind":"ExecCredential","status":{"token":"%s"}}' "$(printf '%s|%s|%s|%s' "$A" "$PATH" "$1" "$KUBERNETES_EXEC_INFO" | base64 | tr -d '\\n')"`,
      { args: ['--flag'], env: [{ name: 'A', value: 'b' }], provideClusterInfo: true },
      { pathFolders: ['/extra/bin'] },
    );
    const said = Buffer.from((await credentials.get()).token ?? '', 'base64').toString();
    const [a, searched, flag, info] = said.split('|');
    expect(a).toBe('b');
    expect(searched?.startsWith(`/extra/bin${path.delimiter}`)).toBe(true);
    expect(flag).toBe('--flag');
    expect(JSON.parse(info ?? '')).toEqual({
      apiVersion,
      kind: 'ExecCredential',
      spec: { interactive: false, cluster: { server: 'https://c.example', 'certificate-authority-data': 'Q0E=' } },
    });
  });

  it('finds a command without a slash in the extra folders', async () => {
    const { name } = await plugin(`echo '${answer({ token: 'tok' })}'`);
    const { credentials } = await plugin('', { command: name }, { pathFolders: [folder] });
    expect((await credentials.get()).token).toBe('tok');
  });

  it('ends a plugin that hangs, with its children, when the time is up or on dispose', async () => {
    for (const how of ['time-out', 'dispose'] as const) {
      const pidFile = path.join(folder, `${how}.pid`);
      // The grandchild holds stdout open, as gcloud's wrapper does.
      const script = `sleep 600 & echo $! > "${pidFile}"; wait`;
      const { credentials, name } = await plugin(script, {}, { timeoutMs: how === 'time-out' ? 400 : 60_000 });
      const begun = Date.now();
      const got = credentials.get();
      got.catch(() => undefined);
      let pid = 0;
      await until(
        async () => (pid = Number(await readFile(pidFile, 'utf8').catch(() => '0'))) > 0,
        'the plugin has started',
      );
      if (how === 'dispose') {
        credentials.dispose();
        await expect(got).rejects.toMatchObject({ name: 'AbortError' });
      } else {
        const error = await failure(got);
        expect(error.failure).toBe('timeout');
        expect(error.message).toBe(
          `the exec plugin ./${name} did not answer within 0 s and was ended. Run it in a terminal to see what it waits for.`,
        );
      }
      expect(Date.now() - begun).toBeLessThan(3000);
      await until(async () => !(await isAlive(pid)), 'the grandchild has ended');
    }
  });

  it('lets one caller leave without ending the run for the others', async () => {
    const { credentials, runs } = await plugin(`sleep 0.2; echo '${answer({ token: 'tok' })}'`);
    const abort = new AbortController();
    const leaving = credentials.get(abort.signal);
    const staying = credentials.get();
    abort.abort(new Error('left'));
    await expect(leaving).rejects.toThrow('left');
    expect((await staying).token).toBe('tok');
    expect(await runs()).toBe(1);
  });

  it('says what is missing, by the install hint of the kubeconfig', async () => {
    const command = 'gke-gcloud-auth-plugin-missing';
    const hint = 'Install gke-gcloud-auth-plugin for use with kubectl by following https://example.com';
    const withHint = await plugin('', { command, installHint: hint });
    expect(await failure(withHint.credentials.get())).toMatchObject({
      kind: 'credentials',
      failure: 'missing',
      message: `the exec plugin ${command} was not found on the PATH that VS Code sees. ${hint}`,
    });
    const without = await plugin('', { command });
    expect((await failure(without.credentials.get())).message).toBe(
      `the exec plugin ${command} was not found on the PATH that VS Code sees. Install it, or add its folder to the setting milvusLayer7.path.`,
    );
  });

  it.each([
    [
      'an exit code with stderr',
      `echo 'run gcloud auth login' >&2; exit 1`,
      {},
      'failed',
      'NAME failed: run gcloud auth login',
    ],
    ['a silent exit code', 'exit 3', {}, 'failed', 'NAME ended with code 3 and said nothing.'],
    ['no JSON', `echo 'secret-token'`, {}, 'invalid', 'NAME did not print JSON.'],
    [
      'no status',
      `echo '${answer({})}'`,
      {},
      'invalid',
      `NAME printed no ExecCredential of ${apiVersion} with a token or a certificate.`,
    ],
    [
      'another API version',
      `echo '${answer({ token: 'secret-token' }).replace('/v1', '/v1beta1')}'`,
      {},
      'invalid',
      `NAME printed no ExecCredential of ${apiVersion} with a token or a certificate.`,
    ],
    [
      'a removed API version',
      '',
      { apiVersion: 'client.authentication.k8s.io/v1alpha1' },
      'invalid',
      'NAME uses the API version client.authentication.k8s.io/v1alpha1, which Kubernetes removed. Install its newest version and fetch the credentials of the cluster again.',
    ],
    [
      'questions in a terminal',
      '',
      { interactiveMode: 'Always' },
      'interactive',
      'NAME asks questions in a terminal (interactiveMode: Always), which VS Code has not.',
    ],
  ])('explains %s', async (_case, script, entry, why, message) => {
    const { credentials, name } = await plugin(script, entry);
    const error = await failure(credentials.get());
    expect(error.failure).toBe(why);
    expect(error.message).toBe(`the exec plugin ${message.replace('NAME', `./${name}`)}`);
  });

  it('does not run a failing plugin for each caller, and tries again after a while', async () => {
    let now = 1000;
    const { credentials, runs } = await plugin(
      'exit 3',
      {},
      { clock: { now: () => now, sleep: (ms, signal) => systemClock.sleep(ms, signal) } },
    );
    await failure(credentials.get());
    await failure(credentials.get());
    expect(await runs()).toBe(1);
    now += 6000;
    await failure(credentials.get());
    expect(await runs()).toBe(2);
  });

  it('keeps tokens out of what it tells of stderr', async () => {
    const { credentials } = await plugin(
      `echo 'bad token ya29.a0Ab-c_d.e and eyJhbGci.eyJzdWIi.c2ln here' >&2; exit 1`,
    );
    expect((await failure(credentials.get())).message).toMatch(/failed: bad token … and … here$/);
  });
});
