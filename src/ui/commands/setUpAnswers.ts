import * as l10n from '@vscode/l10n';
import type { AddressChoice, CertificateChoice, Intent, KubeObject, MilvusRelease } from '../../core/model.ts';
import type { GlobalAddress } from '../../core/ports.ts';

/** What was answered so far. Holds nothing secret: it is remembered in the workspace. */
export interface Answers {
  host?: string;
  certificate?: CertificateChoice;
  address?: AddressChoice;
  restart?: Intent['restart'];
  closeLayer4?: boolean;
}

/** One answer to choose. `detail` says when it is right, or what it costs. */
export interface Choice<T> {
  value: T;
  label: string;
  description: string;
  detail: string;
  /** Localised: why it cannot be chosen now. */
  blocked?: string;
}

/** Checks a host name for a kind of certificate; see `checkHostName` of the core. */
export type HostCheck = (host: string, kind: 'managed' | 'self') => string | undefined;

/** All answers as an intent; undefined while one is missing. */
export function intentOf(answers: Answers, sslPolicy: string): Intent | undefined {
  const { host, certificate, address, restart, closeLayer4 } = answers;
  if (host === undefined || !certificate || !address || restart === undefined || closeLayer4 === undefined)
    return undefined;
  return { host, certificate, address, restart, closeLayer4, ...(sslPolicy === '' ? {} : { sslPolicy }) };
}

/** An intent, taken apart into answers to begin with. */
export function answersOf(intent: Intent): Answers {
  const { host, certificate, address, restart, closeLayer4 } = intent;
  return { host, certificate, address, restart, closeLayer4 };
}

/** Parses remembered answers; what is not understood is forgotten. */
export function parseAnswers(value: unknown): Answers {
  if (typeof value !== 'object' || value === null) return {};
  const { host, certificate, address, restart, closeLayer4 } = value as Record<string, unknown>;
  const certificateChoice = parseCertificate(certificate);
  const addressChoice = parseAddress(address);
  return {
    ...(typeof host === 'string' ? { host } : {}),
    ...(certificateChoice ? { certificate: certificateChoice } : {}),
    ...(addressChoice ? { address: addressChoice } : {}),
    ...(restart === 'proxies' || restart === 'release' ? { restart } : {}),
    ...(typeof closeLayer4 === 'boolean' ? { closeLayer4 } : {}),
  };
}

function parseCertificate(value: unknown): CertificateChoice | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return undefined;
  if (value.kind === 'managed') return { kind: 'managed' };
  if (value.kind === 'secret' && 'name' in value && typeof value.name === 'string')
    return { kind: 'secret', name: value.name };
  if (value.kind === 'generate' && 'keyType' in value)
    return { kind: 'generate', keyType: value.keyType === 'ecdsa-p256' ? 'ecdsa-p256' : 'rsa-2048' };
  return undefined;
}

function parseAddress(value: unknown): AddressChoice | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return undefined;
  if (value.kind === 'ephemeral') return { kind: 'ephemeral' };
  if ((value.kind === 'static' || value.kind === 'reserve') && 'name' in value && typeof value.name === 'string')
    return { kind: value.kind, name: value.name };
  return undefined;
}

/** A host name found in the cluster, and where. */
export interface HostProposal {
  host: string;
  from: string;
}

/** Host names that Ingresses and managed certificates of the namespace name, each once; those of this release first. */
export function hostProposals(
  ingresses: readonly KubeObject[],
  certificates: readonly KubeObject[],
  serviceName: string,
): HostProposal[] {
  const found = new Map<string, string>();
  const add = (value: unknown, from: string): void => {
    if (typeof value === 'string' && value !== '' && !value.startsWith('*') && !found.has(value))
      found.set(value, from);
  };
  const own = (ingress: KubeObject): boolean =>
    JSON.stringify(ingress.spec ?? {}).includes(JSON.stringify(serviceName));
  for (const ingress of [...ingresses].sort((a, b) => Number(own(b)) - Number(own(a)))) {
    const spec = ingress.spec as { rules?: unknown } | null | undefined;
    for (const rule of Array.isArray(spec?.rules) ? (spec.rules as unknown[]) : [])
      if (typeof rule === 'object' && rule !== null && 'host' in rule)
        add(rule.host, l10n.t('Ingress {0}', ingress.metadata.name));
  }
  for (const certificate of certificates) {
    const spec = certificate.spec as { domains?: unknown } | null | undefined;
    for (const domain of Array.isArray(spec?.domains) ? (spec.domains as unknown[]) : [])
      add(domain, l10n.t('ManagedCertificate {0}', certificate.metadata.name));
  }
  return [...found].map(([host, from]) => ({ host, from }));
}

/** The kinds of certificate. A kind that does not allow the host name is blocked and says why. */
export function certificateChoices(
  host: string,
  checkHost: HostCheck,
): Choice<'generate-rsa' | 'generate-ecdsa' | 'secret' | 'managed'>[] {
  const managed = checkHost(host, 'managed');
  return [
    {
      value: 'managed',
      label: l10n.t('Google-managed'),
      description: l10n.t('15 to 60 min, renews itself'),
      detail: managed ?? l10n.t('Right for a public host name whose DNS you can set; clients trust it as it is.'),
      ...(managed === undefined ? {} : { blocked: managed }),
    },
    {
      value: 'generate-rsa',
      label: l10n.t('Generate Now, RSA 2048'),
      description: l10n.t('own CA, 397 days'),
      detail: l10n.t('Right for private names and a try: works at once; clients must be given the CA.'),
    },
    {
      value: 'generate-ecdsa',
      label: l10n.t('Generate Now, ECDSA P-256'),
      description: l10n.t('own CA, 397 days'),
      detail: l10n.t('As above with a smaller, quicker key. Right unless old clients need RSA.'),
    },
    {
      value: 'secret',
      label: l10n.t('A Secret in the Cluster'),
      description: 'kubernetes.io/tls',
      detail: l10n.t('Right when a certificate exists already, from your CA or cert-manager.'),
    },
  ];
}

