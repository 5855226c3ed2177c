/**
 * What the core needs from outside. Production passes real ones, tests pass real or controlled ones.
 */
import type {
  Finding,
  HelmUpgrade,
  Intent,
  KubeObject,
  MilvusRelease,
  ObjectRef,
  ObjectSet,
  ProbeReport,
  ProbeStage,
} from './model.ts';

export interface Disposable {
  dispose(): void;
}

/** Receives lines for the log. They never hold secrets. */
export interface Log {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
  debug(message: string): void;
}

/** Milliseconds since the epoch, and waiting. */
export interface Clock {
  now(): number;
  /** Resolves after `ms`, rejects with the signal's reason when it is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Result of a server-side apply. */
export interface Applied {
  object: KubeObject;
  created: boolean;
  /** Admission warnings, as the API server words them. */
  warnings: readonly string[];
}

/** One Kubernetes cluster as one context of a kubeconfig reaches it. Every call may throw {@link KubeError}. */
export interface Cluster {
  readonly context: string;
  /** URL of the API server. */
  readonly server: string;
  /** Namespace of the context, `default` when it names none. */
  readonly namespace: string;
  /** Undefined when there is no such object, and when the API server does not know the kind. */
  get(ref: ObjectRef, signal?: AbortSignal): Promise<KubeObject | undefined>;
  list(
    kind: { apiVersion: string; kind: string },
    options?: { namespace?: string; labelSelector?: string; fieldSelector?: string; signal?: AbortSignal },
  ): Promise<KubeObject[]>;
  /** Server-side apply with our field manager and `fieldValidation=Strict`. `force` takes over conflicting fields. */
  apply(object: KubeObject, options?: { dryRun?: boolean; force?: boolean; signal?: AbortSignal }): Promise<Applied>;
  delete(ref: ObjectRef, signal?: AbortSignal): Promise<void>;
  /** Asks the API server whether the user may do it (SelfSubjectAccessReview). */
  can(
    access: { verb: string; group: string; resource: string; namespace?: string; name?: string },
    signal?: AbortSignal,
  ): Promise<boolean>;
  /** Logs of a container; `previous` for the one before its last restart. */
  podLog(
    namespace: string,
    pod: string,
    options?: { container?: string; previous?: boolean; tailLines?: number; signal?: AbortSignal },
  ): Promise<string>;
  /** Forwards a free loopback port to the pod's port. */
  portForward(
    namespace: string,
    pod: string,
    port: number,
    signal?: AbortSignal,
  ): Promise<{ port: number } & Disposable>;
  dispose(): void;
}

/** The live objects that matter for one release, kept current by watches. */
export interface LiveObjects extends Disposable {
  /** Resolves when every kind has been listed once, or was found unreadable. */
  readonly ready: Promise<void>;
  readonly objects: ObjectSet;
  /** Called after each change of `objects`. */
  onChange(listener: () => void): Disposable;
}

/** An installed Helm release as Helm itself tells it. `values` are the user's own and may hold secrets. */
export interface HelmRelease {
  name: string;
  namespace: string;
  revision: number;
  /** `deployed`, `pending-upgrade`, `failed`, … */
  status: string;
  chartName: string;
  chartVersion: string;
  appVersion: string;
  values: Record<string, unknown>;
}

/** The user's `helm`. Every call may throw {@link HelmError}. */
export interface Helm {
  /** Version such as `3.22.0`. */
  version(signal?: AbortSignal): Promise<string>;
  /** Undefined when Helm knows no such release. */
  release(namespace: string, name: string, signal?: AbortSignal): Promise<HelmRelease | undefined>;
  /** Renders the upgrade against the cluster without writing; returns the manifest it would apply. */
  dryRun(upgrade: HelmUpgrade, signal?: AbortSignal): Promise<string>;
  /** The manifest that is installed now. */
  manifest(namespace: string, name: string, signal?: AbortSignal): Promise<string>;
  /** Upgrades and returns the new revision; does not wait for the roll-out. */
  upgrade(upgrade: HelmUpgrade, signal?: AbortSignal): Promise<number>;
}

/** The user's `gcloud`, for what Kubernetes cannot do. Every call may throw {@link GcloudError}. */
export interface Gcloud {
  /** Global addresses of the project; undefined when gcloud is not installed. */
  addresses(signal?: AbortSignal): Promise<readonly GlobalAddress[] | undefined>;
  reserveAddress(name: string, signal?: AbortSignal): Promise<GlobalAddress>;
}

export interface GlobalAddress {
  name: string;
  address: string;
  /** `RESERVED` or `IN_USE`. */
  status: string;
}

/** What DNS says about a host name. */
export interface DnsAnswer {
  a: readonly string[];
  aaaa: readonly string[];
  cname?: string;
  caa: readonly string[];
  /** Present when the look-up failed; the resolver's own code such as `ENOTFOUND`. */
  error?: string;
}

export interface Dns {
  lookup(host: string, signal?: AbortSignal): Promise<DnsAnswer>;
}

/** What to test and how to get there. */
export interface ProbeRequest {
  host: string;
  /** The load balancer's address; DNS is compared with it, and it is used when DNS does not answer yet. */
  address?: string;
  /**
   * `portForward`: `address` and `port` lead to Milvus itself, so DNS is left out and its certificate, which is for
   * another name, is not judged. `address` when absent.
   */
  via?: ProbeReport['via'];
  port: number;
  /** PEM of the CA to trust besides the system's; needed for a generated certificate. */
  ca?: string;
  /** Also read: count the entities of the first non-empty collection. */
  readEntities: boolean;
  credentials?: { username: string; password: string } | { token: string };
  /** Limit for the whole test in milliseconds. */
  deadlineMs: number;
}

/** The connection test. Never throws for a connection that fails: that is a report. Closes every socket. */
export type Prober = (
  request: ProbeRequest,
  onStage: (stage: ProbeStage) => void,
  signal?: AbortSignal,
) => Promise<ProbeReport>;

/** Makes a certificate and key; see `src/core/tls`. */
export type CertificateMaker = (request: {
  hosts: readonly string[];
  keyType: 'rsa-2048' | 'ecdsa-p256';
  days: number;
}) => Promise<{ certificate: string; key: string; ca: string }>;

/** What is known of a TLS Secret. The private key never leaves the function that reads it. */
export interface TlsSecret {
  name: string;
  state: 'present' | 'missing' | 'forbidden';
  /** `kubernetes.io/tls` for a Secret that an Ingress can use. */
  type?: string;
  /** PEM of the certificate and its chain. */
  certificate?: string;
  /** PEM of the CA that clients must trust, where the Secret carries it. */
  ca?: string;
  /** The file of the Secret that clients can be given as trust file; present with `ca`. */
  caFile?: 'ca.crt' | 'tls.crt';
  /** What is wrong with the private key; absent when it belongs to the certificate. */
  keyProblem?: Finding;
}

/** What `plan()` and `status()` know besides the objects. */
export interface Facts {
  release: MilvusRelease;
  /** Present for a Helm installation that Helm could read. */
  helm?: HelmRelease;
  /** Present once looked up. */
  dns?: DnsAnswer;
  /** The Secret that the intent or the Ingress names, once read. */
  tlsSecret?: TlsSecret;
  /** Absent when gcloud is not installed or could not tell. */
  addresses?: readonly GlobalAddress[];
  /** Result of the last connection test of this release. */
  lastProbe?: ProbeReport;
  /** Milliseconds since the epoch. */
  now: number;
  intent?: Intent;
}
