import * as l10n from '@vscode/l10n';
import type { Finding, Fix, KubeObject, ObjectSet } from '../model.ts';
import { at, text } from '../fields.ts';
import { refOf } from './objectRef.ts';

/** How long a Warning must have been repeated before it is more than the controllers' own start-up noise, in milliseconds. */
const settled = 3 * 60_000;

/** A Warning event of the load-balancer controller and what it means. */
interface Cause {
  /** Matches the event's message. */
  pattern: RegExp;
  /** Reported by the controller at once and does not heal by itself. */
  definite: boolean;
  message: (match: RegExpExecArray) => string;
  cause: () => string;
  fix: (match: RegExpExecArray) => Fix;
}

/** Messages of kubernetes/ingress-gce (pkg/controller/translator, pkg/loadbalancers, pkg/errors) as its v1.38 to v1.41 write them. */
const causes: readonly Cause[] = [
  {
    pattern: /static IP name (\S+) doesn't translate to an existing static IP/,
    definite: true,
    message: ([, name = '']) => l10n.t('There is no global static address named {0}.', name),
    cause: () => l10n.t('The address is regional, in another project, or was never reserved.'),
    fix: ([, name = '']) => ({
      kind: 'command',
      text: l10n.t('Reserve it.'),
      command: `gcloud compute addresses create ${name} --global`,
    }),
  },
  {
    pattern: /IP_IN_USE_BY_ANOTHER_RESOURCE|IP address is in-use/,
    definite: true,
    message: () => l10n.t('The static address is used by another load balancer.'),
    cause: () => l10n.t('One address serves one load balancer.'),
    fix: () => ({ kind: 'advice', text: l10n.t('Choose or reserve another address.') }),
  },
  {
    pattern: /Quota '?([A-Z_]+)'? exceeded|QUOTA_EXCEEDED/,
    definite: true,
    message: ([, quota = '']) => l10n.t('A quota of the Google Cloud project is used up: {0}.', quota),
    cause: () => l10n.t('Google makes no more of these until some are deleted or the quota is raised.'),
    fix: () => ({
      kind: 'advice',
      text: l10n.t('Raise the quota, or delete what is left over from other load balancers.'),
    }),
  },
  {
    pattern: /Cert creation failures[\s\S]*?(The SSL certificate[^"\n]*|Invalid value[^"\n]*|[^:\n]*key[^"\n]*)/i,
    definite: true,
    message: ([, text = '']) => l10n.t('Google refused the certificate: {0}', text.trim()),
    cause: () => l10n.t('Google accepts PEM with an RSA 2048 or ECDSA P-256 key that belongs to the certificate.'),
    fix: () => ({ kind: 'advice', text: l10n.t('Generate a certificate, or put an accepted one into the Secret.') }),
  },
  {
    pattern: /secrets? "([^"]*)" (?:not found|does not exist)/,
    definite: true,
    message: ([, name = '']) => l10n.t('The TLS Secret {0} does not exist beside the Ingress.', name),
    cause: () => l10n.t('Until it does, Google builds nothing of this load balancer.'),
    fix: ([, name = '']) => ({ kind: 'advice', text: l10n.t('Create Secret {0} of type kubernetes.io/tls.', name) }),
  },
  {
    pattern: /Translation failed: invalid ingress spec: ([\s\S]+)/,
    definite: true,
    message: ([, text = '']) => l10n.t('Google cannot translate the Ingress: {0}', text.trim()),
    cause: () => l10n.t('While this holds, nothing of the load balancer is built or changed.'),
    fix: () => ({ kind: 'advice', text: l10n.t('Mend the object that the message names.') }),
  },
  {
    pattern: /Error syncing to GCP: ([\s\S]+)/,
    definite: false,
    message: ([, text = '']) => l10n.t('Google could not build the load balancer: {0}', text.trim()),
    cause: () => l10n.t('The controller keeps trying; this message has been repeated for more than 3 min.'),
    fix: () => ({ kind: 'advice', text: l10n.t('Read the message; it names the part that fails.') }),
  },
];

/** Harmless while an Ingress with a Google-managed certificate waits for its first certificate. */
const waitsForManagedCertificate = 'both HTTP and HTTPS are disabled';

/**
 * The newest definite failure that the load-balancer controller reported for an Ingress, unless something was built
 * since. Warnings that heal by themselves are left out until they have been repeated for 3 min.
 */
export function ingressTrouble(objects: ObjectSet, ingress: KubeObject, now: number): Finding | undefined {
  const { name, namespace } = ingress.metadata;
  const managed = ingress.metadata.annotations?.['networking.gke.io/managed-certificates'] !== undefined;
  const events = objects
    .list('Event', namespace)
    .filter(
      (event) =>
        text(at(event, 'involvedObject', 'kind')) === 'Ingress' && text(at(event, 'involvedObject', 'name')) === name,
    )
    .filter((event) => (text(at(event, 'involvedObject', 'uid')) ?? ingress.metadata.uid) === ingress.metadata.uid)
    .map((event) => ({ event, time: eventTime(event) }))
    .sort((one, other) => other.time - one.time);
  const newestNormal = events.find(
    ({ event }) =>
      text(at(event, 'type')) === 'Normal' &&
      text(at(event, 'reason')) === 'Sync' &&
      !(text(at(event, 'message')) ?? '').includes('Scheduled for sync'),
  );
  for (const { event, time } of events) {
    const message = text(at(event, 'message')) ?? '';
    if (text(at(event, 'type')) !== 'Warning' || (newestNormal && newestNormal.time > time)) continue;
    if (managed && message.includes(waitsForManagedCertificate)) continue;
    const repeatedFor = time - firstTime(event, time);
    for (const cause of causes) {
      const match = cause.pattern.exec(message);
      if (!match) continue;
      if (!cause.definite && (repeatedFor < settled || now - time > 2 * settled)) break;
      return {
        rule: 'ingress-event',
        severity: 'error',
        object: refOf(ingress),
        message: cause.message(match),
        cause: cause.cause(),
        fix: cause.fix(match),
      };
    }
  }
  return undefined;
}

function eventTime(event: KubeObject): number {
  const time =
    text(at(event, 'series', 'lastObservedTime')) ??
    text(at(event, 'lastTimestamp')) ??
    text(at(event, 'eventTime')) ??
    event.metadata.creationTimestamp;
  return milliseconds(time) ?? 0;
}

function firstTime(event: KubeObject, fallback: number): number {
  return milliseconds(text(at(event, 'firstTimestamp'))) ?? fallback;
}

function milliseconds(time: string | undefined): number | undefined {
  const parsed = time === undefined ? NaN : Date.parse(time);
  return Number.isNaN(parsed) ? undefined : parsed;
}
