import * as l10n from '@vscode/l10n';
import type {
  Action,
  Finding,
  Intent,
  KubeObject,
  MilvusRelease,
  ObjectSet,
  Plan,
  ProbeReport,
  ProbeStage,
  Stage,
  Status,
  Step,
} from '../model.ts';
import type {
  CertificateMaker,
  Clock,
  Cluster,
  Dns,
  Facts,
  Gcloud,
  Helm,
  LiveObjects,
  Log,
  Prober,
  TlsSecret,
} from '../ports.ts';
import { isKubeError, reasonOf } from '../kube/errors.ts';
import { createObjectSet } from '../kube/objectSet.ts';
import { at, text } from '../fields.ts';
import { certificatesOf, ingressesOf } from '../gke/read.ts';
import { findReleases } from '../milvus/releases.ts';
import { checkPrivateKey, selfSignedAuthority } from '../tls/certificate.ts';
import { readIntent } from './intent.ts';
import { permissions } from './permissions.ts';
import { plan, tlsSecretName, wantedBackendConfig, type PlanFacts } from './plan.ts';
import { ingressHost, status } from './status.ts';

/** What a setup needs from outside. */
export interface SetupDeps {
  cluster: Cluster;
  live: LiveObjects;
  helm: Helm;
  gcloud: Gcloud;
  dns: Dns;
  prober: Prober;
  /** Loads what the prober needs, called while the pods restart, so that the proof does not wait for it. */
  loadProber?: () => Promise<unknown>;
  makeCertificate: CertificateMaker;
  clock: Clock;
  log: Log;
  /** Limit for one connection test, in milliseconds. */
  probeDeadlineMs: number;
  /** How long a connection test that fails is repeated, in milliseconds, in place of {@link proofPatienceMs}. */
  proofPatienceMs?: number;
}

/**
 * Google's front ends begin to serve some time after the controllers report a part as done: a new load balancer after
 * some minutes, an issued certificate after up to 30 (Google Cloud documentation, troubleshooting of Google-managed
 * certificates).
 */
export const proofPatienceMs = { managed: 30 * 60_000, own: 10 * 60_000 } as const;

const proofPauseMs = 5_000;

/** Which release of the cluster is meant. */
export interface ReleaseRef {
  namespace: string;
  release: string;
}

/** What happens during a setup, in order. All text is localised. */
export type SetupEvent =
  | { kind: 'plan'; plan: Plan }
  | { kind: 'step'; step: Step; state: 'running' | 'done' | 'failed'; message?: string }
  | { kind: 'status'; status: Status }
  | { kind: 'probe'; stage: ProbeStage }
  | { kind: 'report'; report: ProbeReport }
  | { kind: 'note'; text: string };

/** How a setup ended. */
export type SetupResult =
  | { outcome: 'proven'; report?: ProbeReport }
  | { outcome: 'blocked'; findings: readonly Finding[] }
  | { outcome: 'conflict'; step: Step; managers: readonly string[]; message: string }
  | { outcome: 'failed'; step?: Step; message: string }
  | { outcome: 'cancelled' };

/** Options of {@link runSetup}. */
export interface SetupOptions {
  onEvent: (event: SetupEvent) => void;
  /** Stops the setup before its next write. */
  signal?: AbortSignal;
  /** Ids of the steps that may take over fields that another manager owns. */
  force?: ReadonlySet<string>;
}

/** Looks the release up in what is live; undefined when it is not there. */
export function findRelease(objects: ObjectSet, { namespace, release }: ReleaseRef): MilvusRelease | undefined {
  return findReleases(objects).find((found) => found.namespace === namespace && found.name === release);
}

/**
 * Gathers what plans and status need besides the objects. What `known` holds is not asked again: Helm and gcloud are
 * programs that take a second of the machine each time.
 */
