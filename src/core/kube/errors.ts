import * as l10n from '@vscode/l10n';

/** What a request was about, for messages. Cluster-wide requests have no namespace. */
export interface RequestSubject {
  /** Kubernetes verb: get, list, watch, patch, create, delete. */
  verb: string;
  /** API group, empty for the core group. */
  group: string;
  /** Plural resource name, with `/subresource` where there is one. */
  resource: string;
  kind?: string;
  namespace?: string;
  name?: string;
}

/** Kubernetes' `Status` object, the parts used here (kubernetes/apimachinery pkg/apis/meta/v1/types.go). */
export interface KubeStatus {
  code?: number;
  reason?: string;
  message?: string;
  details?: {
    name?: string;
    kind?: string;
    group?: string;
    retryAfterSeconds?: number;
    causes?: { reason?: string; message?: string; field?: string }[];
  };
}

/** One field that another field manager owns. */
export interface FieldConflict {
  manager: string;
  /** Empty for a manager that uses server-side apply. */
  apiVersion: string;
  field: string;
}

/**
 * Where a call failed: `answer` the API server refused, `network` it was not reached, `timeout` it stayed silent,
 * `credentials` none could be had, `config` the kubeconfig is unusable, `protocol` the answer was no Kubernetes answer.
 */
export type KubeErrorKind = 'answer' | 'network' | 'timeout' | 'credentials' | 'config' | 'protocol';

/** Why an exec credential plugin gave nothing. */
export type CredentialFailure = 'missing' | 'failed' | 'timeout' | 'invalid' | 'interactive';

interface KubeErrorInit {
  kind: KubeErrorKind;
  message: string;
  /** HTTP status, 0 when there was no answer. */
  status?: number;
  body?: KubeStatus | undefined;
  retryAfterMs?: number | undefined;
  /** Node's or OpenSSL's error code. */
  code?: string | undefined;
  server?: string;
  /** Proxy the request went through, as host and port. */
  proxy?: string | undefined;
  subject?: RequestSubject | undefined;
  failure?: CredentialFailure;
  cause?: unknown;
}

/** The one error of this layer. `message` is for the log; {@link explainKubeError} words it for people. */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly kind: KubeErrorKind;
  readonly status: number;
  /** Kubernetes' reason such as `Forbidden` or `Conflict`; empty when the answer had none. */
  readonly reason: string;
  readonly body: KubeStatus | undefined;
  readonly retryAfterMs: number | undefined;
  readonly code: string;
  readonly server: string;
  readonly proxy: string | undefined;
  readonly subject: RequestSubject | undefined;
  readonly failure: CredentialFailure | undefined;

  constructor(init: KubeErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.kind = init.kind;
    this.status = init.status ?? 0;
    this.body = init.body;
    this.reason = init.body?.reason ?? '';
    this.retryAfterMs = init.retryAfterMs;
    this.code = init.code ?? '';
    this.server = init.server ?? '';
    this.proxy = init.proxy;
    this.subject = init.subject;
    this.failure = init.failure;
  }

  /** The fields that other managers own, when a server-side apply met them. */
  get conflicts(): readonly FieldConflict[] {
    return (this.body?.details?.causes ?? [])
      .filter((cause) => cause.reason === 'FieldManagerConflict')
      .map((cause) => readConflict(cause.message ?? '', cause.field ?? ''));
  }

  /** The API server does not know the kind: its CRD is not installed. It answers in plain text then, not with a Status. */
  get unknownKind(): boolean {
    return this.status === 404 && this.body === undefined;
  }
}

/** Whether it is a {@link KubeError}, also one made by another bundle's copy of the class. */
export function isKubeError(error: unknown): error is KubeError {
  return error instanceof KubeError || (error instanceof Error && error.name === 'KubeError' && 'kind' in error);
}

/** Reads `conflict with "helm" using apps/v1` (kubernetes/apimachinery pkg/util/managedfields/internal/conflict.go). */
function readConflict(message: string, field: string): FieldConflict {
  const match = /^conflict with ("(?:[^"\\]|\\.)*")(?: with subresource "[^"]*")?(?: using (\S+?))?(?: at .*)?$/.exec(
    message,
  );
  if (match?.[1] === undefined) return { manager: message, apiVersion: '', field };
  let manager = match[1].slice(1, -1);
  try {
    manager = String(JSON.parse(match[1]));
  } catch {
    // Go quotes some characters in ways JSON does not know; the raw text is good enough.
  }
  return { manager, apiVersion: match[2] ?? '', field };
}

