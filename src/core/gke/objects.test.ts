import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createObjectSet } from '../kube/objectSet.ts';
import { chartObjects } from '../milvus/chartObjects.ts';
import { findReleases } from '../milvus/releases.ts';
import type { KubeObject, MilvusRelease } from '../model.ts';
import { backendConfig, frontendConfig, ingress, managedCertificate, names, serviceAnnotations } from './objects.ts';
import { backendConfigNameOf } from './read.ts';

const release = (name = 'my-release', fullname?: string): MilvusRelease => {
  const [found] = findReleases(
    createObjectSet(chartObjects({ release: name, ...(fullname === undefined ? {} : { fullname }) })),
  );
  if (!found) throw new Error('no release');
  return found;
};

describe('names', () => {
  test('are those of the guide', () => {
    expect(names(release())).toEqual({
      backendConfig: 'my-release-backendconfig',
      ingress: 'my-release-milvus',
      certificate: 'my-release-milvus-tls',
      frontendConfig: 'my-release-frontendconfig',
    });
  });

  test('stay within 63 characters and apart', () => {
    const long = (end: string): string => `${'x'.repeat(52)}${end}`;
    const [a, b] = [names(release(long('a'), long('-a'))), names(release(long('b'), long('-b')))];
    for (const name of [a, b].flatMap((all) => Object.values({ ...all }))) {
      expect(name).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);
      expect(name.length).toBeLessThanOrEqual(63);
    }
    expect(a.backendConfig).not.toBe(b.backendConfig);
  });

  test('leave an Ingress of another Service alone', () => {
    const to = (service: string): KubeObject =>
      ingress({ name: 'my-release-milvus', namespace: 'default', host: 'h.example.com', service, port: 1 });
    expect(names(release(), createObjectSet([to('web')])).ingress).toBe('my-release-milvus-layer7');
    expect(names(release(), createObjectSet([to('my-release-milvus')])).ingress).toBe('my-release-milvus');
  });
});

const head = { name: 'n', namespace: 'ns', labels: { a: 'b' } };

test('BackendConfig', () => {
  expect(backendConfig({ ...head, annotations: { c: 'd' } })).toEqual({
    apiVersion: 'cloud.google.com/v1',
    kind: 'BackendConfig',
    metadata: { name: 'n', namespace: 'ns', labels: { a: 'b' }, annotations: { c: 'd' } },
    spec: {
      healthCheck: {
        type: 'HTTP',
        port: 9091,
        requestPath: '/healthz',
        checkIntervalSec: 15,
        timeoutSec: 5,
        healthyThreshold: 1,
        unhealthyThreshold: 2,
      },
      timeoutSec: 3600,
      connectionDraining: { drainingTimeoutSec: 60 },
    },
  });
});

test('FrontendConfig and ManagedCertificate', () => {
  expect(frontendConfig({ ...head, sslPolicy: 'modern' }).spec).toEqual({ sslPolicy: 'modern' });
  expect(managedCertificate({ ...head, domains: ['h.example.com'] })).toEqual({
    apiVersion: 'networking.gke.io/v1',
    kind: 'ManagedCertificate',
    metadata: { name: 'n', namespace: 'ns', labels: { a: 'b' } },
    spec: { domains: ['h.example.com'] },
  });
});

describe('Ingress', () => {
  const common = { ...head, host: 'h.example.com', service: 'my-release-milvus', port: 19530 };
  const rules = [
    {
      host: 'h.example.com',
      http: {
        paths: [
          {
            path: '/',
            pathType: 'Prefix',
            backend: { service: { name: 'my-release-milvus', port: { number: 19530 } } },
          },
        ],
      },
    },
  ];
  test('with a Secret, ephemeral address', () => {
    const made = ingress({ ...common, tlsSecret: 's' });
    expect(made.metadata.annotations).toEqual({
      'kubernetes.io/ingress.class': 'gce',
      'kubernetes.io/ingress.allow-http': 'false',
    });
    expect(made.spec).toEqual({ tls: [{ hosts: ['h.example.com'], secretName: 's' }], rules });
  });
  test('with a ManagedCertificate, static address and TLS policy', () => {
    const made = ingress({ ...common, managedCertificate: 'm', staticAddress: 'ip', frontendConfig: 'f' });
    expect(made.metadata.annotations).toEqual({
      'kubernetes.io/ingress.class': 'gce',
      'kubernetes.io/ingress.allow-http': 'false',
      'kubernetes.io/ingress.global-static-ip-name': 'ip',
      'networking.gke.io/managed-certificates': 'm',
      'networking.gke.io/v1beta1.FrontendConfig': 'f',
    });
    expect(made.spec).toEqual({ rules });
  });
});

