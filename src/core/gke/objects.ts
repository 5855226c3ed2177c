import { createHash } from 'node:crypto';
import { at, isRecord, json } from '../fields.ts';
import type { KubeObject, MilvusRelease, ObjectSet } from '../model.ts';
import { routesTo } from './read.ts';

/**
 * Annotations of a Service that GKE reads (kubernetes/ingress-gce `pkg/annotations/service.go`, `pkg/negannotation`).
 * Only the generally available keys are written.
 */
export const serviceAnnotationKeys = {
  appProtocols: 'cloud.google.com/app-protocols',
  backendConfig: 'cloud.google.com/backend-config',
  neg: 'cloud.google.com/neg',
  /** Wins over `appProtocols` where both are present. */
  alphaAppProtocols: 'service.alpha.kubernetes.io/app-protocols',
  /** Ignored where `backendConfig` is present. */
  betaBackendConfig: 'beta.cloud.google.com/backend-config',
} as const;

/** Annotations of an Ingress that we write (kubernetes/ingress-gce `pkg/annotations/ingress.go`). */
export const ingressAnnotationKeys = {
  class: 'kubernetes.io/ingress.class',
  allowHttp: 'kubernetes.io/ingress.allow-http',
  staticAddress: 'kubernetes.io/ingress.global-static-ip-name',
  managedCertificates: 'networking.gke.io/managed-certificates',
  frontendConfig: 'networking.gke.io/v1beta1.FrontendConfig',
} as const;

/** Health check that Milvus answers whether it speaks TLS or not. Times in seconds. */
export const healthCheck = {
  type: 'HTTP',
  /** The container port: with network endpoint groups the check goes to the pod, not to the Service. */
  port: 9091,
  requestPath: '/healthz',
  checkIntervalSec: 15,
  /** Compute refuses a time-out above the interval. */
  timeoutSec: 5,
  healthyThreshold: 1,
  unhealthyThreshold: 2,
} as const;

/** For HTTP/2 the time-out bounds the whole call, and Google's default of 30 s cuts long searches and loads. */
export const backendTimeoutSec = 3600;

/** How long calls may end after a pod left the load balancer. */
export const drainingTimeoutSec = 60;

/** Names of the objects that we make for a release, each at most 63 characters. */
export interface ObjectNames {
  backendConfig: string;
  ingress: string;
  /** Of the Secret or the ManagedCertificate. */
  certificate: string;
  frontendConfig: string;
}

/**
 * Names of the objects that we make for a release, as Milvus' own guide names them. The Ingress is called as the
 * Service, unless `objects` has an Ingress of that name that leads elsewhere.
 */
export function names(release: MilvusRelease, objects?: ObjectSet): ObjectNames {
  const service = release.service.metadata.name;
  const namesake = objects?.get('Ingress', release.namespace, service);
  const taken = namesake !== undefined && !routesTo(namesake, service);
  return {
    backendConfig: suffixed(release.name, '-backendconfig'),
    ingress: taken ? suffixed(service, '-layer7') : service,
    certificate: suffixed(service, '-tls'),
    frontendConfig: suffixed(release.name, '-frontendconfig'),
  };
}

const longestName = 63;

/** Cuts the base where needed; a digest of the whole base keeps the cut names of two releases apart. */
function suffixed(base: string, suffix: string): string {
  if (base.length + suffix.length <= longestName) return base + suffix;
  const digest = createHash('sha256').update(base).digest('hex').slice(0, 8);
  const kept = base.slice(0, longestName - suffix.length - digest.length - 1).replace(/[-.]+$/, '');
  return `${kept}-${digest}${suffix}`;
}

