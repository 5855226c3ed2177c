import * as l10n from '@vscode/l10n';
import type { Action, Finding, Intent, KubeObject, ObjectSet, Plan, Step } from '../model.ts';
import type { Facts } from '../ports.ts';
import { effectiveConfig } from '../milvus/effectiveConfig.ts';
import { closeLayer4Upgrade, cutOverUpgrade } from '../milvus/helmValues.ts';
import { closeLayer4Patch, cutOverPatch } from '../milvus/operator.ts';
import {
  backendConfig,
  frontendConfig,
  ingress,
  managedCertificate,
  names,
  serviceAnnotations,
} from '../gke/objects.ts';
import { covers } from './covers.ts';
import { intentAnnotation, proofAnnotation, readProof } from './intent.ts';
import { preflight } from './preflight.ts';
import { certificateOfSecret } from './secretCertificate.ts';
import { status } from './status.ts';

/** Facts with the intent that a plan needs. */
export type PlanFacts = Facts & { intent: Intent };

/** Label and value by which our objects are told from others. */
export const managedBy = { 'app.kubernetes.io/managed-by': 'milvus-layer7' };

/**
 * The steps from what is there to what is wanted, in the order that keeps Layer 4 serving until Layer 7 is proven:
 * objects that disturb nothing, waiting for the load balancer, the cut-over, the proof, and only then the closing of
 * Layer 4. What already holds needs no step, so an interrupted setup goes on and a finished one plans nothing.
 */
export function plan(objects: ObjectSet, facts: PlanFacts): Plan {
  const findings: Finding[] = [...preflight(objects, facts)];
  const steps: Step[] = [];
  const add = (step: Step | undefined): void => {
    if (step) steps.push(step);
  };
  const { intent, release } = facts;
  const proof = readProof(objects, release, intent.host);

  add(addressStep(facts));
  add(applyStep('backendConfig', wantedBackendConfig(objects, facts), objects, texts.backendConfig()));
  add(serviceStep(objects, facts));
  add(certificateStep(objects, facts));
  if (intent.sslPolicy !== undefined)
    add(
      applyStep(
        'frontendConfig',
        wantedFrontendConfig(facts, intent.sslPolicy),
        objects,
        texts.frontendConfig(intent.sslPolicy),
      ),
    );
  add(applyStep('ingress', wantedIngress(objects, facts), objects, texts.ingress(intent)));

  const stages = new Map(status(objects, facts).stages.map((stage) => [stage.id, stage]));
  const written = steps.length > 0;
  for (const id of ['networkEndpointGroup', 'address', 'dns', 'certificate', 'backends'] as const) {
    // A certificate of one's own is served without DNS; Google issues one only for a name that points here.
    if (id === 'dns' && intent.certificate.kind !== 'managed') continue;
    if (written || stages.get(id)?.state !== 'done') add(waitStep(id));
  }

  const cutOver = cutOverStep(objects, facts, findings);
  add(cutOver);
  if (cutOver || stages.get('milvusTls')?.state !== 'done') add(rolloutStep());
  if (steps.length > 0 || !proof) add(proofStep(intent));
  add(closeStep(objects, facts));
  return { intent, steps, preflight: findings };
}

/** The objects the plan would have in the cluster, for export as manifests. A generated Secret is not among them. */
export function wantedObjects(objects: ObjectSet, facts: PlanFacts): KubeObject[] {
  const service = wantedService(objects, facts);
  return [
    wantedBackendConfig(objects, facts),
    service,
    ...(facts.intent.certificate.kind === 'managed' ? [wantedManagedCertificate(facts)] : []),
    ...(facts.intent.sslPolicy === undefined ? [] : [wantedFrontendConfig(facts, facts.intent.sslPolicy)]),
    wantedIngress(objects, facts),
  ];
}

/** The BackendConfig as it should be; it also carries the intent and, when given, the proof. */
export function wantedBackendConfig(
  objects: ObjectSet,
  facts: PlanFacts,
  proof = readProof(objects, facts.release, facts.intent.host),
): KubeObject {
  return backendConfig({
    name: names(facts.release).backendConfig,
    namespace: facts.release.namespace,
    labels: labels(facts),
    annotations: {
      [intentAnnotation]: JSON.stringify(facts.intent),
      ...(proof ? { [proofAnnotation]: JSON.stringify(proof) } : {}),
    },
  });
}

