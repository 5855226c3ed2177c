/** What `test/run.ts` hands to the e2e tests, and what is kept of a test that failed. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'vitest';
import { testOutput } from '../paths.ts';
import { sandboxEnvironment, type SandboxReady } from '../sandboxProcess.ts';
import type { VSCode } from '../vscode/server.ts';
import type { Workbench } from '../vscode/workbench.ts';

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run npm run test:e2e.`);
  return value;
}

const ready = JSON.parse(variable('SANDBOX')) as SandboxReady;

/** The running sandbox. */
export const sandbox = { ready, env: sandboxEnvironment(ready) };

/** The VSIX under test. */
export const packagedExtension = variable('VSIX');

/** Keeps a screenshot and the extension's log of a failed test in `test-output/`. */
export async function keepOnFailure({ task }: TestContext, workbench: Workbench, vscode: VSCode): Promise<void> {
  if (task.result?.state !== 'fail') return;
  const name = [task.suite?.name ?? '', task.name].join(' ').replace(/[^\w.]+/g, '-');
  mkdirSync(testOutput, { recursive: true });
  await workbench.screenshot(path.join(testOutput, `${name}.png`)).catch(() => undefined);
  writeFileSync(path.join(testOutput, `${name}.log`), vscode.extensionLog());
}