/**
 * Says in one to three localised sentences what happened, to what, why, and what to do.
 *
 * @param doing localised words that can begin a sentence, such as `Applying BackendConfig milvus-layer7`.
 */
export function explainKubeError(error: unknown, doing: string): string {
  return l10n.t('{0} failed: {1}', doing, reasonOf(error));
}

/** The part of {@link explainKubeError} after the colon, for places that have named the work already. */
export function reasonOf(error: unknown): string {
  if (!isKubeError(error)) return sentence(error instanceof Error ? error.message : String(error));
  switch (error.kind) {
    case 'answer':
      return explainAnswer(error);
    case 'network':
      return explainNetwork(error);
    case 'timeout':
      return l10n.t(
        'the API server {0} did not answer in time. Check the connection (VPN, authorized networks) and try again.',
        error.server,
      );
    case 'credentials':
    case 'config':
      return sentence(error.message);
    case 'protocol':
      return l10n.t('the answer of {0} is no answer of a Kubernetes API server: {1}', error.server, error.message);
  }
}

function explainAnswer(error: KubeError): string {
  switch (error.status) {
    case 401:
      return l10n.t(
        'the API server {0} does not accept the credentials of this context. Log in again (for GKE: gcloud auth login) and refresh.',
        error.server,
      );
    case 403:
      return explainForbidden(error);
    case 404:
      return explainNotFound(error);
    case 409:
      return explainConflict(error);
    case 429:
      return error.retryAfterMs === undefined
        ? l10n.t('the API server has too many requests. Try again in a moment.')
        : l10n.t(
            'the API server has too many requests. It asks to try again in {0} s.',
            Math.ceil(error.retryAfterMs / 1000),
          );
    case 400:
    case 422:
      return l10n.t('the API server rejects {0}: {1}', objectOf(error), details(error));
    default:
      if (error.message.includes('field not declared in schema') || error.message.includes('failed to create typed'))
        return l10n.t('the API server rejects {0}: {1}', objectOf(error), sentence(error.message));
      if (error.status >= 300 && error.status < 400)
        return l10n.t(
          '{0} redirects instead of answering, so it is no Kubernetes API server. Check the server address in the kubeconfig.',
          error.server,
        );
      return l10n.t('the API server answered {0}: {1}', error.status, details(error));
  }
}

/**
 * `services is forbidden: User "a" cannot list resource "services" in API group "" in the namespace "b": requires …`
 * (kubernetes/apiserver pkg/endpoints/handlers/responsewriters/errors.go; GKE adds what its IAM role would need).
 */
