/**
 * The connection test: DNS, TCP, TLS, HTTP/2, gRPC and Milvus, one after the other.
 */
import * as l10n from '@vscode/l10n';
import {
  probeStageIds,
  type ProbeReport,
  type ProbeStage,
  type ProbeStageId,
  type ServedCertificate,
} from '../model.ts';
import type { Clock, Dns, Prober, ProbeRequest } from '../ports.ts';
import { dnsStage, withoutAnswer } from './dns.ts';
import { grpcStage, grpcTimeout } from './grpc.ts';
import { http2Stage, http2Timeout } from './http2.ts';
import { milvusStage, milvusTimeout, type MilvusFacts } from './milvus.ts';
import { openMilvus } from './milvusClient.ts';
import { OpenSockets } from './openSockets.ts';
import { failed, TimeLimitError, within, type Outcome } from './outcome.ts';
import { endpoint, tcpStage, tcpTimeout } from './tcp.ts';
import { tlsStage, tlsTimeout, trustedRoots } from './tls.ts';

/** Limit of each stage in milliseconds, within the deadline of the whole test. */
export type StageLimits = Readonly<Record<ProbeStageId, number>>;

const defaultLimits: StageLimits = { dns: 5000, tcp: 5000, tls: 5000, http2: 10_000, grpc: 10_000, milvus: 20_000 };

export interface ProberDeps {
  dns: Dns;
  clock: Pick<Clock, 'now'>;
  limits?: Partial<StageLimits>;
}

/**
 * Makes the connection test. A stage that fails ends it, except DNS when the load balancer's address is known. A stage
 * that could not run, or need not, is `skipped`; the test has passed when no stage failed and Milvus, or its demand for
 * credentials, was reached. A cancelled test has every stage that did not end as `skipped` and has not passed.
 */
export function createProber(deps: ProberDeps): Prober {
  return async (request, onStage, signal) => {
    const sockets = new OpenSockets();
    const test = new Test(deps, request, onStage, signal);
    try {
      return await sockets.run(() => test.run(sockets));
    } finally {
      await sockets.close();
    }
  };
}

class Test {
  readonly #deps: ProberDeps;
  readonly #request: ProbeRequest;
  readonly #onStage: (stage: ProbeStage) => void;
  readonly #signal: AbortSignal;
  readonly #limits: StageLimits;
  readonly #at: string;
  readonly #end: number;
  readonly #stages = new Map<ProbeStageId, ProbeStage>();
  #certificate: ServedCertificate | undefined;
  #milvus: MilvusFacts = {};

  constructor(
    deps: ProberDeps,
    request: ProbeRequest,
    onStage: (stage: ProbeStage) => void,
    signal: AbortSignal = new AbortController().signal,
  ) {
    this.#deps = deps;
    this.#request = request;
    this.#onStage = onStage;
    this.#signal = signal;
    this.#limits = { ...defaultLimits, ...deps.limits };
    this.#at = new Date(deps.clock.now()).toISOString();
    this.#end = performance.now() + request.deadlineMs;
  }

  async run(sockets: OpenSockets): Promise<ProbeReport> {
    await this.#runStages(sockets);
    return this.#report();
  }

  async #runStages(sockets: OpenSockets): Promise<void> {
    const { port, ca, credentials, readEntities } = this.#request;
    const direct = this.#request.via === 'portForward';
    // A wildcard is no name to connect to; any name below it will do.
    const host = this.#request.host.replace(/^\*\./, 'milvus.');

    const known = this.#request.address;
    const lookup = (signal: AbortSignal) => dnsStage(this.#deps.dns, host, known, signal);
    const forwarded: Outcome<string> = {
      state: 'skipped',
      detail: l10n.t('Through a port-forward to Milvus itself.'),
      value: known ?? '127.0.0.1',
    };
    const address = await this.#stage(
      'dns',
      () => withoutAnswer(host, known, 'ETIMEOUT'),
      direct ? () => Promise.resolve(forwarded) : lookup,
    );
    if (address === undefined) return;

