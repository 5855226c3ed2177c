import * as l10n from '@vscode/l10n';
import http from 'node:http';
import https from 'node:https';
import type { Applied, Cluster, Clock, Disposable, Log } from '../ports.ts';
import type { KubeObject, ObjectRef } from '../model.ts';
import { ContextCredentials } from './credentials.ts';
import { isKubeError, KubeError, type RequestSubject } from './errors.ts';
import type { Kubeconfig } from './kubeconfig.ts';
import { forwardPort } from './portForward.ts';
import { proxyFor } from './proxy.ts';
import type { WatchedKind, WatchScope, WatchSource } from './reflector.ts';
import { apiPath, findResource, groupOf, knownResource, resourcePath, type Resource } from './resources.ts';
import { Transport, type WatchEvent } from './transport.ts';

/** Owner of the fields that the product writes. */
export const fieldManager = 'milvus-layer7';

/** Objects a page of a list: large namespaces come in pieces that neither side has to hold at once. */
const pageSize = 500;

export interface ConnectDeps {
  clock: Clock;
  log: Log;
  /** Environment for exec plugins and for HTTPS_PROXY, NO_PROXY. */
  env: NodeJS.ProcessEnv;
  readFile: (file: string) => Promise<string>;
  /** Folders searched before PATH for exec plugins. */
  pathFolders?: readonly string[];
  /** Proxy of VS Code's own setting, used when the environment names none. */
  proxy?: string;
  /** Limit for an answer of the API server to begin, and for silence within it. */
  timeoutMs?: number;
  /** Limit for one run of an exec plugin. */
  execTimeoutMs?: number;
}

/** A cluster whose objects can also be watched. */
export interface ConnectedCluster extends Cluster, WatchSource {}

/**
 * Prepares the connection to the cluster of a context. Nothing is sent yet: an exec plugin runs, and an unreachable
 * server shows, with the first call.
 *
 * @throws KubeError of kind `config` when the kubeconfig cannot be used for it.
 */
export async function connect(
  kubeconfig: Kubeconfig,
  contextName: string,
  deps: ConnectDeps,
): Promise<ConnectedCluster> {
  const entries = kubeconfig.find(contextName);
  if (!entries)
    throw new KubeError({ kind: 'config', message: l10n.t('there is no context {0} in the kubeconfig.', contextName) });
  const { context, cluster } = entries;
  if (context.problem !== undefined || !cluster)
    throw new KubeError({ kind: 'config', message: context.problem ?? '' });

  const client = await import('./kubernetesClient.chunk.ts');
  const proxy = cluster.proxyUrl ?? proxyFor(cluster.server, deps.env, deps.proxy);
  const credentials = new ContextCredentials(
    entries,
    { ...deps, ...(deps.execTimeoutMs !== undefined && { timeoutMs: deps.execTimeoutMs }) },
    () => new client.KubeConfig(),
  );
  const newAgent = (tls: https.AgentOptions): http.Agent => {
    const secure = cluster.server.startsWith('https:');
    if (proxy === undefined) return secure ? new https.Agent(tls) : new http.Agent(tls);
    if (proxy.startsWith('socks')) return new client.SocksProxyAgent(proxy, tls);
    return secure ? new client.HttpsProxyAgent({ ...tls, proxy }) : new client.HttpProxyAgent({ ...tls, proxy });
  };
  const transport = new Transport(cluster.server, {
    clock: deps.clock,
    log: deps.log,
    requestOptions: (signal) => credentials.requestOptions(signal),
    newAgent,
    proxy,
    ...(deps.timeoutMs !== undefined && { timeoutMs: deps.timeoutMs }),
  });
  return new ApiServer(context.name, context.namespace, transport, credentials, proxy, client.PortForward, deps.log);
}

type PortForwardClass = Parameters<typeof forwardPort>[0];

