import http from 'node:http';
// With the `node:` prefix VS Code does not put its own agent in place of the one with the cluster's certificates: it
// patches only `require('https')` (microsoft/vscode src/vs/workbench/api/node/proxyResolver.ts).
import https from 'node:https';
import { createHash } from 'node:crypto';
import { pipeline, type Readable } from 'node:stream';
import zlib from 'node:zlib';
import { isRecord } from '../fields.ts';
import type { KubeObject } from '../model.ts';
import type { Clock, Log } from '../ports.ts';
import type { RequestOptions } from './credentials.ts';
import { isKubeError, KubeError, type KubeStatus, type RequestSubject } from './errors.ts';
import { proxyHost } from './proxy.ts';

export type Query = Record<string, string | number | boolean | undefined>;

export interface KubeRequest {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  path: string;
  query?: Query;
  body?: unknown;
  contentType?: string;
  accept?: string;
  signal?: AbortSignal | undefined;
  /** For messages. */
  subject?: RequestSubject;
}

export interface KubeAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}

/** An event of a watch. */
export interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  object: KubeObject;
}

export interface TransportDeps {
  clock: Clock;
  log: Log;
  /** Options of one request; called for each one, so that short-lived credentials are fresh. */
  requestOptions: (signal: AbortSignal) => Promise<RequestOptions>;
  /** Makes the connection pool; a proxy's agent where there is a proxy. */
  newAgent: (tls: https.AgentOptions) => http.Agent;
  /** URL of the proxy, only for messages. */
  proxy?: string | undefined;
  /** Limit for the head of an answer, and for silence within its body. */
  timeoutMs?: number;
}

const defaultTimeoutMs = 30_000;
const userAgent = 'milvus-layer7';

interface Response {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: Readable;
}

/**
 * Requests to one API server over HTTP/1.1 with keep-alive. HTTP/1.1 on purpose: after a dropped network, requests on a
 * dead HTTP/2 session all time out, while here the socket goes with the first one.
 */
export class Transport {
  readonly server: string;
  readonly #deps: TransportDeps;
  readonly #stop = new AbortController();
  readonly #timeoutMs: number;
  #pool: { agent: http.Agent; identity: string } | undefined;

  /** @param server base URL of the API server. */
  constructor(server: string, deps: TransportDeps) {
    this.server = server.replace(/\/$/, '');
    this.#deps = deps;
    this.#timeoutMs = deps.timeoutMs ?? defaultTimeoutMs;
  }

  /** Ends all requests and closes all connections. */
  dispose(): void {
    this.#stop.abort();
    this.#pool?.agent.destroy();
  }

  /** @throws KubeError; the signal's reason when it is aborted. */
  async request(request: KubeRequest): Promise<KubeAnswer> {
    const task = this.#begin(request);
    try {
      const { status, headers, body } = await this.#answer(request, task);
      return { status, headers, text: await readAll(body, task.alive) };
    } catch (error) {
      throw this.#explain(error, request, task);
    } finally {
      task.unlimited();
    }
  }

  /** @throws KubeError of kind `protocol` besides those of {@link request} when the answer is no JSON. */
  async json(request: KubeRequest): Promise<{ status: number; headers: http.IncomingHttpHeaders; body: unknown }> {
    const { status, headers, text } = await this.request(request);
    try {
      return { status, headers, body: JSON.parse(text) as unknown };
    } catch (error) {
      throw this.#error('protocol', 'it is no JSON', request, { cause: error });
    }
  }

