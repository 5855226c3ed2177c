import { isRecord } from '../fields.ts';

/** Where a kind lives in the REST API. */
export interface Resource {
  apiVersion: string;
  kind: string;
  /** Plural name in the path. */
  plural: string;
  namespaced: boolean;
}

/**
 * The kinds the product uses, so that no discovery is needed for them. Sources: Kubernetes API reference;
 * kubernetes/ingress-gce pkg/apis; GoogleCloudPlatform/gke-managed-certs deploy/managedcertificates-crd.yaml;
 * zilliztech/milvus-operator config/crd.
 */
const known: readonly Resource[] = [
  ...namespaced('v1', {
    ConfigMap: 'configmaps',
    Endpoints: 'endpoints',
    Event: 'events',
    Pod: 'pods',
    Secret: 'secrets',
    Service: 'services',
    ServiceAccount: 'serviceaccounts',
  }),
  { apiVersion: 'v1', kind: 'Namespace', plural: 'namespaces', namespaced: false },
  { apiVersion: 'v1', kind: 'Node', plural: 'nodes', namespaced: false },
  ...namespaced('apps/v1', { Deployment: 'deployments', ReplicaSet: 'replicasets', StatefulSet: 'statefulsets' }),
  ...namespaced('discovery.k8s.io/v1', { EndpointSlice: 'endpointslices' }),
  ...namespaced('networking.k8s.io/v1', { Ingress: 'ingresses' }),
  { apiVersion: 'networking.k8s.io/v1', kind: 'IngressClass', plural: 'ingressclasses', namespaced: false },
  {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    plural: 'customresourcedefinitions',
    namespaced: false,
  },
  ...namespaced('cloud.google.com/v1', { BackendConfig: 'backendconfigs' }),
  ...namespaced('networking.gke.io/v1', { ManagedCertificate: 'managedcertificates' }),
  ...namespaced('networking.gke.io/v1beta1', {
    FrontendConfig: 'frontendconfigs',
    ServiceNetworkEndpointGroup: 'servicenetworkendpointgroups',
  }),
  ...namespaced('milvus.io/v1beta1', { Milvus: 'milvuses' }),
];

const index = new Map(known.map((resource) => [`${resource.apiVersion} ${resource.kind}`, resource]));

function namespaced(apiVersion: string, plurals: Record<string, string>): Resource[] {
  return Object.entries(plurals).map(([kind, plural]) => ({ apiVersion, kind, plural, namespaced: true }));
}

/** The resource of a kind that needs no discovery. */
export function knownResource(apiVersion: string, kind: string): Resource | undefined {
  return index.get(`${apiVersion} ${kind}`);
}

/** Finds a kind in the `APIResourceList` that the API server gives for an apiVersion. */
export function findResource(list: unknown, apiVersion: string, kind: string): Resource | undefined {
  const resources = isRecord(list) && Array.isArray(list.resources) ? (list.resources as unknown[]) : [];
  for (const entry of resources) {
    if (!isRecord(entry) || entry.kind !== kind || typeof entry.name !== 'string' || entry.name.includes('/')) continue;
    return { apiVersion, kind, plural: entry.name, namespaced: entry.namespaced === true };
  }
  return undefined;
}

/** Path of everything in an apiVersion: `/api/v1`, `/apis/apps/v1`. */
export function apiPath(apiVersion: string): string {
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

/** Path of one object, or of all objects of the kind when no name is given. */
export function resourcePath(resource: Resource, namespace: string | undefined, name?: string): string {
  const scope = resource.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  const item = name === undefined ? '' : `/${encodeURIComponent(name)}`;
  return `${apiPath(resource.apiVersion)}${scope}/${resource.plural}${item}`;
}

/** API group of an apiVersion, empty for the core group. */
export function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
}