/** The choice among {@link certificateChoices} that a certificate is. */
export function certificateValue(certificate: CertificateChoice | undefined): string | undefined {
  if (certificate?.kind === 'generate') return certificate.keyType === 'rsa-2048' ? 'generate-rsa' : 'generate-ecdsa';
  return certificate?.kind;
}

/** Where the address comes from. `addresses` is undefined when gcloud cannot tell. */
export function addressChoices(
  addresses: readonly GlobalAddress[] | undefined,
): Choice<AddressChoice | 'name' | 'reserve'>[] {
  const existing = (addresses ?? []).map((address): Choice<AddressChoice> => {
    const used = address.status === 'IN_USE';
    return {
      value: { kind: 'static', name: address.name },
      label: address.name,
      description: address.address,
      detail: used
        ? l10n.t('Static, in use: right only when this release’s own load balancer uses it.')
        : l10n.t('Static and free: stays the same when the load balancer is built anew.'),
    };
  });
  existing.sort((a, b) => Number(inUse(addresses, a)) - Number(inUse(addresses, b)));
  return [
    ...existing,
    addresses
      ? {
          value: 'reserve',
          label: l10n.t('Reserve a Static Address'),
          description: 'gcloud',
          detail: l10n.t('A new global address that stays; it costs while no load balancer uses it.'),
        }
      : {
          value: 'name',
          label: l10n.t('A Static Address by Its Name'),
          description: l10n.t('gcloud was not found'),
          detail: l10n.t('Reserved already; without gcloud its name cannot be checked here.'),
        },
    {
      value: { kind: 'ephemeral' },
      label: l10n.t('Ephemeral Address'),
      description: l10n.t('chosen by Google'),
      detail: l10n.t('Lost when the Ingress is deleted or built anew; DNS must then be changed.'),
    },
  ];
}

function inUse(addresses: readonly GlobalAddress[] | undefined, choice: Choice<AddressChoice>): boolean {
  return addresses?.some((address) => address.name === choice.label && address.status === 'IN_USE') ?? false;
}

/** Whether a choice among {@link addressChoices} is the one that was answered before. */
export function isAddress(choice: AddressChoice | 'name' | 'reserve', answer: AddressChoice | undefined): boolean {
  if (!answer) return false;
  if (typeof choice === 'string') return choice === 'reserve' ? answer.kind === 'reserve' : answer.kind === 'static';
  return (
    choice.kind === answer.kind && (choice.kind === 'ephemeral' || ('name' in answer && choice.name === answer.name))
  );
}

/** Why a text is no name of a Google Cloud resource (RFC 1035 label, at most 63); undefined when it is one. */
export function checkResourceName(name: string): string | undefined {
  return /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)
    ? undefined
    : l10n.t('Lower-case letters, digits and hyphens, at most 63; begins with a letter, does not end with a hyphen.');
}

/** Why a text is no name of a Kubernetes object (RFC 1123 subdomain); undefined when it is one. */
export function checkObjectName(name: string): string | undefined {
  return name.length <= 253 && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name)
    ? undefined
    : l10n.t('Lower-case letters, digits, hyphens and dots; begins and ends with a letter or digit.');
}

/** One way to cut over. */
export interface CutOver {
  restart: Intent['restart'];
  closeLayer4: boolean;
}

/**
 * The ways to cut over that make a difference for this release. Where there is no Layer 4 (any more), `closeLayer4` stays
 * what it was answered before: else asking again would change the intent of a finished setup.
 */
export function cutOverChoices(release: MilvusRelease, closeLayer4 = false): Choice<CutOver>[] {
  const restarts: { restart: Intent['restart']; label: string; detail: string }[] =
    release.mode === 'cluster'
      ? [
          {
            restart: 'proxies',
            label: l10n.t('Restart Only the Proxies'),
            detail: l10n.t('TLS is set as environment of the proxies; the rest of Milvus goes on.'),
          },
          {
            restart: 'release',
            label: l10n.t('Restart the Whole Release'),
            detail: l10n.t('TLS is set in user.yaml; all components restart, searches pause.'),
          },
        ]
      : [
          {
            restart: 'release',
            label: l10n.t('Restart Milvus'),
            detail: l10n.t('A standalone Milvus is one pod: it is away for 1 to 3 min while it restarts.'),
          },
        ];
  const layer4 = release.layer4;
  return restarts.flatMap(({ restart, label, detail }) => {
    if (layer4 === undefined) return [{ value: { restart, closeLayer4 }, label, description: '', detail }];
    const keep = { value: { restart, closeLayer4: false }, label, description: '', detail };
    return [
      { ...keep, description: l10n.t('keep Layer 4') },
      {
        value: { restart, closeLayer4: true },
        label,
        description: l10n.t('close Layer 4 when Layer 7 is proven'),
        detail: l10n.t('Clients that still use {0} then lose it; nothing restarts for it.', layer4),
      },
    ];
  });
}

/** `default · cluster · 2.5.16 · Layer 4 at 35.2.3.4`. */
export function releaseSummary(release: MilvusRelease): string {
  const parts = [release.namespace, release.mode === 'cluster' ? l10n.t('cluster') : l10n.t('standalone')];
  if (release.version !== undefined) parts.push(release.version);
  if (release.layer4 !== undefined) parts.push(l10n.t('Layer 4 at {0}', release.layer4));
  return parts.join(' · ');
}
