import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import type { Log } from '../ports.ts';
import { systemClock } from '../systemClock.ts';
import { connect, type ConnectDeps, type ConnectedCluster } from './connect.ts';
import { explainKubeError, KubeError } from './errors.ts';
import { base64, kubeconfigFor, startFaultServer, status, until, type FaultServer } from './faultServer.ts';
import { loadKubeconfig } from './kubeconfig.ts';

let server: FaultServer;
let folder: string;
let logged: string[];
const open: ConnectedCluster[] = [];

beforeAll(async () => {
  server = await startFaultServer();
  folder = await mkdtemp(path.join(os.tmpdir(), 'connect-'));
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});
beforeEach(() => {
  logged = [];
  server.requests.length = 0;
});
afterEach(() => {
  for (const cluster of open.splice(0)) cluster.dispose();
});

async function connected(text = kubeconfigFor(server), deps: Partial<ConnectDeps> = {}): Promise<ConnectedCluster> {
  const kubeconfig = await loadKubeconfig([path.join(folder, 'config')], () => Promise.resolve(text));
  expect(kubeconfig.problems).toEqual([]);
  const write = (message: string) => void logged.push(message);
  const log: Log = { info: write, warn: write, error: write, debug: write };
  const cluster = await connect(kubeconfig, 'test', {
    clock: systemClock,
    log,
    env: {},
    readFile: (file) => readFile(file, 'utf8'),
    ...deps,
  });
  open.push(cluster);
  return cluster;
}

async function failure(promise: Promise<unknown>): Promise<KubeError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(KubeError);
  return error as KubeError;
}

const service = { apiVersion: 'v1', kind: 'Service', namespace: 'demo', name: 'milvus' };
const services = { apiVersion: 'v1', kind: 'Service' };
const json = { 'content-type': 'application/json' };
const serviceBody = JSON.stringify({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'milvus', namespace: 'demo' },
});

