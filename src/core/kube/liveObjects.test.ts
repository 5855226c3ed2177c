import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { Clock } from '../ports.ts';
import { systemClock } from '../systemClock.ts';
import { connect, type ConnectedCluster } from './connect.ts';
import { kubeconfigFor, startFaultServer, status, until, type FaultServer } from './faultServer.ts';
import { loadKubeconfig } from './kubeconfig.ts';
import { watchNamespace, type NamespaceObjects } from './liveObjects.ts';

/** A hundred times faster than the wall: 90 s of silence are 0.9 s, a pause of 500 ms is 5 ms. */
const speed = 100;
const begun = Date.now();
const fastClock: Clock = {
  now: () => begun + (Date.now() - begun) * speed,
  sleep: (ms, signal) => systemClock.sleep(ms / speed, signal),
};

let server: FaultServer;
let cluster: ConnectedCluster;
let live: NamespaceObjects | undefined;
const rejections: unknown[] = [];
const onRejection = (reason: unknown) => void rejections.push(reason);

beforeAll(async () => {
  process.on('unhandledRejection', onRejection);
  server = await startFaultServer();
});
afterAll(async () => {
  await server.close();
  process.off('unhandledRejection', onRejection);
  expect(rejections).toEqual([]);
});
beforeEach(async () => {
  server.requests.length = 0;
  await open();
});
afterEach(async () => {
  live?.dispose();
  live = undefined;
  cluster.dispose();
  await until(() => server.connections() === 0, 'all connections are closed');
});

async function open(user?: string): Promise<void> {
  const kubeconfig = await loadKubeconfig(['/config'], () => Promise.resolve(kubeconfigFor(server, user)));
  const nothing = () => undefined;
  cluster = await connect(kubeconfig, 'test', {
    clock: fastClock,
    log: { info: nothing, warn: nothing, error: nothing, debug: nothing },
    env: process.env,
    readFile: (file) => readFile(file, 'utf8'),
    // In real time 30 ms would be too little on a busy machine.
    timeoutMs: 200_000,
  });
}

type Handler = (query: URLSearchParams, request: IncomingMessage, response: ServerResponse) => unknown;

/** Watches stay open and lists hold `others` by resource, but for Services, whose lists and watches the test answers. */
function serve(list: Handler, watch: Handler, others: Record<string, unknown> = {}): void {
  server.on((request, response) => {
    const url = new URL(request.url ?? '', server.url);
    const watches = url.searchParams.has('watch');
    if (url.pathname.endsWith('/services')) return (watches ? watch : list)(url.searchParams, request, response);
    if (watches) return void response.writeHead(200).write('');
    const items = others[url.pathname.split('/').at(-1) ?? ''] ?? [];
    response.writeHead(200).end(JSON.stringify({ metadata: { resourceVersion: '1' }, items }));
  });
}

const item = (name: string, extra: object = {}) => ({ metadata: { name, namespace: 'demo', ...extra } });
const listOf = (version: string, ...names: string[]) =>
  JSON.stringify({ metadata: { resourceVersion: version }, items: names.map((name) => item(name)) });
const line = (type: string, name: string, version: string) =>
  `${JSON.stringify({
    type,
    object: { apiVersion: 'v1', kind: 'Service', ...item(name, { resourceVersion: version }) },
  })}\n`;

const names = () => live?.objects.list('Service').map((service) => service.metadata.name);
const serviceRequests = () =>
  server.requests
    .filter((request) => request.includes('/services?'))
    .map((request) => {
      const query = new URLSearchParams(request.split('?')[1]);
      return query.has('watch') ? `watch ${query.get('resourceVersion') ?? ''}` : 'list';
    });
/** Answers the calls in turn; the last answer stays. */
const inTurn = (...handlers: Handler[]): Handler => {
  let call = 0;
  return (...args) => handlers[Math.min(call++, handlers.length - 1)]?.(...args);
};
const staysOpen: Handler = (_query, _request, response) => void response.writeHead(200).write('');

