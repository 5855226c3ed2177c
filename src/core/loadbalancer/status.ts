import * as l10n from '@vscode/l10n';
import type { Finding, KubeObject, MilvusRelease, ObjectSet, Stage, StageId, Status } from '../model.ts';
import type { Facts } from '../ports.ts';
import { formatDuration } from '../duration.ts';
import {
  backendConfigOf,
  certificatesOf,
  ingressAddress,
  ingressBackends,
  ingressesOf,
  readBackendConfig,
  readBackends,
  readManagedCertificate,
  readNegStatus,
} from '../gke/read.ts';
import { effectiveConfig } from '../milvus/effectiveConfig.ts';
import { readIntent, readProof } from './intent.ts';
import { refOf } from './objectRef.ts';
import { rolloutOf, serverPods } from './rollout.ts';
import { certificateOfSecret } from './secretCertificate.ts';
import { ingressTrouble } from './trouble.ts';

const minute = 60_000;

/** How long each stage normally takes and when it is late, in milliseconds (measured ranges of Google's documentation and tests). */
export const normalDuration = {
  networkEndpointGroup: { normal: minute, late: 5 * minute },
  address: { normal: 2 * minute, late: 10 * minute },
  dns: { normal: 60 * minute, late: 72 * 60 * minute },
  certificate: { normal: 60 * minute, late: 90 * minute },
  backends: { normal: 6 * minute, late: 10 * minute },
  milvusTls: { normal: 5 * minute, late: 15 * minute },
} as const;

/** What one stage is made of before it gets its name. */
type StageBody = Omit<Stage, 'id' | 'title'>;

/** Where a release's load balancer stands, stage by stage, each with the evidence for it. */
export function status(objects: ObjectSet, facts: Facts): Status {
  const { release } = facts;
  const { namespace } = release;
  const service = objects.get('Service', namespace, release.service.metadata.name) ?? release.service;
  const intent = facts.intent ?? readIntent(objects, release);
  const ingresses = ingressesOf(objects, namespace, service.metadata.name);
  const ingress = ingresses.find((candidate) => ingressHost(candidate) === intent?.host) ?? ingresses[0];
  const host = intent?.host ?? (ingress && ingressHost(ingress));
  const address = ingress && ingressAddress(ingress);
  const context: StageContext = { objects, facts, release, service, ingress, host, address, findings: [] };

  const stages: Stage[] =
    ingress || intent ? stageReaders.map(([id, title, read]) => ({ id, title: title(), ...read(context) })) : [];
  return {
    release: release.name,
    namespace,
    exposure: exposureOf(release, ingress),
    stages,
    findings: context.findings,
    ...(host === undefined ? {} : { host }),
    ...(address === undefined ? {} : { address }),
    ...(release.layer4 === undefined ? {} : { layer4: release.layer4 }),
  };
}

interface StageContext {
  objects: ObjectSet;
  facts: Facts;
  release: MilvusRelease;
  service: KubeObject;
  ingress: KubeObject | undefined;
  host: string | undefined;
  address: string | undefined;
  findings: Finding[];
}

const stageReaders: readonly (readonly [StageId, () => string, (context: StageContext) => StageBody])[] = [
  ['healthCheck', () => l10n.t('Health check'), healthCheckStage],
  ['networkEndpointGroup', () => l10n.t('Network endpoint group'), negStage],
  ['address', () => l10n.t('Address'), addressStage],
  ['dns', () => l10n.t('DNS'), dnsStage],
  ['certificate', () => l10n.t('Certificate'), certificateStage],
  ['backends', () => l10n.t('Backends'), backendsStage],
  ['milvusTls', () => l10n.t('Milvus speaks TLS'), milvusTlsStage],
  ['connection', () => l10n.t('Connection'), connectionStage],
];

function exposureOf(release: MilvusRelease, ingress: KubeObject | undefined): Status['exposure'] {
  if (ingress) return release.layer4 === undefined ? 'layer7' : 'both';
  return release.layer4 === undefined ? 'none' : 'layer4';
}