class ApiServer implements ConnectedCluster {
  readonly context: string;
  readonly server: string;
  readonly namespace: string;
  readonly #transport: Transport;
  readonly #credentials: ContextCredentials;
  readonly #proxy: string | undefined;
  readonly #portForward: PortForwardClass;
  readonly #log: Log;
  readonly #discovered = new Map<string, Resource>();
  readonly #forwards = new Set<Disposable>();

  constructor(
    context: string,
    namespace: string,
    transport: Transport,
    credentials: ContextCredentials,
    proxy: string | undefined,
    portForward: PortForwardClass,
    log: Log,
  ) {
    this.context = context;
    this.namespace = namespace;
    this.server = transport.server;
    this.#transport = transport;
    this.#credentials = credentials;
    this.#proxy = proxy;
    this.#portForward = portForward;
    this.#log = log;
  }

  async get(ref: ObjectRef, signal?: AbortSignal): Promise<KubeObject | undefined> {
    try {
      const { path, subject } = await this.#place('get', ref, signal);
      const { body } = await this.#transport.json({ method: 'GET', path, subject, signal });
      return this.#object(body, subject);
    } catch (error) {
      if (isKubeError(error) && error.status === 404) return undefined;
      throw error;
    }
  }

  async list(kind: WatchedKind, options: WatchScope & { signal?: AbortSignal } = {}): Promise<KubeObject[]> {
    return (await this.listWithVersion(kind, options)).items;
  }

  async listWithVersion(
    kind: WatchedKind,
    options: WatchScope & { signal?: AbortSignal } = {},
  ): Promise<{ items: KubeObject[]; resourceVersion: string }> {
    try {
      return await this.#listPages(kind, options, pageSize);
    } catch (error) {
      // The list changed too much while its pages were read; in one piece it cannot.
      if (isKubeError(error) && error.status === 410) return this.#listPages(kind, options, undefined);
      throw error;
    }
  }

  async *watch(
    kind: WatchedKind,
    options: WatchScope & {
      resourceVersion: string;
      timeoutSeconds: number;
      idleMs: number;
      onOpen?: () => void;
      signal?: AbortSignal;
    },
  ): AsyncGenerator<WatchEvent, void, undefined> {
    const { namespace, labelSelector, fieldSelector, resourceVersion, timeoutSeconds, idleMs, onOpen, signal } =
      options;
    const { path, subject } = await this.#collection('watch', kind, namespace, signal);
    const query = {
      watch: true,
      allowWatchBookmarks: true,
      resourceVersion,
      timeoutSeconds,
      labelSelector,
      fieldSelector,
    };
    yield* this.#transport.watch({ method: 'GET', path, query, subject, signal }, idleMs, onOpen);
  }

