/** Runs Mocha tests inside the extension host of a real VS Code. */
import path from 'node:path';
import type { Browser } from 'playwright-core';
import type { VSCode } from './server.ts';

export interface ExtensionTests {
  /** Folder of the extension under test: its source folder, no package is needed. */
  extension: string;
  /** Module that exports `run(): Promise<void>`, which rejects when a test failed. */
  entry: string;
  /** Variables for `process.env` of the extension host. */
  env?: Record<string, string>;
  timeoutMs: number;
}

/** What came of one run. */
export interface ExtensionTestsResult {
  /** 0 when `run()` resolved, 1 when it rejected. */
  exitCode: number;
  /** Console output of the tests and of the window. */
  output: string;
}

/**
 * Opens a window in which VS Code loads the extension and runs the tests. The server must have been started with
 * `forExtensionTests`: without it VS Code ignores the request (`payload` is read only when the smoke-test driver is on).
 */
export async function runExtensionTests(
  browser: Browser,
  vscode: VSCode,
  tests: ExtensionTests,
): Promise<ExtensionTestsResult> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  try {
    const page = await context.newPage();
    const lines: string[] = [];
    await page.exposeFunction('codeAutomationLog', (_type: string, args: unknown) => {
      lines.push(Array.isArray(args) ? args.map(String).join(' ') : String(args));
    });
    let timer: NodeJS.Timeout | undefined;
    const exit = new Promise<number>((resolve, reject) => {
      void page.exposeFunction('codeAutomationExit', (code: number) => {
        resolve(code);
      });
      timer = setTimeout(() => {
        reject(
          new Error(`The extension host reported no result within ${tests.timeoutMs / 1000} s.\n${lines.join('\n')}`),
        );
      }, tests.timeoutMs);
    });
    const remote = (file: string): string => `vscode-remote://${vscode.authority}${path.resolve(file)}`;
    const payload = [
      ['extensionDevelopmentPath', remote(tests.extension)],
      ['extensionTestsPath', remote(tests.entry)],
      ['extensionEnvironment', JSON.stringify(tests.env ?? {})],
    ];
    await page.goto(`${vscode.url()}&payload=${encodeURIComponent(JSON.stringify(payload))}`);
    const exitCode = await exit.finally(() => {
      clearTimeout(timer);
    });
    return { exitCode, output: lines.join('\n') };
  } finally {
    await context.close();
  }
}