  /**
   * The events of one watch, until the API server ends it.
   *
   * @param idleMs limit for silence; must exceed 60 s, since bookmarks come once a minute.
   * @param onOpen called when the API server has accepted the watch.
   * @throws KubeError when it is cut, silent for too long, or ended by an ERROR event (410 for an expired version).
   */
  async *watch(request: KubeRequest, idleMs: number, onOpen?: () => void): AsyncGenerator<WatchEvent, void, undefined> {
    const task = this.#begin(request);
    try {
      const { body } = await this.#answer(request, task);
      task.limitSilence(idleMs);
      onOpen?.();
      // Lines are cut from bytes, not from text: a chunk may end within a character.
      let parts: Buffer[] = [];
      for await (const chunk of body as AsyncIterable<Buffer>) {
        task.alive();
        let from = 0;
        for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
          parts.push(chunk.subarray(from, end));
          from = end + 1;
          const line = Buffer.concat(parts).toString().trim();
          parts = [];
          if (line !== '') yield this.#event(line, request);
        }
        if (from < chunk.length) parts.push(chunk.subarray(from));
      }
      if (parts.length > 0) throw this.#error('network', 'the watch was cut within an event', request);
    } catch (error) {
      throw this.#explain(error, request, task);
    } finally {
      task.unlimited();
    }
  }

  #event(line: string, request: KubeRequest): WatchEvent {
    let event: unknown;
    try {
      event = JSON.parse(line);
    } catch (error) {
      throw this.#error('protocol', 'an event of the watch is no JSON', request, { cause: error });
    }
    const { type, object } = isRecord(event) ? event : {};
    if (type === 'ERROR') {
      const status = readStatus(object) ?? {};
      throw this.#error('answer', status.message ?? 'the watch ended with an error', request, {
        status: status.code ?? 500,
        body: status,
        retryAfterMs: seconds(status.details?.retryAfterSeconds),
      });
    }
    const known = type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED' || type === 'BOOKMARK';
    if (!known || !isKubeObject(object)) throw this.#error('protocol', 'an event of the watch is unknown', request);
    return { type, object };
  }

  /** Sends it, again with fresh credentials after a 401, and answers only with a success. */
  async #answer(request: KubeRequest, task: Task): Promise<Response> {
    for (let attempt = 0; ; attempt += 1) {
      // An exec plugin has its own limit: it may wait for a person to log in.
      task.unlimited();
      const options = await this.#deps.requestOptions(task.signal);
      task.signal.throwIfAborted();
      task.limitSilence(this.#timeoutMs);
      const response = await this.#send(request, options, task.signal);
      task.alive();
      if (response.status >= 200 && response.status < 300) return response;
      const text = await readAll(response.body, task.alive);
      if (response.status === 401 && attempt === 0 && options.refuse()) continue;
      const body = parseStatus(text);
      throw this.#error('answer', body?.message ?? (text.trim().slice(0, 300) || `HTTP ${response.status}`), request, {
        status: response.status,
        body,
        retryAfterMs: retryAfter(response.headers, this.#deps.clock) ?? seconds(body?.details?.retryAfterSeconds),
      });
    }
  }

  /** One exchange; a GET is sent again once when the server had just closed the kept connection. */
  async #send(request: KubeRequest, options: RequestOptions, signal: AbortSignal): Promise<Response> {
    const url = new URL(this.server + request.path);
    for (const [key, value] of Object.entries(request.query ?? {}))
      if (value !== undefined) url.searchParams.set(key, String(value));
    const payload = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body));
    const headers: http.OutgoingHttpHeaders = {
      accept: request.accept ?? 'application/json',
      'accept-encoding': 'gzip',
      'user-agent': userAgent,
      ...options.headers,
      ...(payload && {
        'content-type': request.contentType ?? 'application/json',
        'content-length': payload.length,
      }),
    };
    const agent = this.#agent(options);
    const { request: begin } = url.protocol === 'http:' ? http : https;
    const send = () =>
      new Promise<Response | 'closed'>((resolve, reject) => {
        const sent = begin(url, {
          method: request.method,
          headers,
          agent,
          signal,
          ...(options.auth !== undefined && { auth: options.auth }),
        });
        sent.once('response', (message) => {
          resolve({ status: message.statusCode ?? 0, headers: message.headers, body: decoded(message) });
        });
        // Not `once`: an abort can emit a second error, which would be uncaught.
        sent.on('error', (error: NodeJS.ErrnoException) => {
          const gone = error.code === 'ECONNRESET' || error.code === 'EPIPE';
          if (sent.reusedSocket && gone && request.method === 'GET' && !signal.aborted) resolve('closed');
          else reject(error);
        });
        sent.end(payload);
      });
    const first = await send();
    if (first !== 'closed') return first;
    const second = await send();
    if (second !== 'closed') return second;
    throw Object.assign(new Error('the connection was closed twice'), { code: 'ECONNRESET' });
  }

  /** The pool for these TLS options; a renewed client certificate begins a new one. */
  #agent(options: RequestOptions): http.Agent {
    const { ca, cert, key, servername, rejectUnauthorized } = options.tls;
    const hash = createHash('sha256');
    for (const part of [ca, cert, key]) hash.update(part === undefined ? '-' : asText(part)).update('\0');
    const identity = `${hash.digest('hex')} ${servername ?? ''} ${String(rejectUnauthorized)}`;
    if (this.#pool?.identity !== identity) {
      if (this.#pool) retire(this.#pool.agent);
      const agent = this.#deps.newAgent({ ...options.tls, keepAlive: true, keepAliveMsecs: 30_000, maxFreeSockets: 8 });
      this.#pool = { agent, identity };
    }
    return this.#pool.agent;
  }

  #begin(request: KubeRequest): Task {
    const signals = [this.#stop.signal];
    if (request.signal) signals.push(request.signal);
    return new Task(this.#deps.clock, signals);
  }

  /** What is thrown for an error: the caller's abort, the time-out behind an abort, or the network's error in our terms. */
  #explain(error: unknown, request: KubeRequest, task: Task): Error {
    if (task.silent) return this.#error('timeout', 'no answer in time', request, { cause: error });
    if (request.signal?.aborted) return request.signal.reason as Error;
    if (this.#stop.signal.aborted) return this.#stop.signal.reason as Error;
    if (isKubeError(error)) return error;
    const cause = error instanceof Error ? error : new Error(String(error));
    const { code } = cause as NodeJS.ErrnoException;
    // Of several addresses tried, the first one's reason tells most; the error of all has no message of its own.
    const message = cause instanceof AggregateError ? String(cause.errors[0]) : cause.message;
    const kind = code?.startsWith('Z_') ? 'protocol' : 'network';
    return this.#error(kind, message, request, { code, cause });
  }

  #error(
    kind: KubeError['kind'],
    message: string,
    request: KubeRequest,
    more: Partial<Pick<KubeError, 'status' | 'body' | 'retryAfterMs'>> & {
      code?: string | undefined;
      cause?: unknown;
    } = {},
  ): KubeError {
    const { server } = this;
    const proxy = kind === 'network' && this.#deps.proxy !== undefined ? proxyHost(this.#deps.proxy) : undefined;
    this.#deps.log.debug(`${request.method} ${request.path}: ${kind} ${more.status ?? more.code ?? ''}`.trimEnd());
    return new KubeError({ kind, message, server, proxy, subject: request.subject, ...more });
  }
}

