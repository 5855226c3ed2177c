/**
 * Readers of what GKE and its users write. All of them take any object: what is missing, null or of another type reads
 * as absent, and none throws.
 */
import { at, fields, isRecord, items, json, number, text, texts } from '../fields.ts';
import type { KubeObject, ObjectSet } from '../model.ts';

/** The network endpoint groups of a Service. */
export interface NegStatus {
  /** Name of the group by Service port number (as text). */
  groups: ReadonlyMap<string, string>;
  zones: readonly string[];
}

/** The annotation of a Service, by key; only strings count. */
function annotation(object: KubeObject, key: string): string | undefined {
  return text(at(object, 'metadata', 'annotations', key));
}

/**
 * What the NEG controller wrote on a Service; undefined before it did. It does so only once an Ingress uses the Service
 * (kubernetes/ingress-gce `pkg/negannotation`).
 */
export function readNegStatus(service: KubeObject): NegStatus | undefined {
  const status = json(annotation(service, 'cloud.google.com/neg-status'));
  if (!isRecord(status)) return undefined;
  return {
    groups: texts(status.network_endpoint_groups),
    zones: items(status.zones).filter((zone) => typeof zone === 'string'),
  };
}

/**
 * Health by backend service: `HEALTHY`, `UNHEALTHY`, `Unknown` and others. Empty before the first sync, and when the
 * controller wrote its literal `Unknown`. The backend service of a network endpoint group has the group's name. The
 * controller refreshes it only every ten minutes (kubernetes/ingress-gce `pkg/backends/backends.go`).
 */
export function readBackends(ingress: KubeObject): Map<string, string> {
  return texts(json(annotation(ingress, 'ingress.kubernetes.io/backends')));
}

/** A ManagedCertificate. `status` is empty before Google was asked. */
export interface ManagedCertificate {
  /** One entry per wanted domain; `status` such as `Active`, `Provisioning`, `FailedNotVisible`. */
  domains: readonly { domain: string; status?: string }[];
  status: string;
  /** Name of the certificate in Google Cloud, such as `mcrt-…`. */
  certificateName?: string;
  /** RFC 3339. */
  expireTime?: string;
}

/** Reads a ManagedCertificate (GoogleCloudPlatform/gke-managed-certs `pkg/apis/networking.gke.io/v1/types.go`). */
export function readManagedCertificate(object: KubeObject): ManagedCertificate {
  const states = new Map<string, string>();
  for (const entry of items(at(object, 'status', 'domainStatus'))) {
    const domain = text(at(entry, 'domain'));
    const state = text(at(entry, 'status'));
    if (domain !== undefined && state !== undefined) states.set(domain, state);
  }
  const wanted = items(at(object, 'spec', 'domains')).filter((domain) => typeof domain === 'string');
  const certificateName = text(at(object, 'status', 'certificateName'));
  const expireTime = text(at(object, 'status', 'expireTime'));
  return {
    domains: wanted.map((domain) => {
      const state = states.get(domain);
      return { domain, ...(state === undefined ? {} : { status: state }) };
    }),
    status: text(at(object, 'status', 'certificateStatus')) ?? '',
    ...(certificateName === undefined ? {} : { certificateName }),
    ...(expireTime === undefined ? {} : { expireTime }),
  };
}

/** The part of a BackendConfig that matters for Milvus. Times in seconds. */
export interface BackendConfig {
  healthCheck?: {
    type?: string;
    port?: number;
    requestPath?: string;
    checkIntervalSec?: number;
    timeoutSec?: number;
    healthyThreshold?: number;
    unhealthyThreshold?: number;
  };
  timeoutSec?: number;
  drainingTimeoutSec?: number;
  /** Name of the Cloud Armor policy. */
  securityPolicy?: string;
}

/** Reads a BackendConfig (kubernetes/ingress-gce `pkg/apis/backendconfig/v1/types.go`). */
export function readBackendConfig(object: KubeObject): BackendConfig {
  const spec = at(object, 'spec');
  const check = at(spec, 'healthCheck');
  return defined({
    healthCheck: isRecord(check)
      ? defined({
          type: text(check.type),
          port: number(check.port),
          requestPath: text(check.requestPath),
          checkIntervalSec: number(check.checkIntervalSec),
          timeoutSec: number(check.timeoutSec),
          healthyThreshold: number(check.healthyThreshold),
          unhealthyThreshold: number(check.unhealthyThreshold),
        })
      : undefined,
    timeoutSec: number(at(spec, 'timeoutSec')),
    drainingTimeoutSec: number(at(spec, 'connectionDraining', 'drainingTimeoutSec')),
    securityPolicy: text(at(spec, 'securityPolicy', 'name')),
  });
}

/** Leaves out the fields that are undefined. */
function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/** A condition of a ServiceNetworkEndpointGroup. */
export interface SvcNegCondition {
  /** `True`, `False` or `Unknown`. */
  status: string;
  reason?: string;
  /** The error, when `status` is `False`. */
  message?: string;
  /** RFC 3339. */
  since?: string;
}

/** A ServiceNetworkEndpointGroup: how the NEG controller sees one group. */
export interface SvcNeg {
  /** The group's own name in Google Cloud. */
  name: string;
  /** Service and port number it belongs to. */
  service?: string;
  port?: string;
  /** One per zone; `state` is `ACTIVE`, `INACTIVE` or `TO_BE_DELETED`. */
  groups: readonly { selfLink: string; state?: string; type?: string }[];
  initialized?: SvcNegCondition;
  synced?: SvcNegCondition;
  /** RFC 3339. */
  lastSyncTime?: string;
}

