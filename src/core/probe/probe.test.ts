import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ProbeReport, ProbeStage, ProbeStageId } from '../model.ts';
import type { Dns, DnsAnswer, ProbeRequest } from '../ports.ts';
import { createCertificateMaker, readCertificates } from '../tls/certificate.ts';
import { createDns } from './dns.ts';
import { createProber, type StageLimits } from './probe.ts';
import { collections, countOf, failure, grpcFailure, Servers, type Credentials } from './servers.fixture.ts';

const host = 'my-release.milvus.io';
const address = '127.0.0.1';
const day = 24 * 60 * 60 * 1000;

type Made = Credentials & { ca: string };
const make = (hosts: string[], at = Date.now()): Promise<Made> =>
  createCertificateMaker({ now: () => at })({ hosts, keyType: 'ecdsa-p256', days: 90 });

let good: Made;
beforeAll(async () => {
  good = await make([host]);
  // The SDK is loaded once a process; its time belongs to no test.
  await import('./milvusSdk.chunk.ts');
});

const servers = new Servers();
afterEach(async () => {
  await servers.close();
});

const answering = (answer: Partial<DnsAnswer>): Dns => ({
  lookup: () => Promise.resolve({ a: [], aaaa: [], caa: [], ...answer }),
});

interface Options extends Partial<ProbeRequest> {
  port: number;
  dns?: Dns;
  limits?: Partial<StageLimits>;
  signal?: AbortSignal;
  onStage?: (stage: ProbeStage) => void;
}

/** Runs one test and checks that it leaves nothing behind: no socket here, no connection at a server. */
async function probe({ dns, limits, signal, onStage, ...request }: Options): Promise<ProbeReport> {
  const run = createProber({
    dns: dns ?? answering({ a: [address] }),
    clock: { now: () => Date.now() },
    ...(limits === undefined ? {} : { limits }),
  });
  const before = openSockets();
  const report = await run(
    { host, address, ca: good.ca, readEntities: true, deadlineMs: 10_000, ...request },
    onStage ?? (() => undefined),
    signal,
  );
  await vi.waitFor(() => {
    expect(servers.connections()).toBe(0);
    expect(openSockets()).toBeLessThanOrEqual(before);
  });
  return report;
}

/** Sockets of this process; those of the servers are closed by their clients' end. */
function openSockets(): number {
  const kinds = new Set(['TCPSocketWrap', 'TLSWrap', 'TCPConnectWrap']);
  return process.getActiveResourcesInfo().filter((kind) => kinds.has(kind)).length;
}

function stage(report: ProbeReport, id: ProbeStageId): ProbeStage {
  const found = report.stages.find((each) => each.id === id);
  if (found === undefined) throw new Error(`No stage ${id}`);
  return found;
}

/** The one failed stage of a report; everything after it must be skipped. */
function failedStage(report: ProbeReport): ProbeStage & { text: string } {
  const failed = report.stages.filter(({ state }) => state === 'failed');
  expect(failed).toHaveLength(1);
  expect(report.passed).toBe(false);
  const [only] = failed;
  if (only?.failure === undefined) throw new Error('The failed stage tells no failure');
  const { expected, actual, cause, fix } = only.failure;
  for (const text of [expected, actual, cause, fix.text]) expect(text).not.toBe('');
  const after = report.stages.slice(report.stages.indexOf(only) + 1);
  expect(after.every(({ state }) => state === 'skipped')).toBe(true);
  return { ...only, text: [expected, actual, cause, fix.text].join(' | ') };
}