describe('annotations of the Service', () => {
  const P = 'cloud.google.com/app-protocols';
  const B = 'cloud.google.com/backend-config';
  const N = 'cloud.google.com/neg';
  const service = (annotations?: Record<string, string>, portName = 'milvus'): KubeObject => {
    const [made] = chartObjects({ portName, ...(annotations ? { annotations } : {}) });
    if (!made) throw new Error('no Service');
    return made;
  };
  const merge = (annotations?: Record<string, string>) => serviceAnnotations(service(annotations), 'milvus', 'bc');
  const clean = { [P]: '{"milvus":"HTTP2"}', [B]: '{"default":"bc"}', [N]: '{"ingress":true}' };

  test('on a Service without any', () => {
    expect(merge()).toEqual({
      annotations: clean,
      changes: Object.entries(clean).map(([key, to]) => ({ key, to })),
      problems: [],
    });
  });

  test('use the name of the port', () => {
    const made = serviceAnnotations(service(undefined, 'grpc-milvus'), 'grpc-milvus', 'bc');
    expect(made.annotations[P]).toBe('{"grpc-milvus":"HTTP2"}');
  });

  test.each([
    ['other ports keep their protocol', P, '{"metrics":"HTTP","milvus":"HTTP"}', '{"metrics":"HTTP","milvus":"HTTP2"}'],
    [
      'other ports keep their BackendConfig',
      B,
      '{"ports":{"metrics":"other"}}',
      '{"ports":{"metrics":"other","milvus":"bc"}}',
    ],
    ['a default for other ports stays', B, '{"default":"other"}', '{"default":"other","ports":{"milvus":"bc"}}'],
    [
      'our port by number is outranked by name',
      B,
      '{"ports":{"19530":"other"}}',
      '{"ports":{"19530":"other","milvus":"bc"}}',
    ],
    ['an empty one', B, '{}', '{"default":"bc"}'],
    [
      'exposed ports stay',
      N,
      '{"exposed_ports":{"9091":{}},"ingress":false}',
      '{"exposed_ports":{"9091":{}},"ingress":true}',
    ],
    ['a text in place of a truth value', N, '{"ingress":"true"}', '{"ingress":true}'],
    ['what is no JSON is replaced', N, '{ingress: true}', '{"ingress":true}'],
    ['what is no map is replaced', P, '["HTTP2"]', '{"milvus":"HTTP2"}'],
  ])('%s', (_, key, before, after) => {
    const made = merge({ [key]: before });
    expect(made.annotations).toEqual({ ...clean, [key]: after });
    expect(made.changes).toContainEqual({ key, from: before, to: after });
    expect(merge(made.annotations)).toEqual({ annotations: made.annotations, changes: [], problems: [] });
  });

  test('values that already say it keep their text', () => {
    const spaced = { [P]: '{ "milvus": "HTTP2" }', [B]: '{"default": "bc"}', [N]: '{"ingress": true}' };
    expect(merge(spaced)).toEqual({ annotations: spaced, changes: [], problems: [] });
  });

  test('what the beta key says about other ports moves over', () => {
    const made = merge({ 'beta.cloud.google.com/backend-config': '{"ports":{"metrics":"other"}}' });
    expect(made.annotations[B]).toBe('{"ports":{"metrics":"other","milvus":"bc"}}');
  });

  test.each<[string, Record<string, string>, unknown[]]>([
    [
      'the alpha key that wins',
      { 'service.alpha.kubernetes.io/app-protocols': '{"milvus":"HTTP"}' },
      [{ kind: 'alphaAppProtocols', key: 'service.alpha.kubernetes.io/app-protocols', value: '{"milvus":"HTTP"}' }],
    ],
    ['the alpha key that agrees', { 'service.alpha.kubernetes.io/app-protocols': '{"milvus":"HTTP2"}' }, []],
    [
      'a group with a name of its own',
      { [N]: '{"exposed_ports":{"19530":{"name":"mine"}}}' },
      [{ kind: 'customNegName', key: N, name: 'mine' }],
    ],
    ['a named group of another port', { [N]: '{"exposed_ports":{"9091":{"name":"mine"}}}' }, []],
  ])('problems: %s', (_, annotations, problems) => {
    expect(merge(annotations).problems).toEqual(problems);
  });

  test('a port without a name', () => {
    expect(serviceAnnotations(service(), '', 'bc').problems).toEqual([{ kind: 'unnamedPort', key: P }]);
  });

  test('any present annotations: ours take effect, merging twice is merging once', { timeout: 30_000 }, () => {
    const value = fc.oneof(
      fc.json(),
      fc.string(),
      fc.json().map((inner) => `{"ports":${inner},"default":"x"}`),
    );
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(P, B, N, 'beta.cloud.google.com/backend-config', 'other'), value),
        (annotations) => {
          const before = service({ ...annotations });
          const made = serviceAnnotations(before, 'milvus', 'bc');
          const after = service({ ...annotations, ...made.annotations });
          expect(backendConfigNameOf(after, { name: 'milvus', number: 19530 })).toBe('bc');
          expect(JSON.parse(made.annotations[P] ?? '')).toMatchObject({ milvus: 'HTTP2' });
          expect(JSON.parse(made.annotations[N] ?? '')).toMatchObject({ ingress: true });
          expect(serviceAnnotations(after, 'milvus', 'bc').changes).toEqual([]);
        },
      ),
      { numRuns: 150 },
    );
  });
});