describe('requests', () => {
  it('reads an object with the token of the context, over one connection', async () => {
    const seen: (string | undefined)[] = [];
    server.on((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(200, json).end(serviceBody);
    });
    const cluster = await connected();
    const before = server.connections();
    expect((await cluster.get(service))?.metadata.name).toBe('milvus');
    expect((await cluster.get({ ...service, name: 'a/b' }))?.metadata.name).toBe('milvus');
    expect(server.requests).toEqual([
      'GET /api/v1/namespaces/demo/services/milvus',
      'GET /api/v1/namespaces/demo/services/a%2Fb',
    ]);
    expect(seen).toEqual(['Bearer secret-token', 'Bearer secret-token']);
    expect(server.connections()).toBe(before + 1);
    cluster.dispose();
    await until(() => server.connections() === before, 'the connection is closed by dispose()');
  });

  it('understands gzip, and characters that are split between two chunks', async () => {
    const body = JSON.stringify({
      metadata: { resourceVersion: '7' },
      items: [{ metadata: { name: 'milvus', namespace: 'demo', annotations: { note: 'häuser' } } }],
    });
    server.on(async (request, response) => {
      if (request.url?.includes('services')) {
        expect(request.headers['accept-encoding']).toBe('gzip');
        response.writeHead(200, { ...json, 'content-encoding': 'gzip' }).end(zlib.gzipSync(body));
        return;
      }
      response.writeHead(200, json);
      for (const byte of Buffer.from(body)) {
        response.write(Buffer.of(byte));
        await new Promise(setImmediate);
      }
      response.end();
    });
    const cluster = await connected();
    const expected = [
      { apiVersion: 'v1', kind: 'Service' },
      { apiVersion: 'v1', kind: 'Pod' },
    ];
    for (const kind of expected) {
      const [item] = await cluster.list(kind, { namespace: 'demo' });
      // The items of a list come without apiVersion and kind.
      expect(item).toMatchObject({ ...kind, metadata: { annotations: { note: 'häuser' } } });
    }
  });

  it('reads a list page by page, and in one piece when a page has expired', async () => {
    const item = (name: string) => ({ metadata: { name } });
    const page = (items: object[], next?: string) =>
      JSON.stringify({ metadata: { resourceVersion: '9', continue: next ?? '' }, items });
    server.on((request, response) => {
      const query = new URL(request.url ?? '', server.url).searchParams;
      if (query.get('labelSelector') === 'expired') {
        if (query.has('continue')) response.writeHead(410, json).end(status(410, 'Expired', 'too old'));
        else if (query.has('limit')) response.writeHead(200, json).end(page([item('old')], 'more'));
        else response.writeHead(200, json).end(page([item('whole')]));
        return;
      }
      response.writeHead(200, json);
      response.end(query.has('continue') ? page([item('b')]) : page([item('a')], 'more'));
    });
    const cluster = await connected();
    const names = async (labelSelector?: string) =>
      (await cluster.list(services, labelSelector === undefined ? {} : { labelSelector })).map((o) => o.metadata.name);
    expect(await names()).toEqual(['a', 'b']);
    expect(server.requests).toEqual(['GET /api/v1/services?limit=500', 'GET /api/v1/services?limit=500&continue=more']);
    expect(await names('expired')).toEqual(['whole']);
  });

  it('sends a GET again when the server had closed the kept connection, but never a write', async () => {
    const cluster = await connected();
    server.on((request, response) => {
      // Closed right after the answer, so that the next request meets a dead connection.
      response.writeHead(200, { ...json, connection: 'keep-alive' }).end(serviceBody);
      server.on(() => {
        request.socket.destroy();
        server.on((_third, last) => last.writeHead(200, json).end(serviceBody));
      });
    });
    await cluster.get(service);
    expect((await cluster.get(service))?.kind).toBe('Service');
    expect(server.requests).toHaveLength(3);

    server.requests.length = 0;
    server.on((request) => request.socket.destroy());
    const error = await failure(
      cluster.apply({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'milvus', namespace: 'demo' } }),
    );
    expect(error).toMatchObject({ kind: 'network', code: 'ECONNRESET' });
    expect(server.requests).toHaveLength(1);
  });

  it('finds the path of an unknown kind by discovery, once', async () => {
    server.on((request, response) => {
      response.writeHead(200, json);
      if (request.url === '/apis/example.org/v1')
        response.end(
          JSON.stringify({
            resources: [
              { name: 'oxen/status', kind: 'Ox', namespaced: true },
              { name: 'oxen', kind: 'Ox', namespaced: true },
            ],
          }),
        );
      else response.end(JSON.stringify({ apiVersion: 'example.org/v1', kind: 'Ox', metadata: { name: 'a' } }));
    });
    const cluster = await connected();
    const ref = { apiVersion: 'example.org/v1', kind: 'Ox', name: 'a' };
    await cluster.get(ref);
    await cluster.get(ref);
    expect(server.requests).toEqual([
      'GET /apis/example.org/v1',
      // An object without a namespace lies in that of the context.
      'GET /apis/example.org/v1/namespaces/demo/oxen/a',
      'GET /apis/example.org/v1/namespaces/demo/oxen/a',
    ]);
    expect(await cluster.get({ ...ref, kind: 'Cow' })).toBeUndefined();
  });

  it('answers undefined for what does not exist and for a kind that is not installed', async () => {
    const cluster = await connected();
    server.on((_request, response) => response.writeHead(404, json).end(status(404, 'NotFound', 'not found')));
    expect(await cluster.get(service)).toBeUndefined();
    await cluster.delete(service);
    server.on((_request, response) => response.writeHead(404).end('404 page not found\n'));
    expect(await cluster.get({ ...service, apiVersion: 'cloud.google.com/v1', kind: 'BackendConfig' })).toBeUndefined();
    const error = await failure(cluster.list({ apiVersion: 'cloud.google.com/v1', kind: 'BackendConfig' }));
    expect(error.unknownKind).toBe(true);
    expect(explainKubeError(error, 'Reading BackendConfigs')).toBe(
      'Reading BackendConfigs failed: the cluster does not know the kind BackendConfig (cloud.google.com). On GKE this kind comes with the HttpLoadBalancing add-on: turn it on, then refresh.',
    );
  });

  it('asks for access and reads logs', async () => {
    const bodies: unknown[] = [];
    server.on((request, response, body) => {
      if (request.url?.includes('/log')) return void response.writeHead(200).end('line 1\nline 2\n');
      bodies.push(JSON.parse(body));
      response.writeHead(201, json).end(JSON.stringify({ status: { allowed: bodies.length === 1 } }));
    });
    const cluster = await connected();
    const access = { verb: 'create', group: '', resource: 'pods/portforward', namespace: 'demo' };
    expect(await cluster.can(access)).toBe(true);
    expect(await cluster.can(access)).toBe(false);
    expect(bodies[0]).toMatchObject({
      spec: { resourceAttributes: { verb: 'create', resource: 'pods', subresource: 'portforward', namespace: 'demo' } },
    });
    const log = await cluster.podLog('demo', 'p', { container: 'proxy', previous: true, tailLines: 5 });
    expect(log).toBe('line 1\nline 2\n');
    expect(server.requests.at(-1)).toBe(
      'GET /api/v1/namespaces/demo/pods/p/log?container=proxy&previous=true&tailLines=5',
    );
  });
});

