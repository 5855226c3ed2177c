import { at, fields, items, number, text, texts } from '../fields.ts';
import type { Installer, KubeObject, MilvusRelease, ObjectSet } from '../model.ts';

/** Port on which Milvus speaks gRPC in its container. */
export const grpcPort = 19530;

/**
 * The Milvus releases among the objects, ordered by namespace and name.
 *
 * - Installed by Helm: the chart's labels on the client Service, `app.kubernetes.io/name: milvus` and `component: proxy`
 *   or `standalone` (zilliztech/milvus-helm `templates/service.yaml`, `_helpers.tpl`).
 * - By the Milvus Operator: `app.kubernetes.io/managed-by: milvus-operator` (zilliztech/milvus-operator `pkg/controllers`).
 * - Plain: any other Service with a port to 19530 that selects Deployments with a Milvus image.
 */
export function findReleases(objects: ObjectSet): MilvusRelease[] {
  const found: MilvusRelease[] = [];
  for (const service of objects.list('Service')) {
    const release = readRelease(objects, service);
    if (release) found.push(release);
  }
  return onePerRelease(found).sort((a, b) => (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1));
}

function readRelease(objects: ObjectSet, service: KubeObject): MilvusRelease | undefined {
  const namespace = text(service.metadata.namespace);
  const port = grpcPortOf(service);
  if (namespace === undefined || port === undefined) return undefined;
  const labels = texts(service.metadata.labels);
  const installer = installerOf(labels);
  const servers = serversOf(objects, service, namespace);
  if (installer === 'plain' && !servers.some(runsMilvus)) return undefined;
  const instance = labels.get('app.kubernetes.io/instance');
  const name = installer === 'plain' ? service.metadata.name : (instance ?? service.metadata.name);
  const version = versionOf(servers);
  const layer4 = layer4Address(service);
  return {
    namespace,
    name,
    installer,
    mode: modeOf(service, servers),
    service,
    port,
    servers,
    ...(version === undefined ? {} : { version }),
    ...(layer4 === undefined ? {} : { layer4 }),
  };
}

function installerOf(labels: ReadonlyMap<string, string>): Installer {
  if (labels.get('app.kubernetes.io/managed-by') === 'milvus-operator') return 'operator';
  const component = labels.get('component');
  const isChart =
    labels.get('app.kubernetes.io/managed-by') === 'Helm' || (labels.get('helm.sh/chart') ?? '').startsWith('milvus-');
  return isChart &&
    labels.get('app.kubernetes.io/name') === 'milvus' &&
    labels.has('app.kubernetes.io/instance') &&
    (component === 'proxy' || component === 'standalone')
    ? 'helm'
    : 'plain';
}

/** Several Services may lead to one release; the one of the installer counts, then the one that Layer 4 uses. */
function onePerRelease(found: readonly MilvusRelease[]): MilvusRelease[] {
  const kept: MilvusRelease[] = [];
  const rank = (release: MilvusRelease): number =>
    (release.installer === 'plain' ? 2 : 0) + (release.layer4 === undefined ? 1 : 0);
  const servers = (release: MilvusRelease): string[] =>
    release.servers.map((server) => `${release.namespace}/${server.metadata.name}`);
  for (const release of [...found].sort((a, b) => rank(a) - rank(b))) {
    const own = servers(release);
    const known = kept.some(
      (other) =>
        (other.namespace === release.namespace &&
          other.installer === release.installer &&
          other.name === release.name) ||
        (own.length > 0 && servers(other).some((server) => own.includes(server))),
    );
    if (!known) kept.push(release);
  }
  return kept;
}

/** Name and number of the Service port that leads to gRPC: by target, then by number. */
function grpcPortOf(service: KubeObject): { name: string; number: number } | undefined {
  const ports = items(at(service, 'spec', 'ports'));
  const port =
    ports.find((entry) => at(entry, 'targetPort') === 'milvus') ??
    ports.find((entry) => at(entry, 'targetPort') === grpcPort) ??
    ports.find((entry) => at(entry, 'port') === grpcPort);
  const value = number(at(port, 'port'));
  return value === undefined ? undefined : { name: text(at(port, 'name')) ?? '', number: value };
}

/** The Deployments behind a Service. Of the Operator's two generations of a component the one scaled to zero is left out. */
function serversOf(objects: ObjectSet, service: KubeObject, namespace: string): KubeObject[] {
  const selector = texts(at(service, 'spec', 'selector'));
  if (selector.size === 0) return [];
  const selected = objects.list('Deployment', namespace).filter((deployment) => {
    const labels = texts(at(deployment, 'spec', 'template', 'metadata', 'labels'));
    return [...selector].every(([key, value]) => labels.get(key) === value);
  });
  const scaledUp = selected.filter((deployment) => at(deployment, 'spec', 'replicas') !== 0);
  return scaledUp.length > 0 ? scaledUp : selected;
}

function modeOf(service: KubeObject, servers: readonly KubeObject[]): MilvusRelease['mode'] {
  const components = [service, ...servers].flatMap((object) => {
    const all = [fields(object.metadata.labels), fields(at(object, 'spec', 'template', 'metadata', 'labels'))];
    return all.flatMap((labels) => [labels.component, labels['app.kubernetes.io/component']]);
  });
  if (components.includes('standalone')) return 'standalone';
  if (components.includes('proxy')) return 'cluster';
  const args = servers.flatMap((server) => items(at(milvusContainer(server), 'args')));
  return args.includes('proxy') ? 'cluster' : 'standalone';
}

/** The container of a Deployment that runs Milvus: by image, then by name, then the first. */
export function milvusContainer(deployment: KubeObject): Readonly<Record<string, unknown>> {
  const containers = items(at(deployment, 'spec', 'template', 'spec', 'containers'));
  const found =
    containers.find(isMilvusImage) ??
    containers.find((container) => ['proxy', 'standalone'].includes(text(at(container, 'name')) ?? '')) ??
    containers[0];
  return fields(found);
}

function isMilvusImage(container: unknown): boolean {
  return /(^|\/)milvus(-[^/]*)?(:|@|$)/.test(text(at(container, 'image')) ?? '');
}

function runsMilvus(deployment: KubeObject): boolean {
  return isMilvusImage(milvusContainer(deployment));
}

/** The image tag is the version; the chart's `appVersion` is not, because the tag may be overridden. */
function versionOf(servers: readonly KubeObject[]): string | undefined {
  for (const server of servers) {
    const image = (text(milvusContainer(server).image) ?? '').replace(/@.*$/, '');
    const tag = /:([^:/]+)$/.exec(image)?.[1];
    const version = /^v?(\d+\.\d+\.\d+(?:[-.+].*)?)$/.exec(tag ?? '')?.[1];
    if (version !== undefined) return version;
  }
  return undefined;
}

function layer4Address(service: KubeObject): string | undefined {
  if (at(service, 'spec', 'type') !== 'LoadBalancer') return undefined;
  for (const entry of items(at(service, 'status', 'loadBalancer', 'ingress'))) {
    const address = text(at(entry, 'ip')) ?? text(at(entry, 'hostname'));
    if (address !== undefined) return address;
  }
  return undefined;
}

/** Compares versions by their three numbers: negative when `a` is older. What follows a hyphen does not count. */
export function compareVersions(a: string, b: string): number {
  const numbers = (version: string): number[] => version.replace(/^v/, '').split(/[-+.]/, 3).map(Number);
  const [left, right] = [numbers(a), numbers(b)];
  for (let index = 0; index < 3; index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0 && !Number.isNaN(difference)) return difference;
  }
  return 0;
}
