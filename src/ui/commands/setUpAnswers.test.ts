import { describe, expect, it } from 'vitest';
import type { Intent, KubeObject, MilvusRelease } from '../../core/model.ts';
import {
  addressChoices,
  answersOf,
  certificateChoices,
  checkObjectName,
  checkResourceName,
  cutOverChoices,
  hostProposals,
  intentOf,
  isAddress,
  parseAnswers,
} from './setUpAnswers.ts';

const intent: Intent = {
  host: 'milvus.example.com',
  certificate: { kind: 'secret', name: 'tls' },
  address: { kind: 'static', name: 'milvus-ip' },
  restart: 'release',
  closeLayer4: true,
};

describe('answers', () => {
  it('become the intent they came from', () => {
    expect(intentOf(answersOf(intent), '')).toEqual(intent);
    expect(intentOf(answersOf(intent), 'modern')).toEqual({ ...intent, sslPolicy: 'modern' });
  });

  it.each(['host', 'certificate', 'address', 'restart', 'closeLayer4'] as const)('are no intent without %s', (key) => {
    const { [key]: _left, ...others } = answersOf(intent);
    expect(intentOf(others, '')).toBeUndefined();
  });

  it('are remembered, and forgotten where they make no sense', () => {
    expect(parseAnswers(JSON.parse(JSON.stringify(answersOf(intent))))).toEqual(answersOf(intent));
    expect(parseAnswers(null)).toEqual({});
    expect(
      parseAnswers({
        host: 1,
        certificate: { kind: 'files' },
        address: { kind: 'static' },
        restart: 'all',
        closeLayer4: 1,
      }),
    ).toEqual({});
  });
});

const object = (kind: string, name: string, spec: unknown): KubeObject => ({
  apiVersion: 'x',
  kind,
  metadata: { name },
  spec,
});

it('proposes host names of Ingresses and certificates, this release’s first, each once, no wildcards', () => {
  const proposals = hostProposals(
    [
      object('Ingress', 'web', { rules: [{ host: 'www.example.com' }, {}, null] }),
      object('Ingress', 'milvus', {
        rules: [{ host: 'milvus.example.com', http: { paths: [{ backend: { service: { name: 'my-release' } } }] } }],
      }),
      object('Ingress', 'broken', null),
    ],
    [
      object('ManagedCertificate', 'cert', {
        domains: ['milvus.example.com', 'other.example.com', '*.example.com', 7],
      }),
      object('ManagedCertificate', 'broken', { domains: 'x' }),
    ],
    'my-release',
  );
  expect(proposals).toEqual([
    { host: 'milvus.example.com', from: 'Ingress milvus' },
    { host: 'www.example.com', from: 'Ingress web' },
    { host: 'other.example.com', from: 'ManagedCertificate cert' },
  ]);
});

it('blocks the certificate kind that refuses the host name, with the reason', () => {
  const choices = certificateChoices('milvus.internal', (_host, kind) =>
    kind === 'managed' ? 'not public' : undefined,
  );
  expect(choices.map((choice) => choice.blocked)).toEqual(['not public', undefined, undefined, undefined]);
});

describe('addressChoices', () => {
  const addresses = [
    { name: 'a-used', address: '34.1.1.1', status: 'IN_USE' },
    { name: 'b-free', address: '34.1.1.2', status: 'RESERVED' },
  ];

  it('offers free addresses first, then to reserve one, then the ephemeral one with its price', () => {
    expect(addressChoices(addresses).map((choice) => choice.label)).toEqual([
      'b-free',
      'a-used',
      'Reserve a Static Address',
      'Ephemeral Address',
    ]);
  });

  it('asks for a name where there is no gcloud', () => {
    expect(addressChoices(undefined).map((choice) => choice.value)).toEqual(['name', { kind: 'ephemeral' }]);
  });

  it('finds the remembered answer again', () => {
    const chosen = (answer: Parameters<typeof isAddress>[1]) =>
      addressChoices(addresses).findIndex((choice) => isAddress(choice.value, answer));
    expect(chosen({ kind: 'static', name: 'a-used' })).toBe(1);
    expect(chosen({ kind: 'reserve', name: 'new' })).toBe(2);
    expect(chosen({ kind: 'ephemeral' })).toBe(3);
    expect(chosen(undefined)).toBe(-1);
  });
});

it('takes the names that Google and Kubernetes take', () => {
  expect(checkResourceName('milvus-ip')).toBeUndefined();
  expect(checkResourceName('a'.repeat(63))).toBeUndefined();
  for (const name of ['', '1a', 'a-', 'A', 'a.b', 'a'.repeat(64), 'a b']) expect(checkResourceName(name)).toBeDefined();
  expect(checkObjectName('tls.example')).toBeUndefined();
  for (const name of ['', '-a', 'a-', 'A', 'a/b', 'a'.repeat(254)]) expect(checkObjectName(name)).toBeDefined();
});

describe('cutOverChoices', () => {
  const release: MilvusRelease = {
    namespace: 'default',
    name: 'r',
    installer: 'helm',
    mode: 'cluster',
    service: object('Service', 'r', {}),
    port: { name: 'milvus', number: 19530 },
    servers: [],
    layer4: '35.2.3.4',
  };

  it('offers each restart with and without Layer 4', () => {
    expect(cutOverChoices(release).map((choice) => choice.value)).toEqual([
      { restart: 'proxies', closeLayer4: false },
      { restart: 'proxies', closeLayer4: true },
      { restart: 'release', closeLayer4: false },
      { restart: 'release', closeLayer4: true },
    ]);
  });

  it('offers only what makes a difference', () => {
    const { layer4: _layer4, ...inside } = release;
    expect(cutOverChoices({ ...inside, mode: 'standalone' }).map((choice) => choice.value)).toEqual([
      { restart: 'release', closeLayer4: false },
    ]);
  });

  it('keeps the answer on Layer 4 once it is closed', () => {
    const { layer4: _layer4, ...closed } = release;
    expect(cutOverChoices({ ...closed, mode: 'standalone' }, true).map((choice) => choice.value)).toEqual([
      { restart: 'release', closeLayer4: true },
    ]);
  });
});
