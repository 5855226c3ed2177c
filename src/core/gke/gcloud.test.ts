import { describe, expect, test } from 'vitest';
import { ProcessError } from '../process.ts';
import type { Run, RunResult } from '../process.ts';
import { createGcloud, GcloudError, projectOfContext } from './gcloud.ts';

const ok = (value: unknown): RunResult => ({ stdout: JSON.stringify(value), stderr: '', exitCode: 0 });
const failed = (stderr: string): RunResult => ({ stdout: '', stderr, exitCode: 1 });
const address = { name: 'ip', address: '203.0.113.9', status: 'RESERVED', addressType: 'EXTERNAL', ipVersion: 'IPV4' };

/** Answers one call after the other and keeps the arguments. */
function script(...answers: (RunResult | Error)[]): { run: Run; calls: string[] } {
  const calls: string[] = [];
  return {
    calls,
    run: (file, args, options) => {
      calls.push([file, ...args].join(' '));
      expect(options?.env).toEqual({ CLOUDSDK_CORE_DISABLE_PROMPTS: '1' });
      const answer = answers.shift();
      if (answer instanceof Error || answer === undefined) return Promise.reject(answer ?? new Error('not expected'));
      return Promise.resolve(answer);
    },
  };
}

test.each([
  ['gke_my-project_us-central1_vectors', 'my-project'],
  ['gke_example.com:my-project_us-central1-a_a_b', 'example.com:my-project'],
  ['kind-dev', undefined],
  ['gke_only_two', undefined],
])('project of the context %s', (context, project) => {
  expect(projectOfContext(context)).toBe(project);
});

describe('addresses', () => {
  test('the global, external IPv4 ones of the project', async () => {
    const others = [
      { ...address, name: 'v6', ipVersion: 'IPV6' },
      { ...address, name: 'inside', addressType: 'INTERNAL' },
      { name: 'no address' },
      null,
    ];
    const { run, calls } = script(ok([address, ...others, { name: 'old', address: '203.0.113.10', status: 'IN_USE' }]));
    expect(await createGcloud(run, 'p').addresses()).toEqual([
      { name: 'ip', address: '203.0.113.9', status: 'RESERVED' },
      { name: 'old', address: '203.0.113.10', status: 'IN_USE' },
    ]);
    expect(calls).toEqual(['gcloud compute addresses list --global --format=json --project=p']);
  });

  test('unknown without gcloud', async () => {
    const { run } = script(new ProcessError('missing', 'gcloud', 'gcloud was not found.'));
    expect(await createGcloud(run).addresses()).toBeUndefined();
  });

  test.each([
    [
      'ERROR: (gcloud.compute.addresses.list) You do not currently have an active account selected.',
      'Run "gcloud auth login".',
    ],
    ["ERROR: Required 'compute.addresses.list' permission for 'projects/p'", 'Compute Network Admin'],
    ['ERROR: The required property [project] is not currently set.', 'gcloud config set project'],
    ['ERROR: something new', 'gcloud cannot list the addresses in p. gcloud says: ERROR: something new'],
  ])('explains: %s', async (stderr, message) => {
    const attempt = createGcloud(script(failed(stderr)).run, 'p').addresses();
    await expect(attempt).rejects.toThrow(GcloudError);
    await expect(attempt).rejects.toThrow(message);
  });

  test('says when gcloud does not answer', async () => {
    const { run } = script(new ProcessError('timeout', 'gcloud', 'gcloud did not end within 120 s and was stopped.'));
    await expect(createGcloud(run).addresses()).rejects.toThrow(
      new GcloudError('gcloud did not end within 120 s and was stopped.'),
    );
  });
});

describe('reserving an address', () => {
  test('returns what was made', async () => {
    const { run, calls } = script(ok([address]));
    expect(await createGcloud(run, 'p', '/opt/gcloud').reserveAddress('ip')).toEqual({
      name: 'ip',
      address: '203.0.113.9',
      status: 'RESERVED',
    });
    expect(calls).toEqual(['/opt/gcloud compute addresses create ip --global --format=json --project=p']);
  });

  test('goes on with one that an interrupted setup reserved', async () => {
    const exists = failed("ERROR: The resource 'projects/p/global/addresses/ip' already exists");
    const { run, calls } = script(exists, ok([address]));
    expect((await createGcloud(run, 'p').reserveAddress('ip')).address).toBe('203.0.113.9');
    expect(calls).toHaveLength(2);
  });

  test('explains the quota', async () => {
    const { run } = script(failed("ERROR: Quota 'STATIC_ADDRESSES' exceeded.  Limit: 8.0 globally."));
    await expect(createGcloud(run, 'p').reserveAddress('ip')).rejects.toThrow('the quota of p is used up');
  });

  test.each(['Upper', '-x', 'a--b-', '--project=other', 'x'.repeat(64)])(
    'refuses the name %s before running anything',
    async (name) => {
      const { run, calls } = script();
      await expect(createGcloud(run).reserveAddress(name)).rejects.toThrow('is no name for an address');
      expect(calls).toEqual([]);
    },
  );
});
