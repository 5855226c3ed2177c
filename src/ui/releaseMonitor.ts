import type { Intent, MilvusRelease, ProbeReport, Status, Target } from '../core/model.ts';
import type { NamespaceObjects } from '../core/kube/liveObjects.ts';
import type { Clock, Cluster, Disposable, Dns, Facts, Log } from '../core/ports.ts';
import type { Core } from './core.ts';
import { Listeners } from './listeners.ts';
import type { Headline } from './panel/panelState.ts';

/** What is known of a release now. */
export interface ReleaseView {
  /** Absent before the first look, and when the release is gone. */
  release?: MilvusRelease;
  status?: Status;
  headline?: Headline;
  /** What an earlier setup was asked for. */
  intent?: Intent;
  /** The earlier setup has not come to its end. */
  unfinished: boolean;
  /** PEM of the CA that clients must trust besides the system's. */
  ca?: string;
  /** Where people find that CA. */
  caSource?: { namespace: string; name: string; file: 'ca.crt' | 'tls.crt' };
  /** Localised: why nothing is known. */
  problem?: string;
  /** Localised: why it may be out of date. */
  interruption?: string;
  /** False until everything has been read once. */
  ready: boolean;
}

/** What a {@link ReleaseMonitor} works with. */
export interface MonitorDeps {
  core: Core;
  cluster: Cluster;
  live: NamespaceObjects;
  dns: Dns;
  clock: Clock;
  log: Log;
  lastProbe: () => ProbeReport | undefined;
  /** Localised: there is no such release any more. */
  goneText: string;
  /** Let go of at the end. */
  hold: Disposable;
}

/** DNS has no watch: it is asked again after this many milliseconds while somebody looks, sooner while it is waited for. */
const lookAgainMs = { settled: 30_000, waiting: 5_000 };
/** Sentences such as `4 min so far` grow old. */
const tickMs = 5_000;
/** Changes that come together are told together. */
const gatherMs = 100;

/**
 * Keeps what is known of one release current while it exists: from the watch at once, from DNS every half minute.
 */
export class ReleaseMonitor implements Disposable {
  readonly #deps: MonitorDeps;
  readonly #target: Target;
  readonly #changed = new Listeners();
  readonly #subscription: Disposable;
  readonly #ticks: ReturnType<typeof setInterval>;
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #gathered: Partial<Pick<Facts, 'dns' | 'tlsSecret'>> = {};
  #gatheredAt = 0;
  #gatheredFor = '';
  #gathering: Promise<void> | undefined;
  #secret: (Disposable & { name: string }) | undefined;
  #view: ReleaseView = { unfinished: false, ready: false };

