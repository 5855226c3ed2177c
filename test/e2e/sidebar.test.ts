/** The sidebar of the packaged extension: every context of the kubeconfig, the releases in it, and why one cannot be reached. */
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { installRelease } from '../milvusRelease.ts';
import { environmentFor, settingsFor } from '../vscode/sandboxSettings.ts';
import { startVSCode, type VSCode } from '../vscode/server.ts';
import { startBrowser, Workbench } from '../vscode/workbench.ts';
import { keepOnFailure, packagedExtension, sandbox } from './environment.ts';

const { contexts } = sandbox.ready;
let vscode: VSCode;
let browser: Browser;
let workbench: Workbench;

beforeAll(async () => {
  const values = 'cluster:\n  enabled: false\nservice:\n  type: LoadBalancer\n';
  [, vscode, browser] = await Promise.all([
    installRelease(sandbox.env, { name: 'tree', namespace: 'sidebar', chartVersion: '4.2.58', values }, 10),
    startVSCode({
      extensions: [packagedExtension],
      env: environmentFor(sandbox.ready),
      settings: settingsFor(sandbox.ready),
    }),
    startBrowser(),
  ]);
  workbench = await Workbench.open(browser, vscode);
  await workbench.openContainer('Milvus Layer 7');
});
afterEach(async (context) => {
  await keepOnFailure(context, workbench, vscode);
});
afterAll(async () => {
  await browser.close();
  await vscode.stop();
});

const contextRow = (name: string): RegExp => new RegExp(`^Context ${name}(,|$)`);

test('shows every context, the current one marked', async () => {
  for (const name of Object.values(contexts)) await workbench.treeItem(contextRow(name)).waitFor();
  expect(await workbench.page.getByRole('treeitem', { name: /, current/ }).count()).toBe(1);
  await workbench.treeItem(new RegExp(`^Context ${contexts.admin}, current`)).waitFor();
});

test('shows a release with its mode, version and headline', async () => {
  await workbench.treeItem(contextRow(contexts.admin)).click();
  await workbench.treeItem(/^Milvus release tree, sidebar, standalone, 2\.5\.16, Not set up:.* Layer 4/).waitFor();
});

test('says that a context cannot be reached, and why', async () => {
  await workbench.treeItem(contextRow(contexts.unreachable)).click();
  const row = workbench.treeItem(new RegExp(`^Context ${contexts.unreachable}, .*(reached|refused)`));
  await row.waitFor();
  // Expanding one context tells nothing of the others.
  expect(await workbench.treeItem(contextRow(contexts.reader)).getAttribute('aria-label')).toBe(
    `Context ${contexts.reader}`,
  );
});

test('says where there is no Milvus', async () => {
  await workbench.treeItem(contextRow(contexts.withoutMilvus)).click();
  await workbench.treeItem(/^No Milvus/).waitFor();
});
