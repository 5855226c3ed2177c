import { readFile } from 'node:fs/promises';
import os from 'node:os';
import * as vscode from 'vscode';
import type { ConnectedCluster } from '../core/kube/connect.ts';
import type { Kubeconfig } from '../core/kube/kubeconfig.ts';
import type { NamespaceObjects } from '../core/kube/liveObjects.ts';
import type { SetupDeps } from '../core/loadbalancer/setup.ts';
import type { Intent, KubeObject, MilvusRelease, Target } from '../core/model.ts';
import type { Disposable, Dns, Helm, Log } from '../core/ports.ts';
import { loadCore, type Core } from './core.ts';
import { expandHome, programEnvironment } from './environment.ts';
import { Probes } from './probes.ts';
import { ReleaseMonitor } from './releaseMonitor.ts';
import { messageOf, UserError } from './runCommand.ts';
import { prefix, readSettings, type Settings } from './settings.ts';
import { SetupSession } from './setupSession.ts';
import { Shared, type Lease } from './sharing.ts';
import { systemClock } from './systemClock.ts';
import { namespaceKey, parseKey, targetKey } from './targets.ts';

/** How long each outlives the last one who looked, in milliseconds: 5 s in all, as one holds the other. */
const linger = { monitor: 500, namespace: 3_000, cluster: 1_500 };

/** A namespace that is watched, and the cluster it is in. */
interface WatchedNamespace extends Disposable {
  cluster: ConnectedCluster;
  live: NamespaceObjects;
}

/** The Milvus releases of a context. */
export interface FoundReleases {
  releases: readonly MilvusRelease[];
  /** The only namespace that could be searched; absent when it was the whole cluster. */
  onlyNamespace?: string;
}

/**
 * The composition root: makes what the core needs from the settings, on first use, and shares it. Nothing here contacts
 * a cluster before it is asked for.
 */
export class Services implements Disposable {
  readonly log: Log;
  readonly probes = new Probes();
  readonly secrets: vscode.SecretStorage;
  readonly memory: vscode.Memento;
  readonly #sessions = new Map<string, SetupSession>();
  readonly #sessionsChanged = new vscode.EventEmitter<Target>();
  readonly #reloaded = new vscode.EventEmitter<void>();
  readonly #subscriptions: vscode.Disposable[] = [];
  #fileWatchers: Disposable[] = [];
  #kubeconfig: Promise<Kubeconfig> | undefined;
  #clusters: Shared<ConnectedCluster>;
  #namespaces: Shared<WatchedNamespace>;
  #monitors: Shared<ReleaseMonitor>;

  /** Fires after the kubeconfig or a setting has changed: everything that was shown is to be asked for again. */
  readonly onDidReload = this.#reloaded.event;
  /** Fires when a setup was planned, changed or ended. */
  readonly onDidChangeSession = this.#sessionsChanged.event;

