import * as l10n from '@vscode/l10n';
import type { Finding, Fix, KubeObject, ObjectSet } from '../model.ts';
import type { PlanFacts } from './plan.ts';
import { names, serviceAnnotations } from '../gke/objects.ts';
import { ingressesOf } from '../gke/read.ts';
import { at, items, text } from '../fields.ts';
import { effectiveConfig } from '../milvus/effectiveConfig.ts';
import { checkHostName } from '../tls/hostName.ts';
import { refOf } from './objectRef.ts';
import { certificateOfSecret } from './secretCertificate.ts';

/**
 * What must be known before anything is written. A finding of severity `error` forbids to apply.
 */
export function preflight(objects: ObjectSet, facts: PlanFacts): Finding[] {
  return checks.flatMap((check) => check(objects, facts));
}

type Check = (objects: ObjectSet, facts: PlanFacts) => Finding[];

const checks: readonly Check[] = [
  loadBalancingAddOn,
  hostName,
  hostNameInUse,
  certificateSecret,
  staticAddress,
  helmRelease,
  installedOtherwise,
  serviceAnnotationProblems,
  inClusterClients,
  restIsLeftOut,
  openWithoutAuthorization,
];

/** GKE installs these CRDs with its add-on only (kubernetes/ingress-gce pkg/crd; GoogleCloudPlatform/gke-managed-certs deploy). */
function loadBalancingAddOn(objects: ObjectSet, { intent }: PlanFacts): Finding[] {
  const needed = [
    'BackendConfig',
    ...(intent.certificate.kind === 'managed' ? ['ManagedCertificate'] : []),
    ...(intent.sslPolicy === undefined ? [] : ['FrontendConfig']),
  ];
  const missing = needed.filter((kind) => objects.unreadable.get(kind)?.reason === 'unknown');
  if (missing.length === 0) return [];
  return [
    {
      rule: 'load-balancing-add-on',
      severity: 'error',
      message: l10n.t('The cluster does not know {0}.', missing.join(', ')),
      cause: l10n.t('The HttpLoadBalancing add-on is off, or this is no GKE cluster.'),
      fix: {
        kind: 'command',
        text: l10n.t('Switch the add-on on.'),
        command: 'gcloud container clusters update CLUSTER --update-addons=HttpLoadBalancing=ENABLED',
      },
    },
  ];
}

function hostName(_objects: ObjectSet, { intent }: PlanFacts): Finding[] {
  const reason = checkHostName(intent.host, intent.certificate.kind === 'managed' ? 'managed' : 'self');
  if (reason === undefined) return [];
  return [
    {
      rule: 'host-name',
      severity: 'error',
      message: l10n.t('The host name {0} cannot be used.', intent.host),
      cause: reason,
      fix: { kind: 'advice', text: l10n.t('Choose another host name or another kind of certificate.') },
    },
  ];
}

function hostNameInUse(objects: ObjectSet, { intent, release }: PlanFacts): Finding[] {
  const ours = new Set(
    ingressesOf(objects, release.namespace, release.service.metadata.name).map((ingress) => ingress.metadata.name),
  );
  return objects
    .list('Ingress', release.namespace)
    .filter((ingress) => !ours.has(ingress.metadata.name) && ingress.metadata.name !== names(release, objects).ingress)
    .filter((ingress) => hostsOf(ingress).includes(intent.host))
    .map((ingress) => ({
      rule: 'host-name-in-use',
      severity: 'warning' as const,
      object: refOf(ingress),
      message: l10n.t('Ingress {0} serves {1} too.', ingress.metadata.name, intent.host),
      cause: l10n.t('Each Ingress has a load balancer and an address of its own; DNS can lead to one only.'),
      fix: { kind: 'advice' as const, text: l10n.t('Choose another host name, or delete that Ingress.') },
    }));
}

function hostsOf(ingress: KubeObject): string[] {
  return items(at(ingress, 'spec', 'rules')).flatMap((rule) => text(at(rule, 'host')) ?? []);
}