/** Host of the first rule that names one. */
export function ingressHost(ingress: KubeObject): string | undefined {
  return ingressBackends(ingress).find((backend) => backend.host !== undefined)?.host;
}

function pending(evidence: string): StageBody {
  return { state: 'pending', evidence };
}

/** A stage on its way: `running` in its normal time, then `late`. Its age counts from `since`. */
function underway(
  context: StageContext,
  stage: keyof typeof normalDuration,
  since: string | undefined,
  evidence: string,
  object?: KubeObject,
): StageBody {
  const { normal, late } = normalDuration[stage];
  const age = since === undefined ? 0 : context.facts.now - Date.parse(since);
  return {
    state: age > late ? 'late' : 'running',
    evidence,
    waitsFor: l10n.t('{0} so far, normally up to {1}', formatDuration(age), formatDuration(normal)),
    ...(since === undefined ? {} : { since }),
    ...(object ? { object: refOf(object) } : {}),
  };
}

function done(evidence: string, object: KubeObject, since?: string): StageBody {
  return { state: 'done', evidence, object: refOf(object), ...(since === undefined ? {} : { since }) };
}

function fail(context: StageContext, evidence: string, finding: Finding): StageBody {
  // Several stages may fail for one reason; it is said once.
  if (!context.findings.some((known) => known.rule === finding.rule && known.message === finding.message))
    context.findings.push(finding);
  return { state: 'failed', evidence, ...(finding.object ? { object: finding.object } : {}) };
}

function healthCheckStage(context: StageContext): StageBody {
  const { objects, service, release } = context;
  const found = backendConfigOf(objects, service, release.port);
  if (!found)
    return pending(
      l10n.t('No BackendConfig on Service {0}: Google would check port 19530 by HTTP/2.', service.metadata.name),
    );
  const { healthCheck } = readBackendConfig(found);
  const summary = l10n.t(
    '{0} {1} {2} · BackendConfig {3}',
    healthCheck?.type ?? '?',
    healthCheck?.port ?? '?',
    healthCheck?.requestPath ?? '?',
    found.metadata.name,
  );
  if (healthCheck?.type === 'HTTP' && healthCheck.port === 9091 && healthCheck.requestPath === '/healthz')
    return done(summary, found, found.metadata.creationTimestamp);
  return fail(context, summary, {
    rule: 'health-check-wrong',
    severity: 'error',
    object: refOf(found),
    path: 'spec.healthCheck',
    message: l10n.t('The health check of BackendConfig {0} does not ask Milvus for its health.', found.metadata.name),
    cause: l10n.t(
      'Milvus tells its health by HTTP on port 9091 at /healthz; on other ports and paths Google sees it as unhealthy.',
    ),
    fix: {
      kind: 'patch',
      text: l10n.t('Set type HTTP, port 9091 and requestPath /healthz.'),
      object: refOf(found),
      patch: { spec: { healthCheck: { type: 'HTTP', port: 9091, requestPath: '/healthz' } } },
    },
  });
}

function negStage(context: StageContext): StageBody {
  const { objects, service, release, ingress } = context;
  if (!ingress) return pending(l10n.t('Made once an Ingress uses Service {0}.', service.metadata.name));
  const neg = readNegStatus(service);
  const name = neg?.groups.get(String(release.port.number));
  if (neg && name !== undefined) {
    const pods = serverPods(objects, release);
    const group = objects.get('ServiceNetworkEndpointGroup', release.namespace, name);
    return done(
      l10n.t('{0} endpoints in {1} · {2}', pods.length, neg.zones.join(', '), name),
      group ?? service,
      group?.metadata.creationTimestamp,
    );
  }
  return (
    trouble(context) ??
    underway(
      context,
      'networkEndpointGroup',
      ingress.metadata.creationTimestamp,
      l10n.t('Service {0} has no network endpoint group yet', service.metadata.name),
      service,
    )
  );
}