  constructor(log: Log, context: vscode.ExtensionContext) {
    this.log = log;
    this.secrets = context.secrets;
    this.memory = context.workspaceState;
    this.#clusters = this.#makeClusters();
    this.#namespaces = this.#makeNamespaces();
    this.#monitors = this.#makeMonitors();
    this.#subscriptions.push(
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(prefix)) this.reload();
      }),
    );
  }

  get settings(): Settings {
    return readSettings();
  }

  /** The kubeconfig, read on first use and again after {@link reload}. */
  kubeconfig(): Promise<Kubeconfig> {
    requireTrust();
    this.#kubeconfig ??= this.#loadKubeconfig();
    return this.#kubeconfig;
  }

  /** Files of the kubeconfig, whether they exist or not. */
  async kubeconfigPaths(): Promise<string[]> {
    const { kubeconfig } = this.settings;
    if (kubeconfig.length > 0) return kubeconfig.map((file) => expandHome(file));
    return (await loadCore()).defaultKubeconfigPaths(process.env, os.homedir());
  }

  /** Name of the current context; throws when there is none that can be used. */
  async currentContext(): Promise<string> {
    const { contexts, current, missing, problems } = await this.kubeconfig();
    const choose = { title: vscode.l10n.t('Choose Kubeconfig'), command: 'milvusLayer7.chooseKubeconfig' };
    if (contexts.length === 0) {
      const problem = problems[0];
      if (problem) throw new UserError(`${problem.file}: ${problem.message}`, [choose]);
      throw new UserError(
        missing.length > 0
          ? vscode.l10n.t('No kubeconfig was found at {0}.', missing.join(', '))
          : vscode.l10n.t('The kubeconfig names no context.'),
        [choose],
      );
    }
    const found =
      contexts.find((context) => context.name === current) ?? (contexts.length === 1 ? contexts[0] : undefined);
    if (!found) throw new UserError(vscode.l10n.t('The kubeconfig has no current context.'), [choose]);
    return found.name;
  }

  /** The cluster of a context, connected on first use. */
  cluster(context: string): Promise<Lease<ConnectedCluster>> {
    return this.#clusters.acquire(context);
  }

  /** What is known of a release, kept current while the lease is held. */
  monitor(target: Target): Promise<Lease<ReleaseMonitor>> {
    return this.#monitors.acquire(targetKey(target));
  }

  /** The Milvus releases of a context: of all its namespaces, or of the context's own where that is all one may list. */
  async findReleases(context: string, signal?: AbortSignal): Promise<FoundReleases> {
    const core = await loadCore();
    const lease = await this.cluster(context);
    try {
      const cluster = lease.value;
      try {
        return { releases: await listReleases(core, cluster, undefined, signal) };
      } catch (error) {
        if (!(core.isKubeError(error) && error.status === 403)) throw error;
        const onlyNamespace = cluster.namespace;
        return { releases: await listReleases(core, cluster, onlyNamespace, signal), onlyNamespace };
      }
    } finally {
      lease.dispose();
    }
  }

  /** Everything a setup needs, for one namespace of one context. Dispose of the lease when it has ended. */
  async setupDeps(context: string, namespace: string): Promise<Lease<SetupDeps & { live: NamespaceObjects }>> {
    const core = await loadCore();
    const watched = await this.#namespaces.acquire(namespaceKey(context, namespace));
    const { cluster, live } = watched.value;
    const run = core.createRunner(this.#environment());
    const { gcloudPath, testDeadlineMs } = this.settings;
    const dns = this.#dns(core);
    return {
      dispose: () => {
        watched.dispose();
      },
      value: {
        cluster,
        live,
        dns,
        helm: await this.#helm(core, context),
        gcloud: core.createGcloud(run, core.projectOfContext(context), expandHome(gcloudPath)),
        prober: core.createProber({ dns, clock: systemClock }),
        loadProber: core.loadMilvusSdk,
        makeCertificate: core.makeCertificate,
        clock: systemClock,
        log: this.log,
        probeDeadlineMs: testDeadlineMs,
      },
    };
  }

  /** The connection test, with the settings as they are. */
  async prober(): Promise<ReturnType<Core['createProber']>> {
    const core = await loadCore();
    return core.createProber({ dns: this.#dns(core), clock: systemClock });
  }

  /** The setup of a release in this window, if any. */
  session(target: Target): SetupSession | undefined {
    return this.#sessions.get(targetKey(target));
  }

  /** All setups of this window that run. */
  get runningSessions(): SetupSession[] {
    return [...this.#sessions.values()].filter((session) => session.running);
  }

  /** Plans a setup and keeps it. One that runs already is left alone and returned. */
  async planSession(target: Target, intent: Intent, signal?: AbortSignal): Promise<SetupSession> {
    const before = this.session(target);
    if (before?.running) return before;
    const core = await loadCore();
    const lease = await this.setupDeps(target.context, target.namespace);
    const deps = { core, setup: lease.value, probes: this.probes };
    const session = await SetupSession.plan(deps, target, intent, lease, signal);
    this.#drop(target);
    this.#sessions.set(targetKey(target), session);
    session.onChange(() => {
      this.#sessionsChanged.fire(target);
    });
    this.#sessionsChanged.fire(target);
    return session;
  }

  /** Forgets a setup that does not run. */
  dropSession(target: Target): void {
    if (this.session(target)?.running !== false) return;
    this.#drop(target);
    this.#sessionsChanged.fire(target);
  }

  /** Reads kubeconfig and settings again and disconnects from everything; a setup that runs goes on as it began. */
  reload(): void {
    this.#kubeconfig = undefined;
    for (const watcher of this.#fileWatchers) watcher.dispose();
    this.#fileWatchers = [];
    const waiting = [...this.#sessions.values()].filter((session) => !session.running);
    for (const session of waiting) this.#drop(session.target);
    const busy = this.runningSessions.length > 0;
    this.#monitors.dispose();
    // A running setup holds its watch and connection; they go with their last user.
    if (!busy) {
      this.#namespaces.dispose();
      this.#clusters.dispose();
    }
    this.#clusters = busy ? this.#replaced(this.#clusters, this.#makeClusters()) : this.#makeClusters();
    this.#namespaces = busy ? this.#replaced(this.#namespaces, this.#makeNamespaces()) : this.#makeNamespaces();
    this.#monitors = this.#makeMonitors();
    this.#reloaded.fire();
    // A plan that waits for its confirmation is made anew on the new connection.
    for (const { target, intent, progress } of waiting)
      if (progress.phase !== 'done')
        this.planSession(target, intent).catch((error: unknown) => {
          void messageOf(error).then((message) => {
            this.log.warn(`${target.release}: ${message}`);
          });
        });
  }

  dispose(): void {
    for (const session of this.#sessions.values()) session.dispose();
    this.#sessions.clear();
    this.probes.dispose();
    this.#monitors.dispose();
    this.#namespaces.dispose();
    this.#clusters.dispose();
    for (const old of this.#old) old.dispose();
    for (const watcher of this.#fileWatchers) watcher.dispose();
    for (const subscription of this.#subscriptions) subscription.dispose();
    this.#reloaded.dispose();
    this.#sessionsChanged.dispose();
  }

  /** What a running setup still uses after the settings have changed. */
  readonly #old = new Set<Disposable>();

  #replaced<T extends Disposable>(old: Shared<T>, fresh: Shared<T>): Shared<T> {
    this.#old.add(old);
    return fresh;
  }

  #drop(target: Target): void {
    const key = targetKey(target);
    this.#sessions.get(key)?.dispose();
    this.#sessions.delete(key);
  }

  #environment(): Record<string, string | undefined> {
    return programEnvironment(process.env, this.settings.path);
  }

  #dns(core: Core): Dns {
    return core.createDns([...this.settings.dnsServers]);
  }

  async #helm(core: Core, context: string): Promise<Helm> {
    const { helmPath, helmChart } = this.settings;
    return core.createHelm({
      run: core.createRunner(this.#environment()),
      kubeconfig: await this.kubeconfigPaths(),
      context,
      file: expandHome(helmPath),
      ...(helmChart === '' ? {} : { chart: helmChart }),
    });
  }

  async #loadKubeconfig(): Promise<Kubeconfig> {
    const core = await loadCore();
    const paths = await this.kubeconfigPaths();
    this.#watchFiles(paths);
    return core.loadKubeconfig(paths, (file) => readFile(file, 'utf8'));
  }

  #watchFiles(paths: readonly string[]): void {
    for (const watcher of this.#fileWatchers) watcher.dispose();
    let timer: ReturnType<typeof setTimeout> | undefined;
    // A file that is written anew is reported several times.
    const reload = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        this.reload();
      }, 300);
    };
    const pending = {
      dispose: () => {
        clearTimeout(timer);
      },
    };
    const watchers = paths.map((file) => {
      const uri = vscode.Uri.file(file);
      const pattern = new vscode.RelativePattern(vscode.Uri.joinPath(uri, '..'), uri.path.split('/').pop() ?? '');
      const watcher = vscode.workspace.createFileSystemWatcher(pattern);
      watcher.onDidChange(reload);
      watcher.onDidCreate(reload);
      watcher.onDidDelete(reload);
      return watcher;
    });
    this.#fileWatchers = [...watchers, pending];
  }

  #makeClusters(): Shared<ConnectedCluster> {
    return new Shared(async (context) => {
      const [core, kubeconfig] = await Promise.all([loadCore(), this.kubeconfig()]);
      const proxy = vscode.workspace.getConfiguration('http').get<unknown>('proxy');
      return core.connect(kubeconfig, context, {
        clock: systemClock,
        log: this.log,
        env: this.#environment(),
        readFile: (file) => readFile(file, 'utf8'),
        pathFolders: this.settings.path.map((folder) => expandHome(folder)),
        ...(typeof proxy === 'string' && proxy !== '' ? { proxy } : {}),
      });
    }, linger.cluster);
  }

  #makeNamespaces(): Shared<WatchedNamespace> {
    return new Shared(async (key) => {
      const [context = '', namespace = ''] = parseKey(key);
      const core = await loadCore();
      const lease = await this.cluster(context);
      const live = core.watchNamespace(lease.value, namespace, { clock: systemClock });
      return {
        cluster: lease.value,
        live,
        dispose: () => {
          live.dispose();
          lease.dispose();
        },
      };
    }, linger.namespace);
  }

  #makeMonitors(): Shared<ReleaseMonitor> {
    return new Shared(async (key) => {
      const [context = '', namespace = '', release = ''] = parseKey(key);
      const target = { context, namespace, release };
      const core = await loadCore();
      const watched = await this.#namespaces.acquire(namespaceKey(context, namespace));
      return new ReleaseMonitor(
        {
          core,
          cluster: watched.value.cluster,
          live: watched.value.live,
          hold: watched,
          dns: this.#dns(core),
          clock: systemClock,
          log: this.log,
          lastProbe: () => this.probes.view(target)?.report,
          goneText: vscode.l10n.t('There is no Milvus release {0} in namespace {1}.', release, namespace),
        },
        target,
      );
    }, linger.monitor);
  }
}

/** In Restricted Mode nothing is contacted and nothing is run, whatever called. */
function requireTrust(): void {
  if (!vscode.workspace.isTrusted)
    throw new UserError(
      vscode.l10n.t('In Restricted Mode no cluster is contacted, because a kubeconfig can run programs.'),
      [{ title: vscode.l10n.t('Manage Workspace Trust'), command: 'workbench.trust.manage' }],
    );
}

async function listReleases(
  core: Core,
  cluster: ConnectedCluster,
  namespace: string | undefined,
  signal: AbortSignal | undefined,
): Promise<MilvusRelease[]> {
  const options = { ...(namespace === undefined ? {} : { namespace }), ...(signal ? { signal } : {}) };
  const [services, deployments] = await Promise.all([
    cluster.list({ apiVersion: 'v1', kind: 'Service' }, options),
    cluster.list({ apiVersion: 'apps/v1', kind: 'Deployment' }, options),
  ]);
  const objects: KubeObject[] = [...services, ...deployments];
  return core.findReleases(core.createObjectSet(objects));
}