function certificateSecret(_objects: ObjectSet, { intent, tlsSecret, release, now }: PlanFacts): Finding[] {
  if (intent.certificate.kind !== 'secret' || !tlsSecret) return [];
  const { problem } = certificateOfSecret(tlsSecret, release.namespace, intent.host, now);
  return problem ? [problem] : [];
}

function staticAddress(_objects: ObjectSet, { intent, addresses }: PlanFacts): Finding[] {
  const { address } = intent;
  if (address.kind === 'reserve' && addresses === undefined)
    return [
      {
        rule: 'gcloud-missing',
        severity: 'error',
        message: l10n.t('The address {0} cannot be reserved from here.', address.name),
        cause: l10n.t('gcloud was not found or could not list the addresses of the project.'),
        fix: {
          kind: 'command',
          text: l10n.t('Reserve it where gcloud works, then choose it as an existing address.'),
          command: `gcloud compute addresses create ${address.name} --global`,
        },
      },
    ];
  if (address.kind === 'static' && addresses !== undefined && !addresses.some((known) => known.name === address.name))
    return [
      {
        rule: 'static-address-unknown',
        severity: 'error',
        message: l10n.t('There is no global static address named {0} in the project.', address.name),
        cause: l10n.t('A regional address does not count; GKE Ingress takes global ones only.'),
        fix: {
          kind: 'command',
          text: l10n.t('Reserve it.'),
          command: `gcloud compute addresses create ${address.name} --global`,
        },
      },
    ];
  return [];
}

function helmRelease(_objects: ObjectSet, { release, helm }: PlanFacts): Finding[] {
  if (release.installer !== 'helm') return [];
  if (!helm)
    return [
      {
        rule: 'helm-release-missing',
        severity: 'error',
        message: l10n.t('Helm knows no release {0} in namespace {1}.', release.name, release.namespace),
        cause: l10n.t('The objects carry Helm labels, but the record of the release is gone or cannot be read.'),
        fix: {
          kind: 'command',
          text: l10n.t('See what Helm knows.'),
          command: `helm list --all --namespace ${release.namespace}`,
        },
      },
    ];
  if (helm.status === 'deployed') return [];
  const pending = helm.status.startsWith('pending');
  return [
    {
      rule: 'helm-release-busy',
      severity: pending ? 'error' : 'warning',
      message: l10n.t('Helm release {0} is {1}.', helm.name, helm.status),
      cause: pending
        ? l10n.t('Another Helm command is at work, or was interrupted; Helm refuses a second one.')
        : l10n.t('The last Helm command did not end well.'),
      fix: {
        kind: 'command',
        text: pending ? l10n.t('Wait for it, or roll back to the last good revision.') : l10n.t('Look at its history.'),
        command: pending
          ? `helm rollback ${helm.name} --namespace ${helm.namespace}`
          : `helm history ${helm.name} --namespace ${helm.namespace}`,
      },
    },
  ];
}

function installedOtherwise(objects: ObjectSet, { release }: PlanFacts): Finding[] {
  if (release.installer !== 'plain' || effectiveConfig(objects, release).tlsMode === 1) return [];
  return [
    {
      rule: 'installed-otherwise',
      severity: 'error',
      object: refOf(release.service),
      message: l10n.t('{0} was installed neither by Helm nor by the Milvus Operator.', release.name),
      cause: l10n.t('The cut-over changes the configuration of Milvus, and nothing tells where that is kept.'),
      fix: {
        kind: 'advice',
        text: l10n.t('Set common.security.tlsMode 1 and proxy.http.port 8080 in its user.yaml, then set up again.'),
      },
    },
  ];
}