describe('watchNamespace', () => {
  it('is ready when every kind was listed, and asks only for what it needs', async () => {
    serve((_q, _r, response) => void response.end(listOf('5', 'a')), staysOpen);
    live = watchNamespace(cluster, 'demo', { clock: fastClock });
    await live.ready;
    expect(names()).toEqual(['a']);
    expect(live.objects.list('Service')[0]).toMatchObject({ apiVersion: 'v1', kind: 'Service' });
    expect(live.objects.unreadable.size).toBe(0);
    expect(live.interruption).toBeUndefined();
    const asked = server.requests.filter((request) => !request.includes('watch='));
    expect(asked.filter((request) => request.includes('secret'))).toEqual([]);
    expect(asked.every((request) => request.includes('/namespaces/demo/'))).toBe(true);
  });

  it('keeps of ConfigMaps the YAML only', async () => {
    const configMap = {
      metadata: { name: 'my-release-milvus', namespace: 'demo', resourceVersion: '5' },
      data: { 'user.yaml': 'a: 1', 'blob.bin': 'x'.repeat(100) },
      binaryData: { more: 'eA==' },
    };
    serve((_q, _r, response) => void response.end(listOf('5')), staysOpen, { configmaps: [configMap] });
    live = watchNamespace(cluster, 'demo', { clock: fastClock });
    await live.ready;
    const [kept] = live.objects.list('ConfigMap');
    expect(kept).toMatchObject({ data: { 'user.yaml': 'a: 1' } });
    expect(JSON.stringify(kept)).not.toMatch(/xxx|binaryData/);
  });

  it('follows changes, drops managedFields, and tells many as one', async () => {
    serve(
      (_q, _r, response) => void response.end(listOf('5', 'a')),
      (query, _r, response) => {
        response.writeHead(200);
        if (query.get('resourceVersion') !== '5') return;
        const managed = { managedFields: [{ manager: 'x' }], resourceVersion: '6' };
        const object = { apiVersion: 'v1', kind: 'Service', ...item('b', managed) };
        response.write(`${JSON.stringify({ type: 'ADDED', object })}\n`);
        for (let n = 0; n < 200; n += 1) response.write(line('MODIFIED', `c${n}`, String(10 + n)));
        response.write(line('DELETED', 'a', '300'));
      },
    );
    live = watchNamespace(cluster, 'demo', { clock: systemClock });
    let changes = 0;
    live.onChange(() => (changes += 1));
    await live.ready;
    await until(() => names()?.length === 201, 'all changes are seen');
    await until(() => changes > 0, 'the change is told');
    expect(changes).toBeLessThan(20);
    expect(names()).not.toContain('a');
    expect(live.objects.get('Service', 'demo', 'b')?.metadata.managedFields).toBeUndefined();
  });

  it('goes on after a clean end, a cut within a line, and slow bytes', async () => {
    serve(
      (_q, _r, response) => void response.end(listOf('5', 'a')),
      inTurn(
        (_q, _r, response) => void response.writeHead(200).end(line('ADDED', 'clean', '6')),
        (_q, request, response) => {
          const text = line('ADDED', 'cut', '8');
          response.writeHead(200).write(line('ADDED', 'whole', '7') + text.slice(0, 40));
          setTimeout(() => request.socket.destroy(), 20);
        },
        async (_q, _r, response) => {
          response.writeHead(200);
          for (const byte of Buffer.from(line('ADDED', 'slöw', '8'))) {
            response.write(Buffer.of(byte));
            await new Promise(setImmediate);
          }
        },
      ),
    );
    live = watchNamespace(cluster, 'demo', { clock: fastClock });
    await until(() => names()?.includes('slöw') === true, 'the slow event is seen');
    expect(names()).toEqual(['a', 'clean', 'slöw', 'whole']);
    expect(serviceRequests()).toEqual(['list', 'watch 5', 'watch 6', 'watch 7']);
    await until(() => live?.interruption === undefined, 'the interruption is over');
  });

  it('takes an end without a last line break for a cut, also when the server frames nothing', async () => {
    serve(
      (_q, _r, response) => void response.end(listOf('5')),
      inTurn((_q, request) => {
        request.socket.end(
          `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${line('ADDED', 'whole', '6')}${line('ADDED', 'cut', '7').slice(0, 30)}`,
        );
      }, staysOpen),
    );
    live = watchNamespace(cluster, 'demo', { clock: fastClock });
    await until(() => serviceRequests().length === 3, 'it watches again');
    expect(serviceRequests()).toEqual(['list', 'watch 5', 'watch 6']);
    expect(names()).toEqual(['whole']);
  });

  it('lists again after 410 as an answer and as an event', async () => {
    serve(
      inTurn(
        (_q, _r, response) => void response.end(listOf('5', 'first')),
        (_q, _r, response) => void response.end(listOf('50', 'second')),
        (_q, _r, response) => void response.end(listOf('70', 'third')),
      ),
      inTurn(
        (_q, _r, response) => void response.writeHead(410).end(status(410, 'Expired', 'too old')),
        (_q, _r, response) => {
          const object = JSON.parse(status(410, 'Expired', 'too old')) as object;
          response.writeHead(200).end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
        },
        staysOpen,
      ),
    );
    live = watchNamespace(cluster, 'demo', { clock: fastClock });
    await until(() => serviceRequests().length === 6, 'it has listed twice more');
    expect(serviceRequests()).toEqual(['list', 'watch 5', 'list', 'watch 50', 'list', 'watch 70']);
    expect(names()).toEqual(['third']);
  });

  it('ends a watch that is silent, and watches again', async () => {
    serve(
      (_q, _r, response) => void response.end(listOf('5', 'a')),
      inTurn(staysOpen, (_q, _r, response) => void response.writeHead(200).write(line('ADDED', 'after', '6'))),
    );
    live = watchNamespace(cluster, 'demo', { clock: fastClock, idleMs: 30_000 });
    await until(() => names()?.includes('after') === true, 'it watches again');
    expect(serviceRequests().slice(0, 3)).toEqual(['list', 'watch 5', 'watch 5']);
  });

  it('keeps a watch that only sends bookmarks', async () => {
    const [idleMs, everyMs] = [150_000, 30_000];
    serve(
      (_q, _r, response) => void response.end(listOf('5', 'a')),
      async (_q, _r, response) => {
        response.writeHead(200);
        for (let sent = 0; sent * everyMs <= idleMs; sent += 1) {
          await fastClock.sleep(everyMs);
          response.write(line('BOOKMARK', '', String(100 + sent)));
        }
        response.write(line('ADDED', 'after', '200'));
      },
    );
    live = watchNamespace(cluster, 'demo', { clock: fastClock, idleMs });
    await until(() => names()?.includes('after') === true, 'the watch lives longer than its limit for silence');
    expect(serviceRequests()).toEqual(['list', 'watch 5']);
  });

  it('tells forbidden and unknown kinds as unreadable, keeps nothing of them, and finds them later', async () => {
    const message =
      'x is forbidden: User "bob" cannot watch resource "services" in API group "" in the namespace "demo"';
    serve(
      inTurn(
        (_q, _r, response) => void response.end(listOf('5', 'a')),
        (_q, _r, response) => void response.writeHead(404).end('404 page not found'),
        (_q, _r, response) => void response.end(listOf('9', 'back')),
      ),
      inTurn((_q, _r, response) => void response.writeHead(403).end(status(403, 'Forbidden', message)), staysOpen),
    );
    const seen: string[] = [];
    live = watchNamespace(cluster, 'demo', { clock: fastClock });
    live.onChange(() => {
      const unreadable = live?.objects.unreadable.get('Service');
      if (unreadable) seen.push(`${unreadable.reason}: ${unreadable.message} ${String(names()?.length)}`);
    });
    await until(() => names()?.includes('back') === true, 'the kind is readable again');
    expect(new Set(seen)).toEqual(
      new Set([
        'forbidden: Reading Service in namespace demo failed: bob may not watch services in namespace demo. Ask an administrator of the cluster for a role that allows it. 0',
        'unknown: Reading Service in namespace demo failed: the cluster does not know the kind Service (). Its custom resource definition is not installed. 0',
      ]),
    );
    expect(live.objects.unreadable.size).toBe(0);
  });

  it('is ready, and says why, when the API server gives nothing; keeps what it had when it goes away later', async () => {
    let down = true;
    serve((_q, request, response) => {
      if (down) request.socket.destroy();
      else response.end(listOf('5', 'a'));
    }, staysOpen);
    live = watchNamespace(cluster, 'demo', { clock: fastClock });
    await live.ready;
    expect(live.objects.unreadable.get('Service')?.reason).toBe('failed');
    expect(live.interruption).toMatch(/^Reading Service in namespace demo failed: .* closed the connection/);
    down = false;
    await until(() => names()?.includes('a') === true, 'it has been listed');
    expect(live.objects.unreadable.size).toBe(0);
    await until(() => live?.interruption === undefined, 'nothing is interrupted');
    server.on((request) => request.socket.destroy());
    server.cut();
    await until(() => live?.interruption !== undefined, 'the interruption is told');
    expect(names()).toEqual(['a']);
    expect(live.objects.unreadable.size).toBe(0);
  });

  it('logs in again for a refused token', async () => {
    cluster.dispose();
    const folder = await mkdtemp(path.join(os.tmpdir(), 'live-objects-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const script = `echo x >> ${folder}/runs; n=$(wc -l < ${folder}/runs | tr -d ' '); printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t%s"}}' $n`;
    await open(
      JSON.stringify({
        exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'sh', args: ['-c', script] },
      }),
    );
    const tokens: string[] = [];
    serve(
      (_q, _r, response) => void response.end(listOf('5', 'a')),
      (_q, request, response) => {
        tokens.push(request.headers.authorization ?? '');
        if (request.headers.authorization === 'Bearer t1')
          response.writeHead(401).end(status(401, 'Unauthorized', 'Unauthorized'));
        else response.writeHead(200).write(line('ADDED', 'b', '6'));
      },
    );
    live = watchNamespace(cluster, 'demo', { clock: fastClock });
    await until(() => names()?.includes('b') === true, 'the watch runs with the new token');
    expect(tokens).toEqual(['Bearer t1', 'Bearer t2']);
  });

  it('waits as long as Retry-After says', async () => {
    let refusedAt = 0;
    let againAt = 0;
    serve(
      (_q, _r, response) => void response.end(listOf('5', 'a')),
      inTurn(
        (_q, _r, response) => {
          refusedAt = fastClock.now();
          response.writeHead(429, { 'retry-after': '40' }).end(status(429, 'TooManyRequests', 'slow down'));
        },
        (_q, _r, response) => {
          againAt = fastClock.now();
          response.writeHead(200).write(line('ADDED', 'b', '6'));
        },
      ),
    );
    live = watchNamespace(cluster, 'demo', { clock: fastClock });
    await until(() => names()?.includes('b') === true, 'the watch runs');
    expect(againAt - refusedAt).toBeGreaterThanOrEqual(39_000);
  });

  it('stops everything on dispose', async () => {
    serve((_q, _r, response) => void response.end(listOf('5', 'a')), staysOpen);
    live = watchNamespace(cluster, 'demo', { clock: fastClock });
    await live.ready;
    await until(() => server.requests.filter((request) => request.includes('watch=')).length === 13, 'all are watched');
    let changes = 0;
    live.onChange(() => (changes += 1));
    const before = server.requests.length;
    live.dispose();
    await until(() => server.connections() <= 8, 'the watches are closed; idle connections may stay');
    await fastClock.sleep(60_000);
    expect(server.requests.length).toBe(before);
    expect(changes).toBe(0);
  });
});

describe('watchSecret', () => {
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'kubernetes.io/tls',
    metadata: {
      name: 'cert',
      namespace: 'demo',
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': 'PRIVATE' },
    },
    data: { 'tls.crt': 'Q0VSVA==', 'tls.key': 'PRIVATE', 'ca.crt': 'Q0E=', other: 'PRIVATE' },
  };

  it('reads one Secret by name and keeps nothing private of it', async () => {
    server.on((request, response) => {
      const url = new URL(request.url ?? '', server.url);
      if (url.searchParams.has('watch')) return void response.writeHead(200).write('');
      const items = url.pathname.endsWith('/secrets') ? [secret] : [];
      response.writeHead(200).end(JSON.stringify({ metadata: { resourceVersion: '1' }, items }));
    });
    live = watchNamespace(cluster, 'demo', { clock: fastClock });
    const watch = live.watchSecret('cert');
    const same = live.watchSecret('cert');
    await watch.ready;
    expect(live.objects.get('Secret', 'demo', 'cert')).toEqual({
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/tls',
      metadata: { name: 'cert', namespace: 'demo' },
      data: { 'tls.crt': 'Q0VSVA==', 'tls.key': '', 'ca.crt': 'Q0E=' },
    });
    const asked = server.requests.filter((request) => request.includes('/secrets'));
    expect(asked[0]).toBe('GET /api/v1/namespaces/demo/secrets?fieldSelector=metadata.name%3Dcert&limit=500');
    expect(asked.every((request) => request.includes('fieldSelector=metadata.name%3Dcert'))).toBe(true);
    same.dispose();
    same.dispose();
    expect(live.objects.list('Secret')).toHaveLength(1);
    watch.dispose();
    expect(live.objects.list('Secret')).toEqual([]);
  });
});