export async function gatherFacts(
  deps: Pick<SetupDeps, 'cluster' | 'helm' | 'gcloud' | 'dns' | 'clock' | 'log'>,
  objects: ObjectSet,
  release: MilvusRelease,
  options: {
    intent?: Intent;
    lastProbe?: ProbeReport;
    known?: Pick<Facts, 'helm' | 'addresses'>;
    signal?: AbortSignal;
  },
): Promise<Facts> {
  const { signal, known } = options;
  const intent = options.intent ?? readIntent(objects, release);
  const ingress = ingressesOf(objects, release.namespace, release.service.metadata.name)[0];
  const host = intent?.host ?? (ingress && ingressHost(ingress));
  const secret = (intent && tlsSecretName({ intent, release })) ?? (ingress && certificatesOf(ingress).secrets[0]);
  const [helm, tlsSecret, dns, addresses] = await Promise.all([
    known?.helm ??
      (release.installer === 'helm' ? deps.helm.release(release.namespace, release.name, signal) : undefined),
    secret === undefined ? undefined : readTlsSecret(deps.cluster, release.namespace, secret, signal),
    host === undefined ? undefined : deps.dns.lookup(host, signal),
    known?.addresses ?? (intent && intent.address.kind !== 'ephemeral' ? readAddresses(deps, signal) : undefined),
  ]);
  return {
    release,
    now: deps.clock.now(),
    ...(intent ? { intent } : {}),
    ...(helm ? { helm } : {}),
    ...(tlsSecret ? { tlsSecret } : {}),
    ...(dns ? { dns } : {}),
    ...(addresses ? { addresses } : {}),
    ...(options.lastProbe ? { lastProbe: options.lastProbe } : {}),
  };
}

async function readAddresses({ gcloud, log }: Pick<SetupDeps, 'gcloud' | 'log'>, signal?: AbortSignal) {
  try {
    return await gcloud.addresses(signal);
  } catch (error) {
    log.warn(reasonOf(error));
    return undefined;
  }
}

/** Reads a TLS Secret and forgets its private key at once; only what is wrong with it is kept. */
export async function readTlsSecret(
  cluster: Cluster,
  namespace: string,
  name: string,
  signal?: AbortSignal,
): Promise<TlsSecret> {
  let secret: KubeObject | undefined;
  try {
    secret = await cluster.get({ apiVersion: 'v1', kind: 'Secret', namespace, name }, signal);
  } catch (error) {
    if (isKubeError(error) && error.status === 403) return { name, state: 'forbidden' };
    throw error;
  }
  if (!secret) return { name, state: 'missing' };
  const read = (key: string): string | undefined => {
    const value = text(at(secret, 'data', key));
    return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8');
  };
  const certificate = read('tls.crt');
  const ownFile = read('ca.crt');
  const ca = ownFile ?? (certificate === undefined ? undefined : selfSignedAuthority(certificate));
  const [keyProblem] = checkPrivateKey(read('tls.key') ?? '', certificate ?? '');
  return {
    name,
    state: 'present',
    type: text(at(secret, 'type')) ?? 'Opaque',
    ...(certificate === undefined ? {} : { certificate }),
    ...(ca === undefined ? {} : { ca, caFile: ownFile === undefined ? ('tls.crt' as const) : ('ca.crt' as const) }),
    ...(keyProblem ? { keyProblem } : {}),
  };
}

/** Findings that need the API server's word: what the user may not do. Errors forbid to apply. */
export async function checkPermissions(
  cluster: Cluster,
  release: MilvusRelease,
  intent: Intent,
  signal?: AbortSignal,
): Promise<Finding[]> {
  const answers = await Promise.all(
    permissions(release, intent).map(async (access) => ({ access, allowed: await cluster.can(access, signal) })),
  );
  return answers
    .filter(({ allowed }) => !allowed)
    .map(({ access }) => ({
      rule: 'forbidden',
      severity: 'error',
      message: l10n.t(
        'You may not {0} {1} in namespace {2}.',
        access.verb,
        access.group === '' ? access.resource : `${access.resource}.${access.group}`,
        release.namespace,
      ),
      cause: l10n.t('The setup writes such objects with the rights of context {0}.', cluster.context),
      fix: { kind: 'advice', text: l10n.t('Ask for a role with this right, or use another context.') },
    }));
}

/** The plan for what is live now, with the findings on permissions in front. */
export async function planSetup(
  deps: SetupDeps,
  target: ReleaseRef,
  intent: Intent,
  signal?: AbortSignal,
): Promise<Plan> {
  await deps.live.ready;
  const release = findRelease(deps.live.objects, target);
  if (!release) throw new Error(releaseGone(target));
  const forbidden = await checkPermissions(deps.cluster, release, intent, signal);
  const helm: Helm =
    forbidden.length === 0
      ? deps.helm
      : // Who lacks rights gets the whole list of them, not Helm's refusal of the first.
        { ...deps.helm, release: (...args) => deps.helm.release(...args).catch(() => undefined) };
  const facts = await gatherFacts({ ...deps, helm }, deps.live.objects, release, {
    intent,
    ...(signal ? { signal } : {}),
  });
  const made = plan(deps.live.objects, { ...facts, intent });
  const findings = made.preflight.filter(({ rule }) => forbidden.length === 0 || rule !== 'helm-release-missing');
  return { ...made, preflight: [...forbidden, ...findings] };
}

