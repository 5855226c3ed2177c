/**
 * All tests: `npm test`, or some of them: `node test/node.mjs test/run.ts unit lint`.
 * The last line is `N passed, N failed`; a stage such as `types` counts as one test. Logs and reports: `test-output/`.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { runHostTests } from './host/run.ts';
import { packageExtension } from './package.ts';
import { nodeModules, repository, testOutput } from './paths.ts';
import { endAll, endOnSignals, startProcess } from './processes.ts';
import { buildSandbox, startSandbox, type Sandbox } from './sandboxProcess.ts';
import { installChromium, installVSCode } from './vscode/install.ts';

/** What one stage found. */
export interface StageResult {
  passed: number;
  /** Names of the tests that failed, with the reason where there is a short one. */
  failures: string[];
}

const ok: StageResult = { passed: 1, failures: [] };

/** Log file of a stage. */
function logFile(stage: string): string {
  return path.join(testOutput, `${stage}.log`);
}

/** Runs a program with its output in the stage's log; returns the exit code. Ends it when the time is over. */
async function run(
  stage: string,
  file: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; limitMinutes?: number } = {},
): Promise<number> {
  const limit = options.limitMinutes ?? 10;
  const group = startProcess(file, args, {
    cwd: options.cwd ?? repository,
    env: options.env ?? process.env,
    logFile: logFile(stage),
  });
  const timer = setTimeout(() => {
    appendFileSync(logFile(stage), `\nEnded: not done within ${limit} min.\n`);
    void group.stop();
  }, limit * 60_000);
  const { code } = await group.exited.finally(() => {
    clearTimeout(timer);
  });
  return code ?? 1;
}

/** A tool of node_modules that says by its exit code whether all is well. */
async function check(stage: string, ...commands: string[][]): Promise<StageResult> {
  for (const [tool = '', ...args] of commands)
    if ((await run(stage, process.execPath, [path.join(nodeModules, tool), ...args])) !== 0)
      return { passed: 0, failures: [stage] };
  return ok;
}

interface VitestReport {
  numPendingTests: number;
  testResults: {
    name: string;
    status: string;
    message: string;
    assertionResults: { fullName: string; status: string; failureMessages?: string[] }[];
  }[];
}

