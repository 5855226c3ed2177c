/**
 * Real servers on loopback for the tests of the connection test: Milvus over gRPC, and everything that may answer in
 * its place. Each test closes all of them.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { createServer as createTcpServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions, type TLSSocket } from 'node:tls';
import {
  Server as GrpcServer,
  ServerCredentials,
  loadPackageDefinition,
  status,
  type GrpcObject,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServiceClientConstructor,
} from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import milvusProto from '@zilliz/milvus2-sdk-node/dist/milvus/proto-json/milvus.js';

export interface Credentials {
  certificate: string;
  key: string;
}

/** A server that a test has to close. `connections` counts what is open now, as the server sees it. */
export interface Running {
  port: number;
  connections(): number;
  close(): Promise<void>;
}

/** Starts servers and closes all of them at the end of a test. */
export class Servers {
  readonly #running: Running[] = [];

  add<T extends Running>(running: T): T {
    this.#running.push(running);
    return running;
  }

  /** Connections that clients left open. */
  connections(): number {
    return this.#running.reduce((sum, server) => sum + server.connections(), 0);
  }

  async close(): Promise<void> {
    await Promise.all(this.#running.splice(0).map((server) => server.close()));
  }

  /** Anything that gets raw TCP connections. */
  async tcp(onConnection: (socket: Socket, index: number) => void): Promise<Running> {
    let index = 0;
    const server = createTcpServer({ noDelay: true }, (socket) => {
      socket.on('error', () => undefined);
      onConnection(socket, index);
      index += 1;
      // Only a socket that is read tells that the client has closed it.
      socket.resume();
    });
    return this.add(await listening(server));
  }

  /** A TLS server; the certificate first, then what it does with a connection. */
  async tls(
    credentials: Credentials,
    options: TlsOptions,
    onConnection: (socket: TLSSocket) => void = () => undefined,
  ): Promise<Running> {
    const server = createTlsServer({ cert: credentials.certificate, key: credentials.key, ...options }, (socket) => {
      socket.on('error', () => undefined);
      onConnection(socket);
      socket.resume();
    });
    server.on('tlsClientError', () => undefined);
    return this.add(await listening(server));
  }

  /** An HTTP/2 server that answers each call by `answer`. */
  async http2(
    credentials: Credentials,
    answer: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  ): Promise<Running> {
    const server: Http2SecureServer = createSecureServer({ cert: credentials.certificate, key: credentials.key });
    server.on('sessionError', () => undefined);
    server.on('stream', (stream, headers) => {
      stream.on('error', () => undefined);
      stream.resume();
      answer(stream, headers);
    });
    return this.add(await listening(server));
  }

  /** Milvus by its own protocol; `handlers` answer instead of the defaults. */
  async milvus(credentials: Credentials | undefined, handlers: Partial<MilvusHandlers> = {}): Promise<Running> {
    const answers = { ...healthyMilvus(), ...handlers };
    const server = new GrpcServer();
    const implementation = Object.fromEntries(
      Object.entries(answers).map(([name, handler]) => [
        name,
        (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
          if (handler === undefined) callback({ code: status.UNIMPLEMENTED });
          else if (handler !== 'silent') answerCall(handler, call, callback);
        },
      ]),
    );
    service ??= milvusService();
    server.addService(service.service, implementation);
    const serverCredentials =
      credentials === undefined
        ? ServerCredentials.createInsecure()
        : ServerCredentials.createSsl(null, [
            { private_key: Buffer.from(credentials.key), cert_chain: Buffer.from(credentials.certificate) },
          ]);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', serverCredentials, (error, bound) => {
        if (error) reject(error);
        else resolve(bound);
      });
    });
    // grpc-js does not count its connections; this relay in front does.
    const relay = await this.relay(() => port);
    this.add({
      port,
      connections: () => 0,
      close: () => {
        server.forceShutdown();
        return Promise.resolve();
      },
    });
    return relay;
  }

  /** Forwards the n-th connection to the port that `target` names, or never answers it when it names none. */
  async relay(target: (index: number) => number | undefined): Promise<Running> {
    return this.tcp((socket, index) => {
      const port = target(index);
      if (port === undefined) return;
      const upstream = connect({ port, host: '127.0.0.1', noDelay: true });
      upstream.on('error', () => socket.destroy());
      socket.on('close', () => upstream.destroy());
      upstream.on('close', () => socket.destroy());
      socket.pipe(upstream).pipe(socket);
    });
  }

  /** A DNS server; names it does not know do not exist, and `silent` names are never answered. */
  async dns(records: Record<string, DnsRecords | 'silent'>): Promise<Running> {
    const socket = createSocket('udp4');
    socket.on('message', (query, peer) => {
      const answer = answerQuery(query, records);
      if (answer !== undefined) socket.send(answer, peer.port, peer.address);
    });
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return this.add({
      port: socket.address().port,
      connections: () => 0,
      close: async () => {
        socket.close();
        await once(socket, 'close');
      },
    });
  }
}

