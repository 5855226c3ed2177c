import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createObjectSet } from '../kube/objectSet.ts';
import type { KubeObject } from '../model.ts';
import { chartObjects } from './chartObjects.ts';
import type { ChartOptions } from './chartObjects.ts';
import { effectiveConfig, restConflictIsFatal, restSharesPort } from './effectiveConfig.ts';
import { findReleases } from './releases.ts';

const config = (options: ChartOptions, ...more: KubeObject[]) => {
  const objects = createObjectSet([...chartObjects(options), ...more]);
  const [release] = findReleases(objects);
  if (!release) throw new Error('no release');
  return effectiveConfig(objects, release);
};

test('Milvus as installed', () => {
  const found = config({ userYaml: '# nothing set\n' });
  expect(found).toEqual({
    tlsMode: 0,
    restEnabled: true,
    authorizationEnabled: false,
    source: {
      'common.security.tlsMode': 'default of Milvus',
      'common.security.authorizationEnabled': 'default of Milvus',
      'proxy.http.enabled': 'default of Milvus',
      'proxy.http.port': 'default of Milvus',
    },
  });
  expect(restSharesPort(found)).toBe(true);
});

test('user.yaml wins over default.yaml, the environment over both', () => {
  const found = config({
    defaultYaml:
      'common: {security: {tlsMode: 0, authorizationEnabled: true}}\nproxy: {http: {enabled: true, port: 9000}}',
    userYaml: 'common:\n  security:\n    tlsMode: 1\nproxy:\n  http:\n    port: 8081\n',
    env: [
      { name: 'PROXY_HTTP_PORT', value: '8080' },
      { name: 'COMMON_SECURITY_AUTHORIZATIONENABLED', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
    ],
  });
  expect(found).toMatchObject({ tlsMode: 1, restPort: 8080, authorizationEnabled: true });
  expect(found.source).toEqual({
    'common.security.tlsMode': 'ConfigMap my-release-milvus, user.yaml',
    'common.security.authorizationEnabled': 'ConfigMap my-release-milvus, default.yaml',
    'proxy.http.enabled': 'ConfigMap my-release-milvus, default.yaml',
    'proxy.http.port': 'environment of Deployment my-release-milvus-proxy',
  });
  expect(restSharesPort(found)).toBe(false);
});

test.each([
  ['the gRPC port itself', 'proxy: {http: {port: 19530}}', true],
  ['an empty port', 'proxy: {http: {port: ""}}', true],
  ['a port of its own', 'proxy: {http: {port: "9000"}}', false],
  ['switched off', 'proxy: {http: {enabled: False}}', false],
  ['what Milvus cannot read', 'proxy: {http: {enabled: perhaps}}', true],
])('REST shares the port: %s', (_, userYaml, shares) => {
  expect(restSharesPort(config({ userYaml }))).toBe(shares);
});

test("a ConfigMap of the user in place of the chart's, seen or not", () => {
  const custom = { customConfigMap: 'tuned' };
  expect(config(custom)).toMatchObject({ customConfigMap: 'tuned', tlsMode: 0 });
  const map: KubeObject = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'tuned', namespace: 'default' },
    data: { 'milvus.yaml': 'common: {security: {tlsMode: 2}}' },
  };
  expect(config(custom, map)).toMatchObject({ customConfigMap: 'tuned', tlsMode: 2 });
});

test('any text in the files is read or passed over, never thrown', { timeout: 30_000 }, () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.jsonValue(), (userYaml, env) => {
      expect([0, 1, 2]).toContain(config({ userYaml, env: [env] }).tlsMode);
    }),
    { numRuns: 50 },
  );
});

test.each([
  ['2.4.12', false],
  ['2.4.13', true],
  ['2.5.0-beta', true],
  ['2.3.22', false],
  [undefined, true],
])('Milvus %s refuses to start with TLS on a shared port: %s', (version, fatal) => {
  expect(restConflictIsFatal(version)).toBe(fatal);
});