/** What the Service says already that would undo what the setup writes. */
function serviceAnnotationProblems(_objects: ObjectSet, { release }: PlanFacts): Finding[] {
  const { name } = release.service.metadata;
  const remove = (key: string): Fix => ({
    kind: 'command',
    text: l10n.t('Remove it.'),
    command: `kubectl annotate service ${name} --namespace ${release.namespace} ${key}-`,
  });
  return serviceAnnotations(release.service, release.port.name, names(release).backendConfig).problems.map(
    (problem) => {
      const finding = { severity: 'error' as const, object: refOf(release.service) };
      const path = `metadata.annotations["${problem.key}"]`;
      switch (problem.kind) {
        case 'alphaAppProtocols':
          return {
            ...finding,
            rule: 'old-annotation-wins',
            path,
            message: l10n.t('Service {0} carries the old annotation {1}.', name, problem.key),
            cause: l10n.t('GKE takes the old key and ignores the one that the setup writes.'),
            fix: remove(problem.key),
          };
        case 'customNegName':
          return {
            ...finding,
            rule: 'custom-neg-name',
            path,
            message: l10n.t(
              'The network endpoint group of Service {0} has a name of its own, {1}.',
              name,
              problem.name,
            ),
            cause: l10n.t('GKE refuses such a name for a Service that an Ingress uses.'),
            fix: remove(problem.key),
          };
        case 'unnamedPort':
          return {
            ...finding,
            rule: 'unnamed-port',
            path: 'spec.ports',
            message: l10n.t('Port {0} of Service {1} has no name.', release.port.number, name),
            cause: l10n.t('GKE looks up by port name which ports speak HTTP/2.'),
            fix: { kind: 'advice', text: l10n.t('Give the port a name, such as milvus.') },
          };
      }
    },
  );
}

/** Workloads whose environment or arguments name the Service with its gRPC port: TLS breaks them. */
function inClusterClients(objects: ObjectSet, { release }: PlanFacts): Finding[] {
  if (effectiveConfig(objects, release).tlsMode !== 0) return [];
  const address = new RegExp(`\\b${release.service.metadata.name}(\\.[a-z0-9.-]+)?:${release.port.number}\\b`);
  const servers = new Set(release.servers.map((server) => server.metadata.name));
  const users = objects
    .list('Deployment', release.namespace)
    .filter(
      (deployment) =>
        !servers.has(deployment.metadata.name) && deployment.metadata.labels?.['app.kubernetes.io/name'] !== 'milvus',
    )
    .filter((deployment) => address.test(JSON.stringify(at(deployment, 'spec', 'template', 'spec') ?? '')))
    .map((deployment) => deployment.metadata.name);
  if (users.length === 0) return [];
  return [
    {
      rule: 'in-cluster-clients',
      severity: 'warning',
      message: l10n.t(
        'These workloads use {0} without TLS: {1}.',
        `${release.service.metadata.name}:${release.port.number}`,
        users.join(', '),
      ),
      cause: l10n.t('From the cut-over on this port speaks TLS, inside the cluster too.'),
      fix: {
        kind: 'advice',
        text: l10n.t('Give them an https address and the certificate to trust, right after the cut-over.'),
      },
    },
  ];
}

function restIsLeftOut(objects: ObjectSet, { release }: PlanFacts): Finding[] {
  const { tlsMode, restEnabled } = effectiveConfig(objects, release);
  if (tlsMode !== 0 || !restEnabled) return [];
  return [
    {
      rule: 'rest-moves',
      severity: 'info',
      message: l10n.t(
        'The REST API moves from port {0} to 8080 and is not reached through the load balancer.',
        release.port.number,
      ),
      cause: l10n.t('Milvus does not serve REST and TLS gRPC on one port.'),
      fix: { kind: 'advice', text: l10n.t('Nothing to do unless something uses REST.') },
    },
  ];
}

function openWithoutAuthorization(objects: ObjectSet, { release }: PlanFacts): Finding[] {
  if (effectiveConfig(objects, release).authorizationEnabled) return [];
  return [
    {
      rule: 'authorization-off',
      severity: 'warning',
      message: l10n.t('Milvus asks nobody for a password.'),
      cause: l10n.t(
        'common.security.authorizationEnabled is off: whoever reaches the public address can read and delete everything.',
      ),
      fix: {
        kind: 'advice',
        text: l10n.t('Switch authorization on, or limit who reaches the address with Cloud Armor.'),
      },
    },
  ];
}