/** Name of the Secret with the certificate, for the intents that have one. */
export function tlsSecretName(facts: Pick<PlanFacts, 'intent' | 'release'>): string | undefined {
  const { certificate } = facts.intent;
  if (certificate.kind === 'secret') return certificate.name;
  return certificate.kind === 'generate' ? names(facts.release).certificate : undefined;
}

function labels(facts: PlanFacts): Record<string, string> {
  return { ...managedBy, 'app.kubernetes.io/instance': facts.release.name };
}

function wantedFrontendConfig(facts: PlanFacts, sslPolicy: string): KubeObject {
  return frontendConfig({
    name: names(facts.release).frontendConfig,
    namespace: facts.release.namespace,
    labels: labels(facts),
    sslPolicy,
  });
}

function wantedManagedCertificate(facts: PlanFacts): KubeObject {
  return managedCertificate({
    name: names(facts.release).certificate,
    namespace: facts.release.namespace,
    labels: labels(facts),
    domains: [facts.intent.host],
  });
}

function wantedIngress(objects: ObjectSet, facts: PlanFacts): KubeObject {
  const { intent, release } = facts;
  const secret = tlsSecretName(facts);
  return ingress({
    name: names(release, objects).ingress,
    namespace: release.namespace,
    labels: labels(facts),
    host: intent.host,
    service: release.service.metadata.name,
    port: release.port.number,
    ...(secret === undefined ? { managedCertificate: names(release).certificate } : { tlsSecret: secret }),
    ...(intent.address.kind === 'ephemeral' ? {} : { staticAddress: intent.address.name }),
    ...(intent.sslPolicy === undefined ? {} : { frontendConfig: names(release).frontendConfig }),
  });
}

function wantedService(objects: ObjectSet, facts: PlanFacts): KubeObject {
  const { release } = facts;
  const { name, namespace, uid } = release.service.metadata;
  const { annotations } = serviceAnnotations(
    objects.get('Service', namespace, name) ?? release.service,
    release.port.name,
    names(release).backendConfig,
  );
  // The uid makes the API server refuse to create a Service where this one was deleted meanwhile.
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: release.namespace, ...(uid === undefined ? {} : { uid }), annotations },
  };
}

interface StepText {
  title: string;
  changes: string;
  interrupts?: string;
  undo: string;
}

function step(id: string, action: Action, text: StepText): Step {
  return { id, action, interrupts: l10n.t('No. Layer 4 goes on undisturbed.'), ...text };
}

function applyStep(id: string, object: KubeObject, objects: ObjectSet, text: StepText): Step | undefined {
  const live = objects.get(object.kind, object.metadata.namespace, object.metadata.name);
  return live && covers(live, object) ? undefined : step(id, { kind: 'apply', object }, text);
}

function serviceStep(objects: ObjectSet, facts: PlanFacts): Step | undefined {
  const service = wantedService(objects, facts);
  return applyStep('service', service, objects, texts.service(service.metadata.name));
}

function addressStep({ intent, addresses }: PlanFacts): Step | undefined {
  if (intent.address.kind !== 'reserve') return undefined;
  const { name } = intent.address;
  if (addresses?.some((address) => address.name === name)) return undefined;
  return step(
    'address',
    { kind: 'reserveAddress', name },
    {
      title: l10n.t('Reserve the static address {0}', name),
      changes: l10n.t('A global static address in the Google Cloud project. It costs while no load balancer uses it.'),
      undo: l10n.t('gcloud compute addresses delete {0} --global', name),
    },
  );
}

