/**
 * The nouns of the product. Everything it says about a load balancer is a pure function of an {@link ObjectSet}.
 */

/** A Kubernetes object as the API server sends it. Only the metadata every object has is typed; readers parse the rest. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  [field: string]: unknown;
}

/** The part of `metadata` that the product reads. Times are RFC 3339. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string }[];
  finalizers?: string[];
  managedFields?: unknown[];
  [field: string]: unknown;
}

/** Names one object. `namespace` is absent for cluster-wide kinds. */
export interface ObjectRef {
  apiVersion: string;
  kind: string;
  namespace?: string;
  name: string;
}

/** A set of Kubernetes objects, from a live cluster or from files. Immutable: a change makes a new set. */
export interface ObjectSet {
  /** All objects of a kind (any served version), in one namespace when it is given. */
  list(kind: string, namespace?: string): readonly KubeObject[];
  get(kind: string, namespace: string | undefined, name: string): KubeObject | undefined;
  /** Kinds that could not be read and why, so that "absent" and "not allowed to see" are told apart. */
  readonly unreadable: ReadonlyMap<string, Unreadable>;
  readonly size: number;
}

/** Why the objects of a kind are not in a set. `message` is localised. */
export interface Unreadable {
  /** `unknown`: the API server does not know the kind (its CRD is missing). */
  reason: 'unknown' | 'forbidden' | 'failed';
  message: string;
}

/** A Milvus release in a cluster. */
export interface Target {
  /** Name of the kubeconfig context. */
  context: string;
  namespace: string;
  release: string;
}

/** How a release was installed, which decides how it is changed. */
export type Installer = 'helm' | 'operator' | 'plain';

/** A Milvus release as found by {@link findReleases}. */
export interface MilvusRelease {
  namespace: string;
  name: string;
  installer: Installer;
  mode: 'cluster' | 'standalone';
  /** Milvus version from the image tag, without the leading `v`; undefined when the tag is no version. */
  version?: string;
  /** The client Service. */
  service: KubeObject;
  /** Name and number of the Service port that speaks gRPC (19530). */
  port: { name: string; number: number };
  /** The Deployments that serve gRPC clients: the proxies, or the standalone. */
  servers: readonly KubeObject[];
  /** Layer-4 address clients use today, when the Service is of type LoadBalancer. */
  layer4?: string;
}

/** What the user wants; chosen in the wizard, kept in the cluster as an annotation of the BackendConfig. */
export interface Intent {
  host: string;
  certificate: CertificateChoice;
  address: AddressChoice;
  /** Which pods the cut-over restarts. */
  restart: 'proxies' | 'release';
  /** Close Layer 4 (Service type ClusterIP) once Layer 7 is proven. */
  closeLayer4: boolean;
  /** Name of a Google SSL policy for a FrontendConfig; none when absent. */
  sslPolicy?: string;
}

export type CertificateChoice =
  { kind: 'generate'; keyType: 'rsa-2048' | 'ecdsa-p256' } | { kind: 'secret'; name: string } | { kind: 'managed' };

export type AddressChoice =
  { kind: 'static'; name: string } | { kind: 'reserve'; name: string } | { kind: 'ephemeral' };

/** The parts of a working load balancer, in the order in which they come to be. */
export const stageIds = [
  'healthCheck',
  'networkEndpointGroup',
  'address',
  'dns',
  'certificate',
  'backends',
  'milvusTls',
  'connection',
] as const;
export type StageId = (typeof stageIds)[number];

/**
 * `done` holds; `running` is on its way and in its normal time; `late` is on its way beyond it; `failed` needs the
 * user; `pending` waits for another stage; `none` is not asked for.
 */
export type StageState = 'done' | 'running' | 'late' | 'failed' | 'pending' | 'none';

/** One part of the load balancer with the evidence for what is said about it. */
export interface Stage {
  id: StageId;
  /** Localised name. */
  title: string;
  state: StageState;
  /** When it got into this state, as far as the objects tell (RFC 3339). */
  since?: string;
  /** Localised: object, field and value that show it. */
  evidence: string;
  /** Localised: the evidence in a few words, for the headline. */
  brief?: string;
  /** Localised: what is expected next and how long it normally takes. */
  waitsFor?: string;
  /** The object the evidence comes from. */
  object?: ObjectRef;
}