/** A definite failure that the load-balancer controller reported for the Ingress. */
function trouble(context: StageContext): StageBody | undefined {
  const { objects, ingress, facts } = context;
  const finding = ingress && ingressTrouble(objects, ingress, facts.now);
  return finding && fail(context, finding.message, finding);
}

function addressStage(context: StageContext): StageBody {
  const { ingress, address } = context;
  if (!ingress) return pending(l10n.t('Comes with the Ingress.'));
  const fixed = ingress.metadata.annotations?.['kubernetes.io/ingress.global-static-ip-name'];
  if (address !== undefined)
    return done(
      fixed === undefined
        ? l10n.t('{0} (ephemeral: lost with the Ingress)', address)
        : l10n.t('{0} (static: {1})', address, fixed),
      ingress,
      ingress.metadata.creationTimestamp,
    );
  return (
    trouble(context) ??
    underway(
      context,
      'address',
      ingress.metadata.creationTimestamp,
      l10n.t('Ingress {0} has no address yet', ingress.metadata.name),
      ingress,
    )
  );
}

function dnsStage(context: StageContext): StageBody {
  const { facts, host, address, ingress } = context;
  if (host === undefined) return { state: 'none', evidence: l10n.t('The Ingress names no host.') };
  if (address === undefined) return pending(l10n.t('Points to the address once there is one.'));
  const { dns } = facts;
  if (!dns) return pending(l10n.t('Not looked up yet.'));
  const since = ingress?.metadata.creationTimestamp;
  if (dns.a.length === 0 && dns.aaaa.length === 0)
    return {
      ...underway(context, 'dns', since, l10n.t('{0} does not resolve', host)),
      waitsFor: l10n.t('Make an A record at your DNS provider: {0} → {1}', host, address),
    };
  const wrong = [...dns.a, ...dns.aaaa].filter((answer) => answer !== address);
  if (wrong.length === 0) return { state: 'done', evidence: l10n.t('{0} → {1} · no AAAA', host, address) };
  const stray = dns.a.includes(address) && dns.aaaa.length > 0;
  return fail(context, l10n.t('{0} → {1}', host, wrong.join(', ')), {
    rule: 'dns-wrong',
    severity: 'error',
    message: l10n.t('The domain {0} points to {1}, not to the load balancer {2}.', host, wrong.join(', '), address),
    cause: stray
      ? l10n.t('Every A and AAAA record must lead to the load balancer: clients and Google may use any of them.')
      : l10n.t('Clients reach another machine, and Google issues no certificate for a name that does not point here.'),
    fix: stray
      ? {
          kind: 'dns',
          text: l10n.t('Remove the AAAA record.'),
          record: { type: 'AAAA', name: host, value: dns.aaaa.join(', ') },
        }
      : {
          kind: 'dns',
          text: l10n.t('Change the A record to {0}.', address),
          record: { type: 'A', name: host, value: address },
        },
  });
}

function certificateStage(context: StageContext): StageBody {
  const { objects, ingress, facts, host, release } = context;
  if (!ingress) return pending(l10n.t('Attached with the Ingress.'));
  const { managed, secrets } = certificatesOf(ingress);
  const served = ingress.metadata.annotations?.['ingress.kubernetes.io/ssl-cert'];
  const [managedName] = managed;
  if (managedName !== undefined) {
    const object = objects.get('ManagedCertificate', release.namespace, managedName);
    if (!object) return pending(l10n.t('ManagedCertificate {0} does not exist.', managedName));
    return managedStage(context, object, served);
  }
  const [name] = secrets;
  if (name === undefined) return pending(l10n.t('The Ingress names no certificate.'));
  const { problem, notAfter } =
    facts.tlsSecret && host !== undefined
      ? certificateOfSecret(facts.tlsSecret, release.namespace, host, facts.now)
      : {};
  if (problem) return fail(context, problem.message, problem);
  if (served !== undefined) {
    if (notAfter === undefined) return done(l10n.t('Secret {0}', name), ingress);
    const left = formatDuration(Date.parse(notAfter) - facts.now);
    return {
      ...done(l10n.t('Secret {0}, valid for {1}', name, left), ingress),
      brief: l10n.t('certificate valid for {0}', left),
    };
  }
  return (
    trouble(context) ??
    underway(
      context,
      'address',
      ingress.metadata.creationTimestamp,
      l10n.t('Secret {0} is not attached to the load balancer yet', name),
      ingress,
    )
  );
}