function releaseGone({ namespace, release }: ReleaseRef): string {
  return l10n.t('There is no Milvus release {0} in namespace {1} any more.', release, namespace);
}

/**
 * Brings the release behind Layer 7: does the first step of the plan, plans again from what is then live, and goes on
 * until nothing is left. So a setup that was stopped at any point goes on where the cluster stands.
 */
export async function runSetup(
  deps: SetupDeps,
  target: ReleaseRef,
  intent: Intent,
  options: SetupOptions,
): Promise<SetupResult> {
  const run = new SetupRun(deps, target, intent, options);
  try {
    return await run.run();
  } catch (error) {
    if (options.signal?.aborted) return { outcome: 'cancelled' };
    return run.failure(error);
  }
}

class SetupRun {
  readonly #deps: SetupDeps;
  readonly #target: ReleaseRef;
  readonly #intent: Intent;
  readonly #options: SetupOptions;
  /** What we wrote and the watch may not have shown yet, by kind, namespace and name. */
  readonly #written = new Map<string, KubeObject>();
  /** What Helm and gcloud said last; forgotten when a step of ours changes it. */
  #known: Pick<Facts, 'helm' | 'addresses'> = {};
  #report: ProbeReport | undefined;
  #step: Step | undefined;

  constructor(deps: SetupDeps, target: ReleaseRef, intent: Intent, options: SetupOptions) {
    this.#deps = deps;
    this.#target = target;
    this.#intent = intent;
    this.#options = options;
  }

