/** gcloud as the product runs it. */
import path from 'node:path';
import { expect, test } from 'vitest';
import { createGcloud, projectOfContext } from '../../src/core/gke/gcloud.ts';
import { createRunner } from '../../src/core/process.ts';
import { control, tool } from '../milvusRelease.ts';
import { sandboxEnvironment } from '../sandboxProcess.ts';
import { runningSandbox } from './setupOnSandbox.ts';

const sandbox = runningSandbox();
const env = sandboxEnvironment(sandbox);
const run = createRunner(env);
const project = projectOfContext(sandbox.contexts.admin);

test('reserves a global address once, and lists it', async () => {
  const gcloud = createGcloud(run, project);
  const made = await gcloud.reserveAddress('gcloud-test');
  try {
    expect(made).toMatchObject({ name: 'gcloud-test', status: 'RESERVED' });
    expect(await gcloud.reserveAddress('gcloud-test')).toEqual(made);
    expect(await gcloud.addresses()).toContainEqual(made);
  } finally {
    const file = path.join(sandbox.bin, 'gcloud');
    await tool(env, file, [
      'compute',
      'addresses',
      'delete',
      'gcloud-test',
      '--global',
      '--quiet',
      `--project=${project ?? ''}`,
    ]);
  }
  expect((await gcloud.addresses())?.map(({ name }) => name)).not.toContain('gcloud-test');
});

test('explains a quota that is used up', async () => {
  await control(sandbox.control, 'PUT', '/quota/addresses', { limit: 0 });
  try {
    await expect(createGcloud(run, project).reserveAddress('one-too-many')).rejects.toThrow(
      'the quota of sandbox-project is used up',
    );
  } finally {
    await control(sandbox.control, 'DELETE', '/quota/addresses');
  }
});

test('is optional', async () => {
  expect(await createGcloud(createRunner({ PATH: '' }), project).addresses()).toBeUndefined();
});