/** What all our objects have. */
export interface ObjectHead {
  name: string;
  namespace: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

/**
 * The BackendConfig for Milvus: health check, call time-out, connection draining. Every field of the health check is
 * explicit, because the controller keeps old values of absent ones (kubernetes/ingress-gce `pkg/healthchecks`).
 */
export function backendConfig(head: ObjectHead): KubeObject {
  return {
    apiVersion: 'cloud.google.com/v1',
    kind: 'BackendConfig',
    metadata: metadata(head),
    spec: {
      healthCheck: { ...healthCheck },
      timeoutSec: backendTimeoutSec,
      connectionDraining: { drainingTimeoutSec },
    },
  };
}

/** A FrontendConfig that sets a Google SSL policy. GKE serves no newer version than v1beta1. */
export function frontendConfig(options: ObjectHead & { sslPolicy: string }): KubeObject {
  return {
    apiVersion: 'networking.gke.io/v1beta1',
    kind: 'FrontendConfig',
    metadata: metadata(options),
    spec: { sslPolicy: options.sslPolicy },
  };
}

/** A certificate that Google issues and renews. */
export function managedCertificate(options: ObjectHead & { domains: readonly string[] }): KubeObject {
  return {
    apiVersion: 'networking.gke.io/v1',
    kind: 'ManagedCertificate',
    metadata: metadata(options),
    spec: { domains: [...options.domains] },
  };
}

/** What an Ingress for Milvus is made of. */
export interface IngressOptions extends ObjectHead {
  host: string;
  /** Service and port number that it leads to. */
  service: string;
  port: number;
  /** Name of a Secret of type kubernetes.io/tls. */
  tlsSecret?: string;
  /** Name of a ManagedCertificate. */
  managedCertificate?: string;
  /** Name of a global static address. */
  staticAddress?: string;
  /** Name of a FrontendConfig. */
  frontendConfig?: string;
}

/**
 * The Ingress: one host, all paths, HTTPS only. The class is an annotation because GKE ignores `ingressClassName: gce`
 * without a word (kubernetes/ingress-gce `pkg/utils/utils.go` IsGCEIngress). With a ManagedCertificate there is no
 * `spec.tls`: an entry without a Secret stops the controller (`secret "" does not exist`).
 */
export function ingress(options: IngressOptions): KubeObject {
  const { host, service, port, tlsSecret } = options;
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: metadata({
      ...options,
      annotations: {
        ...options.annotations,
        [ingressAnnotationKeys.class]: 'gce',
        [ingressAnnotationKeys.allowHttp]: 'false',
        ...optional(ingressAnnotationKeys.staticAddress, options.staticAddress),
        ...optional(ingressAnnotationKeys.managedCertificates, options.managedCertificate),
        ...optional(ingressAnnotationKeys.frontendConfig, options.frontendConfig),
      },
    }),
    spec: {
      ...(tlsSecret === undefined ? {} : { tls: [{ hosts: [host], secretName: tlsSecret }] }),
      rules: [
        {
          host,
          http: {
            paths: [{ path: '/', pathType: 'Prefix', backend: { service: { name: service, port: { number: port } } } }],
          },
        },
      ],
    },
  };
}

function optional(key: string, value: string | undefined): Record<string, string> {
  return value === undefined ? {} : { [key]: value };
}

function metadata({ name, namespace, labels, annotations }: ObjectHead): KubeObject['metadata'] {
  return {
    name,
    namespace,
    ...(labels && Object.keys(labels).length > 0 ? { labels: { ...labels } } : {}),
    ...(annotations && Object.keys(annotations).length > 0 ? { annotations: { ...annotations } } : {}),
  };
}

/** Why the annotations of a Service would not do what they say. */
export type ServiceAnnotationProblem =
  /** The alpha key is present, wins over ours and does not say HTTP2 for our port. `value` is its text. */
  | { kind: 'alphaAppProtocols'; key: string; value: string }
  /** The network endpoint group of our port has a name of its own, which GKE refuses together with an Ingress. */
  | { kind: 'customNegName'; key: string; name: string }
  /** The Service port has no name, but GKE looks the protocol up by port name only. */
  | { kind: 'unnamedPort'; key: string };