describe('a healthy Milvus', () => {
  it('passes every stage and tells version, certificate and entities', async () => {
    const { port } = await servers.milvus(good);
    const told: string[] = [];
    const report = await probe({ port, onStage: ({ id, state }) => told.push(`${id} ${state}`) });
    expect(report).toMatchObject({
      host,
      via: 'address',
      passed: true,
      milvusVersion: '2.5.16',
      entities: { collection: 'docs', count: 1000 },
      certificate: { subject: `CN=${host}`, names: [host], protocol: 'TLSv1.3', alpn: 'h2' },
    });
    expect(report.needsCredentials).toBeUndefined();
    expect(report.stages.map(({ id, state }) => `${id} ${state}`)).toEqual(
      ['dns', 'tcp', 'tls', 'http2', 'grpc', 'milvus'].map((id) => `${id} passed`),
    );
    expect(report.stages.every(({ ms }) => typeof ms === 'number')).toBe(true);
    expect(told).toEqual(
      ['dns', 'tcp', 'tls', 'http2', 'grpc', 'milvus'].flatMap((id) => [`${id} running`, `${id} passed`]),
    );
    expect(stage(report, 'milvus').detail).toBe('Milvus 2.5.16, healthy, 1000 entities in collection docs');
  });

  it('logs nothing to the console, and never connects again', async () => {
    const milvus = await servers.milvus(good);
    let connections = 0;
    const { port } = await servers.relay(() => {
      connections += 1;
      return milvus.port;
    });
    const written = [vi.spyOn(process.stdout, 'write'), vi.spyOn(process.stderr, 'write')];
    await probe({ port });
    await probe({ port });
    expect(
      written
        .flatMap((spy) => spy.mock.calls)
        .map(String)
        .filter((line) => /milvus|grpc|connection/i.test(line)),
    ).toEqual([]);
    vi.restoreAllMocks();
    expect(connections).toBe(4);
  });

  it('sends the host name as :authority and SNI on both connections to the address', async () => {
    const seen: (string | undefined)[] = [];
    const { port } = await servers.http2(good, (stream, headers) => {
      const socket = stream.session?.socket as { servername?: string } | undefined;
      seen.push(headers[':authority'], socket?.servername);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '14' }, { endStream: true });
    });
    const report = await probe({ port, dns: answering({}) });
    expect(failedStage(report).id).toBe('grpc');
    expect(seen).toEqual([host, host, host, host]);
  });

  it('wants credentials: the path is proven', async () => {
    const refusal = grpcFailure(16, 'missing authorization in header');
    const { port } = await servers.milvus(good, { Connect: refusal, GetVersion: refusal });
    const report = await probe({ port });
    expect(report).toMatchObject({ passed: true, needsCredentials: true });
    expect(stage(report, 'grpc')).toMatchObject({ state: 'passed', detail: 'Milvus asks for credentials' });
    expect(stage(report, 'milvus')).toMatchObject({ state: 'skipped' });
  });

  it('wants credentials only after Connect', async () => {
    const { port } = await servers.milvus(good, { GetVersion: grpcFailure(16, 'missing authorization in header') });
    expect(await probe({ port })).toMatchObject({ passed: true, needsCredentials: true });
  });

  it('gets the credentials, and refuses wrong ones', async () => {
    const { port } = await servers.milvus(good, { Connect: grpcFailure(16, 'auth check failure') });
    const report = await probe({ port, credentials: { username: 'root', password: 'wrong-password' } });
    expect(failedStage(report)).toMatchObject({ id: 'milvus', detail: 'auth check failure' });
    expect(report.needsCredentials).toBe(true);
    expect(JSON.stringify(report)).not.toContain('wrong-password');
  });

  it('may forbid reading: told, no failure', async () => {
    const { port } = await servers.milvus(good, {
      ShowCollections: { ...collections(), status: failure(65535, 'PrivilegeShowCollections: permission deny') },
    });
    const report = await probe({ port });
    expect(report.passed).toBe(true);
    expect(report.entities).toBeUndefined();
    expect(stage(report, 'milvus').detail).toContain('no entities read: PrivilegeShowCollections');
  });

  it('counts by statistics what is not loaded', async () => {
    const { port } = await servers.milvus(good, {
      Query: { ...countOf(0), fields_data: [], status: failure(101, 'collection not loaded') },
      GetCollectionStatistics: (request) => ({
        status: { error_code: 'Success', code: 0, reason: '' },
        stats: [{ key: 'row_count', value: request.collection_name === 'docs' ? '42' : '0' }],
      }),
    });
    expect((await probe({ port })).entities).toEqual({ collection: 'docs', count: 42 });
  });

  it('looks into other databases', async () => {
    const { port } = await servers.milvus(good, {
      ListDatabases: { status: { error_code: 'Success' }, db_names: ['default', 'prod'] },
      ShowCollections: (request) => (request.db_name === 'prod' ? collections('docs') : collections()),
    });
    expect((await probe({ port })).entities).toEqual({ collection: 'prod.docs', count: 1000 });
  });

  it('may hold nothing yet, and is not read when that is not asked for', async () => {
    const { port } = await servers.milvus(good, { ShowCollections: collections() });
    const report = await probe({ port });
    expect(report.passed).toBe(true);
    expect(stage(report, 'milvus').detail).toBe('Milvus 2.5.16, healthy, no collection yet');
    const unread = await probe({ port, readEntities: false });
    expect(stage(unread, 'milvus').detail).toBe('Milvus 2.5.16, healthy');
  });

  it('may be older than Connect, and without a version', async () => {
    const { port } = await servers.milvus(good, {
      Connect: undefined,
      GetVersion: { status: { error_code: 'Success' }, version: '' },
    });
    const report = await probe({ port, readEntities: false });
    expect(report.passed).toBe(true);
    expect(report.milvusVersion).toBeUndefined();
    expect(stage(report, 'grpc').detail).toBe('Milvus answered GetVersion');
  });

  it('is tested through a port-forward with its own certificate', async () => {
    const own = await make(['localhost']);
    const { port } = await servers.milvus(own);
    const lookup = vi.fn<Dns['lookup']>();
    const report = await probe({ port, via: 'portForward', dns: { lookup } });
    expect(report).toMatchObject({ passed: true, via: 'portForward', milvusVersion: '2.5.16' });
    expect(lookup).not.toHaveBeenCalled();
    expect(stage(report, 'dns').state).toBe('skipped');
  });

  it('is tested under a wildcard by a name below it', async () => {
    const wildcard = await make(['*.milvus.io']);
    const { port } = await servers.milvus(wildcard);
    expect(await probe({ port, host: '*.milvus.io', ca: wildcard.ca })).toMatchObject({
      passed: true,
      host: '*.milvus.io',
    });
  });
});