function certificateStep(objects: ObjectSet, facts: PlanFacts): Step | undefined {
  const { intent, release, tlsSecret } = facts;
  const { certificate } = names(release);
  switch (intent.certificate.kind) {
    case 'secret':
      return undefined;
    case 'managed':
      return applyStep(
        'managedCertificate',
        wantedManagedCertificate(facts),
        objects,
        texts.managedCertificate(intent.host),
      );
    case 'generate': {
      const { keyType } = intent.certificate;
      if (
        tlsSecret?.state === 'present' &&
        certificateOfSecret(tlsSecret, release.namespace, intent.host, facts.now).problem === undefined
      )
        return undefined;
      const action: Action = {
        kind: 'generateCertificate',
        secret: certificate,
        host: intent.host,
        keyType,
        labels: labels(facts),
      };
      return step('certificate', action, {
        title: l10n.t('Generate a certificate for {0}', intent.host),
        changes: l10n.t(
          'Secret {0}: a new CA and a server certificate, {1}, valid 397 days.',
          certificate,
          keyName(keyType),
        ),
        undo: l10n.t('Delete Secret {0}.', certificate),
      });
    }
  }
}

function keyName(keyType: 'rsa-2048' | 'ecdsa-p256'): string {
  return keyType === 'rsa-2048' ? 'RSA 2048' : 'ECDSA P-256';
}

function waitStep(id: 'networkEndpointGroup' | 'address' | 'dns' | 'certificate' | 'backends'): Step {
  return step(`wait-${id}`, { kind: 'wait', for: id }, texts.wait[id]());
}

function rolloutStep(): Step {
  return step(
    'wait-rollout',
    { kind: 'wait', for: 'rollout' },
    {
      title: l10n.t('Wait until Milvus speaks TLS'),
      changes: l10n.t('Nothing. Kubernetes replaces the pods; about 2 min each.'),
      interrupts: l10n.t('See the cut-over.'),
      undo: l10n.t('Nothing to undo.'),
    },
  );
}

function cutOverStep(objects: ObjectSet, facts: PlanFacts, findings: Finding[]): Step | undefined {
  const { release, intent, helm } = facts;
  const annotations = wantedService(objects, facts).metadata.annotations ?? {};
  const text: StepText = {
    title: l10n.t('Cut over: Milvus speaks TLS on {0}', release.port.number),
    changes: '',
    interrupts:
      release.mode === 'cluster' && replicas(release.servers) > 1
        ? l10n.t('The proxies restart one by one. From then on clients need TLS, on Layer 4 too.')
        : l10n.t('The pod restarts: Milvus is away for 1 to 3 min. From then on clients need TLS, on Layer 4 too.'),
    undo: '',
  };
  try {
    if (release.installer === 'helm' && helm) {
      const upgrade = cutOverUpgrade(helm, release, {
        restart: intent.restart,
        serviceAnnotations: annotations,
        config: effectiveConfig(objects, release),
      });
      return (
        upgrade &&
        step(
          'cutOver',
          { kind: 'helmUpgrade', upgrade },
          {
            ...text,
            changes: l10n.t(
              'Helm release {0}, chart {1} as installed: {2}. All other values stay.',
              helm.name,
              `${upgrade.chartName} ${upgrade.chartVersion}`,
              upgrade.changes.map((change) => change.path).join(', '),
            ),
            undo: l10n.t('helm rollback {0} {1} --namespace {2}', helm.name, helm.revision, helm.namespace),
          },
        )
      );
    }
    if (release.installer === 'operator') {
      const milvus = objects.get('Milvus', release.namespace, release.name);
      const object = milvus && cutOverPatch(milvus, { serviceAnnotations: annotations });
      return (
        object &&
        step(
          'cutOver',
          { kind: 'patchMilvus', object },
          {
            ...text,
            changes: l10n.t(
              'Milvus resource {0}: TLS mode 1, the REST port moved, the Service annotations.',
              release.name,
            ),
            undo: l10n.t('Remove these fields from the Milvus resource {0}.', release.name),
          },
        )
      );
    }
  } catch (error) {
    findings.push({
      rule: 'values-unreadable',
      severity: 'error',
      message: l10n.t('The values of release {0} cannot be changed safely.', release.name),
      cause: error instanceof Error ? error.message : String(error),
      fix: { kind: 'advice', text: l10n.t('Mend the value named above, then plan again.') },
    });
  }
  return undefined;
}

