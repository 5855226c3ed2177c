/** Activation time of the extension above that of an empty one, in the extension host of a real VS Code. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { cache, repository } from '../paths.ts';
import { runExtensionTests } from '../vscode/extensionHostTests.ts';
import { installVSCode } from '../vscode/install.ts';
import { startVSCode } from '../vscode/server.ts';
import { startBrowser } from '../vscode/workbench.ts';

/** Medians in milliseconds. */
export interface ActivationTime {
  extension: number;
  emptyExtension: number;
  above: number;
  rounds: number;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round((sorted[Math.floor(sorted.length / 2)] ?? NaN) * 10) / 10;
}

/** Each round opens two new windows, so both extensions are loaded from disk by a new extension host. */
export async function measureActivation(rounds: number, log: (line: string) => void): Promise<ActivationTime> {
  await installVSCode(log);
  const out = path.join(cache, 'bench');
  await build({
    entryPoints: [path.join(import.meta.dirname, 'activation.entry.ts')],
    outdir: out,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['vscode'],
  });
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-'));
  const empty = path.join(folder, 'empty');
  mkdirSync(empty);
  const manifest = {
    name: 'empty',
    publisher: 'bench',
    version: '0.0.0',
    engines: { vscode: '^1.105.0' },
    main: './main.js',
  };
  writeFileSync(
    path.join(empty, 'package.json'),
    JSON.stringify({ ...manifest, activationEvents: ['onCommand:bench.none'] }),
  );
  writeFileSync(path.join(empty, 'main.js'), 'exports.activate = () => {};\n');
  const vscode = await startVSCode({ forExtensionTests: true });
  const browser = await startBrowser();
  const result = path.join(folder, 'result.json');
  const time = async (extension: string, id: string): Promise<number> => {
    const { exitCode, output } = await runExtensionTests(browser, vscode, {
      extension,
      entry: path.join(out, 'activation.entry.js'),
      env: { BENCH_EXTENSION: id, BENCH_RESULT: result },
      timeoutMs: 60_000,
    });
    if (exitCode !== 0) throw new Error(`The activation of ${id} could not be timed:\n${output}`);
    return (JSON.parse(readFileSync(result, 'utf8')) as { ms: number }).ms;
  };
  try {
    const times = { ours: [] as number[], empty: [] as number[] };
    for (let round = 0; round < rounds; round++) {
      times.empty.push(await time(empty, 'bench.empty'));
      times.ours.push(await time(repository, 'milvus-layer7.milvus-layer7'));
      log(
        `activation ${round + 1}/${rounds}: ${times.ours.at(-1)?.toFixed(1) ?? ''} ms, empty ${times.empty.at(-1)?.toFixed(1) ?? ''} ms`,
      );
    }
    const [extension, emptyExtension] = [median(times.ours), median(times.empty)];
    return { extension, emptyExtension, above: Math.round((extension - emptyExtension) * 10) / 10, rounds };
  } finally {
    await browser.close();
    await vscode.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
