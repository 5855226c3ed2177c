/** Seconds without service on the way from Layer 4 to Layer 7, with two proxies, beside the guide's sequence. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Release } from '../milvusRelease.ts';
import { cacheBin } from '../paths.ts';
import { startProcess } from '../processes.ts';
import { startSandbox } from '../sandboxProcess.ts';
import { removeNamespace } from './setup.ts';
import { installTwoProxies, runGuide, runProduct, type TimedStep } from './setupRuns.ts';

/** What `watch` of the Go client reports; see test/clients/go/watch.go. Seconds count from `began`. */
interface WatchReport {
  began: string;
  seconds: number;
  lost: number[];
  ways: { name: string; attempts: number; read: number; served: [number, number][]; errors: Record<string, number> }[];
}

/** How a release served its clients while it was set up. */
export interface Service {
  /** Seconds watched. */
  seconds: number;
  /** Seconds in which no attempt on any way read an entity. */
  lost: number;
  /** Which step ran in the lost seconds. */
  lostDuring: Record<string, number>;
  /** Of each way: attempts, those that read, and the seconds in which it served (first and last). */
  ways: { name: string; attempts: number; read: number; served: [number, number][] }[];
  /** Seconds at which each step began. */
  steps: [number, string][];
}

export interface Outage {
  milvus: string;
  proxies: number;
  speed: number;
  product: Service;
  guide: Service;
  /** Lost seconds of the product. */
  limit: number;
}

/** Time that is watched before the first and after the last step, in milliseconds. */
const margin = 5_000;

/** Slower than usual, so that a lost second here is not the most of a minute there. */
const speed = 10;

/** Both ways in turn on a sandbox of their own. Needs the extension in `dist`. */
export async function measureOutage(log: (line: string) => void): Promise<Outage> {
  const sandbox = await startSandbox({ speed });
  const measure = async (way: 'product' | 'guide', run: typeof runProduct): Promise<Service> => {
    const release = await installTwoProxies(sandbox, `outage-${way}`);
    const watch = startWatch(release);
    try {
      await sleep(margin);
      const { steps } = await run(sandbox, release, (layer7) => {
        watch.add({ name: 'TLS on Layer 7', ...layer7 });
      });
      await sleep(margin);
      const service = serviceOf(await watch.end(), steps);
      log(`outage, ${way}: ${service.lost} of ${service.seconds} s lost`);
      return service;
    } finally {
      await watch.stop();
      await removeNamespace(sandbox, release.namespace);
    }
  };
  try {
    return {
      milvus: '2.4.6',
      proxies: 2,
      speed: sandbox.ready.speed,
      product: await measure('product', runProduct),
      guide: await measure('guide', runGuide),
      limit: 1,
    };
  } finally {
    await sandbox.stop();
  }
}

/** Starts the prober on both ways through Layer 4. */
function startWatch(release: Release): {
  add: (way: { name: string; address: string; serverName?: string; ca?: string }) => void;
  end: () => Promise<WatchReport>;
  stop: () => Promise<void>;
} {
  let [stdout, stderr] = ['', ''];
  const group = startProcess(path.join(cacheBin, 'read-go'), ['watch', '--collection', release.collection], {
    stdin: 'pipe',
    onOutput: (text, stream) => {
      if (stream === 'stdout') stdout += text;
      else stderr += text;
    },
  });
  const { stdin } = group.child;
  const watch = {
    add: (way: object): void => {
      stdin?.write(`${JSON.stringify(way)}\n`);
    },
    end: async (): Promise<WatchReport> => {
      stdin?.end();
      const { code, signal } = await group.exited;
      if (code !== 0) throw new Error(`The prober ended with ${code ?? signal ?? ''}: ${stderr}`);
      return JSON.parse(stdout) as WatchReport;
    },
    stop: () => group.stop(),
  };
  const address = `${release.layer4}:19530`;
  watch.add({ name: 'plain on Layer 4', address });
  // Without a certificate of its own Milvus serves one for localhost.
  watch.add({ name: 'TLS on Layer 4', address, serverName: 'localhost' });
  return watch;
}

function serviceOf(report: WatchReport, steps: readonly TimedStep[]): Service {
  const began = Date.parse(report.began);
  const during: Record<string, number> = {};
  for (const second of report.lost) {
    const at = began + second * 1000 + 500;
    const step = steps.find(({ from, to }) => from <= at && at < to)?.name ?? 'no step';
    during[step] = (during[step] ?? 0) + 1;
  }
  return {
    seconds: report.seconds,
    lost: report.lost.length,
    lostDuring: during,
    ways: report.ways.map(({ name, attempts, read, served }) => ({ name, attempts, read, served })),
    steps: steps
      .filter(({ name }) => name !== 'plan')
      .map(({ name, from }) => [Math.round((from - began) / 100) / 10, name]),
  };
}