async function listening(server: Server): Promise<Running> {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => open.size,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

/** An answer, an answer computed from the request, an error, `silent` for none, undefined for an unknown method. */
type Handler = object | ((request: Record<string, unknown>) => object) | 'silent' | undefined;
type Method =
  'Connect' | 'GetVersion' | 'CheckHealth' | 'ListDatabases' | 'ShowCollections' | 'Query' | 'GetCollectionStatistics';
export type MilvusHandlers = Record<Method, Handler>;

/** Makes a handler fail with a gRPC status. */
export function grpcFailure(code: number, details: string): object {
  return Object.assign(new Error(details), { code, details });
}

const success = { error_code: 'Success', code: 0, reason: '' };

/** A status as Milvus puts into its answers. */
export function failure(code: number, reason: string): object {
  return { error_code: 'UnexpectedError', code, reason };
}

/** What a `count(*)` query answers. */
export function countOf(count: number): object {
  return {
    status: success,
    fields_data: [{ type: 'Int64', field_name: 'count(*)', scalars: { long_data: { data: [count] } } }],
    output_fields: ['count(*)'],
  };
}

/** The names of collections. */
export function collections(...names: string[]): object {
  return {
    status: success,
    collection_names: names,
    collection_ids: names.map((_, index) => index + 1),
    created_utc_timestamps: names.map(() => 0),
    inMemory_percentages: [],
  };
}

function healthyMilvus(): MilvusHandlers {
  return {
    Connect: { status: success, identifier: 7, server_info: { build_tags: '2.5.16' } },
    GetVersion: { status: success, version: 'v2.5.16' },
    CheckHealth: { status: success, isHealthy: true, reasons: [] },
    ListDatabases: { status: success, db_names: ['default'] },
    ShowCollections: collections('empty', 'docs'),
    Query: (request) => countOf(request.collection_name === 'docs' ? 1000 : 0),
    GetCollectionStatistics: { status: success, stats: [{ key: 'row_count', value: '0' }] },
  };
}

function answerCall(
  handler: Exclude<Handler, 'silent' | undefined>,
  call: ServerUnaryCall<unknown, unknown>,
  callback: sendUnaryData<unknown>,
): void {
  const answer = isComputed(handler) ? handler(call.request as Record<string, unknown>) : handler;
  if (answer instanceof Error) callback(answer);
  else callback(null, answer);
}

function isComputed(handler: object): handler is (request: Record<string, unknown>) => object {
  return typeof handler === 'function';
}

let service: ServiceClientConstructor | undefined;

function milvusService(): ServiceClientConstructor {
  const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };
  const definition = fromJSON(milvusProto as unknown as Parameters<typeof fromJSON>[0], options);
  const grpc = loadPackageDefinition(definition);
  const found = ['milvus', 'proto', 'milvus', 'MilvusService'].reduce<GrpcObject[string] | undefined>(
    (scope, name) => (scope === undefined ? undefined : (scope as GrpcObject)[name]),
    grpc,
  );
  return found as ServiceClientConstructor;
}

export interface DnsRecords {
  A?: string[];
  AAAA?: string[];
  CNAME?: string;
  /** Tag and value, such as `['issue', 'pki.goog']`. */
  CAA?: [string, string][];
  /** RCODE such as 2 (SERVFAIL) in place of an answer. */
  rcode?: number;
}

const recordTypes = { 1: 'A', 28: 'AAAA', 5: 'CNAME', 257: 'CAA' } as const;
const nameError = 3;

/** RFC 1035 §4, as much as these tests need; undefined for no answer. */
function answerQuery(query: Buffer, records: Record<string, DnsRecords | 'silent'>): Buffer | undefined {
  const labels: string[] = [];
  let offset = 12;
  for (let length = query.readUInt8(offset); length > 0; length = query.readUInt8(offset)) {
    labels.push(query.toString('latin1', offset + 1, offset + 1 + length));
    offset += 1 + length;
  }
  const question = query.subarray(12, offset + 5);
  const type = recordTypes[query.readUInt16BE(offset + 1) as keyof typeof recordTypes];
  const found = records[labels.join('.').toLowerCase()];
  if (found === 'silent') return undefined;
  const data = found === undefined ? [] : recordData(found, type);
  const rcode = found === undefined ? nameError : (found.rcode ?? 0);
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8180 | rcode, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(data.length, 6);
  const answers = data.map((rdata) => {
    const fixed = Buffer.alloc(12);
    fixed.writeUInt16BE(0xc00c, 0);
    question.copy(fixed, 2, question.length - 4, question.length - 2);
    fixed.writeUInt16BE(1, 4);
    fixed.writeUInt32BE(1, 6);
    fixed.writeUInt16BE(rdata.length, 10);
    return Buffer.concat([fixed, rdata]);
  });
  return Buffer.concat([header, question, ...answers]);
}

function recordData(records: DnsRecords, type: (typeof recordTypes)[keyof typeof recordTypes]): Buffer[] {
  switch (type) {
    case 'A':
      return (records.A ?? []).map((address) => Buffer.from(address.split('.').map(Number)));
    case 'AAAA':
      return (records.AAAA ?? []).map((address) => Buffer.from(ipv6(address)));
    case 'CNAME':
      return records.CNAME === undefined ? [] : [encodeName(records.CNAME)];
    case 'CAA':
      return (records.CAA ?? []).map(([tag, value]) =>
        Buffer.concat([Buffer.from([0, tag.length]), Buffer.from(tag + value)]),
      );
  }
}

function encodeName(name: string): Buffer {
  return Buffer.concat([
    ...name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])),
    Buffer.from([0]),
  ]);
}

/** Sixteen bytes of an address with at most one `::`. */
function ipv6(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const groups = (text: string) =>
    text
      .split(':')
      .filter(Boolean)
      .map((group) => Number.parseInt(group, 16));
  const [left, right] = [groups(head), groups(tail ?? '')];
  const middle = tail === undefined ? [] : Array<number>(8 - left.length - right.length).fill(0);
  return [...left, ...middle, ...right].flatMap((group) => [group >> 8, group & 0xff]);
}
