/**
 * Builds the extension and packages it: `npm run package`. The VSIX lies beside package.json.
 * Also the place where its size is held to the limit.
 */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { nodeModules, repository } from './paths.ts';
import { startProcess } from './processes.ts';

/** Largest VSIX in bytes; a download people do not wait for. */
const largestPackage = 2_000_000;

async function node(args: readonly string[], onOutput: (text: string) => void): Promise<void> {
  let output = '';
  const { exited } = startProcess(process.execPath, args, {
    cwd: repository,
    onOutput: (text) => {
      output += text;
      onOutput(text);
    },
  });
  if ((await exited).code !== 0) throw new Error(`${args.join(' ')} failed:\n${output}`);
}

/** The packaged extension. */
export interface Package {
  file: string;
  /** Size in bytes. */
  size: number;
}

/** Builds `dist` and the VSIX. Throws when a tool fails or the VSIX is larger than 2 MB. */
export async function packageExtension(onOutput: (text: string) => void = () => undefined): Promise<Package> {
  const { name, version } = JSON.parse(readFileSync(path.join(repository, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
  };
  const file = path.join(repository, `${name}-${version}.vsix`);
  await node(['esbuild.mjs'], onOutput);
  await node(
    [
      path.join(nodeModules, '@vscode/vsce/vsce'),
      'package',
      '--no-dependencies',
      '--allow-missing-repository',
      '--no-rewrite-relative-links',
      '-o',
      file,
    ],
    onOutput,
  );
  const { size } = statSync(file);
  if (size > largestPackage)
    throw new Error(`${path.basename(file)} has ${size} bytes, more than the ${largestPackage} allowed.`);
  return { file, size };
}

if (process.argv[1] === import.meta.filename) {
  const { file, size } = await packageExtension((text) => process.stdout.write(text));
  console.log(`${path.basename(file)}: ${(size / 1000).toFixed(0)} kB of ${largestPackage / 1000} kB allowed`);
}