  async apply(
    object: KubeObject,
    options: { dryRun?: boolean; force?: boolean; signal?: AbortSignal } = {},
  ): Promise<Applied> {
    const { apiVersion, kind, metadata } = object;
    const { name, namespace } = metadata;
    const ref: ObjectRef = { apiVersion, kind, name, ...(namespace !== undefined && { namespace }) };
    const { path, subject } = await this.#place('patch', ref, options.signal);
    // The API server refuses a body with managedFields.
    const { managedFields: _, ...ownMetadata } = metadata;
    const { status, headers, body } = await this.#transport.json({
      method: 'PATCH',
      path,
      query: {
        fieldManager,
        fieldValidation: 'Strict',
        force: options.force ?? false,
        // An empty dryRun is refused, so it is left out.
        dryRun: options.dryRun ? 'All' : undefined,
      },
      contentType: 'application/apply-patch+yaml',
      body: { ...object, metadata: ownMetadata },
      subject,
      signal: options.signal,
    });
    return {
      object: this.#object(body, subject),
      created: status === 201,
      warnings: readWarnings(headers.warning),
    };
  }

  async delete(ref: ObjectRef, signal?: AbortSignal): Promise<void> {
    try {
      const { path, subject } = await this.#place('delete', ref, signal);
      await this.#transport.request({
        method: 'DELETE',
        path,
        query: { propagationPolicy: 'Background' },
        subject,
        signal,
      });
    } catch (error) {
      if (!isKubeError(error) || error.status !== 404) throw error;
    }
  }

  async can(
    access: { verb: string; group: string; resource: string; namespace?: string; name?: string },
    signal?: AbortSignal,
  ): Promise<boolean> {
    const [resource = '', subresource] = access.resource.split('/');
    const apiVersion = 'authorization.k8s.io/v1';
    const plural = 'selfsubjectaccessreviews';
    const { body } = await this.#transport.json({
      method: 'POST',
      path: `${apiPath(apiVersion)}/${plural}`,
      body: {
        apiVersion,
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes: { ...access, resource, ...(subresource !== undefined && { subresource }) } },
      },
      subject: { verb: 'create', group: 'authorization.k8s.io', resource: plural },
      signal,
    });
    // A denied access is a successful answer that says `allowed: false`.
    return (body as { status?: { allowed?: unknown } } | null)?.status?.allowed === true;
  }

  async podLog(
    namespace: string,
    pod: string,
    options: { container?: string; previous?: boolean; tailLines?: number; signal?: AbortSignal } = {},
  ): Promise<string> {
    const { container, previous, tailLines, signal } = options;
    const { text } = await this.#transport.request({
      method: 'GET',
      path: `${resourcePath(podResource, namespace, pod)}/log`,
      query: { container, previous, tailLines },
      accept: 'text/plain, */*',
      subject: { verb: 'get', group: '', resource: 'pods/log', kind: 'Pod', namespace, name: pod },
      signal,
    });
    return text;
  }

  async portForward(
    namespace: string,
    pod: string,
    port: number,
    signal?: AbortSignal,
  ): Promise<{ port: number } & Disposable> {
    // The WebSocket of the library tells only a status code, so ask what it would be about before.
    const subject = { verb: 'get', group: '', resource: 'pods', kind: 'Pod', namespace, name: pod };
    await this.#transport.request({ method: 'GET', path: resourcePath(podResource, namespace, pod), subject, signal });
    const access = { group: '', resource: 'pods/portforward', namespace, name: pod };
    // Before Kubernetes 1.35 a WebSocket needs `get`, since then `create` (kubernetes/kubernetes#133515).
    const [create, get] = await Promise.all([
      this.can({ ...access, verb: 'create' }, signal),
      this.can({ ...access, verb: 'get' }, signal),
    ]);
    if (!create && !get)
      throw new KubeError({
        kind: 'answer',
        status: 403,
        message: l10n.t('create pods/portforward is not allowed in namespace {0}.', namespace),
        server: this.server,
        subject: { ...subject, verb: 'create', resource: 'pods/portforward' },
      });
    const forward = await forwardPort(
      this.#portForward,
      () => this.#credentials.kubeConfig(this.#proxy),
      { namespace, pod, port },
      (message) => {
        this.#log.warn(`port-forward ${namespace}/${pod}:${port}: ${message}`);
      },
      signal,
    );
    this.#forwards.add(forward);
    return {
      port: forward.port,
      dispose: () => {
        this.#forwards.delete(forward);
        forward.dispose();
      },
    };
  }

  dispose(): void {
    for (const forward of this.#forwards) forward.dispose();
    this.#forwards.clear();
    this.#transport.dispose();
    this.#credentials.dispose();
  }

  async #listPages(
    kind: WatchedKind,
    options: WatchScope & { signal?: AbortSignal },
    limit: number | undefined,
  ): Promise<{ items: KubeObject[]; resourceVersion: string }> {
    const { namespace, labelSelector, fieldSelector, signal } = options;
    const { path, subject } = await this.#collection('list', kind, namespace, signal);
    const items: KubeObject[] = [];
    let next: string | undefined;
    for (;;) {
      const query = { labelSelector, fieldSelector, limit, continue: next };
      const { body } = await this.#transport.json({ method: 'GET', path, query, subject, signal });
      const page = body as { items?: unknown; metadata?: { continue?: unknown; resourceVersion?: unknown } } | null;
      const metadata = page?.metadata;
      if (!page || !metadata || typeof metadata.resourceVersion !== 'string') throw this.#unexpected(subject);
      // An empty list of a Go server may be null. The items of a list have neither apiVersion nor kind.
      for (const item of (page.items ?? []) as object[]) items.push(this.#object({ ...kind, ...item }, subject));
      next = typeof metadata.continue === 'string' && metadata.continue !== '' ? metadata.continue : undefined;
      if (next === undefined) return { items, resourceVersion: metadata.resourceVersion };
    }
  }

  async #place(
    verb: string,
    ref: ObjectRef,
    signal: AbortSignal | undefined,
  ): Promise<{ path: string; subject: RequestSubject }> {
    const resource = await this.#resource(ref, signal);
    const namespace = resource.namespaced ? (ref.namespace ?? this.namespace) : undefined;
    return {
      path: resourcePath(resource, namespace, ref.name),
      subject: {
        verb,
        group: groupOf(ref.apiVersion),
        resource: resource.plural,
        kind: ref.kind,
        name: ref.name,
        ...(namespace !== undefined && { namespace }),
      },
    };
  }

  async #collection(
    verb: string,
    kind: WatchedKind,
    namespace: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<{ path: string; subject: RequestSubject }> {
    const resource = await this.#resource(kind, signal);
    return {
      path: resourcePath(resource, namespace),
      subject: {
        verb,
        group: groupOf(kind.apiVersion),
        resource: resource.plural,
        kind: kind.kind,
        ...(resource.namespaced && namespace !== undefined && { namespace }),
      },
    };
  }

  async #resource({ apiVersion, kind }: WatchedKind, signal: AbortSignal | undefined): Promise<Resource> {
    const key = `${apiVersion} ${kind}`;
    const known = knownResource(apiVersion, kind) ?? this.#discovered.get(key);
    if (known) return known;
    const subject: RequestSubject = { verb: 'get', group: groupOf(apiVersion), resource: kind, kind };
    const { body } = await this.#transport.json({ method: 'GET', path: apiPath(apiVersion), subject, signal });
    const found = findResource(body, apiVersion, kind);
    if (!found)
      throw new KubeError({
        kind: 'answer',
        status: 404,
        message: `${apiVersion} has no kind ${kind}`,
        server: this.server,
        subject,
      });
    this.#discovered.set(key, found);
    return found;
  }

  #object(value: unknown, subject: RequestSubject): KubeObject {
    const object = value as Partial<KubeObject> | null;
    if (typeof object?.kind !== 'string' || typeof object.apiVersion !== 'string') throw this.#unexpected(subject);
    if (typeof object.metadata?.name !== 'string') throw this.#unexpected(subject);
    return object as KubeObject;
  }

  #unexpected(subject: RequestSubject): KubeError {
    return new KubeError({ kind: 'protocol', message: 'it is no Kubernetes object', server: this.server, subject });
  }
}

const podResource: Resource = { apiVersion: 'v1', kind: 'Pod', plural: 'pods', namespaced: true };

/** Reads `299 - "unknown field", 299 - "…"` (RFC 9111 section 5.5, kubernetes/apiserver pkg/endpoints/filters/warning.go). */
function readWarnings(header: string | string[] | undefined): string[] {
  if (header === undefined) return [];
  return [header]
    .flat()
    .flatMap((value) =>
      [...value.matchAll(/\d{3} \S+ "((?:[^"\\]|\\.)*)"/g)].map((match) => (match[1] ?? '').replace(/\\(.)/g, '$1')),
    );
}