const forbidden =
  /User "([^"]*)" cannot (\S+) (?:resource "([^"]*)"|path "[^"]*")(?: in API group "([^"]*)")?(?: in the namespace "([^"]*)")?(?: at the cluster scope)?(?:: (.*))?$/s;

function explainForbidden(error: KubeError): string {
  const match = forbidden.exec(error.message);
  const verb = match?.[2] ?? error.subject?.verb;
  const resource = resourceName(match?.[3] ?? error.subject?.resource ?? '', match?.[4] ?? error.subject?.group ?? '');
  const namespace = match?.[5] ?? error.subject?.namespace;
  if (match?.[1] === undefined || verb === undefined || resource === '')
    return l10n.t('the API server forbids it: {0}', details(error));
  const what =
    namespace === undefined
      ? l10n.t('{0} may not {1} {2} in this cluster.', match[1], verb, resource)
      : l10n.t('{0} may not {1} {2} in namespace {3}.', match[1], verb, resource, namespace);
  const needs = match[6] ? ` ${l10n.t('The API server says: {0}', sentence(match[6]))}` : '';
  return `${what}${needs} ${l10n.t('Ask an administrator of the cluster for a role that allows it.')}`;
}

function explainNotFound(error: KubeError): string {
  const subject = error.subject;
  if (error.unknownKind) {
    const kind = subject?.kind ?? subject?.resource ?? '';
    const group = subject?.group ?? '';
    return /(^|\.)(cloud\.google\.com|networking\.gke\.io)$/.test(group)
      ? l10n.t(
          'the cluster does not know the kind {0} ({1}). On GKE this kind comes with the HttpLoadBalancing add-on: turn it on, then refresh.',
          kind,
          group,
        )
      : l10n.t(
          'the cluster does not know the kind {0} ({1}). Its custom resource definition is not installed.',
          kind,
          group,
        );
  }
  const named = error.body?.details;
  if (named?.kind === 'namespaces' && named.name)
    return l10n.t('there is no namespace {0} in this cluster. Create it or choose another one.', named.name);
  return l10n.t('{0} does not exist.', objectOf(error));
}

function explainConflict(error: KubeError): string {
  const conflicts = error.conflicts;
  if (conflicts.length === 0)
    return l10n.t('{0} was changed by somebody else in the meantime. Refresh and try again.', objectOf(error));
  const managers = new Map<string, string[]>();
  for (const { manager, field } of conflicts) managers.set(manager, [...(managers.get(manager) ?? []), field]);
  const owners = [...managers].map(([manager, fields]) => l10n.t('{0} owns {1}', manager, fields.join(', ')));
  return l10n.t(
    'other tools own fields of {0} that have to change: {1}. Change them there, or take them over.',
    objectOf(error),
    owners.join('; '),
  );
}

function explainNetwork(error: KubeError): string {
  const { code, server, proxy } = error;
  if (proxy !== undefined)
    return l10n.t(
      'the API server {0} cannot be reached through the proxy {1} ({2}). Check HTTPS_PROXY, NO_PROXY and the proxy-url of the cluster.',
      server,
      proxy,
      code || error.message,
    );
  switch (code) {
    case 'ECONNREFUSED':
      return l10n.t(
        'nothing answers at {0} (connection refused). Check that the cluster runs and that the kubeconfig holds its present address.',
        server,
      );
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return l10n.t(
        'the host name of {0} cannot be resolved ({1}). Check the network, the VPN and the server address in the kubeconfig.',
        server,
        code,
      );
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return l10n.t(
        '{0} cannot be reached ({1}). A private cluster answers only inside its network: check the VPN and the authorized networks of the cluster.',
        server,
        code,
      );
    case 'ECONNRESET':
    case 'EPIPE':
      return l10n.t(
        '{0} closed the connection ({1}). Try again; check proxies and the VPN if it stays so.',
        server,
        code,
      );
    case 'CERT_HAS_EXPIRED':
      return l10n.t(
        'the certificate of {0} has expired. Check the clock of this computer, else renew the certificate of the API server.',
        server,
      );
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return l10n.t(
        'the certificate of {0} is not made for this address. Check the server address or tls-server-name in the kubeconfig. ({1})',
        server,
        error.message,
      );
  }
  if (certificateCodes.has(code))
    return l10n.t(
      'the certificate of {0} is not signed by the certificate authority in the kubeconfig ({1}). If the cluster was made anew, fetch its credentials again (for GKE: gcloud container clusters get-credentials).',
      server,
      code,
    );
  if (/wrong version number|packet length too long/i.test(error.message))
    return l10n.t('{0} does not speak TLS. Check the scheme and port of the server address in the kubeconfig.', server);
  if (/alert/i.test(error.message) && /certificate|handshake/i.test(error.message))
    return l10n.t('{0} refuses the client certificate of this context ({1}).', server, code || error.message);
  return l10n.t('{0} cannot be reached: {1}', server, sentence(error.message));
}

const certificateCodes = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'INVALID_CA',
]);

/** Status messages of Secrets may quote their data, so only fields and reasons are told of those. */
function details(error: KubeError): string {
  const causes = error.body?.details?.causes ?? [];
  if (error.subject?.resource === 'secrets') {
    const fields = causes.map((cause) => `${cause.field ?? ''} (${cause.reason ?? ''})`);
    return fields.length > 0 ? sentence(fields.join(', ')) : l10n.t('{0} ({1}).', error.reason, error.status);
  }
  const told = causes.filter((cause) => cause.message).map((cause) => `${cause.field ?? ''}: ${cause.message ?? ''}`);
  return sentence(told.length > 0 ? told.join('; ') : error.message);
}

function objectOf(error: KubeError): string {
  const subject = error.subject;
  const kind = subject?.kind ?? error.body?.details?.kind ?? l10n.t('the object');
  const name = subject?.name ?? error.body?.details?.name;
  if (name === undefined) return kind;
  return subject?.namespace === undefined ? `${kind} ${name}` : `${kind} ${subject.namespace}/${name}`;
}

function resourceName(resource: string, group: string): string {
  return group === '' ? resource : `${resource}.${group}`;
}

function sentence(text: string): string {
  const trimmed = text.trim();
  return /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}