describe('a watch', () => {
  const whole = `${JSON.stringify({ type: 'ADDED', object: JSON.parse(serviceBody) as object })}\n`;

  it.each([
    ['ends', whole, undefined],
    ['ends after empty lines', `\n${whole}\r\n`, undefined],
    [
      'is cut within an event',
      whole + whole.slice(0, 20),
      { kind: 'network', message: 'the watch was cut within an event' },
    ],
    ['holds what is no JSON', `${whole}<html>\n`, { kind: 'protocol' }],
    ['holds an unknown event', `${whole}{"type":"SONG"}\n`, { kind: 'protocol' }],
    [
      'ends with an error',
      `${whole}{"type":"ERROR","object":${status(410, 'Expired', 'old')}}\n`,
      { status: 410, reason: 'Expired' },
    ],
  ])('that %s', async (_case, text, error) => {
    server.on((request) => {
      // Without a length or chunks, only the end of the connection ends it.
      request.socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${text}`);
    });
    const cluster = await connected();
    const seen: string[] = [];
    let opened = 0;
    const options = { resourceVersion: '1', timeoutSeconds: 60, idleMs: 90_000, onOpen: () => (opened += 1) };
    const watching = (async () => {
      for await (const event of cluster.watch(services, options)) seen.push(event.type);
    })();
    if (error) expect(await failure(watching)).toMatchObject(error);
    else await watching;
    expect(seen).toEqual(['ADDED']);
    expect(opened).toBe(1);
    expect(server.requests).toEqual([
      'GET /api/v1/services?watch=true&allowWatchBookmarks=true&resourceVersion=1&timeoutSeconds=60',
    ]);
  });

  it('closes its connection when the reader leaves', async () => {
    await until(() => server.connections() === 0, 'no connection of another test is left');
    server.on((_request, response) => response.writeHead(200).write(whole));
    const cluster = await connected();
    for await (const event of cluster.watch(services, { resourceVersion: '1', timeoutSeconds: 60, idleMs: 90_000 })) {
      expect(event.object.metadata.name).toBe('milvus');
      break;
    }
    await until(() => server.connections() === 0, 'the connection is closed');
  });
});

describe('server-side apply', () => {
  const object = {
    apiVersion: 'cloud.google.com/v1',
    kind: 'BackendConfig',
    metadata: { name: 'bc', namespace: 'demo', managedFields: [{ manager: 'x' }] },
    spec: { timeoutSec: 60 },
  };

  it('sends what was asked, and tells creation and warnings', async () => {
    const seen: { type: string | undefined; body: unknown }[] = [];
    server.on((request, response, body) => {
      seen.push({ type: request.headers['content-type'], body: JSON.parse(body) as unknown });
      response.writeHead(201, { ...json, warning: '299 - "unknown field \\"spec.x\\"", 299 - "second, with comma"' });
      response.end(JSON.stringify(object));
    });
    const cluster = await connected();
    const applied = await cluster.apply(object, { dryRun: true, force: true });
    await cluster.apply(object);
    expect(applied.created).toBe(true);
    expect(applied.warnings).toEqual(['unknown field "spec.x"', 'second, with comma']);
    const target = 'PATCH /apis/cloud.google.com/v1/namespaces/demo/backendconfigs/bc?fieldManager=milvus-layer7';
    expect(server.requests).toEqual([
      `${target}&fieldValidation=Strict&force=true&dryRun=All`,
      `${target}&fieldValidation=Strict&force=false`,
    ]);
    expect(seen[0]).toEqual({
      type: 'application/apply-patch+yaml',
      // A body with managedFields is refused by the API server.
      body: { ...object, metadata: { name: 'bc', namespace: 'demo' } },
    });
  });

  it('names the managers that own conflicting fields', async () => {
    const details = {
      causes: [
        {
          reason: 'FieldManagerConflict',
          field: '.spec.timeoutSec',
          message: 'conflict with "kubectl-client-side-apply" using cloud.google.com/v1',
        },
        { reason: 'FieldManagerConflict', field: '.spec.cdn', message: 'conflict with "helm \\"q\\""' },
      ],
    };
    server.on((_request, response) =>
      response.writeHead(409, json).end(status(409, 'Conflict', 'Apply failed with 2 conflicts', details)),
    );
    const error = await failure((await connected()).apply(object));
    expect(error.conflicts).toEqual([
      { manager: 'kubectl-client-side-apply', apiVersion: 'cloud.google.com/v1', field: '.spec.timeoutSec' },
      { manager: 'helm "q"', apiVersion: '', field: '.spec.cdn' },
    ]);
    expect(explainKubeError(error, 'Applying BackendConfig bc')).toBe(
      'Applying BackendConfig bc failed: other tools own fields of BackendConfig demo/bc that have to change: kubectl-client-side-apply owns .spec.timeoutSec; helm "q" owns .spec.cdn. Change them there, or take them over.',
    );
  });

  it('tells an unknown field, and never the data of a Secret', async () => {
    const message =
      'failed to create typed patch object (demo/bc; cloud.google.com/v1, Kind=BackendConfig): .spec.timeoutSecc: field not declared in schema';
    server.on((_request, response) => response.writeHead(500, json).end(status(500, '', message)));
    const cluster = await connected();
    expect(explainKubeError(await failure(cluster.apply(object)), 'Applying')).toBe(
      `Applying failed: the API server rejects BackendConfig demo/bc: ${message}.`,
    );
    const leak = 'Secret "s" is invalid: data[tls.key]: Invalid value: "PRIVATE": bad';
    const causes = [{ reason: 'FieldValueInvalid', field: 'data[tls.key]', message: 'Invalid value: "PRIVATE": bad' }];
    server.on((_request, response) => response.writeHead(422, json).end(status(422, 'Invalid', leak, { causes })));
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace: 'demo' } };
    const told = explainKubeError(await failure(cluster.apply(secret)), 'Applying');
    expect(told).toBe('Applying failed: the API server rejects Secret demo/s: data[tls.key] (FieldValueInvalid).');
    expect(logged.join('\n')).not.toContain('PRIVATE');
  });
});

describe('errors', () => {
  it('says who may not do what, also with what GKE adds', async () => {
    const forbidden =
      'services is forbidden: User "a@example.com" cannot list resource "services" in API group "" in the namespace "demo": requires one of ["container.services.list"] permission(s).';
    server.on((_request, response) => response.writeHead(403, json).end(status(403, 'Forbidden', forbidden)));
    const error = await failure((await connected()).list(services, { namespace: 'demo' }));
    expect(explainKubeError(error, 'Reading Services')).toBe(
      'Reading Services failed: a@example.com may not list services in namespace demo. The API server says: requires one of ["container.services.list"] permission(s). Ask an administrator of the cluster for a role that allows it.',
    );
  });

  it('honours Retry-After of the head and of the Status', async () => {
    const cluster = await connected();
    server.on((_request, response) =>
      response.writeHead(429, { ...json, 'retry-after': '3' }).end(status(429, '', 'x')),
    );
    const error = await failure(cluster.get(service));
    expect(error.retryAfterMs).toBe(3000);
    expect(explainKubeError(error, 'Reading')).toBe(
      'Reading failed: the API server has too many requests. It asks to try again in 3 s.',
    );
    const details = { retryAfterSeconds: 2 };
    server.on((_request, response) => response.writeHead(503, json).end(status(503, '', 'x', details)));
    expect((await failure(cluster.get(service))).retryAfterMs).toBe(2000);
  });

  it('does not follow a redirect, and does not take HTML for an answer', async () => {
    const cluster = await connected();
    server.on((_request, response) => response.writeHead(302, { location: '/login' }).end());
    expect(explainKubeError(await failure(cluster.get(service)), 'Reading')).toBe(
      `Reading failed: ${server.url} redirects instead of answering, so it is no Kubernetes API server. Check the server address in the kubeconfig.`,
    );
    server.on((_request, response) => response.writeHead(200).end('<html>'));
    expect((await failure(cluster.get(service))).kind).toBe('protocol');
    server.on((_request, response) => response.writeHead(200, json).end('{"hello":1}'));
    expect((await failure(cluster.get(service))).kind).toBe('protocol');
    server.on((_request, response) =>
      response.writeHead(200, { ...json, 'content-encoding': 'gzip' }).end('this is not gzip'),
    );
    expect((await failure(cluster.get(service))).kind).toBe('protocol');
  });

  it('ends a request that gets no answer, or an answer that stops', async () => {
    const cluster = await connected(kubeconfigFor(server), { timeoutMs: 150 });
    await until(() => server.connections() === 0, 'no connection of another test is left');
    for (const stop of ['head', 'body'] as const) {
      server.on((_request, response) => {
        if (stop === 'body') response.writeHead(200, json).write('{"apiVersion"');
      });
      const error = await failure(cluster.get(service));
      expect(error.kind).toBe('timeout');
      expect(explainKubeError(error, 'Reading')).toBe(
        `Reading failed: the API server ${server.url} did not answer in time. Check the connection (VPN, authorized networks) and try again.`,
      );
      await until(() => server.connections() === 0, 'its connection is closed');
    }
  });

  it('does not end an answer that is slow but comes', async () => {
    const cluster = await connected(kubeconfigFor(server), { timeoutMs: 150 });
    server.on(async (_request, response) => {
      response.writeHead(200, json);
      for (let from = 0; from < serviceBody.length; from += 10) {
        response.write(serviceBody.slice(from, from + 10));
        await systemClock.sleep(40);
      }
      response.end();
    });
    const begun = Date.now();
    expect((await cluster.get(service))?.kind).toBe('Service');
    expect(Date.now() - begun).toBeGreaterThan(150);
  });

  it('leaves at once when the caller aborts or the cluster is disposed of', async () => {
    const cluster = await connected();
    server.on(() => undefined);
    const abort = new AbortController();
    const aborted = cluster.get(service, abort.signal);
    await until(() => server.requests.length === 1, 'the request has arrived');
    abort.abort(new Error('by the user'));
    await expect(aborted).rejects.toThrow('by the user');
    const disposed = cluster.get(service);
    await until(() => server.requests.length === 2, 'the request has arrived');
    cluster.dispose();
    await expect(disposed).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('explains an address where nothing listens, a name that does not resolve, and a server without TLS', async () => {
    const plain = http.createServer((_request, response) => response.end('plain'));
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const port = (plain.address() as net.AddressInfo).port;
    const said = async (url: string) => {
      const cluster = await connected(kubeconfigFor({ ...server, url }));
      return explainKubeError(await failure(cluster.get(service)), 'Reading');
    };
    const withoutTls = await said(`https://127.0.0.1:${port}`);
    await new Promise((resolve) => plain.close(resolve));
    expect(withoutTls).toBe(
      `Reading failed: https://127.0.0.1:${port} does not speak TLS. Check the scheme and port of the server address in the kubeconfig.`,
    );
    expect(await said(`https://127.0.0.1:${port}`)).toBe(
      `Reading failed: nothing answers at https://127.0.0.1:${port} (connection refused). Check that the cluster runs and that the kubeconfig holds its present address.`,
    );
    expect(await said('https://api.invalid')).toMatch(
      /^Reading failed: the host name of https:\/\/api\.invalid cannot be resolved \((ENOTFOUND|EAI_AGAIN)\)\./,
    );
  });

  it('explains a certificate of another authority, and one for another name', async () => {
    const other = await startFaultServer();
    const reading = async (text: string) =>
      explainKubeError(await failure((await connected(text)).get(service)), 'Reading');
    expect(await reading(kubeconfigFor({ ...server, ca: other.ca }))).toMatch(
      /^Reading failed: the certificate of https:\/\/127\.0\.0\.1:\d+ is not signed by the certificate authority in the kubeconfig \([A-Z_]+\)\. If the cluster was made anew/,
    );
    await other.close();
    expect(await reading(kubeconfigFor(server, '{}', ", tls-server-name: 'wrong.example'"))).toMatch(
      /is not made for this address\. Check the server address or tls-server-name in the kubeconfig\./,
    );
  });
});

describe('ways to log in', () => {
  const echo = () => {
    const heads: http.IncomingHttpHeaders[] = [];
    const names: string[] = [];
    server.on((request, response) => {
      heads.push(request.headers);
      names.push(
        (request.socket as unknown as { getPeerCertificate(): { subject?: { CN?: string } } }).getPeerCertificate()
          .subject?.CN ?? '',
      );
      response.writeHead(200, json).end(serviceBody);
    });
    return { heads, names };
  };

  it('a client certificate inline and from files, a user name, and a CA for another server name', async () => {
    const { heads, names } = echo();
    const { certificate, key } = server.client;
    const inline = `{ client-certificate-data: ${base64(certificate)}, client-key-data: ${base64(key)} }`;
    await (await connected(kubeconfigFor(server, inline, ", tls-server-name: 'api.example'"))).get(service);
    await writeFile(path.join(folder, 'c.crt'), certificate);
    await writeFile(path.join(folder, 'c.key'), key, { mode: 0o600 });
    await (await connected(kubeconfigFor(server, '{ client-certificate: c.crt, client-key: ./c.key }'))).get(service);
    await (await connected(kubeconfigFor(server, '{ username: me, password: pw }'))).get(service);
    expect(names).toEqual(['client', 'client', '']);
    expect(heads[2]?.authorization).toBe(`Basic ${base64('me:pw')}`);
  });

  it('a file with a token, read again after a 401; impersonation; no user at all', async () => {
    const file = path.join(folder, 'token');
    await writeFile(file, 'old\n');
    const heads: http.IncomingHttpHeaders[] = [];
    server.on(async (request, response) => {
      heads.push(request.headers);
      if (request.headers.authorization !== 'Bearer old') return void response.writeHead(200, json).end(serviceBody);
      await writeFile(file, 'new\n');
      response.writeHead(401, json).end(status(401, 'Unauthorized', 'Unauthorized'));
    });
    const user = '{ tokenFile: token, as: bob, as-uid: "7", as-groups: [a, b], as-user-extra: { scopes: [x] } }';
    expect((await (await connected(kubeconfigFor(server, user))).get(service))?.kind).toBe('Service');
    expect(heads.map((head) => head.authorization)).toEqual(['Bearer old', 'Bearer new']);
    expect(heads[1]).toMatchObject({
      'impersonate-user': 'bob',
      'impersonate-uid': '7',
      'impersonate-group': 'a, b',
      'impersonate-extra-scopes': 'x',
    });
    await (await connected(kubeconfigFor(server).replace('user: u, ', ''))).get(service);
    expect(heads[2]?.authorization).toBeUndefined();
  });

  it('tells which file is missing', async () => {
    const cluster = await connected(kubeconfigFor(server, '{ client-certificate: gone.crt, client-key: gone.key }'));
    expect(explainKubeError(await failure(cluster.get(service)), 'Reading')).toBe(
      `Reading failed: the file ${path.join(folder, 'gone.crt')}, named as client-certificate of u in the kubeconfig, cannot be read (ENOENT).`,
    );
    expect(server.requests).toEqual([]);
  });

  it('an exec plugin: run again once when its token is refused, once for many requests', async () => {
    const runs = path.join(folder, 'runs');
    const script = path.join(folder, 'plugin.sh');
    await writeFile(
      script,
      `#!/bin/sh\necho x >> "${runs}"\nn=$(wc -l < "${runs}" | tr -d ' ')\n` +
        `printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t%s"}}' "$n"\n`,
      { mode: 0o755 },
    );
    const user = '{ exec: { apiVersion: client.authentication.k8s.io/v1, command: ./plugin.sh } }';
    const cluster = await connected(kubeconfigFor(server, user), { env: process.env });
    server.on((request, response) => {
      if (request.headers.authorization === 'Bearer t2') response.writeHead(200, json).end(serviceBody);
      else response.writeHead(401, json).end(status(401, 'Unauthorized', 'Unauthorized'));
    });
    const all = await Promise.all(Array.from({ length: 5 }, () => cluster.get(service)));
    expect(all.map((found) => found?.kind)).toEqual(Array.from({ length: 5 }, () => 'Service'));
    expect((await readFile(runs, 'utf8')).length / 2).toBe(2);

    server.requests.length = 0;
    server.on((_request, response) => response.writeHead(401, json).end(status(401, 'Unauthorized', 'Unauthorized')));
    const error = await failure(cluster.get(service));
    // The plugin has just been run for a refused token, so it has nothing better now.
    expect(server.requests).toHaveLength(1);
    expect(explainKubeError(error, 'Reading')).toBe(
      `Reading failed: the API server ${server.url} does not accept the credentials of this context. Log in again (for GKE: gcloud auth login) and refresh.`,
    );
    expect(logged.join('\n')).not.toMatch(/t1|t2|secret-token/);
  });

  it('an exec plugin that gives a client certificate', async () => {
    const { names } = echo();
    const { certificate, key } = server.client;
    await writeFile(
      path.join(folder, 'credential.json'),
      JSON.stringify({
        apiVersion: 'client.authentication.k8s.io/v1',
        kind: 'ExecCredential',
        status: { clientCertificateData: certificate, clientKeyData: key },
      }),
    );
    const user = `{ exec: { apiVersion: client.authentication.k8s.io/v1, command: cat, args: ['${folder}/credential.json'] } }`;
    await (await connected(kubeconfigFor(server, user), { env: process.env })).get(service);
    expect(names).toEqual(['client']);
  });
});

describe('proxies', () => {
  it('goes through HTTPS_PROXY or proxy-url, and explains a proxy that refuses', async () => {
    server.on((_request, response) => response.writeHead(200, json).end(serviceBody));
    const asked: string[] = [];
    let refuse = false;
    const proxy = http.createServer().on('connect', (request: http.IncomingMessage, socket: net.Socket) => {
      asked.push(`${request.url ?? ''} ${request.headers['proxy-authorization'] ?? ''}`);
      if (refuse) return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      const upstream = net.connect(Number(server.url.split(':').at(-1)), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        upstream.pipe(socket).pipe(upstream);
      });
      upstream.on('error', () => socket.destroy());
      socket.on('error', () => upstream.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const proxyPort = (proxy.address() as net.AddressInfo).port;
    const text = kubeconfigFor({ ...server, url: 'https://api.example:6443' });
    const env = { HTTPS_PROXY: `http://me:pw@127.0.0.1:${proxyPort}` };
    try {
      expect((await (await connected(text, { env })).get(service))?.kind).toBe('Service');
      expect(asked).toEqual([`api.example:6443 Basic ${base64('me:pw')}`]);
      const inFile = kubeconfigFor(server, '{}', `, proxy-url: 'http://127.0.0.1:${proxyPort}'`);
      expect((await (await connected(inFile)).get(service))?.kind).toBe('Service');
      expect(asked).toHaveLength(2);

      refuse = true;
      const said = explainKubeError(await failure((await connected(text, { env })).get(service)), 'Reading');
      expect(said).toBe(
        `Reading failed: the API server https://api.example:6443 cannot be reached through the proxy 127.0.0.1:${proxyPort} (Bad response: 407). Check HTTPS_PROXY, NO_PROXY and the proxy-url of the cluster.`,
      );
      for (const cluster of open.splice(0)) cluster.dispose();
    } finally {
      proxy.closeAllConnections();
      await new Promise((resolve) => proxy.close(resolve));
    }
  });
});

describe('ways to the server', () => {
  it('plain HTTP, as of kubectl proxy', async () => {
    const plain = http.createServer((_request, response) => response.writeHead(200, json).end(serviceBody));
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(plain.address() as net.AddressInfo).port}`;
    const cluster = await connected(kubeconfigFor({ ...server, url }, '{}'));
    expect((await cluster.get(service))?.kind).toBe('Service');
    cluster.dispose();
    await new Promise((resolve) => plain.close(resolve));
  });

  it('a SOCKS proxy', async () => {
    server.on((_request, response) => response.writeHead(200, json).end(serviceBody));
    const asked: string[] = [];
    const socks = net.createServer((socket) => {
      // RFC 1928: greeting, then CONNECT to a host name (type 3).
      socket.once('data', () => {
        socket.write(Buffer.of(5, 0));
        socket.once('data', (request: Buffer) => {
          asked.push(request.subarray(5, 5 + (request[4] ?? 0)).toString());
          const upstream = net.connect(Number(server.url.split(':').at(-1)), '127.0.0.1', () => {
            socket.write(Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
            upstream.pipe(socket).pipe(upstream);
          });
          socket.on('error', () => upstream.destroy());
          upstream.on('error', () => socket.destroy());
        });
      });
    });
    await new Promise<void>((resolve) => socks.listen(0, '127.0.0.1', resolve));
    const proxy = `socks5h://127.0.0.1:${(socks.address() as net.AddressInfo).port}`;
    const text = kubeconfigFor({ ...server, url: 'https://api.example:6443' }, '{}', `, proxy-url: '${proxy}'`);
    const cluster = await connected(text);
    expect((await cluster.get(service))?.kind).toBe('Service');
    expect(asked).toEqual(['api.example']);
    cluster.dispose();
    await new Promise((resolve) => socks.close(resolve));
  });
});

describe('connect', () => {
  it('refuses a context that is not there or cannot be used', async () => {
    const kubeconfig = await loadKubeconfig(['/config'], () =>
      Promise.resolve(kubeconfigFor(server, '{ auth-provider: { name: gcp } }')),
    );
    const deps = {
      clock: systemClock,
      log: { info: () => undefined, warn: () => undefined, error: () => undefined, debug: () => undefined },
      env: {},
      readFile: (file: string) => readFile(file, 'utf8'),
    };
    expect(explainKubeError(await failure(connect(kubeconfig, 'other', deps)), 'Connecting')).toBe(
      'Connecting failed: there is no context other in the kubeconfig.',
    );
    expect(explainKubeError(await failure(connect(kubeconfig, 'test', deps)), 'Connecting')).toBe(
      'Connecting failed: User u logs in by the legacy auth-provider gcp, which Kubernetes removed. Install gke-gcloud-auth-plugin, then run: gcloud container clusters get-credentials CLUSTER --location LOCATION.',
    );
  });
});
