import fc from 'fast-check';
import { parse } from 'yaml';
import { describe, expect, test } from 'vitest';
import { createObjectSet } from '../kube/objectSet.ts';
import type { HelmUpgrade, MilvusRelease } from '../model.ts';
import type { HelmRelease } from '../ports.ts';
import { chartObjects } from './chartObjects.ts';
import { readConfigYaml } from './configYaml.ts';
import { closeLayer4Upgrade, cutOverUpgrade, ValuesError, valuesYaml } from './helmValues.ts';
import type { CutOverOptions } from './helmValues.ts';
import { findReleases } from './releases.ts';

const serviceAnnotations = {
  'cloud.google.com/app-protocols': '{"milvus":"HTTP2"}',
  'cloud.google.com/neg': '{"ingress":true}',
};
const proxies: CutOverOptions = { restart: 'proxies', serviceAnnotations };
const everything: CutOverOptions = { restart: 'release', serviceAnnotations };

const installed = (values: Record<string, unknown>): HelmRelease => ({
  name: 'my-release',
  namespace: 'default',
  revision: 3,
  status: 'deployed',
  chartName: 'milvus',
  chartVersion: '4.2.0',
  appVersion: '2.4.6',
  values,
});

const milvus = (mode: 'cluster' | 'standalone', type: 'ClusterIP' | 'LoadBalancer' = 'LoadBalancer'): MilvusRelease => {
  const [release] = findReleases(createObjectSet(chartObjects({ mode, type })));
  if (!release) throw new Error('no release');
  return release;
};

const valuesOf = (upgrade: HelmUpgrade | undefined): Record<string, unknown> => {
  if (!upgrade) throw new Error('nothing to upgrade');
  return parse(upgrade.values) as Record<string, unknown>;
};

const teamValues = {
  cluster: { enabled: true },
  image: { all: { tag: 'v2.4.6' } },
  service: { type: 'LoadBalancer', annotations: { team: 'search', 'cloud.google.com/neg': '{}' } },
  proxy: { replicas: 2, extraEnv: [{ name: 'GOGC', value: '200' }] },
  extraConfigFiles: { 'user.yaml': '# limits\nquotaAndLimits:\n  enabled: true # on\n' },
  minio: { enabled: false },
  externalS3: { accessKey: 'on', secretKey: '0777', useSSL: null },
};

