import fc from 'fast-check';
import { parse, stringify } from 'yaml';
import { describe, expect, test } from 'vitest';
import { changeConfigYaml, configKey, readConfigYaml } from './configYaml.ts';
import { ValuesError } from './valuesError.ts';

const file = 'user.yaml';
const cutOver = [
  { path: ['common', 'security', 'tlsMode'], value: 1 },
  { path: ['proxy', 'http', 'port'], value: 8080 },
];
const change = (yaml: string) => changeConfigYaml(yaml, cutOver, file);
const both = 'common:\n  security:\n    tlsMode: 1\nproxy:\n  http:\n    port: 8080\n';

test.each([
  ['COMMON_SECURITY_TLSMODE', 'common.security.tlsMode'],
  ['MILVUS_CONF_PROXY_HTTP_PORT', 'proxy.http.port'],
  ['common/security/tlsmode', 'common.security.tlsMode'],
])('%s names the setting %s', (name, path) => {
  expect(configKey(name)).toBe(configKey(path));
});

describe('a file without settings', () => {
  test.each([
    ['empty', '', both],
    ['null', '~\n', both],
    ['an empty map', '{}\n', both],
    ['an empty group', 'common:\nproxy: null\n', both],
    [
      'comments only',
      '# For example\n#   proxy:\n#     maxUserNum: 100\n',
      `# For example\n#   proxy:\n#     maxUserNum: 100\n\n${both}`,
    ],
  ])('%s', (_, before, after) => {
    expect(change(before)).toBe(after);
  });
});

describe('a file with settings', () => {
  test('keeps comments, order, spelling and lists', () => {
    const before = [
      '# Owner: search team',
      'common: # see the runbook',
      '  # authorization since March',
      '  security:',
      '    authorizationEnabled: true # never turn off',
      '',
      '# limits',
      'quotaAndLimits:',
      '  octal: 0777',
      '  big: 12345678901234567890',
      '  float: 1.10',
      '  yes: on',
      '  text: "0123"',
      "  single: 'it''s'",
      '  list:',
      '    - a',
      '    - {b: [1, 2]}',
      '  block: |+',
      '    keep',
      '',
      '# the end',
      '',
    ].join('\n');
    expect(change(before)).toBe(
      [
        '# Owner: search team',
        'common:',
        '  # see the runbook',
        '  # authorization since March',
        '  security:',
        '    authorizationEnabled: true # never turn off',
        '    tlsMode: 1',
        '',
        '# limits',
        'quotaAndLimits:',
        '  octal: 0777',
        '  big: 12345678901234567890',
        '  float: 1.10',
        '  yes: on',
        '  text: "0123"',
        "  single: 'it''s'",
        '  list:',
        '    - a',
        '    - {b: [1, 2]}',
        '  block: |+',
        '    keep',
        '',
        'proxy:',
        '  http:',
        '    port: 8080',
        '',
        '# the end',
        '',
      ].join('\n'),
    );
  });

  test.each([
    [
      'a present value',
      'common:\n  security:\n    tlsMode: 0 # off\nproxy:\n  http:\n    port: 19530\n',
      both.replace('1\n', '1 # off\n'),
    ],
    [
      'a value as text',
      'common:\n  security:\n    tlsMode: "0"\nproxy: {http: {port: "19530"}}\n',
      'common:\n  security:\n    tlsMode: 1\nproxy: {http: {port: 8080}}\n',
    ],
    [
      'another spelling',
      'Common:\n  security.tlsmode: 0\nproxy.http.port: 80\n',
      'Common:\n  security.tlsmode: 1\nproxy.http.port: 8080\n',
    ],
    [
      'flow maps',
      'common: {security: {authorizationEnabled: true}}\nproxy: {}\n',
      'common: {security: {authorizationEnabled: true, tlsMode: 1}}\nproxy: {http: {port: 8080}}\n',
    ],
    [
      'an alias on the way',
      'x: &s\n  authorizationEnabled: true\ncommon:\n  security: *s\nproxy.http.port: 8080\n',
      'x: &s\n  authorizationEnabled: true\ncommon:\n  security:\n    authorizationEnabled: true\n    tlsMode: 1\nproxy.http.port: 8080\n',
    ],
    [
      'a merge key on the way',
      'x: &s\n  security: {authorizationEnabled: true}\ncommon:\n  <<: *s\nproxy.http.port: 8080\n',
      'x: &s\n  security: {authorizationEnabled: true}\ncommon:\n  <<: *s\n  security: {authorizationEnabled: true, tlsMode: 1}\nproxy.http.port: 8080\n',
    ],
  ])('changes %s', (_, before, after) => {
    expect(change(before)).toBe(after);
  });
});

