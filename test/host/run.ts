/** Bundles the tests of this folder and runs them in the extension host of a real VS Code, on a running sandbox. */
import { globSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { cache, repository, testOutput } from '../paths.ts';
import type { Sandbox } from '../sandboxProcess.ts';
import { runExtensionTests } from '../vscode/extensionHostTests.ts';
import { environmentFor, settingsFor } from '../vscode/sandboxSettings.ts';
import { startVSCode } from '../vscode/server.ts';
import { startBrowser } from '../vscode/workbench.ts';

interface MochaReport {
  passes: { fullTitle: string }[];
  failures: { fullTitle: string; err: { message?: string } }[];
  pending: { fullTitle: string }[];
}

/** Runs them; the window's console goes to `logFile`. */
export async function runHostTests(sandbox: Sandbox, logFile: string): Promise<{ passed: number; failures: string[] }> {
  const out = path.join(cache, 'host-tests');
  const report = path.join(testOutput, 'host.json');
  rmSync(out, { recursive: true, force: true });
  rmSync(report, { force: true });
  await build({
    entryPoints: globSync('*.{test,entry}.ts', { cwd: import.meta.dirname }).map((file) =>
      path.join(import.meta.dirname, file),
    ),
    outdir: out,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node22',
    external: ['vscode', 'mocha'],
    logLevel: 'warning',
  });
  const vscode = await startVSCode({
    forExtensionTests: true,
    env: environmentFor(sandbox.ready),
    settings: settingsFor(sandbox.ready),
  });
  try {
    const browser = await startBrowser();
    try {
      const { exitCode, output } = await runExtensionTests(browser, vscode, {
        extension: repository,
        entry: path.join(out, 'mocha.entry.js'),
        env: { MOCHA_REPORT: report, SANDBOX: JSON.stringify(sandbox.ready) },
        timeoutMs: 300_000,
      });
      writeFileSync(logFile, output);
      if (!existsSync(report)) throw new Error(`Mocha made no report; the extension host said:\n${output}`);
      const { passes, failures, pending } = JSON.parse(readFileSync(report, 'utf8')) as MochaReport;
      const failed = [
        ...failures.map(({ fullTitle, err }) => `${fullTitle}: ${err.message ?? ''}`),
        ...pending.map(({ fullTitle }) => `${fullTitle}: skipped`),
      ];
      if (exitCode !== 0 && failed.length === 0) failed.push(`the extension host ended with ${exitCode}`);
      return { passed: passes.length, failures: failed };
    } finally {
      await browser.close();
    }
  } finally {
    await vscode.stop();
  }
}