describe('cut-over', () => {
  test('only the proxies restart', () => {
    const upgrade = cutOverUpgrade(installed(teamValues), milvus('cluster'), proxies);
    expect(upgrade).toMatchObject({
      release: 'my-release',
      namespace: 'default',
      chartName: 'milvus',
      chartVersion: '4.2.0',
    });
    expect(upgrade?.values).toBe(`"cluster":
  "enabled": true
"image":
  "all":
    "tag": "v2.4.6"
"service":
  "type": "LoadBalancer"
  "annotations":
    "team": "search"
    "cloud.google.com/neg": "{\\"ingress\\":true}"
    "cloud.google.com/app-protocols": "{\\"milvus\\":\\"HTTP2\\"}"
"proxy":
  "replicas": 2
  "extraEnv":
    - "name": "GOGC"
      "value": "200"
    - "name": "COMMON_SECURITY_TLSMODE"
      "value": "1"
    - "name": "PROXY_HTTP_PORT"
      "value": "8080"
"extraConfigFiles":
  "user.yaml": "# limits\\nquotaAndLimits:\\n  enabled: true # on\\n"
"minio":
  "enabled": false
"externalS3":
  "accessKey": "on"
  "secretKey": "0777"
  "useSSL": null
`);
    expect(upgrade?.changes).toEqual([
      { path: 'proxy.extraEnv.COMMON_SECURITY_TLSMODE', to: '1' },
      { path: 'proxy.extraEnv.PROXY_HTTP_PORT', to: '8080' },
      { path: 'service.annotations."cloud.google.com/app-protocols"', to: '{"milvus":"HTTP2"}' },
      { path: 'service.annotations."cloud.google.com/neg"', from: '{}', to: '{"ingress":true}' },
    ]);
  });

  test('the whole release restarts', () => {
    const upgrade = cutOverUpgrade(installed(teamValues), milvus('cluster'), everything);
    expect(valuesOf(upgrade)).toEqual({
      ...teamValues,
      service: { ...teamValues.service, annotations: { team: 'search', ...serviceAnnotations } },
      extraConfigFiles: {
        'user.yaml':
          '# limits\nquotaAndLimits:\n  enabled: true # on\ncommon:\n  security:\n    tlsMode: 1\nproxy:\n  http:\n    port: 8080\n',
      },
    });
    expect(upgrade?.changes.slice(0, 2)).toEqual([
      { path: 'extraConfigFiles."user.yaml".common.security.tlsMode', to: '1' },
      { path: 'extraConfigFiles."user.yaml".proxy.http.port', to: '8080' },
    ]);
  });

  test('standalone has no proxies: its own pod restarts', () => {
    const upgrade = cutOverUpgrade(installed({ cluster: { enabled: false } }), milvus('standalone'), proxies);
    expect(valuesOf(upgrade)).toEqual({
      cluster: { enabled: false },
      standalone: {
        extraEnv: [
          { name: 'COMMON_SECURITY_TLSMODE', value: '1' },
          { name: 'PROXY_HTTP_PORT', value: '8080' },
        ],
      },
      service: { annotations: serviceAnnotations },
    });
  });

  test.each<[string, Record<string, unknown>, CutOverOptions, string[]]>([
    ['no values at all', {}, proxies, ['proxy.extraEnv.COMMON_SECURITY_TLSMODE', 'proxy.extraEnv.PROXY_HTTP_PORT']],
    [
      'null on the way',
      { proxy: null, service: { annotations: null }, extraConfigFiles: null },
      proxies,
      ['proxy.extraEnv.COMMON_SECURITY_TLSMODE', 'proxy.extraEnv.PROXY_HTTP_PORT'],
    ],
    [
      'REST has a port',
      { extraConfigFiles: { 'user.yaml': 'proxy: {http: {port: 9000}}' } },
      proxies,
      ['proxy.extraEnv.COMMON_SECURITY_TLSMODE'],
    ],
    [
      'REST is off',
      { proxy: { extraEnv: [{ name: 'PROXY_HTTP_ENABLED', value: 'false' }] } },
      proxies,
      ['proxy.extraEnv.COMMON_SECURITY_TLSMODE'],
    ],
    [
      'TLS is on, REST in the way',
      { extraConfigFiles: { 'user.yaml': 'common: {security: {tlsMode: 1}}' } },
      proxies,
      ['proxy.extraEnv.PROXY_HTTP_PORT'],
    ],
    [
      'the environment overrules user.yaml',
      {
        extraConfigFiles: { 'user.yaml': 'common: {security: {tlsMode: 1}}' },
        proxy: { extraEnv: [{ name: 'MILVUS_CONF_COMMON_SECURITY_TLSMODE', value: '0' }] },
      },
      everything,
      ['proxy.extraEnv.MILVUS_CONF_COMMON_SECURITY_TLSMODE', 'extraConfigFiles."user.yaml".proxy.http.port'],
    ],
    [
      'a variable from elsewhere',
      {
        proxy: {
          extraEnv: [{ name: 'COMMON_SECURITY_TLSMODE', valueFrom: { configMapKeyRef: { name: 'm', key: 'k' } } }],
        },
      },
      proxies,
      ['proxy.extraEnv.COMMON_SECURITY_TLSMODE', 'proxy.extraEnv.PROXY_HTTP_PORT'],
    ],
  ])('changes only what is needed: %s', (_, values, options, paths) => {
    const upgrade = cutOverUpgrade(installed(values), milvus('cluster'), options);
    expect(upgrade?.changes.map((change) => change.path).filter((path) => !path.startsWith('service.'))).toEqual(paths);
    expect(cutOverUpgrade(installed(valuesOf(upgrade)), milvus('cluster'), options)).toBeUndefined();
  });

  test('one way of restarting done, the other finds nothing to do', () => {
    const upgrade = cutOverUpgrade(installed(teamValues), milvus('cluster'), proxies);
    expect(cutOverUpgrade(installed(valuesOf(upgrade)), milvus('cluster'), everything)).toBeUndefined();
  });

  test('a variable keeps its place in the list', () => {
    const extraEnv = [
      { name: 'COMMON_SECURITY_TLSMODE', value: '2' },
      { name: 'GOGC', value: '200' },
    ];
    const upgrade = cutOverUpgrade(installed({ proxy: { extraEnv } }), milvus('cluster'), proxies);
    expect(valuesOf(upgrade).proxy).toEqual({
      extraEnv: [
        { name: 'COMMON_SECURITY_TLSMODE', value: '1' },
        { name: 'GOGC', value: '200' },
        { name: 'PROXY_HTTP_PORT', value: '8080' },
      ],
    });
    expect(upgrade?.changes[0]).toEqual({ path: 'proxy.extraEnv.COMMON_SECURITY_TLSMODE', from: '2', to: '1' });
  });

  describe('with customConfigMap', () => {
    const values = { customConfigMap: 'tuned', extraConfigFiles: { 'user.yaml': 'not: [used' } };
    test('Helm values cannot reach it', () => {
      expect(() => cutOverUpgrade(installed(values), milvus('cluster'), everything)).toThrow(ValuesError);
      expect(() => cutOverUpgrade(installed(values), milvus('cluster'), everything)).toThrow(
        'The release takes its configuration from ConfigMap tuned (customConfigMap), so Helm values cannot change it. Let only the proxies restart, or set common.security.tlsMode: 1, proxy.http.port: 8080 there.',
      );
    });
    test('the environment can', () => {
      const upgrade = cutOverUpgrade(installed(values), milvus('cluster'), proxies);
      expect(upgrade?.changes[0]?.path).toBe('proxy.extraEnv.COMMON_SECURITY_TLSMODE');
      expect(valuesOf(upgrade)).toMatchObject(values);
    });
    test('what it says counts where it is known', () => {
      const config = {
        tlsMode: 1 as const,
        restEnabled: true,
        restPort: 9000,
        authorizationEnabled: true,
        source: {} as never,
      };
      expect(
        cutOverUpgrade(installed(values), milvus('cluster'), { ...everything, serviceAnnotations: {}, config }),
      ).toBeUndefined();
    });
  });

  test.each<[string, Record<string, unknown>, string]>([
    [
      'an unreadable user.yaml',
      { extraConfigFiles: { 'user.yaml': 'a: [hunter22' } },
      'extraConfigFiles."user.yaml" is not valid YAML at line 1',
    ],
    [
      'a user.yaml that is no text',
      { extraConfigFiles: { 'user.yaml': { secret: 'hunter22' } } },
      'extraConfigFiles."user.yaml" is no text',
    ],
    ['an extraEnv that is no list', { proxy: { extraEnv: { A: 'hunter22' } } }, 'proxy.extraEnv is no list'],
    ['a service that is no group', { service: 'hunter22' }, 'service is no group of values'],
    [
      'annotations that are no group',
      { service: { annotations: ['hunter22'] } },
      'service.annotations is no group of values',
    ],
  ])('refuses %s without quoting it', (_, values, message) => {
    const attempt = (): unknown => cutOverUpgrade(installed(values), milvus('cluster'), proxies);
    expect(attempt).toThrow(ValuesError);
    expect(attempt).toThrow(message);
    expect(attempt).not.toThrow('hunter22');
  });
});