/** Everything the product says about one release's load balancer. */
export interface Status {
  release: string;
  namespace: string;
  exposure: 'none' | 'layer4' | 'layer7' | 'both';
  stages: readonly Stage[];
  findings: readonly Finding[];
  host?: string;
  address?: string;
  layer4?: string;
}

export type Severity = 'error' | 'warning' | 'info';

/** Something that is wrong, its cause and its fix. */
export interface Finding {
  /** Id of the rule that found it. */
  rule: string;
  severity: Severity;
  object?: ObjectRef;
  /** Field path such as `spec.healthCheck.port`. */
  path?: string;
  /** Localised: what is wrong, in one sentence. */
  message: string;
  /** Localised: why. */
  cause: string;
  fix: Fix;
  docs?: string;
}

/** A fix as data: the panel and the editor decide how to offer it. `text` is localised. */
export type Fix =
  | { kind: 'command'; text: string; command: string }
  | { kind: 'dns'; text: string; record: { type: 'A' | 'AAAA' | 'CNAME' | 'CAA'; name: string; value: string } }
  | { kind: 'patch'; text: string; object: ObjectRef; patch: unknown }
  | { kind: 'advice'; text: string };

/** Kinds of work a step does. A `wait` step writes nothing. */
export type Action =
  | { kind: 'apply'; object: KubeObject }
  | {
      kind: 'generateCertificate';
      secret: string;
      host: string;
      keyType: 'rsa-2048' | 'ecdsa-p256';
      labels: Record<string, string>;
    }
  | { kind: 'reserveAddress'; name: string }
  | { kind: 'helmUpgrade'; upgrade: HelmUpgrade }
  | { kind: 'patchMilvus'; object: KubeObject }
  | { kind: 'wait'; for: StageId | 'rollout' }
  | { kind: 'prove' };

/** One Helm upgrade, pinned to the installed chart version. */
export interface HelmUpgrade {
  release: string;
  namespace: string;
  /** Chart version that is installed and stays. */
  chartVersion: string;
  chartName: string;
  /** The user's values merged with the change, as YAML text with the user's comments kept where there were any. May hold secrets. */
  values: string;
  /** The values that change, for the user to read: dotted path, old and new value. Never holds other values. */
  changes: readonly { path: string; from?: string; to: string }[];
}

/** One step of a plan. All text is localised. */
export interface Step {
  /** Stable: the same work has the same id in every plan. */
  id: string;
  title: string;
  /** What it changes and in which object. */
  changes: string;
  /** Whether clients notice, and for how long. */
  interrupts: string;
  /** How it is undone. */
  undo: string;
  action: Action;
}

/** The steps from what is there to what is wanted. An empty plan means that the intent holds. */
export interface Plan {
  intent: Intent;
  steps: readonly Step[];
  /** Preflight findings; one of severity `error` forbids to apply. */
  preflight: readonly Finding[];
}

/** The stages of the connection test, in order. */
export const probeStageIds = ['dns', 'tcp', 'tls', 'http2', 'grpc', 'milvus'] as const;
export type ProbeStageId = (typeof probeStageIds)[number];

/** Result of one stage of the connection test. `detail`, `expected`, `actual`, `cause` and `fix` are localised. */
export interface ProbeStage {
  id: ProbeStageId;
  state: 'passed' | 'failed' | 'skipped' | 'running';
  /** Milliseconds the stage took. */
  ms?: number;
  detail: string;
  /** Present when it failed. */
  failure?: { expected: string; actual: string; cause: string; fix: Fix };
}

/** Result of one connection test. */
export interface ProbeReport {
  /** When it began (RFC 3339). */
  at: string;
  host: string;
  /** Where the connection went: the load balancer's address, or a port-forward. */
  via: 'address' | 'portForward';
  stages: readonly ProbeStage[];
  passed: boolean;
  milvusVersion?: string;
  /** The server certificate as served, without anything private. */
  certificate?: ServedCertificate;
  /** Entities read from the first non-empty collection, when reading was asked for. */
  entities?: { collection: string; count: number };
  /** True when the test could not log in: the path is proven, credentials are needed. */
  needsCredentials?: boolean;
}

/** What a TLS server shows of its certificate. Times are RFC 3339. */
export interface ServedCertificate {
  subject: string;
  issuer: string;
  names: readonly string[];
  notBefore: string;
  notAfter: string;
  fingerprint256: string;
  protocol: string;
  alpn: string;
}