function proofStep(intent: Intent): Step {
  return step(
    'prove',
    { kind: 'prove' },
    {
      title: l10n.t('Prove the connection to {0}', intent.host),
      changes: l10n.t('Nothing in Milvus. The test is recorded in an annotation of the BackendConfig.'),
      undo: l10n.t('Nothing to undo.'),
    },
  );
}

function closeStep(objects: ObjectSet, facts: PlanFacts): Step | undefined {
  const { intent, release } = facts;
  const action = intent.closeLayer4 ? closeAction(objects, facts) : undefined;
  return (
    action &&
    step('closeLayer4', action, {
      title: l10n.t('Close Layer 4'),
      changes: l10n.t('Service type ClusterIP. Only the Service changes; nothing restarts.'),
      interrupts: l10n.t('Clients that still use Layer 4 ({0}) lose it.', release.layer4 ?? l10n.t('no address')),
      undo: l10n.t('Set the Service type to LoadBalancer again; the address will be another.'),
    })
  );
}

function closeAction(objects: ObjectSet, facts: PlanFacts): Action | undefined {
  const { release, helm } = facts;
  if (release.installer === 'operator') {
    const milvus = objects.get('Milvus', release.namespace, release.name);
    const serviceAnnotations = wantedService(objects, facts).metadata.annotations ?? {};
    const object = milvus && closeLayer4Patch(milvus, { serviceAnnotations });
    return object && { kind: 'patchMilvus', object };
  }
  const upgrade = helm && closeLayer4Upgrade(helm, release);
  return upgrade && { kind: 'helmUpgrade', upgrade };
}

function replicas(deployments: readonly KubeObject[]): number {
  return deployments.reduce((sum, deployment) => {
    const spec = deployment.spec as { replicas?: unknown } | undefined;
    return sum + (typeof spec?.replicas === 'number' ? spec.replicas : 1);
  }, 0);
}

const nothing = () => ({ changes: l10n.t('Nothing.'), undo: l10n.t('Nothing to undo.') });

const texts = {
  backendConfig: (): StepText => ({
    title: l10n.t('Health check and time-outs'),
    changes: l10n.t(
      'BackendConfig: health check HTTP 9091 /healthz, calls may last 3600 s, connections drain for 60 s.',
    ),
    undo: l10n.t('Delete the BackendConfig after the Ingress.'),
  }),
  service: (service: string): StepText => ({
    title: l10n.t('Annotate Service {0}', service),
    changes: l10n.t(
      'Annotations for HTTP/2 to the backends, the BackendConfig and network endpoint groups; other keys stay.',
    ),
    undo: l10n.t('Remove the three annotations after the Ingress.'),
  }),
  managedCertificate: (host: string): StepText => ({
    title: l10n.t('Ask Google for a certificate for {0}', host),
    changes: l10n.t('ManagedCertificate: Google issues it once DNS points to the load balancer, and renews it.'),
    undo: l10n.t('Delete the ManagedCertificate after the Ingress.'),
  }),
  frontendConfig: (policy: string): StepText => ({
    title: l10n.t('TLS policy'),
    changes: l10n.t('FrontendConfig with the policy {0}.', policy),
    undo: l10n.t('Delete the FrontendConfig after the Ingress.'),
  }),
  ingress: (intent: Intent): StepText => ({
    title: l10n.t('Create the Layer-7 load balancer'),
    changes: l10n.t('Ingress for {0}, port 443 only; Google builds the load balancer from it.', intent.host),
    undo: l10n.t('Delete the Ingress; Google removes the load balancer.'),
  }),
  wait: {
    networkEndpointGroup: (): StepText => ({ title: l10n.t('Wait for the network endpoint group'), ...nothing() }),
    address: (): StepText => ({ title: l10n.t('Wait for the address'), ...nothing() }),
    dns: (): StepText => ({ title: l10n.t('Wait for DNS to point to the address'), ...nothing() }),
    certificate: (): StepText => ({ title: l10n.t('Wait for the certificate'), ...nothing() }),
    backends: (): StepText => ({ title: l10n.t('Wait for healthy backends'), ...nothing() }),
  },
};