/** One project of vitest.config.ts. */
async function vitest(project: string, env: NodeJS.ProcessEnv = process.env, limitMinutes = 10): Promise<StageResult> {
  const report = path.join(testOutput, `${project}.json`);
  const args = ['run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile=${report}`];
  const code = await run(project, process.execPath, [path.join(nodeModules, 'vitest/vitest.mjs'), ...args], {
    env,
    limitMinutes,
  });
  if (!existsSync(report)) return { passed: 0, failures: [`${project}: vitest made no report`] };
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as VitestReport;
  const result: StageResult = { passed: 0, failures: [] };
  for (const file of testResults) {
    const name = path.relative(repository, file.name);
    if (file.status === 'failed' && file.assertionResults.every(({ status }) => status !== 'failed'))
      result.failures.push(`${name}: ${file.message}`);
    for (const test of file.assertionResults) {
      // A skipped test is a test that nobody runs: it counts as failed.
      if (test.status === 'passed') result.passed++;
      else result.failures.push(`${name}: ${test.fullName}: ${test.failureMessages?.[0] ?? test.status}`);
    }
  }
  if (code !== 0 && result.failures.length === 0) result.failures.push(`${project}: vitest ended with ${code}`);
  return result;
}

/** `go vet` and the quick tests of the sandbox. */
async function go(): Promise<StageResult> {
  const cwd = path.join(repository, 'test/sandbox');
  const result: StageResult = { passed: 0, failures: [] };
  if ((await run('go', 'go', ['vet', './...'], { cwd, limitMinutes: 25 })) === 0) result.passed++;
  else result.failures.push('go vet');
  const code = await run('go-test', 'go', ['test', '-short', '-json', './...'], { cwd, limitMinutes: 25 });
  let events = 0;
  for (const line of readFileSync(logFile('go-test'), 'utf8').split('\n')) {
    if (!line.startsWith('{')) continue;
    const { Action, Package, Test } = JSON.parse(line) as { Action: string; Package?: string; Test?: string };
    events++;
    if (Action === 'pass' && Test !== undefined) result.passed++;
    if (Action === 'fail') result.failures.push([Package, Test].filter((part) => part !== undefined).join(' '));
  }
  if (code !== 0 && result.failures.length === 0) result.failures.push(`go test ended with ${code}`);
  if (events === 0) result.failures.push('go test ran nothing');
  return result;
}

/** Things more than one stage needs, each made once and only when asked for. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    if (made === undefined) {
      made = make();
      // Reported by the stage that awaits it.
      made.catch(() => undefined);
    }
    return made;
  };
}

const say = (line: string): void => {
  console.log(line);
};
const packaged = once(() =>
  packageExtension((text) => {
    appendFileSync(logFile('package'), text);
  }),
);
const sandboxBuilt = once(() =>
  buildSandbox((line) => {
    appendFileSync(logFile('sandbox-build'), `${line}\n`);
    if (line.trim() !== '') say(`    sandbox: ${line}`);
  }),
);
const vscodeInstalled = once(async () => {
  const log = (line: string): void => {
    say(`    installing ${line}`);
  };
  await installVSCode(log);
  await installChromium(log);
});
const uiSandbox = once(() => sandbox('ui'));

async function sandbox(name: string): Promise<Sandbox> {
  await sandboxBuilt();
  return await startSandbox({
    log: (line) => {
      appendFileSync(logFile(`sandbox-${name}`), `${line}\n`);
    },
  });
}

const stages: Record<string, () => Promise<StageResult>> = {
  types: () => check('types', ['typescript/bin/tsc', '-p', '.'], ['typescript/bin/tsc', '-p', 'webview']),
  lint: () => check('lint', ['eslint/bin/eslint.js', '.', '--max-warnings', '0']),
  format: () => check('format', ['prettier/bin/prettier.cjs', '--check', '.']),
  unit: () => vitest('unit'),
  package: async () => {
    await packaged();
    return ok;
  },
  go: async () => {
    await sandboxBuilt();
    return await go();
  },
  integration: async () => {
    const running = await sandbox('integration');
    try {
      const { env, ready } = running;
      // What Google's certificate authority is to the world, the sandbox' own is to these tests.
      const trusted = { ...env, NODE_EXTRA_CA_CERTS: ready.publicCA };
      return await vitest('integration', { ...trusted, SANDBOX: JSON.stringify(ready) }, 25);
    } finally {
      await running.stop();
    }
  },
  host: async () => {
    await Promise.all([packaged(), vscodeInstalled()]);
    return await runHostTests(await uiSandbox(), logFile('host'));
  },
  e2e: async () => {
    const [{ file }] = await Promise.all([packaged(), vscodeInstalled()]);
    const { ready, env } = await uiSandbox();
    return await vitest('e2e', { ...env, SANDBOX: JSON.stringify(ready), VSIX: file }, 20);
  },
};

function seconds(since: number): string {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}

/** Runs one stage and prints how it went. Never throws: a stage that throws has failed. */
async function reportStage(name: string): Promise<StageResult> {
  const begun = Date.now();
  say(`${name} …`);
  const result = await (stages[name]?.() ?? Promise.resolve(ok)).catch((error: unknown): StageResult => {
    const text = error instanceof Error ? error.message : String(error);
    appendFileSync(logFile(name), `${text}\n`);
    return { passed: 0, failures: [`${name}: ${text}`] };
  });
  if (result.passed + result.failures.length === 0) result.failures.push(`${name} ran no test`);
  say(`${name}: ${result.passed} passed, ${result.failures.length} failed, ${seconds(begun)}`);
  if (result.failures.length > 0) {
    for (const failure of result.failures) say(`  ✗ ${failure}`);
    const log = logFile(name);
    if (existsSync(log))
      say(
        `${readFileSync(log, 'utf8').split('\n').slice(-40).join('\n')}\n  whole log: ${path.relative(repository, log)}`,
      );
  }
  return result;
}

async function main(): Promise<void> {
  const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(stages);
  const unknown = chosen.filter((name) => stages[name] === undefined);
  if (unknown.length > 0)
    throw new Error(`No such stage: ${unknown.join(', ')}. There are: ${Object.keys(stages).join(', ')}.`);
  rmSync(testOutput, { recursive: true, force: true });
  mkdirSync(testOutput, { recursive: true });
  // Long downloads and builds begin now and run beside the quick stages.
  if (chosen.some((name) => ['go', 'integration', 'host', 'e2e'].includes(name)))
    void sandboxBuilt().catch(() => undefined);
  if (chosen.some((name) => ['host', 'e2e'].includes(name))) void vscodeInstalled().catch(() => undefined);

  const started = Date.now();
  let passed = 0;
  const failures: string[] = [];
  const runStage = async (name: string): Promise<void> => {
    const result = await reportStage(name);
    passed += result.passed;
    failures.push(...result.failures);
  };
  // The slow stages mostly wait for controllers and windows, each on a sandbox of its own: two at a time.
  const integration: string[] = chosen.filter((name) => name === 'integration');
  const windows: string[] = chosen.filter((name) => name === 'host' || name === 'e2e');
  for (const name of chosen) if (!integration.includes(name) && !windows.includes(name)) await runStage(name);
  await Promise.all(
    [integration, windows].map(async (lane) => {
      for (const name of lane) await runStage(name);
    }),
  );
  await endAll();
  say(`All stages: ${seconds(started)}`);
  if (failures.length > 0)
    say(`Failed:\n${failures.map((failure) => `  ✗ ${failure.split('\n')[0] ?? ''}`).join('\n')}`);
  say(`${passed} passed, ${failures.length} failed`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}

endOnSignals();
await main().catch(async (error: unknown) => {
  await endAll();
  console.error(error instanceof Error ? error.message : error);
  console.log('0 passed, 1 failed');
  process.exitCode = 1;
});