  async run(): Promise<SetupResult> {
    await this.#deps.live.ready;
    const release = findRelease(this.#objects(), this.#target);
    if (!release) throw new Error(releaseGone(this.#target));
    const forbidden = await checkPermissions(this.#deps.cluster, release, this.#intent, this.#options.signal);
    if (forbidden.length > 0) return { outcome: 'blocked', findings: forbidden };
    // The facts are kept for the first step: Helm is not asked a second time.
    const first = plan(this.#objects(), await this.#facts());
    const blocking = first.preflight.filter((finding) => finding.severity === 'error');
    this.#options.onEvent({ kind: 'plan', plan: first });
    if (blocking.length > 0) return { outcome: 'blocked', findings: blocking };

    for (;;) {
      this.#options.signal?.throwIfAborted();
      const facts = await this.#facts();
      const step = plan(this.#objects(), facts).steps[0];
      if (!step) return { outcome: 'proven', ...(this.#report ? { report: this.#report } : {}) };
      this.#step = step;
      this.#options.signal?.throwIfAborted();
      this.#options.onEvent({ kind: 'step', step, state: 'running' });
      const ended = await this.#do(step, facts);
      if (ended) {
        this.#options.onEvent({ kind: 'step', step, state: 'failed', message: messageOf(ended) });
        return ended;
      }
      this.#options.onEvent({ kind: 'step', step, state: 'done' });
    }
  }

  failure(error: unknown): SetupResult {
    const step = this.#step;
    const message = reasonOf(error);
    if (step) this.#options.onEvent({ kind: 'step', step, state: 'failed', message });
    if (step && isKubeError(error) && error.conflicts.length > 0)
      return {
        outcome: 'conflict',
        step,
        managers: [...new Set(error.conflicts.map((conflict) => conflict.manager))],
        message,
      };
    return { outcome: 'failed', message, ...(step ? { step } : {}) };
  }

  /** Does one step; an answer means that the setup ends here. Writes are never interrupted. */
  async #do(step: Step, facts: PlanFacts): Promise<SetupResult | undefined> {
    const { action } = step;
    switch (action.kind) {
      case 'apply':
      case 'patchMilvus':
        await this.#apply(action.object, step.id);
        return undefined;
      case 'generateCertificate':
        await this.#generateCertificate(action, facts, step.id);
        return undefined;
      case 'reserveAddress': {
        this.#known = {};
        const { address } = await this.#deps.gcloud.reserveAddress(action.name);
        this.#note(l10n.t('Address {0}: {1}', action.name, address));
        return undefined;
      }
      case 'helmUpgrade': {
        this.#known = {};
        const revision = await this.#deps.helm.upgrade(action.upgrade);
        this.#note(l10n.t('Helm release {0}: revision {1}', action.upgrade.release, revision));
        return undefined;
      }
      case 'wait':
        return this.#wait(step, action.for);
      case 'prove':
        return this.#prove(step, facts);
    }
  }

  async #apply(object: KubeObject, stepId: string): Promise<void> {
    const force = this.#options.force?.has(stepId) ?? false;
    const { object: applied, created, warnings } = await this.#deps.cluster.apply(object, { force });
    this.#written.set(keyOf(applied), applied);
    const name = `${object.kind} ${object.metadata.name}`;
    this.#note(created ? l10n.t('{0} created', name) : l10n.t('{0} changed', name));
    // GKE reads the class from this annotation only (kubernetes/ingress-gce pkg/utils/utils.go IsGCEIngress).
    const deliberate = 'annotation "kubernetes.io/ingress.class" is deprecated';
    for (const warning of warnings.filter((text) => !text.includes(deliberate)))
      this.#note(l10n.t('The API server warns: {0}', warning));
  }

  async #generateCertificate(
    action: Extract<Action, { kind: 'generateCertificate' }>,
    facts: PlanFacts,
    stepId: string,
  ): Promise<void> {
    const made = await this.#deps.makeCertificate({ hosts: [action.host], keyType: action.keyType, days: 397 });
    const encode = (text: string): string => Buffer.from(text).toString('base64');
    const secret: KubeObject = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/tls',
      metadata: { name: action.secret, namespace: facts.release.namespace, labels: action.labels },
      data: { 'tls.crt': encode(made.certificate), 'tls.key': encode(made.key), 'ca.crt': encode(made.ca) },
    };
    const force = this.#options.force?.has(stepId) ?? false;
    await this.#deps.cluster.apply(secret, { force });
    this.#note(l10n.t('Secret {0} holds the certificate for {1}', action.secret, action.host));
  }

  /** Tests the connection, again and again while Google's front ends may still be catching up, and records the proof. */
  async #prove(step: Step, facts: PlanFacts): Promise<SetupResult | undefined> {
    const { clock } = this.#deps;
    const { certificate } = facts.intent;
    const patience = this.#deps.proofPatienceMs ?? proofPatienceMs[certificate.kind === 'managed' ? 'managed' : 'own'];
    const end = clock.now() + patience;
    for (;;) {
      const report = await this.#probe(facts);
      // A refused log-in comes from Milvus itself: the way to it is proven.
      if (report.passed || report.needsCredentials === true) {
        const proof = { host: facts.intent.host, at: report.at };
        await this.#apply(wantedBackendConfig(this.#objects(), facts, proof), 'backendConfig');
        return undefined;
      }
      const failed = report.stages.find((stage) => stage.state === 'failed');
      const message = failed?.failure
        ? l10n.t('The connection test failed at {0}: {1} {2}', failed.id, failed.failure.actual, failed.failure.cause)
        : l10n.t('The connection test failed at {0}.', failed?.id ?? '?');
      // A wrong record is the user's to change; everything behind it may still come.
      if (failed?.id === 'dns' || clock.now() + proofPauseMs > end) return { outcome: 'failed', step, message };
      this.#note(l10n.t('{0} A new load balancer takes some minutes to answer: testing again.', message));
      await clock.sleep(proofPauseMs, this.#options.signal);
    }
  }

  async #probe(facts: PlanFacts): Promise<ProbeReport> {
    const { address } = status(this.#objects(), facts);
    const { onEvent, signal } = this.#options;
    const report = await this.#deps.prober(
      {
        host: facts.intent.host,
        port: 443,
        readEntities: true,
        deadlineMs: this.#deps.probeDeadlineMs,
        ...(address === undefined ? {} : { address }),
        ...(facts.tlsSecret?.ca === undefined ? {} : { ca: facts.tlsSecret.ca }),
      },
      (stage) => {
        onEvent({ kind: 'probe', stage });
      },
      signal,
    );
    signal?.throwIfAborted();
    this.#report = report;
    onEvent({ kind: 'report', report });
    return report;
  }

  /** Waits until the stage is done. Ends the setup when it failed for a reason that only the user can mend. */
  async #wait(step: Step, stageId: Extract<Action, { kind: 'wait' }>['for']): Promise<SetupResult | undefined> {
    const id = stageId === 'rollout' ? 'milvusTls' : stageId;
    const { live, clock } = this.#deps;
    const { signal, onEvent } = this.#options;
    // The test itself tells when it cannot be loaded.
    if (stageId === 'rollout') this.#deps.loadProber?.().catch(() => undefined);
    for (;;) {
      const changed = nextChange(live);
      try {
        const facts = await this.#facts();
        const now = status(this.#objects(), facts);
        onEvent({ kind: 'status', status: now });
        const stage = now.stages.find((candidate) => candidate.id === id);
        if (stage?.state === 'done') return undefined;
        if (stage?.state === 'failed' && !(await this.#healsByItself(stage))) {
          const finding = now.findings.find((candidate) => candidate.severity === 'error');
          return { outcome: 'failed', step, message: finding ? `${finding.message} ${finding.cause}` : stage.evidence };
        }
        // DNS has no watch: look again every few seconds, as every other wait does in case an event was missed.
        await Promise.race([changed.promise, clock.sleep(5_000, signal)]);
        signal?.throwIfAborted();
      } finally {
        changed.dispose();
      }
    }
  }

  /** A failed stage counts only when it is still failed a moment later: pods restart, controllers try again. */
  async #healsByItself(stage: Stage): Promise<boolean> {
    await this.#deps.clock.sleep(10_000, this.#options.signal);
    const again = status(this.#objects(), await this.#facts()).stages.find((candidate) => candidate.id === stage.id);
    return again?.state !== 'failed';
  }

  async #facts(): Promise<PlanFacts> {
    const { signal } = this.#options;
    const objects = this.#objects();
    const release = findRelease(objects, this.#target);
    if (!release) throw new Error(releaseGone(this.#target));
    const facts = await gatherFacts(this.#deps, objects, release, {
      intent: this.#intent,
      known: this.#known,
      ...(signal ? { signal } : {}),
      ...(this.#report ? { lastProbe: this.#report } : {}),
    });
    this.#known = {
      ...(facts.helm ? { helm: facts.helm } : {}),
      ...(facts.addresses ? { addresses: facts.addresses } : {}),
    };
    return { ...facts, intent: this.#intent };
  }

  /** What is live, with our own writes in place of what the watch has not caught up with. */
  #objects(): ObjectSet {
    const { objects } = this.#deps.live;
    for (const [key, written] of this.#written) {
      const seen = objects.get(written.kind, written.metadata.namespace, written.metadata.name);
      if (seen && resourceVersion(seen) >= resourceVersion(written)) this.#written.delete(key);
    }
    return this.#written.size === 0 ? objects : overlay(objects, [...this.#written.values()]);
  }

  #note(text: string): void {
    this.#deps.log.info(text);
    this.#options.onEvent({ kind: 'note', text });
  }
}

function messageOf(result: SetupResult): string {
  switch (result.outcome) {
    case 'failed':
    case 'conflict':
      return result.message;
    default:
      return '';
  }
}

/** Kubernetes 1.35 and later promise that resource versions of one kind compare as numbers; etcd always made them so. */
function resourceVersion(object: KubeObject): number {
  return Number(object.metadata.resourceVersion ?? 0);
}

function keyOf(object: KubeObject): string {
  return `${object.kind}/${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}

function overlay(objects: ObjectSet, newer: readonly KubeObject[]): ObjectSet {
  const over = createObjectSet(newer);
  return {
    unreadable: objects.unreadable,
    size: objects.size + newer.filter((o) => !objects.get(o.kind, o.metadata.namespace, o.metadata.name)).length,
    get: (kind, namespace, name) => over.get(kind, namespace, name) ?? objects.get(kind, namespace, name),
    list: (kind, namespace) => [
      ...over.list(kind, namespace),
      ...objects
        .list(kind, namespace)
        .filter((object) => !over.get(kind, object.metadata.namespace, object.metadata.name)),
    ],
  };
}

/** Resolves at the next change; made before the state is read, so that no change falls between. */
function nextChange(live: LiveObjects): { promise: Promise<boolean>; dispose: () => void } {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const subscription = live.onChange(() => {
    resolve(true);
  });
  return {
    promise,
    dispose: () => {
      subscription.dispose();
    },
  };
}