/** One request's life: its signal, and a limit for silence. */
class Task {
  readonly signal: AbortSignal;
  silent = false;
  readonly #clock: Clock;
  readonly #silence = new AbortController();
  #guard = new AbortController();
  #aliveAt = 0;

  constructor(clock: Clock, signals: readonly AbortSignal[]) {
    this.#clock = clock;
    this.signal = AbortSignal.any([...signals, this.#silence.signal]);
  }

  /** To be called at each sign of life. */
  readonly alive = (): void => {
    this.#aliveAt = this.#clock.now();
  };

  /** From now on, aborts the request after this much silence. */
  limitSilence(ms: number): void {
    this.unlimited();
    this.alive();
    this.#guard = new AbortController();
    void this.#watchSilence(ms, this.#guard.signal);
  }

  unlimited(): void {
    this.#guard.abort();
  }

  async #watchSilence(ms: number, over: AbortSignal): Promise<void> {
    try {
      for (;;) {
        const left = this.#aliveAt + ms - this.#clock.now();
        if (left <= 0) break;
        await this.#clock.sleep(left, over);
      }
    } catch {
      return;
    }
    this.silent = true;
    this.#silence.abort(new Error('silent for too long'));
  }
}

/** Closes what is idle now and what becomes idle later; requests under way end by themselves. */
function retire(agent: http.Agent): void {
  agent.maxFreeSockets = 0;
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}

function decoded(message: http.IncomingMessage): Readable {
  if (message.headers['content-encoding'] !== 'gzip') return message;
  // The reader of the result gets the error; pipeline only wants to be heard.
  return pipeline(message, zlib.createGunzip(), () => undefined);
}

async function readAll(body: Readable, alive: () => void): Promise<string> {
  const parts: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) {
    alive();
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString();
}

/** Seconds, or an HTTP date (RFC 9110 section 10.2.3). */
function retryAfter(headers: http.IncomingHttpHeaders, clock: Clock): number | undefined {
  const value = headers['retry-after'];
  if (value === undefined) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - clock.now();
  return ms > 0 ? ms : undefined;
}

function seconds(value: number | undefined): number | undefined {
  return value !== undefined && value > 0 ? value * 1000 : undefined;
}

/** Only a `Status` counts: a missing kind is answered in plain text, a proxy answers in HTML. */
function parseStatus(text: string): KubeStatus | undefined {
  try {
    return readStatus(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function readStatus(value: unknown): KubeStatus | undefined {
  return isRecord(value) && value.kind === 'Status' ? value : undefined;
}

/** Whether it has what every Kubernetes object has. A bookmark's object has no name. */
function isKubeObject(value: unknown): value is KubeObject {
  return isRecord(value) && typeof value.kind === 'string' && isRecord(value.metadata);
}

function asText(part: unknown): string {
  return Buffer.isBuffer(part) ? part.toString('base64') : JSON.stringify(part);
}
