import { beforeAll, describe, expect, it } from 'vitest';
import type { Intent, KubeObject, ObjectSet } from '../model.ts';
import type { HelmRelease, TlsSecret } from '../ports.ts';
import { names } from '../gke/objects.ts';
import { createObjectSet } from '../kube/objectSet.ts';
import { findReleases } from '../milvus/releases.ts';
import { makeCertificate } from '../tls/certificate.ts';
import { headline } from './headline.ts';
import { readIntent } from './intent.ts';
import { plan, wantedBackendConfig, wantedObjects, type PlanFacts } from './plan.ts';
import { status } from './status.ts';

/** The certificate of the tests is made now. */
const now = Date.now();
const host = 'my-release.milvus.example';
const neg = 'k8s1-c9a2d33d-default-my-release-milvus-19530-b13cc2b7';
const labels = {
  'app.kubernetes.io/name': 'milvus',
  'app.kubernetes.io/instance': 'my-release',
  'app.kubernetes.io/managed-by': 'Helm',
  'helm.sh/chart': 'milvus-4.2.58',
  component: 'proxy',
};
const intent: Intent = {
  host,
  certificate: { kind: 'generate', keyType: 'ecdsa-p256' },
  address: { kind: 'static', name: 'milvus-ip' },
  restart: 'proxies',
  closeLayer4: true,
};

/** A release as the chart 4.2.58 makes it, behind Layer 4. `tls`: the proxies were restarted with TLS. */
function installed(options: { tls?: boolean; annotations?: Record<string, string>; type?: string } = {}): KubeObject[] {
  const env = options.tls
    ? [
        { name: 'COMMON_SECURITY_TLSMODE', value: '1' },
        { name: 'PROXY_HTTP_PORT', value: '8080' },
      ]
    : [];
  const type = options.type ?? 'LoadBalancer';
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: {
        name: 'my-release-milvus',
        namespace: 'default',
        uid: 's1',
        labels,
        annotations: options.annotations ?? {},
      },
      spec: {
        type,
        selector: { 'app.kubernetes.io/instance': 'my-release', component: 'proxy' },
        ports: [
          { name: 'milvus', port: 19530, targetPort: 'milvus' },
          { name: 'metrics', port: 9091, targetPort: 'metrics' },
        ],
      },
      status: type === 'LoadBalancer' ? { loadBalancer: { ingress: [{ ip: '35.2.3.4' }] } } : {},
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'my-release-milvus-proxy', namespace: 'default', generation: 2, labels },
      spec: {
        replicas: 2,
        template: {
          metadata: { labels: { 'app.kubernetes.io/instance': 'my-release', component: 'proxy' } },
          spec: { containers: [{ name: 'proxy', image: 'milvusdb/milvus:v2.5.16', env }] },
        },
      },
      status: { observedGeneration: 2, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 },
    },
    ...['a', 'b'].map((name) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: `my-release-milvus-proxy-${name}`,
        namespace: 'default',
        labels: { 'app.kubernetes.io/instance': 'my-release', component: 'proxy' },
      },
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    })),
  ];
}

const values = { proxy: { replicas: 2 }, service: { type: 'LoadBalancer' } };
const helm: HelmRelease = {
  name: 'my-release',
  namespace: 'default',
  revision: 3,
  status: 'deployed',
  chartName: 'milvus',
  chartVersion: '4.2.58',
  appVersion: '2.5.16',
  values,
};

function factsFor(objects: ObjectSet, more: Partial<PlanFacts> = {}): PlanFacts {
  const release = findReleases(objects)[0];
  if (!release) throw new Error('no release in the objects');
  return {
    release,
    helm,
    intent,
    now,
    addresses: [{ name: 'milvus-ip', address: '34.1.1.1', status: 'RESERVED' }],
    tlsSecret: { name: names(release).certificate, state: 'missing' },
    ...more,
  };
}

const stepIds = (objects: ObjectSet, facts: PlanFacts): string[] => plan(objects, facts).steps.map((step) => step.id);