/** The annotations that a Service needs, merged with those it has. */
export interface ServiceAnnotations {
  /** All three keys with their wanted values. A value that already says it keeps its text. */
  annotations: Record<string, string>;
  /** The keys whose value changes; none when the Service already has all. */
  changes: readonly { key: string; from?: string; to: string }[];
  problems: readonly ServiceAnnotationProblem[];
}

/**
 * The annotations of a Service behind the load balancer: HTTP/2 to this port, this BackendConfig for this port, network
 * endpoint groups. What the present values say about other ports, and other keys such as `exposed_ports`, stays. A
 * present value that is no JSON object is replaced: the controllers refuse it anyway.
 *
 * @param portName name of the Service port, from the live Service: GKE looks the protocol up by name
 *   (kubernetes/ingress-gce `pkg/controller/translator/translator.go`).
 */
export function serviceAnnotations(
  service: KubeObject,
  portName: string,
  backendConfigName: string,
): ServiceAnnotations {
  const keys = serviceAnnotationKeys;
  const live = service.metadata.annotations ?? {};
  const present = (key: string): Record<string, unknown> | undefined => {
    const value = json(Object.hasOwn(live, key) ? live[key] : undefined);
    return isRecord(value) ? value : undefined;
  };
  const problems: ServiceAnnotationProblem[] = [];

  if (portName === '') problems.push({ kind: 'unnamedPort', key: keys.appProtocols });
  const alpha = live[keys.alphaAppProtocols];
  if (typeof alpha === 'string' && at(json(alpha), portName) !== 'HTTP2')
    problems.push({ kind: 'alphaAppProtocols', key: keys.alphaAppProtocols, value: alpha });
  const neg = present(keys.neg);
  const ownName = portNumbers(service, portName)
    .map((port) => at(neg, 'exposed_ports', port, 'name'))
    .find((name) => typeof name === 'string' && name !== '');
  if (typeof ownName === 'string') problems.push({ kind: 'customNegName', key: keys.neg, name: ownName });

  const wanted: [string, Record<string, unknown> | undefined, Record<string, unknown>][] = [
    [keys.appProtocols, present(keys.appProtocols), { ...present(keys.appProtocols), [portName]: 'HTTP2' }],
    [
      keys.backendConfig,
      present(keys.backendConfig),
      // Once the key is there, the beta key no longer counts; what it says about other ports moves over.
      withBackendConfig(present(keys.backendConfig) ?? present(keys.betaBackendConfig), portName, backendConfigName),
    ],
    [keys.neg, neg, { ...neg, ingress: true }],
  ];
  const annotations: Record<string, string> = {};
  const changes: { key: string; from?: string; to: string }[] = [];
  for (const [key, before, after] of wanted) {
    const from = Object.hasOwn(live, key) ? live[key] : undefined;
    if (from !== undefined && before !== undefined && JSON.stringify(before) === JSON.stringify(after)) {
      annotations[key] = from;
      continue;
    }
    const to = JSON.stringify(after);
    annotations[key] = to;
    changes.push({ key, to, ...(from === undefined ? {} : { from }) });
  }
  return { annotations, changes, problems };
}

/** A port's own entry, by name, counts before one by number and before the default (`pkg/backendconfig/utils.go`). */
function withBackendConfig(
  present: Record<string, unknown> | undefined,
  portName: string,
  name: string,
): Record<string, unknown> {
  if (!present || Object.keys(present).length === 0) return { default: name };
  const ports = isRecord(present.ports) ? present.ports : undefined;
  if (ports === undefined && present.default === name) return present;
  if (ports && Object.keys(ports).length === 0 && present.default === name) return present;
  return { ...present, ports: { ...ports, [portName]: name } };
}

/** Numbers of the Service port with this name, as text; the keys of `exposed_ports` are numbers. */
function portNumbers(service: KubeObject, portName: string): string[] {
  const ports = at(service, 'spec', 'ports');
  if (!Array.isArray(ports)) return [];
  return (ports as unknown[])
    .filter((port) => (at(port, 'name') ?? '') === portName)
    .map((port) => at(port, 'port'))
    .filter((port) => typeof port === 'number')
    .map(String);
}
