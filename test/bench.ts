/** Figures of the extension as JSON on stdout, each beside its limit: `npm run bench`. Progress goes to stderr. */
import { statSync } from 'node:fs';
import path from 'node:path';
import { measureActivation } from './bench/activation.ts';
import { measureOutage } from './bench/outage.ts';
import { measureSetup } from './bench/setup.ts';
import { packageExtension } from './package.ts';
import { repository } from './paths.ts';
import { endAll, endOnSignals } from './processes.ts';
import { buildSandbox } from './sandboxProcess.ts';

endOnSignals();
const log = (line: string): void => {
  console.error(line);
};
try {
  const { size } = await packageExtension();
  const activation = await measureActivation(5, log);
  await buildSandbox(log);
  const setup = await measureSetup(3, log);
  const outage = await measureOutage(log);
  const figures = {
    activationMs: { ...activation, limit: 20 },
    eagerChunkBytes: { value: statSync(path.join(repository, 'dist/extension.js')).size, limit: 100_000 },
    packageBytes: { value: size, limit: 2_000_000 },
    setup,
    outage,
  };
  console.log(JSON.stringify(figures, undefined, 2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await endAll();
}