describe('refused, by line or place, without quoting the file', () => {
  test.each([
    [
      'no YAML',
      'minio:\n  secretAccessKey: hunter22\ncommon: [\n',
      'user.yaml is not valid YAML at line 4 (BAD_INDENT).',
    ],
    ['two values for one key', 'a: hunter22\na: 1\n', 'user.yaml is not valid YAML at line 2 (DUPLICATE_KEY).'],
    ['several documents', 'a: 1\n---\nb: 2\n', 'user.yaml is not valid YAML at line 2 (MULTIPLE_DOCS).'],
    ['a list', '- hunter22\n', 'user.yaml holds no settings: it must be a map, such as "common:".'],
    ['a text', 'hunter22\n', 'user.yaml holds no settings: it must be a map, such as "common:".'],
    [
      'a value for a group',
      'common: 5\n',
      'user.yaml has a single value at "common" where Milvus expects a group of settings.',
    ],
    [
      'a part shared with other settings',
      'common: &c\n  security:\n    a: 1\nother: *c\n',
      'user.yaml cannot be changed without altering other settings: it shares parts by anchors. Write them out, or let only the proxies restart.',
    ],
  ])('%s', (_, before, message) => {
    const refusal = (): string => change(before);
    expect(refusal).toThrow(ValuesError);
    expect(refusal).toThrow(message);
  });
});

test('reads settings as the text they are, without empty ones', () => {
  const settings = readConfigYaml('common:\n  security:\n    tlsMode: 01\n    x:\nlist: [1, a]\ny: ~\n', file);
  expect([...settings]).toEqual([
    ['commonsecuritytlsmode', '01'],
    ['list', '["1","a"]'],
  ]);
});

test('changes nothing else in any file, and changing twice is changing once', { timeout: 30_000 }, () => {
  const leaf = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  );
  const key = fc.oneof(
    fc.constantFrom('common', 'security', 'proxy', 'http', 'log', 'level', 'a.b'),
    fc.stringMatching(/^[a-z][a-zA-Z]{0,8}$/),
  );
  const { tree } = fc.letrec<{ tree: unknown; map: Record<string, unknown> }>((tie) => ({
    map: fc.dictionary(key, tie('tree'), { maxKeys: 5, noNullPrototype: true }),
    tree: fc.oneof({ maxDepth: 4 }, leaf, fc.array(leaf, { maxLength: 3 }), tie('map')),
  }));
  fc.assert(
    fc.property(fc.dictionary(key, tree, { maxKeys: 6, noNullPrototype: true }), (settings) => {
      const before = stringify(settings);
      let after: string;
      try {
        after = change(before);
      } catch (error) {
        // Refusing is right, losing is not: such files have a value, or one setting in two spellings, on the way.
        expect(error).toBeInstanceOf(ValuesError);
        return;
      }
      expect(change(after)).toBe(after);
      const wanted = readConfigYaml(before, file);
      wanted.set(configKey('common.security.tlsMode'), '1').set(configKey('proxy.http.port'), '8080');
      expect(readConfigYaml(after, file)).toEqual(wanted);
      const untouched = (yaml: string): unknown =>
        Object.entries((parse(yaml) ?? {}) as object).filter(([name]) => !/^(common|proxy)/i.test(name));
      expect(untouched(after)).toEqual(untouched(before));
    }),
    { numRuns: 150 },
  );
});
