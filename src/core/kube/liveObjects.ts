import * as l10n from '@vscode/l10n';
import { fields } from '../fields.ts';
import type { KubeObject, ObjectSet, Unreadable } from '../model.ts';
import type { Disposable, LiveObjects } from '../ports.ts';
import { explainKubeError } from './errors.ts';
import { createObjectSet } from './objectSet.ts';
import {
  startReflector,
  type ReflectorDeps,
  type WatchedKind,
  type WatchScope,
  type WatchSource,
} from './reflector.ts';

/** Live objects of a namespace, with what only some readers need. */
export interface NamespaceObjects extends LiveObjects {
  /**
   * Localised: why the objects may be out of date; undefined while all watches run. A change of it is told as a change.
   */
  readonly interruption: string | undefined;
  /**
   * Also watches one Secret, of which only certificates are kept: `tls.crt` and `ca.crt`, and an empty `tls.key` when it
   * has one. `ready` resolves when it has been looked up once. Disposing of the last watch of a name drops the Secret.
   */
  watchSecret(name: string): { readonly ready: Promise<void> } & Disposable;
}

/** Changes that arrive within this time are told as one. */
const batchMs = 50;

/** The kinds that say how a Milvus release is exposed. Secrets are never among them. */
const kinds: readonly WatchedKind[] = [
  { apiVersion: 'v1', kind: 'Service' },
  { apiVersion: 'v1', kind: 'Pod' },
  // All of them: the chart's own carries no label that tells it from others (zilliztech/milvus-helm charts/milvus/templates/configmap.yaml).
  { apiVersion: 'v1', kind: 'ConfigMap' },
  { apiVersion: 'v1', kind: 'Event' },
  { apiVersion: 'apps/v1', kind: 'Deployment' },
  { apiVersion: 'apps/v1', kind: 'ReplicaSet' },
  { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice' },
  { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress' },
  { apiVersion: 'cloud.google.com/v1', kind: 'BackendConfig' },
  { apiVersion: 'networking.gke.io/v1beta1', kind: 'FrontendConfig' },
  { apiVersion: 'networking.gke.io/v1', kind: 'ManagedCertificate' },
  { apiVersion: 'networking.gke.io/v1beta1', kind: 'ServiceNetworkEndpointGroup' },
  { apiVersion: 'milvus.io/v1beta1', kind: 'Milvus' },
];

/**
 * Watches everything in a namespace that matters for Milvus and its load balancer. A kind that is forbidden, or unknown
 * to the API server, or that cannot be listed at first, is told in `objects.unreadable`, and tried again later.
 */
export function watchNamespace(cluster: WatchSource, namespace: string, deps: ReflectorDeps): NamespaceObjects {
  return new WatchedNamespace(cluster, namespace, deps);
}

/** One reflector's share of the set. */
interface Share {
  kind: string;
  /** By name; undefined until it was listed once. */
  objects: Map<string, KubeObject> | undefined;
  unreadable: Unreadable | undefined;
  /** Localised. */
  interruption: string | undefined;
  readonly settled: Promise<void>;
  settle(): void;
  reflector: Disposable | undefined;
  users: number;
}

class WatchedNamespace implements NamespaceObjects {
  readonly ready: Promise<void>;
  readonly #cluster: WatchSource;
  readonly #namespace: string;
  readonly #deps: ReflectorDeps;
  readonly #stop = new AbortController();
  readonly #shares = new Set<Share>();
  readonly #secrets = new Map<string, Share>();
  readonly #listeners = new Set<() => void>();
  #objects: ObjectSet = createObjectSet([]);
  #stale = false;
  #batch: Promise<void> | undefined;

  constructor(cluster: WatchSource, namespace: string, deps: ReflectorDeps) {
    this.#cluster = cluster;
    this.#namespace = namespace;
    this.#deps = deps;
    const shares = kinds.map((kind) => this.#watch(kind, {}, kind.kind === 'ConfigMap' ? yamlOnly : trimmed));
    this.ready = Promise.all(shares.map((share) => share.settled)).then(() => undefined);
  }

  get objects(): ObjectSet {
    if (this.#stale) {
      this.#stale = false;
      const shares = [...this.#shares];
      this.#objects = createObjectSet(
        shares.flatMap((share) => [...(share.objects?.values() ?? [])]),
        new Map(shares.flatMap(({ kind, unreadable }) => (unreadable === undefined ? [] : [[kind, unreadable]]))),
      );
    }
    return this.#objects;
  }

  get interruption(): string | undefined {
    for (const share of this.#shares) if (share.interruption !== undefined) return share.interruption;
    return undefined;
  }

  onChange(listener: () => void): Disposable {
    // Of its own, so that a listener given twice is called twice and disposed of singly.
    const own = () => {
      listener();
    };
    this.#listeners.add(own);
    return { dispose: () => void this.#listeners.delete(own) };
  }

  watchSecret(name: string): { readonly ready: Promise<void> } & Disposable {
    let share = this.#secrets.get(name);
    if (!share) {
      const fieldSelector = `metadata.name=${name}`;
      share = this.#watch({ apiVersion: 'v1', kind: 'Secret' }, { fieldSelector }, withoutPrivateKey);
      this.#secrets.set(name, share);
    }
    const watched = share;
    watched.users += 1;
    let disposed = false;
    return {
      ready: watched.settled,
      dispose: () => {
        if (disposed) return;
        disposed = true;
        watched.users -= 1;
        if (watched.users > 0) return;
        watched.reflector?.dispose();
        watched.settle();
        this.#secrets.delete(name);
        this.#shares.delete(watched);
        this.#changed();
      },
    };
  }

  dispose(): void {
    this.#stop.abort();
    this.#listeners.clear();
    for (const share of this.#shares) {
      share.reflector?.dispose();
      share.settle();
    }
  }

  #watch(kind: WatchedKind, scope: WatchScope, keep: (object: KubeObject) => KubeObject): Share {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const share: Share = {
      kind: kind.kind,
      objects: undefined,
      unreadable: undefined,
      interruption: undefined,
      settled: promise,
      settle: () => {
        resolve(undefined);
      },
      reflector: undefined,
      users: 0,
    };
    const doing = l10n.t('Reading {0} in namespace {1}', kind.kind, this.#namespace);
    const updated = () => {
      this.#changed();
      share.settle();
    };
    this.#shares.add(share);
    share.reflector = startReflector(
      this.#cluster,
      kind,
      { ...scope, namespace: this.#namespace },
      {
        replaced: (objects) => {
          share.objects = new Map(objects.map((object) => [object.metadata.name, keep(object)]));
          share.unreadable = undefined;
          share.interruption = undefined;
          updated();
        },
        changed: (object) => {
          share.objects?.set(object.metadata.name, keep(object));
          this.#changed();
        },
        removed: (object) => {
          share.objects?.delete(object.metadata.name);
          this.#changed();
        },
        unreadable: (error) => {
          share.objects = undefined;
          share.unreadable = {
            reason: error.status === 404 ? 'unknown' : 'forbidden',
            message: explainKubeError(error, doing),
          };
          share.interruption = undefined;
          updated();
        },
        interrupted: (error) => {
          share.interruption = explainKubeError(error, doing);
          // What was never listed must not look as if there were none.
          if (!share.objects) share.unreadable = { reason: 'failed', message: share.interruption };
          updated();
        },
        recovered: () => {
          share.interruption = undefined;
          this.#changed();
        },
      },
      this.#deps,
    );
    return share;
  }

  /** Tells the listeners once for all changes of a short time. */
  #changed(): void {
    this.#stale = true;
    this.#batch ??= this.#deps.clock.sleep(batchMs, this.#stop.signal).then(
      () => {
        this.#batch = undefined;
        for (const listener of [...this.#listeners]) listener();
      },
      () => undefined,
    );
  }
}

/** Drops what no reader needs and what is the larger half of many objects. */
function trimmed(object: KubeObject): KubeObject {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** Milvus' configuration is YAML; what else namespaces keep in ConfigMaps, up to 1 MB each, is dropped. */
function yamlOnly(object: KubeObject): KubeObject {
  const { binaryData: _, ...rest } = trimmed(object);
  const data = Object.entries(fields(object.data)).filter(([key]) => /\.ya?ml$/.test(key));
  return { ...rest, data: Object.fromEntries(data) };
}

/** The private key is dropped on arrival. So are annotations: kubectl's last-applied-configuration holds all data. */
function withoutPrivateKey(object: KubeObject): KubeObject {
  const { managedFields: _, annotations: __, ...metadata } = object.metadata;
  const from = fields(object.data);
  const data: Record<string, unknown> = {};
  for (const key of ['tls.crt', 'ca.crt']) if (key in from) data[key] = from[key];
  if ('tls.key' in from) data['tls.key'] = '';
  const { apiVersion, kind, type } = object;
  return { apiVersion, kind, metadata, ...(type === undefined ? {} : { type }), data };
}
