import * as l10n from '@vscode/l10n';
import path from 'node:path';
import { text } from '../fields.ts';
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, type Document, type Node } from 'yaml';

/** A context of the kubeconfig, without anything secret. */
export interface KubeContext {
  name: string;
  cluster: string;
  user: string;
  /** Namespace of the context, `default` when it names none. */
  namespace: string;
  /** URL of the API server; empty when the cluster entry has none. */
  server: string;
  /** The file that defines it, and the line in that file, counted from 1. */
  file: string;
  line: number;
  /** Localised: why this context cannot be used, and what to do. */
  problem?: string;
}

/** Something wrong in a kubeconfig file. `message` is localised and never quotes the file, which may hold tokens. */
export interface KubeconfigProblem {
  file: string;
  line?: number;
  message: string;
}

/** The merged kubeconfig. Credentials are reached only through {@link Kubeconfig.find}. */
export interface Kubeconfig {
  contexts: readonly KubeContext[];
  /** Name of the current context. It may name a context that does not exist. */
  current?: string;
  problems: readonly KubeconfigProblem[];
  /** Files that do not exist. kubectl skips them too. */
  missing: readonly string[];
  /** Everything that {@link connect} needs for a context. The result holds secrets. */
  find(contextName: string): ContextEntries | undefined;
}

export interface ContextEntries {
  context: KubeContext;
  cluster: ClusterEntry | undefined;
  user: UserEntry | undefined;
}

/** A `clusters[].cluster`. Paths are absolute. */
export interface ClusterEntry {
  name: string;
  server: string;
  caFile?: string;
  /** Base64 of PEM. */
  caData?: string;
  skipTlsVerify: boolean;
  tlsServerName?: string;
  proxyUrl?: string;
}

/** A `users[].user`. Paths are absolute. */
export interface UserEntry {
  name: string;
  certFile?: string;
  certData?: string;
  keyFile?: string;
  keyData?: string;
  token?: string;
  tokenFile?: string;
  username?: string;
  password?: string;
  impersonate?: { user?: string; uid?: string; groups: string[]; extra: Record<string, string[]> };
  exec?: ExecEntry;
  /** Name of a legacy auth-provider. */
  authProvider?: string;
}

/** A `users[].user.exec` (kubernetes/client-go tools/clientcmd/api/types.go `ExecConfig`). */
export interface ExecEntry {
  apiVersion: string;
  command: string;
  args: string[];
  env: { name: string; value: string }[];
  installHint?: string;
  provideClusterInfo: boolean;
  interactiveMode?: string;
  /** Folder of the file it was read from: a relative command with a slash is relative to it. */
  folder: string;
}

/** The files kubectl would read: those of `KUBECONFIG`, else `~/.kube/config`. */
export function defaultKubeconfigPaths(env: NodeJS.ProcessEnv, homedir: string): string[] {
  const files = (env.KUBECONFIG ?? '').split(path.delimiter).filter((file) => file !== '');
  return files.length > 0 ? [...new Set(files)] : [path.join(homedir, '.kube', 'config')];
}

/**
 * Reads and merges kubeconfig files as kubectl does (kubernetes/client-go tools/clientcmd/loader.go): for each name the
 * first file wins, the current context is the first one set, missing and empty files are skipped, paths are relative to
 * their file. Unlike kubectl, a broken file or entry does not hide the others: it becomes a problem.
 *
 * @param readFile rejects with code `ENOENT` for a missing file.
 */
export async function loadKubeconfig(
  paths: readonly string[],
  readFile: (file: string) => Promise<string>,
): Promise<Kubeconfig> {
  const problems: KubeconfigProblem[] = [];
  const missing: string[] = [];
  const files: FileEntries[] = [];
  for (const given of paths) {
    const file = path.resolve(given);
    let text: string;
    try {
      text = await readFile(file);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENOENT' || code === 'FileNotFound') missing.push(file);
      else problems.push({ file, message: l10n.t('This file cannot be read ({0}).', code ?? 'unknown error') });
      continue;
    }
    files.push(readEntries(file, text, problems));
  }

  const clusters = firstOfEachName(files.map((entries) => entries.clusters));
  const users = firstOfEachName(files.map((entries) => entries.users));
  const contexts = [...firstOfEachName(files.map((entries) => entries.contexts)).values()].map((context) =>
    complete(context, clusters.get(context.cluster), users.get(context.user)),
  );
  const byName = new Map(contexts.map((context) => [context.name, context]));
  const current = files.map((entries) => entries.current).find((name) => name !== undefined && name !== '');
  return {
    contexts,
    ...(current === undefined ? {} : { current }),
    problems,
    missing,
    find(contextName) {
      const context = byName.get(contextName);
      return context && { context, cluster: clusters.get(context.cluster), user: users.get(context.user) };
    },
  };
}