  constructor(deps: MonitorDeps, target: Target) {
    this.#deps = deps;
    this.#target = target;
    this.#subscription = deps.live.onChange(() => {
      this.#soon();
    });
    this.#ticks = setInterval(() => {
      this.#soon();
    }, tickMs);
    deps.live.ready.then(
      () => {
        this.#look();
      },
      (error: unknown) => {
        this.#tell({ unfinished: false, ready: true, problem: deps.core.reasonOf(error) });
      },
    );
  }

  get view(): ReleaseView {
    return this.#view;
  }

  /** Called after each change of {@link view}. */
  onChange(listener: () => void): Disposable {
    return this.#changed.add(listener);
  }

  /** Looks at everything again, also at what has no watch. Resolves when it has been told. */
  async refresh(): Promise<void> {
    await this.#deps.live.ready;
    this.#gatheredAt = 0;
    this.#look();
    await this.#gathering;
  }

  dispose(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
    clearInterval(this.#ticks);
    this.#subscription.dispose();
    this.#secret?.dispose();
    this.#changed.dispose();
    this.#deps.hold.dispose();
  }

  #soon(): void {
    if (this.#timer !== undefined || this.#abort.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#look();
    }, gatherMs);
  }

  #look(): void {
    const { core, live, clock, lastProbe, goneText } = this.#deps;
    const { objects } = live;
    const release = core.findRelease(objects, this.#target);
    if (!release) {
      const unreadable = objects.unreadable.get('Service') ?? objects.unreadable.get('Deployment');
      const problem = unreadable === undefined ? goneText : unreadable.message;
      this.#tell({ unfinished: false, ready: true, problem });
      return;
    }
    const intent = core.readIntent(objects, release);
    const probe = lastProbe();
    const facts: Facts = {
      release,
      now: clock.now(),
      ...this.#gathered,
      ...(intent ? { intent } : {}),
      ...(probe ? { lastProbe: probe } : {}),
    };
    const status = core.status(objects, facts);
    const unfinished = intent !== undefined && !core.readProof(objects, release, intent.host);
    const { ca, caFile, name } = this.#gathered.tlsSecret ?? {};
    const { interruption } = live;
    this.#tell({
      release,
      status,
      headline: core.headline(status),
      unfinished,
      ready: true,
      ...(intent ? { intent } : {}),
      ...(ca === undefined ? {} : { ca }),
      ...(caFile && name !== undefined ? { caSource: { namespace: release.namespace, name, file: caFile } } : {}),
      ...(interruption === undefined ? {} : { interruption }),
    });
    // A host or certificate that has just been set must not wait for the next half minute.
    const secret = this.#secret && objects.get('Secret', release.namespace, this.#secret.name);
    const about = JSON.stringify([status.host, intent?.certificate, secret?.metadata.resourceVersion]);
    const dns = status.stages.find(({ id }) => id === 'dns')?.state;
    const pause = dns === undefined || dns === 'done' || dns === 'none' ? lookAgainMs.settled : lookAgainMs.waiting;
    if (about !== this.#gatheredFor || clock.now() - this.#gatheredAt >= pause) this.#gather(release, about);
  }

  #gather(release: MilvusRelease, about: string): void {
    if (this.#gathering) return;
    const { core, cluster, live, dns, clock, log } = this.#deps;
    this.#gathering = core
      .gatherFacts({ cluster, helm: unaskedHelm, gcloud: unaskedGcloud, dns, clock, log }, live.objects, release, {
        signal: this.#abort.signal,
      })
      .then(
        (facts) => {
          this.#gathered = {
            ...(facts.dns ? { dns: facts.dns } : {}),
            ...(facts.tlsSecret ? { tlsSecret: facts.tlsSecret } : {}),
          };
          this.#watchSecret(facts.tlsSecret?.state === 'forbidden' ? undefined : facts.tlsSecret?.name);
        },
        (error: unknown) => {
          if (!this.#abort.signal.aborted) log.warn(core.reasonOf(error));
        },
      )
      .finally(() => {
        this.#gathering = undefined;
        this.#gatheredAt = clock.now();
        this.#gatheredFor = about;
        if (!this.#abort.signal.aborted) this.#look();
      });
  }

  /** Has the Secret with the certificate watched, so that a change of it is seen at once. */
  #watchSecret(name: string | undefined): void {
    if (this.#abort.signal.aborted || this.#secret?.name === name) return;
    this.#secret?.dispose();
    if (name === undefined) {
      this.#secret = undefined;
      return;
    }
    const watch = this.#deps.live.watchSecret(name);
    this.#secret = {
      name,
      dispose: () => {
        watch.dispose();
      },
    };
  }

  #tell(view: ReleaseView): void {
    if (this.#abort.signal.aborted) return;
    this.#view = view;
    this.#changed.fire();
  }
}

/** Status does not depend on Helm and gcloud; a view that only looks must not start programs. */
const unaskedHelm: Parameters<Core['gatherFacts']>[0]['helm'] = {
  version: () => Promise.resolve(''),
  release: () => Promise.resolve(undefined),
  dryRun: () => Promise.resolve(''),
  manifest: () => Promise.resolve(''),
  upgrade: () => Promise.reject(new Error('Not while looking.')),
};
const unaskedGcloud: Parameters<Core['gatherFacts']>[0]['gcloud'] = {
  addresses: () => Promise.resolve(undefined),
  reserveAddress: () => Promise.reject(new Error('Not while looking.')),
};
