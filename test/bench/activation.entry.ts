/** Runs in the extension host: times the activation of the extension named by BENCH_EXTENSION into the file BENCH_RESULT. */
import { writeFileSync } from 'node:fs';
import * as vscode from 'vscode';

export async function run(): Promise<void> {
  const extension = vscode.extensions.getExtension(process.env.BENCH_EXTENSION ?? '');
  if (extension === undefined) throw new Error('The extension is not there.');
  if (extension.isActive) throw new Error('The extension was activated before it could be timed.');
  const begun = performance.now();
  await extension.activate();
  writeFileSync(process.env.BENCH_RESULT ?? '', JSON.stringify({ ms: performance.now() - begun }));
}