/** What GKE's controllers write once the Ingress is there. */
function built(objects: KubeObject[]): KubeObject[] {
  return objects.map((object) => {
    const annotations = (more: Record<string, string>): KubeObject => ({
      ...object,
      metadata: {
        creationTimestamp: new Date(now - 600_000).toISOString(),
        ...object.metadata,
        annotations: { ...object.metadata.annotations, ...more },
      },
    });
    if (object.kind === 'Ingress')
      return {
        ...annotations({
          'ingress.kubernetes.io/backends': JSON.stringify({ [neg]: 'HEALTHY', 'k8s-be-31252--c9': 'HEALTHY' }),
          'ingress.kubernetes.io/ssl-cert': 'k8s2-cr-c9a2d33d-x-y',
        }),
        status: { loadBalancer: { ingress: [{ ip: '34.1.1.1' }] } },
      };
    if (object.kind === 'Service')
      return annotations({
        'cloud.google.com/neg-status': JSON.stringify({
          network_endpoint_groups: { 19530: neg },
          zones: ['us-central1-b'],
        }),
      });
    return object;
  });
}

describe('plan', () => {
  let secret: TlsSecret;
  beforeAll(async () => {
    const made = await makeCertificate({ hosts: [host], keyType: 'ecdsa-p256', days: 90 });
    secret = {
      name: 'my-release-milvus-tls',
      state: 'present',
      type: 'kubernetes.io/tls',
      certificate: made.certificate,
    };
  });
  /** The objects after our writes, and after the controllers did theirs. */
  function objectsAfterWrites(options: Parameters<typeof installed>[0] = {}, proof = false): ObjectSet {
    const bare = createObjectSet(installed(options));
    const facts = factsFor(bare);
    const wanted = wantedObjects(bare, facts);
    const service = wanted.find((object) => object.kind === 'Service');
    const ours = wanted
      .filter((object) => object.kind !== 'Service' && object.kind !== 'BackendConfig')
      .concat(wantedBackendConfig(bare, facts, proof ? { host, at: new Date(now - 60_000).toISOString() } : undefined));
    return createObjectSet(
      built([...installed({ ...options, annotations: service?.metadata.annotations ?? {} }), ...ours]),
    );
  }

  it('leaves the cut-over, the proof and Layer 4 for the end', () => {
    const objects = createObjectSet(installed());
    expect(stepIds(objects, factsFor(objects))).toEqual([
      'backendConfig',
      'service',
      'certificate',
      'ingress',
      'wait-networkEndpointGroup',
      'wait-address',
      'wait-certificate',
      'wait-backends',
      'cutOver',
      'wait-rollout',
      'prove',
      'closeLayer4',
    ]);
  });

  it('reserves the address first, and waits for DNS only where Google issues the certificate', () => {
    const objects = createObjectSet(installed());
    const managed: Intent = {
      ...intent,
      certificate: { kind: 'managed' },
      address: { kind: 'reserve', name: 'new-ip' },
    };
    const ids = stepIds(objects, factsFor(objects, { intent: managed }));
    expect(ids[0]).toBe('address');
    expect(ids).toContain('managedCertificate');
    expect(ids.indexOf('wait-dns')).toBeLessThan(ids.indexOf('wait-certificate'));
    expect(stepIds(objects, factsFor(objects))).not.toContain('wait-dns');
  });

  it('goes on at the cut-over when the load balancer stands', () => {
    const objects = objectsAfterWrites();
    const facts = factsFor(objects, { tlsSecret: secret });
    expect(stepIds(objects, facts)).toEqual(['cutOver', 'wait-rollout', 'prove', 'closeLayer4']);
    expect(headline(status(objects, facts))).toMatchObject({ text: 'Ready for the cut-over:', tone: 'waiting' });
  });

  it('proves before it closes Layer 4', () => {
    const objects = objectsAfterWrites({ tls: true });
    const upgraded = plan(objects, factsFor(objects, { tlsSecret: secret })).steps.find(
      (step) => step.id === 'cutOver',
    );
    expect(upgraded?.action.kind).toBe('helmUpgrade');
  });

  it('plans nothing for a finished setup', () => {
    const objects = objectsAfterWrites({ tls: true, type: 'ClusterIP' }, true);
    const service = objects.get('Service', 'default', 'my-release-milvus');
    const { 'cloud.google.com/neg-status': _status, ...annotations } = service?.metadata.annotations ?? {};
    const finished: HelmRelease = {
      ...helm,
      values: {
        proxy: {
          replicas: 2,
          extraEnv: [
            { name: 'COMMON_SECURITY_TLSMODE', value: '1' },
            { name: 'PROXY_HTTP_PORT', value: '8080' },
          ],
        },
        service: { type: 'ClusterIP', annotations },
      },
    };
    const facts = factsFor(objects, { tlsSecret: secret, helm: finished });
    expect(stepIds(objects, facts)).toEqual([]);
    expect(headline(status(objects, facts))).toMatchObject({ tone: 'ok', text: 'Works:' });
    expect(headline(status(objects, facts)).detail).toMatch(
      /^2 of 2 backends healthy, certificate valid for (89|90) days, proven 60 s ago\.$/,
    );
  });

  it('plans the Ingress again when its host changed by hand', () => {
    const objects = objectsAfterWrites();
    const other = { ...intent, host: 'other.milvus.example' };
    expect(stepIds(objects, factsFor(objects, { tlsSecret: secret, intent: other }))).toEqual(
      expect.arrayContaining(['backendConfig', 'certificate', 'ingress', 'prove']),
    );
  });

  it('reads the choices back from the cluster', () => {
    const objects = objectsAfterWrites();
    expect(readIntent(objects, factsFor(objects).release)).toEqual(intent);
  });

  describe('preflight', () => {
    const errors = (objects: ObjectSet, more: Partial<PlanFacts>): string[] =>
      plan(objects, factsFor(objects, more))
        .preflight.filter((finding) => finding.severity === 'error')
        .map((finding) => finding.rule);
    const bare = createObjectSet(installed());

    it('lets a sound setup through', () => {
      expect(errors(bare, {})).toEqual([]);
    });

    it.each<[string, Partial<PlanFacts>]>([
      ['host-name', { intent: { ...intent, host: '*.milvus.example', certificate: { kind: 'managed' } } }],
      ['static-address-unknown', { addresses: [] }],
      ['helm-release-busy', { helm: { ...helm, status: 'pending-upgrade' } }],
      [
        'certificate-secret-missing',
        {
          intent: { ...intent, certificate: { kind: 'secret', name: 'tls' } },
          tlsSecret: { name: 'tls', state: 'missing' },
        },
      ],
      [
        'values-unreadable',
        {
          intent: { ...intent, restart: 'release' },
          helm: { ...helm, values: { extraConfigFiles: { 'user.yaml': 'a: [1' } } },
        },
      ],
    ])('refuses %s', (rule, more) => {
      expect(errors(bare, more)).toContain(rule);
    });

    it('refuses a release that Helm no longer knows', () => {
      const { helm: _helm, ...rest } = factsFor(bare);
      expect(plan(bare, rest).preflight.map((finding) => finding.rule)).toContain('helm-release-missing');
    });

    it('names the add-on when the CRD is unknown, not when it is forbidden', () => {
      const unknown = createObjectSet(installed(), new Map([['BackendConfig', { reason: 'unknown', message: '' }]]));
      const forbidden = createObjectSet(
        installed(),
        new Map([['BackendConfig', { reason: 'forbidden', message: '' }]]),
      );
      expect(errors(unknown, {})).toContain('load-balancing-add-on');
      expect(errors(forbidden, {})).toEqual([]);
    });

    it('refuses an old annotation that would win', () => {
      const objects = createObjectSet(
        installed({ annotations: { 'service.alpha.kubernetes.io/app-protocols': '{"milvus":"HTTPS"}' } }),
      );
      expect(errors(objects, {})).toContain('old-annotation-wins');
    });
  });
});
