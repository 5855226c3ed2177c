/** Seconds from the confirmation to the proof, beside a script of the commands of Milvus' guide. */
import { getObject, tool } from '../milvusRelease.ts';
import { startSandbox, type Sandbox } from '../sandboxProcess.ts';
import { installTwoProxies, runGuide, runProduct, type SetupRun, type TimedStep } from './setupRuns.ts';

/** Seconds of one way to the proof. */
export interface SetupSeconds {
  total: number;
  /** Without the waiting for address, endpoint group, certificate and health of the load balancer. */
  withoutCloud: number;
  /** Also without the waiting for the pods. */
  withoutWaiting: number;
  /** Proxies that were rolled out: the guide's first command resets the values, and so the two of the release to one. */
  proxies: number;
  /** Each step until the proof; steps of one name are added up. */
  steps: Record<string, number>;
}

export interface SetupTime {
  milvus: string;
  /** How many times faster than Google's the cloud and the pods' probes are; programs run at their own speed. */
  speed: number;
  rounds: number;
  /** The round in the middle by `withoutCloud`. */
  product: SetupSeconds;
  guide: SetupSeconds;
  /** `withoutCloud` of the product over that of the guide. */
  ratio: number;
  /** The same of `withoutWaiting`. */
  ratioWithoutWaiting: number;
  limit: number;
}

const round = (value: number): number => Math.round(value * 100) / 100;
const seconds = (steps: readonly TimedStep[]): number =>
  round(steps.reduce((sum, { from, to }) => sum + to - from, 0) / 1000);

function summary({ steps, proven }: SetupRun, proxies: number): SetupSeconds {
  const until = steps.filter(({ to }) => to <= proven);
  return {
    total: seconds(until),
    withoutCloud: seconds(until.filter(({ waitsFor }) => waitsFor !== 'cloud')),
    withoutWaiting: seconds(until.filter(({ waitsFor }) => waitsFor === undefined)),
    proxies,
    steps: Object.fromEntries([...Map.groupBy(until, ({ name }) => name)].map(([name, all]) => [name, seconds(all)])),
  };
}

function median(runs: readonly SetupSeconds[]): SetupSeconds {
  const middle = runs.toSorted((a, b) => a.withoutCloud - b.withoutCloud)[Math.floor(runs.length / 2)];
  if (!middle) throw new Error('Nothing was measured.');
  return middle;
}

/** Both ways in turn on a sandbox of their own, each time with a new release. Needs the extension in `dist`. */
export async function measureSetup(rounds: number, log: (line: string) => void): Promise<SetupTime> {
  const sandbox = await startSandbox();
  try {
    const runs = { product: [] as SetupSeconds[], guide: [] as SetupSeconds[] };
    for (let i = 1; i <= rounds; i++)
      for (const [way, run] of [
        ['product', runProduct],
        ['guide', runGuide],
      ] as const) {
        const release = await installTwoProxies(sandbox, `setup-${way}-${i}`);
        const timed = await run(sandbox, release);
        const one = summary(timed, await proxiesOf(sandbox, release));
        runs[way].push(one);
        log(`setup ${i}/${rounds}, ${way}: ${one.total} s, ${one.withoutCloud} s without the cloud`);
        await removeNamespace(sandbox, release.namespace);
      }
    const [product, guide] = [median(runs.product), median(runs.guide)];
    return {
      milvus: '2.4.6',
      speed: sandbox.ready.speed,
      rounds,
      product,
      guide,
      ratio: round(product.withoutCloud / guide.withoutCloud),
      ratioWithoutWaiting: round(product.withoutWaiting / guide.withoutWaiting),
      limit: 0.5,
    };
  } finally {
    await sandbox.stop();
  }
}

async function proxiesOf({ env }: Sandbox, { namespace, service }: { namespace: string; service: string }) {
  const proxies = await getObject<{ spec: { replicas: number } }>(env, namespace, 'deployment', `${service}-proxy`);
  return proxies?.spec.replicas ?? 0;
}

/** Deletes a namespace and waits until its processes are gone, so that they take no time from what is measured next. */
export async function removeNamespace({ env }: Sandbox, namespace: string): Promise<void> {
  await tool(env, 'kubectl', ['delete', 'namespace', namespace, '--ignore-not-found', '--wait=false']);
  await tool(env, 'kubectl', ['wait', '-n', namespace, '--for=delete', 'pods', '--all', '--timeout=2m']);
}
