import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createObjectSet } from '../kube/objectSet.ts';
import type { KubeObject } from '../model.ts';
import { chartObjects } from './chartObjects.ts';
import { compareVersions, findReleases } from './releases.ts';

const find = (...objects: KubeObject[]) => findReleases(createObjectSet(objects));

describe('installed by Helm', () => {
  test('a cluster behind Layer 4', () => {
    const [release, ...others] = find(...chartObjects({ address: '203.0.113.7' }));
    expect(others).toEqual([]);
    expect(release).toMatchObject({
      namespace: 'default',
      name: 'my-release',
      installer: 'helm',
      mode: 'cluster',
      version: '2.4.6',
      port: { name: 'milvus', number: 19530 },
      layer4: '203.0.113.7',
    });
    expect(release?.service.metadata.name).toBe('my-release-milvus');
    expect(release?.servers.map((server) => server.metadata.name)).toEqual(['my-release-milvus-proxy']);
  });

  test('standalone, ClusterIP, with a port name and a fullname of its own', () => {
    const [release] = find(
      ...chartObjects({ mode: 'standalone', type: 'ClusterIP', portName: 'grpc-milvus', fullname: 'vectors' }),
    );
    expect(release).toMatchObject({
      name: 'my-release',
      mode: 'standalone',
      port: { name: 'grpc-milvus', number: 19530 },
    });
    expect(release?.layer4).toBeUndefined();
  });

  test('several releases, ordered by namespace and name; one with a second Service counts once', () => {
    const extra = chartObjects({ release: 'b' })[0];
    if (!extra) throw new Error('no Service');
    const public_ = { ...extra, metadata: { ...extra.metadata, name: 'b-public', labels: {} } };
    const found = find(
      public_,
      ...chartObjects({ release: 'b' }),
      ...chartObjects({ release: 'a' }),
      ...chartObjects({ release: 'c', namespace: 'apps' }),
    );
    expect(found.map((release) => `${release.namespace}/${release.name} ${release.service.metadata.name}`)).toEqual([
      'apps/c c-milvus',
      'default/a a-milvus',
      'default/b b-milvus',
    ]);
  });
});

test.each([
  ['milvusdb/milvus:v2.4.6', '2.4.6'],
  ['registry.example:5000/milvus/milvus:2.5.16', '2.5.16'],
  ['milvusdb/milvus:v2.6.0-gpu', '2.6.0-gpu'],
  ['milvusdb/milvus:v2.5.4@sha256:0123', '2.5.4'],
  ['milvusdb/milvus:master-20250101-abc', undefined],
  ['milvusdb/milvus:2.2-20230101', undefined],
  ['milvusdb/milvus', undefined],
  ['registry.example:5000/milvus', undefined],
])('version of the image %s', (image, version) => {
  expect(find(...chartObjects({ image }))[0]?.version).toBe(version);
});

const operatorObjects = (): KubeObject[] => {
  const labels = { 'app.kubernetes.io/instance': 'mi', 'app.kubernetes.io/name': 'milvus' };
  const deployment = (name: string, replicas: number): KubeObject => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'ns', labels: { ...labels, 'app.kubernetes.io/component': 'proxy' } },
    spec: {
      replicas,
      template: {
        metadata: { labels: { ...labels, 'milvus.io/service': 'true', 'app.kubernetes.io/component': 'proxy' } },
        spec: { containers: [{ name: 'proxy', image: 'milvusdb/milvus:v2.5.16' }] },
      },
    },
  });
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: {
        name: 'mi-milvus',
        namespace: 'ns',
        labels: { ...labels, 'app.kubernetes.io/managed-by': 'milvus-operator' },
      },
      spec: {
        type: 'ClusterIP',
        selector: { ...labels, 'milvus.io/service': 'true' },
        ports: [
          { name: 'milvus', port: 19530, targetPort: 19530 },
          { name: 'metrics', port: 9091, targetPort: 9091 },
        ],
      },
    },
    deployment('mi-milvus-proxy-0', 0),
    deployment('mi-milvus-proxy-1', 2),
  ];
};

test("the Milvus Operator's, without the Deployment that it scaled to zero", () => {
  const [release] = find(...operatorObjects());
  expect(release).toMatchObject({ name: 'mi', installer: 'operator', mode: 'cluster', version: '2.5.16' });
  expect(release?.servers.map((server) => server.metadata.name)).toEqual(['mi-milvus-proxy-1']);
});

test('plain manifests: a Service to a Milvus Deployment', () => {
  const objects: KubeObject[] = [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'vectors', namespace: 'ns' },
      spec: { type: 'LoadBalancer', selector: { app: 'vectors' }, ports: [{ port: 19530 }] },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'vectors', namespace: 'ns' },
      spec: {
        template: {
          metadata: { labels: { app: 'vectors' } },
          spec: {
            containers: [{ name: 'main', image: 'milvusdb/milvus:v2.5.0', args: ['milvus', 'run', 'standalone'] }],
          },
        },
      },
    },
  ];
  expect(find(...objects)[0]).toMatchObject({
    name: 'vectors',
    installer: 'plain',
    mode: 'standalone',
    version: '2.5.0',
    port: { name: '', number: 19530 },
  });
});

test('other Services are none, whatever they hold', { timeout: 30_000 }, () => {
  const service = (spec: unknown): KubeObject => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'other', namespace: 'ns' },
    spec,
  });
  expect(find(service({ ports: [{ port: 19530 }] }))).toEqual([]);
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (spec, labels) => {
      const broken = service(spec);
      broken.metadata.labels = labels as Record<string, string>;
      expect(find(broken, { ...broken, kind: 'Deployment' })).toEqual([]);
    }),
  );
});

test.each([
  ['2.4.13', '2.4.6', 1],
  ['2.4.6', '2.4.13', -1],
  ['v2.4.13-gpu', '2.4.13', 0],
  ['2.10.0', '2.9.9', 1],
])('%s against %s', (a, b, sign) => {
  expect(Math.sign(compareVersions(a, b))).toBe(sign);
});