    const tcp = await this.#stage(
      'tcp',
      (actual) => failed(tcpTimeout(address, port, actual)),
      (signal) => tcpStage(address, port, signal),
    );
    if (tcp === undefined) return;

    const tls = await this.#stage(
      'tls',
      (actual) => failed(tlsTimeout(host, actual)),
      async (signal) => {
        const now = this.#deps.clock.now();
        const outcome = await tlsStage(
          tcp,
          { host, ...(ca === undefined ? {} : { ca }), verify: !direct, now },
          signal,
        );
        this.#certificate = outcome.certificate;
        return outcome;
      },
    );
    if (tls === undefined) return;

    if (
      (await this.#stage(
        'http2',
        (actual) => failed(http2Timeout(actual)),
        (signal) => http2Stage(tls, host, signal),
      )) === undefined
    )
      return;

    const milvus = await openMilvus(
      {
        endpoint: endpoint(address, port),
        host,
        ...(direct ? {} : { roots: trustedRoots(ca) }),
        ...(credentials === undefined ? {} : { credentials }),
        timeoutMs: Math.max(1, Math.min(Math.max(this.#limits.grpc, this.#limits.milvus), this.#remaining())),
      },
      sockets,
    );
    try {
      const greeting = await this.#stage(
        'grpc',
        (actual) => failed(grpcTimeout(actual)),
        (signal) => grpcStage(milvus, host, signal),
      );
      if (greeting === undefined) return;
      const options = { host, credentialsGiven: credentials !== undefined, readEntities };
      const facts = await this.#stage(
        'milvus',
        (actual) => failed(milvusTimeout(actual)),
        (signal) => milvusStage(milvus, greeting, options, signal),
      );
      this.#milvus = facts ?? {};
    } finally {
      await milvus.close();
    }
  }

  /** Runs one stage within its limit; the value to go on with, or undefined when the test ends here. */
  async #stage<T>(
    id: ProbeStageId,
    onTimeout: (actual: string) => Outcome<T>,
    work: (signal: AbortSignal) => Promise<Outcome<T>>,
  ): Promise<T | undefined> {
    if (this.#signal.aborted) return undefined;
    this.#tell({ id, state: 'running', detail: '' });
    const began = performance.now();
    const outcome = await this.#outcome(Math.min(this.#limits[id], this.#remaining()), onTimeout, work);
    const { state, detail, failure } = outcome;
    this.#tell({
      id,
      state,
      ms: Math.round(performance.now() - began),
      detail,
      ...(failure === undefined ? {} : { failure }),
    });
    return outcome.value;
  }

  async #outcome<T>(
    limitMs: number,
    onTimeout: (actual: string) => Outcome<T>,
    work: (signal: AbortSignal) => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> {
    try {
      return await within(Math.max(limitMs, 0), this.#signal, work);
    } catch (error) {
      if (this.#signal.aborted) return { state: 'skipped', detail: cancelled() };
      if (error instanceof TimeLimitError) return onTimeout(noAnswer(error.limitMs));
      const actual = error instanceof Error ? error.message : String(error);
      return failed({
        expected: l10n.t('the test can be run'),
        actual,
        cause: l10n.t('The test itself met an error that says nothing about the connection.'),
        fix: { kind: 'advice', text: l10n.t('Run the test again; when it stays so, report it with this text.') },
      });
    }
  }

  #remaining(): number {
    return this.#end - performance.now();
  }

  #tell(stage: ProbeStage): void {
    this.#stages.set(stage.id, stage);
    this.#onStage(stage);
  }

  #report(): ProbeReport {
    for (const id of probeStageIds)
      if (!this.#stages.has(id))
        this.#tell({ id, state: 'skipped', detail: this.#signal.aborted ? cancelled() : l10n.t('Not reached') });
    const stages = [...this.#stages.values()];
    const { version, entities, needsCredentials } = this.#milvus;
    const failedStage = stages.some((stage) => stage.state === 'failed');
    return {
      at: this.#at,
      host: this.#request.host,
      via: this.#request.via ?? 'address',
      stages,
      passed: !failedStage && (this.#stages.get('milvus')?.state === 'passed' || needsCredentials === true),
      ...(version === undefined ? {} : { milvusVersion: version }),
      ...(this.#certificate === undefined ? {} : { certificate: this.#certificate }),
      ...(entities === undefined ? {} : { entities }),
      ...(needsCredentials === true ? { needsCredentials } : {}),
    };
  }
}

function cancelled(): string {
  return l10n.t('Cancelled');
}

function noAnswer(limitMs: number): string {
  return l10n.t('no answer within {0} s', Math.round(limitMs / 100) / 10);
}