/** Reads a ServiceNetworkEndpointGroup (kubernetes/ingress-gce `pkg/apis/svcneg/v1beta1/types.go`). */
export function readSvcNeg(object: KubeObject): SvcNeg {
  const conditions = items(at(object, 'status', 'conditions'));
  const condition = (type: string): SvcNegCondition | undefined => {
    const found = conditions.find((entry) => at(entry, 'type') === type);
    if (found === undefined) return undefined;
    return {
      status: text(at(found, 'status')) ?? 'Unknown',
      ...defined({
        reason: text(at(found, 'reason')),
        message: text(at(found, 'message')),
        since: text(at(found, 'lastTransitionTime')),
      }),
    };
  };
  return {
    name: text(at(object, 'metadata', 'name')) ?? '',
    groups: items(at(object, 'status', 'networkEndpointGroups')).map((group) => ({
      selfLink: text(at(group, 'selfLink')) ?? '',
      ...defined({ state: text(at(group, 'state')), type: text(at(group, 'networkEndpointType')) }),
    })),
    ...defined({
      service: text(at(object, 'metadata', 'labels', 'networking.gke.io/service-name')),
      port: text(at(object, 'metadata', 'labels', 'networking.gke.io/service-port')),
      initialized: condition('Initialized'),
      synced: condition('Synced'),
      lastSyncTime: text(at(object, 'status', 'lastSyncTime')),
    }),
  };
}

/** The Ingresses of a namespace that lead to a Service, by a rule or as their default. */
export function ingressesOf(objects: ObjectSet, namespace: string, serviceName: string): KubeObject[] {
  return objects.list('Ingress', namespace).filter((ingress) => routesTo(ingress, serviceName));
}

/** Whether an Ingress leads to a Service of its namespace. */
export function routesTo(ingress: KubeObject, serviceName: string): boolean {
  return ingressBackends(ingress).some((backend) => backend.service === serviceName);
}

/** Where an Ingress leads to. `host` is absent for rules without one and for the default backend. */
export interface IngressBackend {
  host?: string;
  path?: string;
  service: string;
  /** Name or number of the Service port. */
  port?: string | number;
}

/** Every Service that an Ingress leads to, the default backend first. */
export function ingressBackends(ingress: KubeObject): IngressBackend[] {
  const found: IngressBackend[] = [];
  const add = (backend: unknown, host?: string, path?: string): void => {
    const service = text(at(backend, 'service', 'name'));
    if (service === undefined) return;
    const port = number(at(backend, 'service', 'port', 'number')) ?? text(at(backend, 'service', 'port', 'name'));
    found.push({ service, ...defined({ host, path, port }) });
  };
  add(at(ingress, 'spec', 'defaultBackend'));
  for (const rule of items(at(ingress, 'spec', 'rules'))) {
    for (const entry of items(at(rule, 'http', 'paths'))) {
      add(at(entry, 'backend'), text(at(rule, 'host')), text(at(entry, 'path')));
    }
  }
  return found;
}

/**
 * Whether GKE's external load balancer handles an Ingress: by class annotation, or without any class. A class by
 * `ingressClassName` alone is ignored (kubernetes/ingress-gce `pkg/utils/utils.go` IsGCEIngress).
 */
export function isGceIngress(ingress: KubeObject): boolean {
  const annotations = fields(at(ingress, 'metadata', 'annotations'));
  const name = annotations['kubernetes.io/ingress.class'];
  if (name === 'gce') return true;
  return (name === undefined || name === '') && (at(ingress, 'spec', 'ingressClassName') ?? undefined) === undefined;
}

/**
 * Name of the BackendConfig that a Service names for a port: by port name, then by number, then the default
 * (kubernetes/ingress-gce `pkg/backendconfig/utils.go` BackendConfigName).
 */
export function backendConfigNameOf(service: KubeObject, port: { name: string; number: number }): string | undefined {
  const value =
    annotation(service, 'cloud.google.com/backend-config') ??
    annotation(service, 'beta.cloud.google.com/backend-config');
  const config = json(value);
  return (
    text(at(config, 'ports', port.name)) ??
    text(at(config, 'ports', String(port.number))) ??
    text(at(config, 'default'))
  );
}

/** The BackendConfig of a Service's port; undefined when none is named, and when the named one does not exist. */
export function backendConfigOf(
  objects: ObjectSet,
  service: KubeObject,
  port: { name: string; number: number },
): KubeObject | undefined {
  const name = backendConfigNameOf(service, port);
  return name === undefined
    ? undefined
    : objects.get('BackendConfig', text(at(service, 'metadata', 'namespace')), name);
}

/** The certificates that an Ingress names. */
export interface IngressCertificates {
  /** Names of Secrets. */
  secrets: readonly string[];
  /** Names of ManagedCertificates. */
  managed: readonly string[];
  /** Names of certificates in Google Cloud, of which the managed-certificate controller writes its own. */
  preShared: readonly string[];
}

/** The certificates that an Ingress names; lists in annotations are separated by commas and trimmed. */
export function certificatesOf(ingress: KubeObject): IngressCertificates {
  const list = (key: string): string[] =>
    (annotation(ingress, key) ?? '')
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '');
  return {
    secrets: items(at(ingress, 'spec', 'tls'))
      .map((entry) => text(at(entry, 'secretName')))
      .filter((name) => name !== undefined),
    managed: list('networking.gke.io/managed-certificates'),
    preShared: list('ingress.gcp.kubernetes.io/pre-shared-cert'),
  };
}

/** The address of the load balancer, once it has one. GKE never gives a host name. */
export function ingressAddress(ingress: KubeObject): string | undefined {
  for (const entry of items(at(ingress, 'status', 'loadBalancer', 'ingress'))) {
    const ip = text(at(entry, 'ip'));
    if (ip !== undefined) return ip;
  }
  return undefined;
}