describe('closing Layer 4', () => {
  test.each<[string, Record<string, unknown>, 'ClusterIP' | 'LoadBalancer', HelmUpgrade['changes'] | undefined]>([
    ['as installed', teamValues, 'LoadBalancer', [{ path: 'service.type', from: 'LoadBalancer', to: 'ClusterIP' }]],
    ['opened by hand', {}, 'LoadBalancer', [{ path: 'service.type', from: 'LoadBalancer', to: 'ClusterIP' }]],
    [
      'a NodePort',
      { service: { type: 'NodePort' } },
      'ClusterIP',
      [{ path: 'service.type', from: 'NodePort', to: 'ClusterIP' }],
    ],
    ['closed', { service: { type: 'ClusterIP' } }, 'ClusterIP', undefined],
    ['never open', {}, 'ClusterIP', undefined],
  ])('%s', (_, values, live, changes) => {
    const upgrade = closeLayer4Upgrade(installed(values), milvus('cluster', live));
    expect(upgrade?.changes).toEqual(changes);
    if (!upgrade) return;
    expect(valuesOf(upgrade)).toEqual({
      ...values,
      service: { ...(values.service as object | undefined), type: 'ClusterIP' },
    });
    expect(closeLayer4Upgrade(installed(valuesOf(upgrade)), milvus('cluster', 'ClusterIP'))).toBeUndefined();
  });
});