function managedStage(context: StageContext, object: KubeObject, served: string | undefined): StageBody {
  const { domains, status: state, certificateName, expireTime } = readManagedCertificate(object);
  const { name } = object.metadata;
  const failing = domains.find((domain) => domain.status?.startsWith('Failed'));
  if (state === 'Active')
    return served !== undefined && certificateName !== undefined && served.includes(certificateName)
      ? {
          ...done(
            expireTime === undefined
              ? l10n.t('Google-managed, Active, renews itself')
              : l10n.t(
                  'Google-managed, Active, valid for {0}, renews itself',
                  formatDuration(Date.parse(expireTime) - context.facts.now),
                ),
            object,
          ),
          brief: l10n.t('certificate renews itself'),
        }
      : underway(
          context,
          'certificate',
          object.metadata.creationTimestamp,
          l10n.t('Active, not attached to the load balancer yet'),
          object,
        );
  if (state === 'ProvisioningFailedPermanently' || state === 'RenewalFailed')
    return fail(context, `${state} · ${name}`, {
      rule: 'managed-certificate-failed',
      severity: 'error',
      object: refOf(object),
      message: l10n.t('Google gave up on ManagedCertificate {0} ({1}).', name, state),
      cause: l10n.t(
        'It could not prove that {0} belongs to this load balancer, and does not try again.',
        domains.map((domain) => domain.domain).join(', '),
      ),
      fix: { kind: 'advice', text: l10n.t('Mend DNS, delete the ManagedCertificate and run the setup again.') },
    });
  if (failing && failing.status !== 'FailedNotVisible')
    return fail(context, `${failing.status ?? ''} · ${name}`, {
      rule: 'managed-certificate-domain',
      severity: 'error',
      object: refOf(object),
      message: l10n.t('Google cannot issue a certificate for {0} ({1}).', failing.domain, failing.status ?? ''),
      cause: failing.status?.startsWith('FailedCaa')
        ? l10n.t('A CAA record of the domain does not allow Google to issue certificates.')
        : l10n.t('The certificate authority limits how many certificates a domain gets in a time.'),
      fix: failing.status?.startsWith('FailedCaa')
        ? {
            kind: 'dns',
            text: l10n.t('Allow Google in a CAA record.'),
            record: { type: 'CAA', name: failing.domain, value: '0 issue "pki.goog"' },
          }
        : { kind: 'advice', text: l10n.t('Wait; Google tries again by itself.') },
    });
  const evidence = [failing?.status ?? (state === '' ? l10n.t('Just created') : state), certificateName ?? name].join(
    ' · ',
  );
  return underway(context, 'certificate', object.metadata.creationTimestamp, evidence, object);
}

function backendsStage(context: StageContext): StageBody {
  const { objects, service, release, ingress, address } = context;
  if (!ingress) return pending(l10n.t('Checked once the load balancer is there.'));
  const name = readNegStatus(service)?.groups.get(String(release.port.number));
  const pods = serverPods(objects, release);
  const ready = pods.filter((pod) => pod.ready).length;
  const health = name === undefined ? undefined : readBackends(ingress).get(name);
  const count = l10n.t('{0} of {1} pods ready', ready, pods.length);
  if (name === undefined || address === undefined) return pending(count);
  const rollout = rolloutOf(objects, release);
  if (ready === 0 && rollout.wanted > 0 && !rollout.complete && !rollout.crash)
    return underway(context, 'milvusTls', rollout.since, l10n.t('{0}: Kubernetes is replacing them', count));
  if (ready === 0)
    return fail(context, count, {
      rule: 'no-ready-pods',
      severity: 'error',
      object: refOf(service),
      message: l10n.t('No pod of {0} is ready, so the load balancer has no backend.', release.name),
      cause:
        rollout.wanted === 0
          ? l10n.t('The release is scaled to zero.')
          : l10n.t('Milvus does not answer its own readiness probe yet.'),
      fix: { kind: 'advice', text: l10n.t('Look at the pods of Service {0}.', service.metadata.name) },
    });
  const refreshed = l10n.t('{0}; Google refreshes this every 10 min', count);
  if (health === 'HEALTHY')
    return { ...done(refreshed, ingress), brief: l10n.t('{0} of {1} backends healthy', ready, pods.length) };
  return underway(
    context,
    'backends',
    ingress.metadata.creationTimestamp,
    health === 'UNHEALTHY' ? l10n.t('UNHEALTHY · {0}', refreshed) : l10n.t('Not checked yet · {0}', refreshed),
    ingress,
  );
}

