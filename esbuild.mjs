// Bundles the extension. Modules named `*.chunk.ts` become files of their own that are loaded on first use,
// so that activation does not pay for the heavy packages.
import esbuild from 'esbuild';
import path from 'node:path';
import { existsSync, globSync, rmSync } from 'node:fs';

const watch = process.argv.includes('--watch');
const minify = !process.argv.includes('--no-minify');

/** Leaves `import('./x.chunk.ts')` as a run-time require of the file built from it. */
const chunks = {
  name: 'chunks',
  setup(build) {
    build.onResolve({ filter: /\.chunk(\.ts)?$/ }, (args) =>
      args.kind === 'dynamic-import' ? { path: `./${path.basename(args.path, '.ts')}.js`, external: true } : undefined,
    );
  },
};

/** @type {esbuild.BuildOptions} */
const common = { bundle: true, minify, sourcemap: false, logLevel: 'warning', legalComments: 'none', metafile: true };
const node = {
  ...common,
  platform: 'node',
  format: 'cjs',
  target: 'node22',
  external: ['vscode'],
  plugins: [chunks],
  // A chunk is required: it must see VS Code's own `require`, which knows the module `vscode`.
  supported: { 'dynamic-import': false },
};

const builds = [
  {
    ...node,
    entryPoints: Object.fromEntries([
      ['extension', 'src/extension.ts'],
      ['localisation', '@vscode/l10n'],
      ...globSync('src/**/*.chunk.ts').map((file) => [path.basename(file, '.ts'), file]),
    ]),
    outdir: 'dist',
    // The SDK reads Parquet files only in its bulk writer; leaving it out halves the chunk.
    alias: { '@shanghaikid/parquetjs': './src/core/probe/parquetStub.ts' },
  },
  {
    ...common,
    platform: 'browser',
    format: 'iife',
    target: 'chrome120',
    entryPoints: { panel: 'webview/panel.ts' },
    outdir: 'dist/webview',
    loader: { '.css': 'copy' },
  },
  { ...common, entryPoints: { panel: 'webview/panel.css' }, outdir: 'dist/webview' },
];

rmSync('dist', { recursive: true, force: true });
for (const options of builds) {
  const inputs = Array.isArray(options.entryPoints) ? options.entryPoints : Object.values(options.entryPoints);
  if (!inputs.every((file) => file.startsWith('@') || existsSync(file)))
    throw new Error(`Missing entry point among ${inputs.join(', ')}`);
  if (watch) await (await esbuild.context(options)).watch();
  else await esbuild.build(options);
}