describe('DNS', () => {
  it('without an answer it goes on to the address, and says so', async () => {
    const { port } = await servers.milvus(good);
    const names = await servers.dns({});
    const report = await probe({ port, dns: createDns([`127.0.0.1:${names.port}`]) });
    expect(report.passed).toBe(true);
    expect(stage(report, 'dns')).toMatchObject({
      state: 'skipped',
      detail: `${host} has no A record yet: connecting to ${address} directly.`,
    });
  });

  it('a server that does not answer within the limit does not stop it', async () => {
    const { port } = await servers.milvus(good);
    const names = await servers.dns({ [host]: 'silent' });
    const report = await probe({ port, dns: createDns([`127.0.0.1:${names.port}`]), limits: { dns: 200 } });
    expect(report.passed).toBe(true);
    expect(stage(report, 'dns')).toMatchObject({ state: 'skipped' });
    expect(stage(report, 'dns').detail).toContain('did not answer');
  });

  it('a wrong A record fails with the record to set, and the rest is tested on the address', async () => {
    const { port } = await servers.milvus(good);
    const report = await probe({ port, dns: answering({ a: ['35.1.2.3'] }) });
    const failed = stage(report, 'dns');
    expect(failed.failure).toMatchObject({
      cause: `The name leads to 35.1.2.3, not to the load balancer at ${address}.`,
      fix: { kind: 'dns', record: { type: 'A', name: host, value: address } },
    });
    expect(report.passed).toBe(false);
    expect(stage(report, 'milvus').state).toBe('passed');
  });

  it('without an answer and an address it ends there', async () => {
    const report = await createProber({ dns: answering({ error: 'ENOTFOUND' }), clock: { now: () => 0 } })(
      { host, port: 443, readEntities: false, deadlineMs: 1000 },
      () => undefined,
    );
    expect(failedStage(report)).toMatchObject({ id: 'dns', detail: `${host} has no A record` });
  });
});

describe('TCP', () => {
  it('refused', async () => {
    const closed = await servers.tcp(() => undefined);
    await servers.close();
    const failed = failedStage(await probe({ port: closed.port }));
    expect(failed.id).toBe('tcp');
    expect(failed.text).toContain('ECONNREFUSED');
    expect(failed.text).toContain('no forwarding rule for it yet');
  });

  it('no way there within the limit', async () => {
    // 192.0.2.0/24 is for documentation (RFC 5737): no host answers there.
    const report = await probe({ port: 443, address: '192.0.2.1', dns: answering({}), limits: { tcp: 200 } });
    expect(failedStage(report)).toMatchObject({ id: 'tcp' });
  });
});