function milvusTlsStage(context: StageContext): StageBody {
  const { objects, release, facts } = context;
  const config = effectiveConfig(objects, release);
  const rollout = rolloutOf(objects, release);
  if (rollout.crash)
    return fail(context, l10n.t('Pod {0} does not start: {1}', rollout.crash.pod, rollout.crash.message), {
      rule: 'milvus-does-not-start',
      severity: 'error',
      object: { apiVersion: 'v1', kind: 'Pod', namespace: release.namespace, name: rollout.crash.pod },
      message: l10n.t('Pod {0} of Milvus does not start.', rollout.crash.pod),
      cause: rollout.crash.message,
      fix: {
        kind: 'command',
        text: l10n.t('Read its log.'),
        command: `kubectl logs --namespace ${release.namespace} ${rollout.crash.pod} --previous`,
      },
    });
  if (config.tlsMode === 0) {
    return pending(
      release.layer4 === undefined
        ? l10n.t('Milvus speaks plain gRPC: ready for the cut-over once the load balancer is there.')
        : l10n.t('Milvus still serves Layer 4 at {0}, undisturbed', release.layer4),
    );
  }
  const evidence = l10n.t('{0} of {1} pods restarted, tlsMode {2}', rollout.updated, rollout.wanted, config.tlsMode);
  if (config.tlsMode === 2)
    return fail(context, evidence, {
      rule: 'tls-mode-2',
      severity: 'error',
      message: l10n.t('Milvus asks clients for a certificate (tlsMode 2).'),
      cause: l10n.t('The load balancer shows Milvus no client certificate, so every call fails.'),
      fix: { kind: 'advice', text: l10n.t('Set common.security.tlsMode to 1.') },
    });
  if (rollout.complete)
    return { state: 'done', evidence, ...(rollout.since === undefined ? {} : { since: rollout.since }) };
  return underway(context, 'milvusTls', rollout.since ?? new Date(facts.now).toISOString(), evidence);
}

function connectionStage(context: StageContext): StageBody {
  const { lastProbe, now } = context.facts;
  const { objects, release, host } = context;
  if (!lastProbe) {
    const proof = host === undefined ? undefined : readProof(objects, release, host);
    if (!proof) return pending(l10n.t('Not tested yet'));
    return {
      state: 'done',
      evidence: l10n.t('proven {0} ago', formatDuration(now - Date.parse(proof.at))),
      since: proof.at,
    };
  }
  const age = l10n.t('tested {0} ago', formatDuration(now - Date.parse(lastProbe.at)));
  if (lastProbe.passed) {
    const total = lastProbe.stages.reduce((sum, stage) => sum + (stage.ms ?? 0), 0);
    return {
      state: 'done',
      evidence: `${formatDuration(total)}, ${age}`,
      brief: l10n.t('last test {0}', formatDuration(total)),
      since: lastProbe.at,
    };
  }
  const failed = lastProbe.stages.find((stage) => stage.state === 'failed');
  return {
    state: 'failed',
    evidence: `${failed?.failure?.cause ?? failed?.detail ?? ''} (${age})`,
    since: lastProbe.at,
  };
}
