import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createObjectSet } from '../kube/objectSet.ts';
import type { KubeObject } from '../model.ts';
import * as read from './read.ts';

const object = (
  kind: string,
  parts: Partial<KubeObject> & { annotations?: Record<string, string> } = {},
): KubeObject => {
  const { annotations, ...rest } = parts;
  return {
    apiVersion: 'v1',
    kind,
    metadata: { name: 'n', namespace: 'ns', ...(annotations ? { annotations } : {}) },
    ...rest,
  };
};
const neg = 'k8s1-c9a2d33d-milvus-my-release-milvus-19530-b13cc2b7';

test('network endpoint groups of a Service', () => {
  const annotations = {
    'cloud.google.com/neg-status': `{"network_endpoint_groups":{"19530":"${neg}"},"zones":["us-central1-b"]}`,
  };
  expect(read.readNegStatus(object('Service', { annotations }))).toEqual({
    groups: new Map([['19530', neg]]),
    zones: ['us-central1-b'],
  });
  expect(read.readNegStatus(object('Service'))).toBeUndefined();
});

test('health of the backends', () => {
  const at = (value: string) =>
    read.readBackends(object('Ingress', { annotations: { 'ingress.kubernetes.io/backends': value } }));
  expect(at(`{"k8s-be-31252--c9a2":"HEALTHY","${neg}":"Unknown"}`)).toEqual(
    new Map([
      ['k8s-be-31252--c9a2', 'HEALTHY'],
      [neg, 'Unknown'],
    ]),
  );
  expect(at('Unknown').size).toBe(0);
  expect(read.readBackends(object('Ingress')).size).toBe(0);
});

test('ManagedCertificate', () => {
  const made = object('ManagedCertificate', {
    spec: { domains: ['a.example.com', 'b.example.com'] },
    status: {
      certificateStatus: 'Provisioning',
      certificateName: 'mcrt-1',
      expireTime: '2027-01-01T00:00:00Z',
      domainStatus: [{ domain: 'a.example.com', status: 'FailedNotVisible' }],
    },
  });
  expect(read.readManagedCertificate(made)).toEqual({
    domains: [{ domain: 'a.example.com', status: 'FailedNotVisible' }, { domain: 'b.example.com' }],
    status: 'Provisioning',
    certificateName: 'mcrt-1',
    expireTime: '2027-01-01T00:00:00Z',
  });
  expect(read.readManagedCertificate(object('ManagedCertificate'))).toEqual({ domains: [], status: '' });
});

test('BackendConfig: wrongly typed fields read as absent', () => {
  const spec = {
    healthCheck: { type: 'HTTP', port: '9091', requestPath: '/healthz', checkIntervalSec: 15 },
    timeoutSec: 3600,
    connectionDraining: { drainingTimeoutSec: 60 },
    securityPolicy: { name: '' },
  };
  expect(read.readBackendConfig(object('BackendConfig', { spec }))).toEqual({
    healthCheck: { type: 'HTTP', requestPath: '/healthz', checkIntervalSec: 15 },
    timeoutSec: 3600,
    drainingTimeoutSec: 60,
  });
});

test('ServiceNetworkEndpointGroup', () => {
  const made = object('ServiceNetworkEndpointGroup', {
    metadata: {
      name: neg,
      namespace: 'ns',
      labels: { 'networking.gke.io/service-name': 'my-release-milvus', 'networking.gke.io/service-port': '19530' },
    },
    status: {
      networkEndpointGroups: [{ selfLink: 'https://…/neg', state: 'ACTIVE', networkEndpointType: 'GCE_VM_IP_PORT' }],
      conditions: [
        { type: 'Initialized', status: 'True', reason: 'NegInitializationSuccessful' },
        {
          type: 'Synced',
          status: 'False',
          reason: 'NegSyncFailed',
          message: 'quota',
          lastTransitionTime: '2026-01-01T00:00:00Z',
        },
      ],
      lastSyncTime: '2026-01-01T00:00:01Z',
    },
  });
  expect(read.readSvcNeg(made)).toEqual({
    name: neg,
    service: 'my-release-milvus',
    port: '19530',
    groups: [{ selfLink: 'https://…/neg', state: 'ACTIVE', type: 'GCE_VM_IP_PORT' }],
    initialized: { status: 'True', reason: 'NegInitializationSuccessful' },
    synced: { status: 'False', reason: 'NegSyncFailed', message: 'quota', since: '2026-01-01T00:00:00Z' },
    lastSyncTime: '2026-01-01T00:00:01Z',
  });
});