type RawContext = Omit<KubeContext, 'server' | 'problem'>;

interface FileEntries {
  clusters: ClusterEntry[];
  users: UserEntry[];
  contexts: RawContext[];
  current: string | undefined;
}

function firstOfEachName<T extends { name: string }>(files: readonly T[][]): Map<string, T> {
  const merged = new Map<string, T>();
  for (const entry of files.flat()) if (!merged.has(entry.name)) merged.set(entry.name, entry);
  return merged;
}

function complete(context: RawContext, cluster: ClusterEntry | undefined, user: UserEntry | undefined): KubeContext {
  const problem = problemOf(context, cluster, user);
  return { ...context, server: cluster?.server ?? '', ...(problem === undefined ? {} : { problem }) };
}

function problemOf(
  context: RawContext,
  cluster: ClusterEntry | undefined,
  user: UserEntry | undefined,
): string | undefined {
  if (context.cluster === '')
    return l10n.t('Context {0} names no cluster. Add it: kubectl config set-context.', context.name);
  if (!cluster)
    return l10n.t(
      'Context {0} names the cluster {1}, which is in none of the kubeconfig files.',
      context.name,
      context.cluster,
    );
  if (cluster.server === '') return l10n.t('Cluster {0} has no server address in the kubeconfig.', cluster.name);
  if (!/^https?:\/\//i.test(cluster.server) || !URL.canParse(cluster.server))
    return l10n.t('The server address of cluster {0} is no http or https URL.', cluster.name);
  if (context.user !== '' && !user)
    return l10n.t(
      'Context {0} names the user {1}, which is in none of the kubeconfig files.',
      context.name,
      context.user,
    );
  if (user?.authProvider !== undefined) return legacyAuthProvider(user, context.name);
  if (user?.exec?.command === '') return l10n.t('The exec plugin of user {0} has no command.', user.name);
  return undefined;
}

/** kubectl refuses them too (kubernetes/client-go plugin/pkg/client/auth/gcp/gcp_stub.go). */
function legacyAuthProvider(user: UserEntry, contextName: string): string {
  const provider = user.authProvider ?? '';
  if (provider !== 'gcp')
    return l10n.t(
      'User {0} logs in by the legacy auth-provider {1}, which is not supported. Use an exec plugin instead, for example kubelogin.',
      user.name,
      provider,
    );
  const gke = /^gke_([^_]+)_([^_]+)_([^_]+)$/.exec(contextName);
  const command = gke
    ? `gcloud container clusters get-credentials ${gke[3] ?? ''} --location ${gke[2] ?? ''} --project ${gke[1] ?? ''}`
    : 'gcloud container clusters get-credentials CLUSTER --location LOCATION';
  return l10n.t(
    'User {0} logs in by the legacy auth-provider gcp, which Kubernetes removed. Install gke-gcloud-auth-plugin, then run: {1}',
    user.name,
    command,
  );
}

/** Parses one file. What is wrong goes to `problems`; what is right is used. */
function readEntries(file: string, source: string, problems: KubeconfigProblem[]): FileEntries {
  const lines = new LineCounter();
  const problem = (offset: number | undefined, message: string) => {
    problems.push({ file, ...(offset === undefined ? {} : { line: lines.linePos(offset).line || 1 }), message });
  };
  const none: FileEntries = { clusters: [], users: [], contexts: [], current: undefined };

  // Duplicate keys are allowed and the last one counts, as in kubectl 1.36.
  const documents = parseAllDocuments(source, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  const document = Array.isArray(documents) ? documents[0] : undefined;
  if (!document?.contents) return none;
  const fault = document.errors[0];
  if (fault) {
    problem(fault.pos[0], l10n.t('This is no valid YAML ({0}). The file is not used.', fault.code));
    return none;
  }
  const root: Node | null = document.contents;
  if (isScalar(root) && root.value === null) return none;
  if (!isMap(root)) {
    problem(
      0,
      l10n.t('This is no kubeconfig: a map with clusters, users and contexts is expected. The file is not used.'),
    );
    return none;
  }

  const reader = new EntryReader(document, problem, path.dirname(file));
  const clusters = reader.named(root.get('clusters', true), 'clusters', 'cluster', (name, fields) =>
    reader.cluster(name, fields),
  );
  const users = reader.named(root.get('users', true), 'users', 'user', (name, fields) => reader.user(name, fields));
  const contexts = reader.named(root.get('contexts', true), 'contexts', 'context', (name, fields, offset) => ({
    name,
    cluster: fields.text('cluster') ?? '',
    user: fields.text('user') ?? '',
    namespace: text(fields.text('namespace')) ?? 'default',
    file,
    line: lines.linePos(offset).line || 1,
  }));
  const current = reader.fields(root, '').text('current-context');
  return { clusters, users, contexts, current };
}

/** The fields of one YAML map, by their types; a wrong type is a problem and counts as absent. */
interface Fields {
  text(key: string): string | undefined;
  flag(key: string): boolean;
  texts(key: string): string[];
  map(key: string): Fields | undefined;
  maps(key: string): Fields[];
  keys(): string[];
  offset: number | undefined;
  problem(key: string, message: string): void;
}

class EntryReader {
  readonly #document: Document;
  readonly #problem: (offset: number | undefined, message: string) => void;
  readonly #folder: string;

  constructor(document: Document, problem: (offset: number | undefined, message: string) => void, folder: string) {
    this.#document = document;
    this.#problem = problem;
    this.#folder = folder;
  }

  /** Reads a list of `{ name, <key>: {…} }`. */
  named<T extends { name: string }>(
    list: unknown,
    listName: string,
    key: string,
    read: (name: string, fields: Fields, offset: number) => T,
  ): T[] {
    const node = this.#resolve(list);
    if (node === undefined || (isScalar(node) && node.value === null)) return [];
    if (!isSeq(node)) {
      this.#problem(offsetOf(node), l10n.t('{0} must be a list.', listName));
      return [];
    }
    const found = new Map<string, T>();
    node.items.forEach((item, index) => {
      const entry = this.fields(item, `${listName}[${index}]`);
      const name = entry.text('name');
      if (name === undefined || name === '') {
        this.#problem(entry.offset, l10n.t('{0} has no name and is not used.', `${listName}[${index}]`));
        return;
      }
      if (found.has(name)) {
        this.#problem(entry.offset, l10n.t('{0} holds {1} twice; the first one is used.', listName, name));
        return;
      }
      const inner = entry.map(key) ?? this.fields(undefined, name);
      found.set(name, read(name, inner, entry.offset ?? 0));
    });
    return [...found.values()];
  }

  cluster(name: string, fields: Fields): ClusterEntry {
    return {
      name,
      server: (fields.text('server') ?? '').replace(/\/$/, ''),
      skipTlsVerify: fields.flag('insecure-skip-tls-verify'),
      ...optional('caFile', this.#path(fields, 'certificate-authority')),
      ...optional('caData', pemData(fields, 'certificate-authority-data')),
      ...optional('tlsServerName', fields.text('tls-server-name')),
      ...optional('proxyUrl', fields.text('proxy-url')),
    };
  }

  user(name: string, fields: Fields): UserEntry {
    const provider = fields.map('auth-provider');
    const exec = fields.map('exec');
    const groups = fields.texts('as-groups');
    const extraFields = fields.map('as-user-extra');
    const extra: Record<string, string[]> = {};
    for (const key of extraFields?.keys() ?? []) extra[key] = extraFields?.texts(key) ?? [];
    const as = fields.text('as');
    const uid = fields.text('as-uid');
    const impersonates = as !== undefined || uid !== undefined || groups.length > 0;
    return {
      name,
      ...optional('certFile', this.#path(fields, 'client-certificate')),
      ...optional('certData', pemData(fields, 'client-certificate-data')),
      ...optional('keyFile', this.#path(fields, 'client-key')),
      ...optional('keyData', pemData(fields, 'client-key-data')),
      ...optional('token', fields.text('token')),
      ...optional('tokenFile', this.#path(fields, 'tokenFile')),
      ...optional('username', fields.text('username')),
      ...optional('password', fields.text('password')),
      ...optional(
        'impersonate',
        impersonates ? { ...optional('user', as), ...optional('uid', uid), groups, extra } : undefined,
      ),
      ...optional('exec', exec && this.#exec(exec)),
      ...optional('authProvider', provider && (provider.text('name') ?? '')),
    };
  }

  #exec(fields: Fields): ExecEntry {
    return {
      apiVersion: fields.text('apiVersion') ?? '',
      command: fields.text('command') ?? '',
      args: fields.texts('args'),
      env: fields.maps('env').map((entry) => ({ name: entry.text('name') ?? '', value: entry.text('value') ?? '' })),
      provideClusterInfo: fields.flag('provideClusterInfo'),
      folder: this.#folder,
      ...optional('installHint', fields.text('installHint')),
      ...optional('interactiveMode', fields.text('interactiveMode')),
    };
  }

  #path(fields: Fields, key: string): string | undefined {
    const value = fields.text(key);
    return value === undefined || value === '' ? undefined : path.resolve(this.#folder, value);
  }

  fields(value: unknown, where: string): Fields {
    const node = this.#resolve(value);
    const map = isMap(node) ? node : undefined;
    if (node !== undefined && !map && !(isScalar(node) && node.value === null))
      this.#problem(offsetOf(node), l10n.t('{0} must be a map.', where));
    // Of duplicate keys the last one counts.
    const get = (key: string) =>
      this.#resolve(map?.items.findLast((pair) => (isScalar(pair.key) ? pair.key.value : pair.key) === key)?.value);
    const field = (key: string) => (where === '' ? key : `${where}.${key}`);
    const problem = (key: string, message: string) => {
      this.#problem(offsetOf(get(key)) ?? offsetOf(node), message);
    };
    const items = (key: string): unknown[] => {
      const list = get(key);
      if (list === undefined || (isScalar(list) && list.value === null)) return [];
      if (isSeq(list)) return list.items;
      problem(key, l10n.t('{0} must be a list.', field(key)));
      return [];
    };
    return {
      offset: offsetOf(node),
      problem,
      keys: () => (map?.items ?? []).map((pair) => String(isScalar(pair.key) ? pair.key.value : pair.key)),
      text: (key) => {
        const value = get(key);
        if (value === undefined || (isScalar(value) && value.value === null)) return undefined;
        if (isScalar(value) && typeof value.value === 'string') return value.value;
        problem(key, l10n.t('{0} must be text; put it in quotes.', field(key)));
        return undefined;
      },
      flag: (key) => {
        const value = get(key);
        if (value === undefined || (isScalar(value) && value.value === null)) return false;
        if (isScalar(value) && typeof value.value === 'boolean') return value.value;
        problem(key, l10n.t('{0} must be true or false.', field(key)));
        return false;
      },
      texts: (key) =>
        items(key).flatMap((item) => {
          const value = this.#resolve(item);
          if (isScalar(value) && typeof value.value === 'string') return [value.value];
          problem(key, l10n.t('{0} must be a list of texts.', field(key)));
          return [];
        }),
      map: (key) => {
        const value = get(key);
        return value === undefined || (isScalar(value) && value.value === null)
          ? undefined
          : this.fields(value, field(key));
      },
      maps: (key) => items(key).map((item, index) => this.fields(item, `${field(key)}[${index}]`)),
    };
  }

  #resolve(value: unknown): Node | undefined {
    if (value === null || value === undefined) return undefined;
    const node = value as Node;
    if (!isAlias(node)) return node;
    const anchored = node.resolve(this.#document);
    if (!anchored) this.#problem(offsetOf(node), l10n.t('This YAML alias has no anchor.'));
    return anchored;
  }
}

function pemData(fields: Fields, key: string): string | undefined {
  const value = fields.text(key);
  if (value === undefined || value === '') return undefined;
  const data = value.replace(/\s/g, '');
  if (/^[A-Za-z0-9+/]+={0,2}$/.test(data) && Buffer.from(data, 'base64').includes('-----BEGIN ')) return data;
  fields.problem(key, l10n.t('{0} is no base64 of a PEM file and is not used.', key));
  return undefined;
}

function offsetOf(node: Node | undefined): number | undefined {
  return node?.range?.[0];
}

function optional<K extends string, T>(key: K, value: T | undefined): Partial<Record<K, T>> {
  return (value === undefined ? {} : { [key]: value }) as Partial<Record<K, T>>;
}