describe('any values', { timeout: 30_000 }, () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('yes', '0777', '1e3', '~', '', '# x', '2024-01-01', '\u2028\u0085\u007f\ufeff'),
  );
  const leaf = fc.oneof(
    text,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  );
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(fc.oneof(text, fc.constantFrom('extraEnv', 'annotations', 'type')), tie('tree'), {
        maxKeys: 4,
        noNullPrototype: true,
      }),
    ),
  }));
  const known = fc.record(
    {
      proxy: fc.record(
        {
          replicas: fc.nat(),
          extraEnv: fc.array(fc.record({ name: fc.string(), value: fc.string() }), { maxLength: 3 }),
        },
        { requiredKeys: [] },
      ),
      service: fc.record(
        {
          type: fc.constantFrom('ClusterIP', 'LoadBalancer'),
          annotations: fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true }),
        },
        { requiredKeys: [] },
      ),
      extraConfigFiles: fc.record(
        {
          'user.yaml': fc.constantFrom(
            '',
            '# c\n',
            'log:\n  level: info # l\n',
            'common: {security: {authorizationEnabled: true}}\n',
          ),
          'other.txt': text,
        },
        { requiredKeys: [] },
      ),
    },
    { requiredKeys: [] },
  );
  const values = fc
    .tuple(fc.dictionary(text, tree, { maxKeys: 4, noNullPrototype: true }), known)
    .map(([a, b]) => ({ ...a, ...b }));
  // A number that JSON cannot tell from another (-0) is none that Helm could keep.
  const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

  test('stay as they are but for the planned change, and the plan is then empty', () => {
    fc.assert(
      fc.property(values, fc.constantFrom('proxies' as const, 'release' as const), (generated, restart) => {
        const before = asJson(generated) as Record<string, unknown>;
        const original = structuredClone(before);
        const options = { restart, serviceAnnotations };
        const upgrade = cutOverUpgrade(installed(before), milvus('cluster'), options);
        expect(before).toEqual(original);
        const after = asJson(valuesOf(upgrade)) as Record<string, unknown>;
        expect(cutOverUpgrade(installed(after), milvus('cluster'), options)).toBeUndefined();
        expect(withoutPlannedChange(after)).toEqual(withoutPlannedChange(before));
      }),
      { numRuns: 100 },
    );
  });

  test('are written so that they read back', () => {
    fc.assert(
      fc.property(values, (generated) => {
        const before = asJson(generated) as Record<string, unknown>;
        for (const version of ['1.1', '1.2'] as const)
          expect(asJson(parse(valuesYaml(before), { version }))).toEqual(before);
      }),
    );
  });

  /** The values with what the cut-over may change reduced to a common form. */
  function withoutPlannedChange(all: Record<string, unknown>): unknown {
    const copy = structuredClone(all) as {
      proxy?: { extraEnv?: { name: string }[] };
      service?: { annotations?: Record<string, unknown> };
      extraConfigFiles?: Record<string, unknown>;
    };
    const { proxy, service, extraConfigFiles, ...rest } = copy;
    const { extraEnv = [], ...otherProxy } = proxy ?? {};
    const { annotations = {}, ...otherService } = service ?? {};
    const { 'user.yaml': userYaml = '', ...otherFiles } = extraConfigFiles ?? {};
    const settings = readConfigYaml(userYaml as string, 'user.yaml');
    settings.delete('commonsecuritytlsmode');
    settings.delete('proxyhttpport');
    for (const key of Object.keys(serviceAnnotations)) Reflect.deleteProperty(annotations, key);
    return {
      rest,
      otherProxy,
      otherService,
      otherFiles,
      annotations,
      settings,
      env: extraEnv.filter(({ name }) => name !== 'COMMON_SECURITY_TLSMODE' && name !== 'PROXY_HTTP_PORT'),
    };
  }
});
