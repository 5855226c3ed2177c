/** Where the tests, the demo and their builds keep what they make. All paths are absolute. */
import path from 'node:path';

export const repository = path.resolve(import.meta.dirname, '..');
/** Builds and downloads that later runs use again. */
export const cache = path.join(repository, '.cache');
/** Binaries and links of the sandbox. */
export const cacheBin = path.join(cache, 'bin');
/** Logs and reports of the last test run. */
export const testOutput = path.join(repository, 'test-output');
export const nodeModules = path.join(repository, 'node_modules');