describe('TLS', () => {
  it.each<[string, () => Promise<Made>, string[]]>([
    ['expired', () => make([host], Date.now() - 91 * day), ['certificate expired on', 'was not renewed']],
    ['not yet valid', () => make([host], Date.now() + day), ['is not valid before', 'clock of this machine']],
    ['for another host', () => make(['other.example.com']), ['is for other.example.com', 'another host name']],
    [
      'only by the common name',
      () => byOpenssl(),
      [`names CN=${host} only in its subject`, 'Go clients and browsers refuse it', `subject alternative name ${host}`],
    ],
  ])('certificate %s', async (_, certificate, texts) => {
    const made = await certificate();
    const { port } = await servers.tls(made, { ALPNProtocols: ['h2'] });
    const report = await probe({ port, ca: made.ca });
    const failed = failedStage(report);
    expect(failed.id).toBe('tls');
    for (const text of texts) expect(failed.text).toContain(text);
    expect(report.certificate?.fingerprint256).toBe(readCertificates(made.certificate)[0]?.fingerprint256);
  });

  it('certificate of an authority that is not given', async () => {
    const { port } = await servers.tls(good, { ALPNProtocols: ['h2'] });
    const request: ProbeRequest = { host, address, port, readEntities: false, deadlineMs: 5000 };
    const report = await createProber({ dns: answering({ a: [address] }), clock: { now: () => Date.now() } })(
      request,
      () => undefined,
    );
    const failed = failedStage(report);
    expect(failed.id).toBe('tls');
    expect(failed.text).toContain('SELF_SIGNED_CERT_IN_CHAIN');
    expect(failed.text).toContain('private authority that this machine does not know');
  });

  it('certificate of another authority than the given one', async () => {
    const [leaf] = readCertificates(good.certificate);
    const { port } = await servers.tls({ ...good, certificate: String(leaf) }, { ALPNProtocols: ['h2'] });
    const failed = failedStage(await probe({ port, ca: (await make([host])).ca }));
    expect(failed.text).toContain('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    expect(failed.text).toContain('The given certificate authority did not issue it');
  });

  it('the server’s certificate given in place of its authority’s', async () => {
    const [leaf] = readCertificates(good.certificate);
    const { port } = await servers.tls({ ...good, certificate: String(leaf) }, { ALPNProtocols: ['h2'] });
    const failed = failedStage(await probe({ port, ca: String(leaf) }));
    expect(failed.text).toContain('pymilvus takes that, Node does not');
  });

  it('self-signed, not given', async () => {
    const made = await byOpenssl('-addext', `subjectAltName=DNS:${host}`);
    const { port } = await servers.tls(made, { ALPNProtocols: ['h2'] });
    const failed = failedStage(await probe({ port }));
    expect(failed.text).toContain('DEPTH_ZERO_SELF_SIGNED_CERT');
    expect(failed.text).toContain('self-signed, so clients accept it only when they are given it');
  });

  it('tells every fault at once', async () => {
    const made = await make(['other.example.com'], Date.now() - 91 * day);
    const { port } = await servers.tls(made, {});
    const { failure } = failedStage(await probe({ port }));
    for (const text of ['expired on', 'is for other.example.com', 'no application protocol'])
      expect(failure?.actual).toContain(text);
  });

  it.each([
    ['does not choose a protocol', {}],
    ['knows HTTP/1.1 only', { ALPNProtocols: ['http/1.1'] }],
  ])('a server that %s', async (_, options) => {
    const { port } = await servers.tls(good, options);
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('tls');
    expect(failed.text).toContain('HTTP/2 (ALPN h2)');
    expect(failed.text).toContain('TLS proxy');
  });

  it('a server with TLS 1.1 only', async () => {
    const { port } = await servers.tls(good, {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('tls');
    expect(failed.text).toContain('no TLS 1.2 or later');
  });

  it.each<[string, () => Promise<{ port: number }>]>([
    ['Milvus without TLS', () => servers.milvus(undefined)],
    ['a web server without TLS', () => servers.tcp((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))],
  ])('%s', async (_, start) => {
    const { port } = await start();
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('tls');
    expect(failed.text).toContain('speaks no TLS');
  });

  it.each<[string, (socket: Socket) => void]>([
    ['reset in the handshake', (socket) => socket.once('data', () => socket.resetAndDestroy())],
    ['closed', (socket) => socket.end()],
  ])('connection %s', async (_, onConnection) => {
    const { port } = await servers.tcp(onConnection);
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('tls');
    expect(failed.text).toContain('Google-managed certificate is not Active yet');
  });

  it('no certificate for the name', async () => {
    const { port } = await servers.tls(good, {
      SNICallback: (_, done) => {
        done(new Error('no certificate for this name'));
      },
    });
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('tls');
    expect(failed.text).toContain('not Active yet');
  });

  it('a silent server, within the limit of the stage', async () => {
    const { port } = await servers.tcp(() => undefined);
    const failed = failedStage(await probe({ port, limits: { tls: 300 } }));
    expect(failed).toMatchObject({ id: 'tls', detail: 'no answer within 0.3 s' });
    expect(failed.ms).toBeGreaterThanOrEqual(290);
    expect(failed.ms).toBeLessThan(1500);
    expect(failed.text).toContain('does not answer the TLS handshake');
  });

  it('a silent server, within the deadline of the test', async () => {
    const { port } = await servers.tcp(() => undefined);
    const failed = failedStage(await probe({ port, deadlineMs: 300 }));
    expect(failed.id).toBe('tls');
    expect(failed.ms).toBeLessThan(1500);
  });
});

describe('HTTP/2', () => {
  it.each<[number, Record<string, string>, string, string[]]>([
    [
      404,
      {},
      'response 404 (backend NotFound), service rules for the path non-existent',
      ['no rule for the host name', host],
    ],
    [404, {}, '404 page not found', ['HTTP/1.1 to it', 'cloud.google.com/app-protocols']],
    [415, {}, 'invalid gRPC request content-type ""', ['HTTP/1.1 to it']],
    [
      502,
      {},
      '<html><body><h1>Error: Server Error</h1></body></html>',
      ['does not speak TLS (tlsMode 0)', '"Error: Server Error"'],
    ],
    [503, {}, 'no healthy upstream', ['no healthy backend', '/healthz']],
    [504, {}, 'upstream request timeout', ['timeoutSec']],
    [302, { location: 'https://accounts.google.com/o/oauth2/v2/auth' }, '', ['Identity-Aware Proxy', 'iap']],
    [301, { location: 'https://elsewhere.example.com/' }, '', ['redirects to https://elsewhere.example.com/']],
    [401, {}, 'Invalid IAP credentials', ['Identity-Aware Proxy']],
    [403, {}, '403 Forbidden', ['Cloud Armor']],
    [429, {}, '', ['rate limit']],
    [400, {}, 'Bad Request', ['malformed']],
    [200, { 'content-type': 'text/html' }, '<html>It works</html>', ['text/html is no gRPC content type']],
    [500, {}, 'oh', ['instead of it']],
  ])('answers %s %j %j', async (code, headers, body, texts) => {
    const { port } = await servers.http2(good, (stream) => {
      stream.respond({ ':status': code, ...headers });
      stream.end(body);
    });
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('http2');
    expect(failed.detail).toContain(`HTTP ${code}`);
    for (const text of texts) expect(failed.text).toContain(text);
  });

  it('never answers', async () => {
    const { port } = await servers.http2(good, () => undefined);
    const failed = failedStage(await probe({ port, limits: { http2: 300 } }));
    expect(failed).toMatchObject({ id: 'http2', detail: 'no answer within 0.3 s' });
    expect(failed.text).toContain('the load balancer waits for Milvus');
  });

  it('begins an answer and never ends it', async () => {
    const { port } = await servers.http2(good, (stream) => {
      stream.respond({ ':status': 502 });
      stream.write('<html>');
    });
    expect(failedStage(await probe({ port, limits: { http2: 300 } })).id).toBe('http2');
  });

  it('agrees on h2 and then speaks HTTP/1.1', async () => {
    const { port } = await servers.tls(good, { ALPNProtocols: ['h2'] }, (socket) => {
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('http2');
    expect(failed.text).toContain('broke off the connection');
  });

  it('agrees on h2 and hangs up', async () => {
    const { port } = await servers.tls(good, { ALPNProtocols: ['h2'] }, (socket) => socket.destroy());
    expect(failedStage(await probe({ port })).id).toBe('http2');
  });

  it('breaks off the call', async () => {
    const { port } = await servers.http2(good, (stream) => {
      stream.close(2);
    });
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('http2');
    expect(failed.text).toContain('broke off the call');
  });

  it('a server that wants a client certificate, as tlsMode 2', async () => {
    const { port } = await servers.tls(good, {
      ALPNProtocols: ['h2'],
      requestCert: true,
      rejectUnauthorized: true,
      ca: good.ca,
    });
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('http2');
    expect(failed.text).toContain('tlsMode 2');
  });
});

describe('gRPC', () => {
  it('a server that is not Milvus: the SDK calls that a success', async () => {
    const { port } = await servers.milvus(good, { Connect: undefined, GetVersion: undefined });
    const failed = failedStage(await probe({ port }));
    expect(failed).toMatchObject({ id: 'grpc', detail: 'UNIMPLEMENTED (code 12)' });
    expect(failed.text).toContain('not Milvus');
  });

  it('the second connection gets 404 from the load balancer: the SDK calls that a success', async () => {
    const milvus = await servers.milvus(good);
    const lost = await servers.http2(good, (stream) => {
      stream.respond({ ':status': 404 }, { endStream: true });
    });
    const { port } = await servers.relay((index) => (index === 0 ? milvus : lost).port);
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('grpc');
    expect(failed.text).toContain('404');
  });

  it.each([
    [502, 'does not speak TLS'],
    [503, 'no healthy backend'],
  ])('the second connection gets %s', async (code, text) => {
    const milvus = await servers.milvus(good);
    const lost = await servers.http2(good, (stream) => {
      stream.respond({ ':status': code }, { endStream: true });
    });
    const { port } = await servers.relay((index) => (index === 0 ? milvus : lost).port);
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('grpc');
    expect(failed.text).toContain(text);
  });

  it('the second connection is never answered: its socket is closed all the same', async () => {
    const milvus = await servers.milvus(good);
    const { port } = await servers.relay((index) => (index === 0 ? milvus.port : undefined));
    const failed = failedStage(await probe({ port, limits: { grpc: 400 } }));
    expect(failed).toMatchObject({ id: 'grpc', detail: 'no answer within 0.4 s' });
  });

  it('Connect is never answered', async () => {
    const { port } = await servers.milvus(good, { Connect: 'silent' });
    const failed = failedStage(await probe({ port, limits: { grpc: 400 } }));
    expect(failed.id).toBe('grpc');
    expect(failed.text).toContain('Milvus does not answer');
  });

  it.each([
    [7, 'permission deny', 'no right to this call'],
    [8, 'received message larger than max', 'serverMaxRecvSize'],
    [13, 'broken', 'lost its connection to Milvus'],
    [14, 'proxy not ready', 'pods of Milvus restart'],
    [2, 'odd', 'which refused it'],
  ])('Connect fails with code %s', async (code, details, text) => {
    const { port } = await servers.milvus(good, { Connect: grpcFailure(code, details) });
    const failed = failedStage(await probe({ port }));
    expect(failed.id).toBe('grpc');
    expect(failed.detail).toContain(details);
    expect(failed.text).toContain(text);
  });
});

describe('a process that ran a test', () => {
  it('ends by itself: nothing is left that keeps it alive', async () => {
    const milvus = await servers.milvus(good);
    const { port } = await servers.relay((index) => (index === 0 ? milvus.port : undefined));
    const script = `
      import { createProber } from ${JSON.stringify(new URL('./probe.ts', import.meta.url).href)};
      const probe = createProber({
        dns: { lookup: async () => ({ a: [], aaaa: [], caa: [] }) },
        clock: { now: () => Date.now() },
        limits: { grpc: 300 },
      });
      const request = { host: '${host}', address: '${address}', port: ${port}, ca: ${JSON.stringify(good.ca)} };
      const report = await probe({ ...request, readEntities: true, deadlineMs: 60_000 }, () => undefined);
      const began = performance.now();
      process.on('exit', () => {
        const failed = report.stages.filter(({ state }) => state === 'failed').map(({ id }) => id);
        console.log(JSON.stringify({ failed, lag: performance.now() - began }));
      });`;
    const child = promisify(execFile)(process.execPath, ['--no-warnings', '--input-type=module', '--eval', script]);
    const { failed, lag } = JSON.parse((await child).stdout) as { failed: string[]; lag: number };
    expect(failed).toEqual(['grpc']);
    expect(lag).toBeLessThan(2000);
  }, 30_000);
});

describe('Milvus', () => {
  it('refuses in the answer to Connect: the SDK calls that connected', async () => {
    const { port } = await servers.milvus(good, {
      Connect: { status: failure(800, 'database not found'), identifier: 0 },
    });
    const failed = failedStage(await probe({ port }));
    expect(failed).toMatchObject({ id: 'milvus', detail: 'database not found' });
  });

  it('is not healthy', async () => {
    const { port } = await servers.milvus(good, {
      CheckHealth: { status: { error_code: 'Success' }, isHealthy: false, reasons: ['datacoord is unhealthy'] },
    });
    const report = await probe({ port });
    expect(failedStage(report)).toMatchObject({ id: 'milvus', detail: 'not healthy: datacoord is unhealthy' });
    expect(report.milvusVersion).toBe('2.5.16');
  });

  it('does not answer in time', async () => {
    const { port } = await servers.milvus(good, { CheckHealth: 'silent' });
    const failed = failedStage(await probe({ port, limits: { milvus: 400 } }));
    expect(failed.id).toBe('milvus');
    expect(failed.text).toContain('does not answer: it waits for etcd');
  });

  it('breaks off', async () => {
    const { port } = await servers.milvus(good, { GetVersion: grpcFailure(14, 'connection error') });
    expect(failedStage(await probe({ port })).id).toBe('milvus');
  });
});

describe('cancelling', () => {
  it.each<[ProbeStageId, () => Promise<{ port: number }>]>([
    ['tls', () => servers.tcp(() => undefined)],
    ['http2', () => servers.http2(good, () => undefined)],
    ['grpc', () => servers.milvus(good, { Connect: 'silent' })],
    ['milvus', () => servers.milvus(good, { CheckHealth: 'silent' })],
  ])('in the stage %s ends the test at once', async (id, start) => {
    const { port } = await start();
    const controller = new AbortController();
    const began = performance.now();
    const report = await probe({
      port,
      signal: controller.signal,
      onStage: (told) => {
        if (told.id === id && told.state === 'running')
          setImmediate(() => {
            controller.abort();
          });
      },
    });
    expect(performance.now() - began).toBeLessThan(3000);
    expect(report.passed).toBe(false);
    expect(report.stages.map((each) => each.id)).toEqual(['dns', 'tcp', 'tls', 'http2', 'grpc', 'milvus']);
    expect(report.stages.some(({ state }) => state === 'failed')).toBe(false);
    expect(stage(report, id)).toMatchObject({ state: 'skipped', detail: 'Cancelled' });
    expect(stage(report, 'milvus')).toMatchObject({ state: 'skipped', detail: 'Cancelled' });
  });

  it('before it began leaves nothing done', async () => {
    const { port } = await servers.tcp(() => undefined);
    const report = await probe({ port, signal: AbortSignal.abort() });
    expect(report.stages.every(({ state }) => state === 'skipped')).toBe(true);
  });
});

/** A certificate as the guide makes it, self-signed; trust it by itself. */
async function byOpenssl(...args: string[]): Promise<Made> {
  const folder = await mkdtemp(path.join(tmpdir(), 'probe-'));
  try {
    const file = (name: string) => path.join(folder, name);
    await promisify(execFile)('openssl', [
      ...['req', '-x509', '-nodes', '-days', '90', '-newkey', 'rsa:2048', '-subj', `/CN=${host}`, ...args],
      ...['-keyout', file('tls.key'), '-out', file('tls.crt')],
    ]);
    const [certificate, key] = await Promise.all([
      readFile(file('tls.crt'), 'utf8'),
      readFile(file('tls.key'), 'utf8'),
    ]);
    return { certificate, key, ca: certificate };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