describe('Ingress', () => {
  const backend = (name: string) => ({ service: { name, port: { number: 19530 } } });
  const byRule = object('Ingress', {
    metadata: { name: 'rule', namespace: 'ns' },
    spec: { rules: [{ host: 'h.example.com', http: { paths: [{ path: '/', backend: backend('milvus') }] } }] },
  });
  const byDefault = object('Ingress', {
    metadata: { name: 'default', namespace: 'ns' },
    spec: { defaultBackend: backend('milvus') },
  });
  const elsewhere = object('Ingress', {
    metadata: { name: 'web', namespace: 'ns' },
    spec: { defaultBackend: backend('web') },
  });

  test('those of a Service', () => {
    const objects = createObjectSet([
      byRule,
      byDefault,
      elsewhere,
      { ...byRule, metadata: { name: 'rule', namespace: 'other' } },
    ]);
    expect(read.ingressesOf(objects, 'ns', 'milvus').map(({ metadata }) => metadata.name)).toEqual(['default', 'rule']);
    expect(read.ingressBackends(byRule)).toEqual([
      { host: 'h.example.com', path: '/', service: 'milvus', port: 19530 },
    ]);
  });

  test('certificates', () => {
    const made = object('Ingress', {
      annotations: {
        'networking.gke.io/managed-certificates': ' a , b,',
        'ingress.gcp.kubernetes.io/pre-shared-cert': 'mcrt-1',
      },
      spec: { tls: [{ secretName: 's' }, { hosts: ['h'] }] },
    });
    expect(read.certificatesOf(made)).toEqual({ secrets: ['s'], managed: ['a', 'b'], preShared: ['mcrt-1'] });
  });

  test('address', () => {
    const made = object('Ingress', {
      status: { loadBalancer: { ingress: [{ hostname: 'x' }, { ip: '203.0.113.1' }] } },
    });
    expect(read.ingressAddress(made)).toBe('203.0.113.1');
    expect(read.ingressAddress(byRule)).toBeUndefined();
  });

  test.each([
    ['the annotation gce', { 'kubernetes.io/ingress.class': 'gce' }, {}, true],
    ['no class at all', undefined, {}, true],
    ['an empty annotation', { 'kubernetes.io/ingress.class': '' }, {}, true],
    ['ingressClassName alone', undefined, { ingressClassName: 'gce' }, false],
    ['the internal one', { 'kubernetes.io/ingress.class': 'gce-internal' }, {}, false],
    ['another controller', { 'kubernetes.io/ingress.class': 'nginx' }, {}, false],
  ])('handled by GKE with %s: see the last column', (_, annotations, spec, handled) => {
    expect(read.isGceIngress(object('Ingress', { spec, ...(annotations ? { annotations } : {}) }))).toBe(handled);
  });
});

describe('BackendConfig of a port: by name, then number, then default', () => {
  const port = { name: 'milvus', number: 19530 };
  test.each([
    ['{"default":"d","ports":{"19530":"number","milvus":"name"}}', 'name'],
    ['{"default":"d","ports":{"19530":"number"}}', 'number'],
    ['{"default":"d","ports":{"metrics":"other"}}', 'd'],
    ['{"ports":{"metrics":"other"}}', undefined],
    ['no JSON', undefined],
  ])('%s', (value, name) => {
    const annotations = {
      'cloud.google.com/backend-config': value,
      'beta.cloud.google.com/backend-config': '{"default":"beta"}',
    };
    expect(read.backendConfigNameOf(object('Service', { annotations }), port)).toBe(name);
  });

  test('the object, if it exists in the namespace of the Service', () => {
    const service = object('Service', { annotations: { 'beta.cloud.google.com/backend-config': '{"default":"n"}' } });
    const config = object('BackendConfig');
    expect(read.backendConfigOf(createObjectSet([config]), service, port)).toBe(config);
    expect(read.backendConfigOf(createObjectSet([]), service, port)).toBeUndefined();
  });
});

test('no reader throws, whatever it reads', { timeout: 30_000 }, () => {
  const port = { name: 'milvus', number: 19530 };
  const keys = [
    'cloud.google.com/neg-status',
    'cloud.google.com/backend-config',
    'ingress.kubernetes.io/backends',
    'networking.gke.io/managed-certificates',
  ];
  const part = fc.oneof(
    fc.jsonValue(),
    fc.record({ rules: fc.jsonValue(), tls: fc.jsonValue(), domains: fc.jsonValue(), healthCheck: fc.jsonValue() }),
  );
  const state = fc.oneof(
    fc.jsonValue(),
    fc.record({
      conditions: fc.jsonValue(),
      domainStatus: fc.jsonValue(),
      loadBalancer: fc.jsonValue(),
      networkEndpointGroups: fc.jsonValue(),
    }),
  );
  const notes = fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom(...keys), fc.oneof(fc.json(), fc.jsonValue())));
  fc.assert(
    fc.property(part, state, notes, (spec, status, annotations) => {
      const broken = object('Ingress', { spec, status });
      broken.metadata.annotations = annotations as Record<string, string>;
      const objects = createObjectSet([broken]);
      read.readNegStatus(broken);
      read.readBackends(broken);
      read.readManagedCertificate(broken);
      read.readBackendConfig(broken);
      read.readSvcNeg(broken);
      read.certificatesOf(broken);
      read.ingressAddress(broken);
      read.isGceIngress(broken);
      read.backendConfigOf(objects, broken, port);
      expect(read.ingressesOf(objects, 'ns', 'no such Service')).toEqual([]);
    }),
    { numRuns: 200 },
  );
});
