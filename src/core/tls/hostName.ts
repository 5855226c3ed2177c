/**
 * Which host names an Ingress and its certificate can carry.
 */
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import * as l10n from '@vscode/l10n';

/** `spec.domains` of GoogleCloudPlatform/gke-managed-certs deploy/managedcertificates-crd.yaml. */
const managedDomain = /^(([a-z0-9]+|[a-z0-9][-a-z0-9]*[a-z0-9])\.)+[a-z][-a-z0-9]*[a-z0-9]$/;
const maxManagedDomain = 63;
/** RFC 1123 subdomain as Kubernetes checks an Ingress host: kubernetes/kubernetes pkg/apis/networking/validation. */
const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const maxSubdomain = 253;
const maxLabel = 63;

/**
 * Why a host name cannot be used, and what to write instead, in one localised text; undefined when it can.
 * @param kind `managed`: a Google-managed certificate, whose pattern is narrower; `self`: any other certificate, where
 * one leading `*.` is allowed
 */
export function checkHostName(host: string, kind: 'managed' | 'self'): string | undefined {
  return explainSpelling(host) ?? explainSubdomain(host, kind);
}

/** What people paste instead of a host name. */
function explainSpelling(host: string): string | undefined {
  if (host.trim() === '') return l10n.t('Enter the host name that clients connect to, such as milvus.example.com.');
  const bare = bareHostName(host);
  if (/[:/@?#]/.test(host))
    return isHostName(bare)
      ? l10n.t('Enter the host name alone, without scheme, port and path: {0}.', bare)
      : l10n.t('Enter a host name alone, such as milvus.example.com, without scheme, port and path.');
  if (/\s/.test(host)) return l10n.t('A host name has no spaces: {0}.', bare.replace(/\s+/g, ''));
  if (/[^\x00-\x7f]/.test(host)) {
    const ascii = domainToASCII(host);
    return ascii === ''
      ? l10n.t('A host name has letters a to z, digits, hyphens and dots only.')
      : l10n.t('Enter the ASCII form of the host name: {0}.', ascii);
  }
  if (/[A-Z]/.test(host)) return l10n.t('Enter the host name in lower case: {0}.', host.toLowerCase());
  if (host.endsWith('.') && host !== '.') return l10n.t('Leave out the dot at the end: {0}.', host.replace(/\.+$/, ''));
  if (isIP(host))
    return l10n.t(
      'An Ingress and its certificate need a host name, not the address {0}: enter a name whose A record is this address.',
      host,
    );
  return undefined;
}

function explainSubdomain(host: string, kind: 'managed' | 'self'): string | undefined {
  const wildcard = host.startsWith('*.');
  const name = wildcard ? host.slice(2) : host;
  if (wildcard && kind === 'managed')
    return l10n.t(
      'A Google-managed certificate has no wildcards: enter one name, such as milvus.{0}, or choose another certificate.',
      name,
    );
  if (name.includes('*'))
    return kind === 'managed'
      ? l10n.t('A Google-managed certificate has no wildcards: enter one name, such as milvus.example.com.')
      : l10n.t('A wildcard stands only for the whole first part of a name: *.example.com.');
  const labels = name.split('.');
  if (labels.includes(''))
    return l10n.t(
      'Two dots follow each other, or the name begins with one: write {0}.',
      labels.filter(Boolean).join('.'),
    );
  for (const part of labels) {
    if (part.includes('_'))
      return l10n.t(
        'A host name has no underscores: {0}.',
        name.replaceAll('_', '-').replace(/(^|\.)-+|-+(?=\.|$)/g, '$1'),
      );
    if (part.startsWith('-') || part.endsWith('-'))
      return l10n.t('A part of a host name begins and ends with a letter or a digit: "{0}" does not.', part);
    if (!label.test(part))
      return l10n.t('A host name has letters a to z, digits, hyphens and dots only: "{0}" has others.', part);
    if (part.length > maxLabel)
      return l10n.t('A part of a host name has at most {0} characters: "{1}" has {2}.', maxLabel, part, part.length);
  }
  if (host.length > maxSubdomain)
    return l10n.t('A host name has at most {0} characters; this one has {1}.', maxSubdomain, host.length);
  if (kind === 'self') return undefined;
  if (host.length > maxManagedDomain)
    return l10n.t(
      'A Google-managed certificate takes names of at most {0} characters; this one has {1}. Enter a shorter name, or choose another certificate.',
      maxManagedDomain,
      host.length,
    );
  if (labels.length < 2)
    return l10n.t('A Google-managed certificate needs a name in a public domain, such as {0}.example.com.', name);
  return managedDomain.test(host)
    ? undefined
    : l10n.t(
        'The last part of the name, "{0}", begins with a letter and has at least two characters, as in milvus.example.com.',
        labels.at(-1) ?? '',
      );
}

function bareHostName(text: string): string {
  return text
    .trim()
    .replace(/^[a-z][a-z0-9+.-]*:\/\//i, '')
    .replace(/^[^/]*@/, '')
    .replace(/[:/?#].*$/s, '')
    .replace(/\.+$/, '')
    .toLowerCase();
}

function isHostName(text: string): boolean {
  return !isIP(text) && text.split('.').every((part) => label.test(part));
}
