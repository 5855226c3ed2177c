/** Figures of the extension as JSON on stdout, each beside its limit: `npm run bench`. Progress goes to stderr. */
import { statSync } from 'node:fs';
import path from 'node:path';
import { measureActivation } from './bench/activation.ts';
import { packageExtension } from './package.ts';
import { repository } from './paths.ts';
import { endAll, endOnSignals } from './processes.ts';

endOnSignals();
const log = (line: string): void => {
  console.error(line);
};
try {
  const { size } = await packageExtension();
  const activation = await measureActivation(5, log);
  const figures = {
    activationMs: { ...activation, limit: 20 },
    eagerChunkBytes: { value: statSync(path.join(repository, 'dist/extension.js')).size, limit: 100_000 },
    packageBytes: { value: size, limit: 2_000_000 },
  };
  console.log(JSON.stringify(figures, undefined, 2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await endAll();
}
