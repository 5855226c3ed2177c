/** Every schema through the real YAML language server. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { schemas, type Schema } from '../../schemas/generate.ts';
import { backendConfig, frontendConfig, ingress, managedCertificate } from '../../src/core/gke/objects.ts';
import { complete, hover, schemaFolder, validate } from './languageService.ts';

const generated = schemas();
const kinds: Record<string, { apiVersion: string; kind: string }> = {
  'backendconfig.v1.json': { apiVersion: 'cloud.google.com/v1', kind: 'BackendConfig' },
  'backendconfig.v1beta1.json': { apiVersion: 'cloud.google.com/v1beta1', kind: 'BackendConfig' },
  'managedcertificate.v1.json': { apiVersion: 'networking.gke.io/v1', kind: 'ManagedCertificate' },
  'frontendconfig.v1beta1.json': { apiVersion: 'networking.gke.io/v1beta1', kind: 'FrontendConfig' },
  'ingress.v1.json': { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress' },
  'service.v1.json': { apiVersion: 'v1', kind: 'Service' },
};

/** A field of a schema: the keys that lead to it; `[]` is an entry of a list. */
interface Field {
  path: string[];
  suggested: boolean;
  schema: Schema;
}

function fields(schema: Schema, above: string[] = []): Field[] {
  const found: Field[] = [];
  for (const [name, field] of Object.entries((schema.properties ?? {}) as Record<string, Schema>)) {
    const suggested = field.doNotSuggest !== true && field.deprecationMessage === undefined;
    found.push({ path: [...above, name], suggested, schema: field });
    if (suggested) found.push(...fields(field, [...above, name]));
  }
  if (schema.items) {
    const items = schema.items as Schema;
    found.push({ path: [...above, '[]'], suggested: true, schema: items }, ...fields(items, [...above, '[]']));
  }
  return found;
}

/** A manifest that ends where the field would stand: its key is `last`. */
function manifestAt(file: string, keys: readonly string[], last: string): string {
  const { apiVersion, kind } = kinds[file] ?? { apiVersion: '', kind: '' };
  // A Service is ours only where it has an annotation of GKE.
  const mark = kind === 'Service' ? '# cloud.google.com/neg\n' : '';
  let text = `${mark}apiVersion: ${apiVersion}\nkind: ${kind}\n`;
  let indent = '';
  let entry = false;
  for (const key of keys.slice(0, -1)) {
    if (key === '[]') {
      entry = true;
      continue;
    }
    text += entry ? `${indent}- ${key}:\n` : `${indent}${key}:\n`;
    indent += entry ? '    ' : '  ';
    entry = false;
  }
  return text + (entry ? `${indent}- ` : indent) + last;
}

describe('schema files', () => {
  it('are what their source makes', () => {
    const files = readdirSync(schemaFolder).filter((file) => file.endsWith('.json'));
    expect(files.sort()).toEqual(Object.keys(generated).sort());
    for (const file of files)
      expect(JSON.parse(readFileSync(path.join(schemaFolder, file), 'utf8')), file).toEqual(generated[file]);
  });

  it('are valid and strict JSON schemas of draft 7, each with a title', () => {
    const ajv = new Ajv({ strict: true, strictRequired: false, strictTypes: false, allErrors: true });
    for (const keyword of [
      'errorMessage',
      'patternErrorMessage',
      'deprecationMessage',
      'doNotSuggest',
      'markdownDescription',
    ])
      ajv.addKeyword({ keyword });
    for (const [file, schema] of Object.entries(generated)) {
      expect(schema.title, file).toEqual(expect.any(String));
      expect(ajv.validateSchema(schema), `${file}: ${ajv.errorsText()}`).toBe(true);
      ajv.addSchema(schema, file);
    }
    for (const file of Object.keys(generated)) expect(ajv.getSchema(file), file).toBeTypeOf('function');
  });
});

describe.each(Object.keys(kinds))('%s', (file) => {
  const all = fields(generated[file] ?? {});

  it('describes every field where the pointer rests', async () => {
    expect(all.length).toBeGreaterThan(5);
    for (const field of all.filter(({ suggested }) => suggested)) {
      const name = field.path.at(-1) ?? '';
      if (name === '[]') continue;
      const isHead = field.path.length === 1 && (name === 'kind' || name === 'apiVersion');
      const text = isHead
        ? manifestAt(file, ['x'], '').replace(`${name}:`, `|${name}:`)
        : manifestAt(file, field.path, `|${name}: `);
      const shown = await hover(text);
      expect(shown, field.path.join('.')).toMatch(/https:\/\//);
    }
  });

  it('completes every field, and none that is a mistake', async () => {
    const places = new Map<string, Field[]>();
    for (const field of all) {
      if (field.path.length === 1 && ['apiVersion', 'kind'].includes(field.path[0] ?? '')) continue;
      if (field.path.at(-1) === '[]') continue;
      const place = field.path.slice(0, -1).join('\n');
      places.set(place, [...(places.get(place) ?? []), field]);
    }
    for (const here of places.values()) {
      const labels = await complete(manifestAt(file, here[0]?.path ?? [], '|'));
      for (const { path: keys, suggested } of here) {
        const name = keys.at(-1) ?? '';
        if (suggested) expect(labels, keys.join('.')).toContain(name);
        else expect(labels, keys.join('.')).not.toContain(name);
      }
    }
  });
});

describe.each(Object.keys(kinds))('%s', (file) => {
  const all = fields(generated[file] ?? {});

  it('refuses an unknown field in every object, but for labels and annotations', async () => {
    const open: string[] = [];
    const root: Field = { path: [], suggested: true, schema: generated[file] ?? {} };
    for (const { path: keys, schema, suggested } of [root, ...all]) {
      if (schema.type !== 'object' || !suggested) continue;
      // On a line of its own: the server shows one finding where two of one text begin at one place.
      const text = manifestAt(file, [...keys, 'x'], 'first: text');
      const indent = (text.split('\n').at(-1) ?? '').replace('- ', '  ').replace(/\S.*/, '');
      const found = await validate(`${text}\n${indent}notAField: text\n`);
      const refused = found.some(
        ({ at, message }) => at === 'notAField' && message.startsWith('Only these fields count'),
      );
      if (!refused) open.push(keys.join('.'));
    }
    // What the API server keeps of a Service is more than is described here.
    const service = file === 'service.v1.json' ? [''] : [];
    expect(open).toEqual([...service, 'metadata.labels', 'metadata.annotations']);
  });

  it('accepts every range up to its ends and nothing beyond', async () => {
    for (const { path: keys, schema } of all) {
      const { minimum, maximum } = schema;
      if (typeof minimum !== 'number' || typeof maximum !== 'number') continue;
      const findings = async (value: number): Promise<string[]> => {
        const text = manifestAt(file, keys, `${keys.at(-1) ?? ''}: ${String(value)}`);
        return (await validate(text)).filter(({ at }) => at === String(value)).map(({ message }) => message);
      };
      expect(await findings(minimum), keys.join('.')).toEqual([]);
      expect(await findings(maximum), keys.join('.')).toEqual([]);
      expect(await findings(minimum - 1), keys.join('.')).toEqual([expect.stringContaining('minimum')]);
      expect(await findings(maximum + 1), keys.join('.')).toEqual([expect.stringContaining('maximum')]);
    }
  });
});

describe('good manifests', () => {
  const head = { name: 'my-release', namespace: 'milvus' };
  const own = { host: 'milvus.example.com', service: 'my-release-milvus', port: 19530 };
  const good: Record<string, string> = {
    'our BackendConfig': stringify(backendConfig(head)),
    'our FrontendConfig': stringify(frontendConfig({ ...head, sslPolicy: 'modern' })),
    'our ManagedCertificate': stringify(managedCertificate({ ...head, domains: ['milvus.example.com'] })),
    'our Ingress with a Secret': stringify(ingress({ ...head, ...own, tlsSecret: 'tls', staticAddress: 'address' })),
    'our Ingress with a ManagedCertificate': stringify(
      ingress({ ...head, ...own, managedCertificate: 'cert', frontendConfig: 'front' }),
    ),
    'a BackendConfig v1beta1':
      'apiVersion: cloud.google.com/v1beta1\nkind: BackendConfig\nmetadata: {name: a}\nspec: {iap: {enabled: true, oauthclientCredentials: {secretName: s}}}\n',
    'BackendConfig with everything': `apiVersion: cloud.google.com/v1
kind: BackendConfig
metadata: {name: a, labels: {app: milvus}, uid: x, resourceVersion: "1"}
spec:
  timeoutSec: 2147483647
  sessionAffinity: {affinityType: GENERATED_COOKIE, affinityCookieTtlSec: 86400}
  securityPolicy: {name: ""}
  logging: {enable: true, sampleRate: 0.5}
  customRequestHeaders: {headers: ["X-Client-Region:{client_region}"]}
  cdn: {enabled: true, cacheMode: FORCE_CACHE_ALL, negativeCachingPolicy: [{code: 404, ttl: 60}], signedUrlKeys: [{keyName: k, secretName: s}]}
`,
    'a Service': `apiVersion: v1
kind: Service
metadata:
  name: milvus
  annotations:
    cloud.google.com/app-protocols: '{"milvus":"HTTP2", "web":"HTTP"}'
    cloud.google.com/backend-config: '{"ports": {"milvus":"a", "19530": "b"}, "default":"c"}'
    cloud.google.com/neg: '{"ingress":true,"exposed_ports":{"19530":{}}}'
    cloud.google.com/neg-status: '{}'
spec: {anything: goes}
`,
    'an Ingress with a default backend and an exact path': `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: a, annotations: {other.example.com/x: y, networking.gke.io/managed-certificates: "a, b"}}
spec:
  defaultBackend: {service: {name: a, port: {name: milvus}}}
  rules:
    - http: {paths: [{path: /*, pathType: ImplementationSpecific, backend: {service: {name: a, port: {number: 1}}}}]}
`,
  };
  it.each(Object.entries(good))('%s has no finding', async (_, text) => {
    expect(await validate(text)).toEqual([]);
  });
});

const backendConfigWith = (spec: string): string =>
  `apiVersion: cloud.google.com/v1\nkind: BackendConfig\nmetadata:\n  name: a\nspec:\n  ${spec}\n`;
const healthCheckWith = (field: string): string => backendConfigWith(`healthCheck: {${field}}`);
const certificateWith = (domains: string): string =>
  `apiVersion: networking.gke.io/v1\nkind: ManagedCertificate\nmetadata:\n  name: a\nspec:\n  ${domains}\n`;
const frontendConfigWith = (spec: string): string =>
  `apiVersion: networking.gke.io/v1beta1\nkind: FrontendConfig\nmetadata:\n  name: a\nspec:\n  ${spec}\n`;
const ingressWith = (annotation: string, spec = 'rules: []'): string =>
  `apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: a\n  annotations:\n    ${annotation}\nspec:\n  ${spec}\n`;
const pathWith = (path: string): string =>
  ingressWith('a: b', `rules: [{host: a.example.com, http: {paths: [${path}]}}]`);
const serviceWith = (annotation: string): string =>
  `# cloud.google.com/\napiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  annotations:\n    ${annotation}\n`;
const to = 'backend: {service: {name: a, port: {number: 19530}}}';

/** What is wrong, the manifest, what the finding says, and the text that it stands at. */
const bad: [string, string, RegExp, string][] = [
  ['BackendConfig: protocol for type', healthCheckWith('protocol: HTTP'), /"type" instead of "protocol"/, 'HTTP'],
  ['BackendConfig: lower-case type', healthCheckWith('type: http'), /HTTP, HTTPS or HTTP2 in capitals/, 'http'],
  ['BackendConfig: gRPC check', healthCheckWith('type: GRPC'), /no gRPC or TCP check/, 'GRPC'],
  [
    'BackendConfig: unknown field',
    healthCheckWith('portt: 9091'),
    /Only these fields count here: checkIntervalSec/,
    'portt',
  ],
  ['BackendConfig: port as text', healthCheckWith('port: "9091"'), /without quotes/, '"9091"'],
  ['BackendConfig: port too high', healthCheckWith('port: 70000'), /maximum of 65535/, '70000'],
  ['BackendConfig: interval of 0', healthCheckWith('checkIntervalSec: 0'), /minimum of 1/, '0'],
  ['BackendConfig: interval over 300', healthCheckWith('checkIntervalSec: 301'), /maximum of 300/, '301'],
  ['BackendConfig: time-out over 300', healthCheckWith('timeoutSec: 301'), /maximum of 300/, '301'],
  ['BackendConfig: threshold over 10', healthCheckWith('healthyThreshold: 11'), /maximum of 10/, '11'],
  ['BackendConfig: threshold of 0', healthCheckWith('unhealthyThreshold: 0'), /minimum of 1/, '0'],
  ['BackendConfig: relative path', healthCheckWith('requestPath: healthz'), /begins with "\/"/, 'healthz'],
  ['BackendConfig: time-out of 0', backendConfigWith('timeoutSec: 0'), /minimum of 1/, '0'],
  [
    'BackendConfig: draining too long',
    backendConfigWith('connectionDraining: {drainingTimeoutSec: 3601}'),
    /maximum of 3600/,
    '3601',
  ],
  [
    'BackendConfig: affinity',
    backendConfigWith('sessionAffinity: {affinityType: COOKIE}'),
    /NONE, CLIENT_IP or GENERATED_COOKIE/,
    'COOKIE',
  ],
  [
    'BackendConfig: cookie too old',
    backendConfigWith('sessionAffinity: {affinityCookieTtlSec: 86401}'),
    /maximum of 86400/,
    '86401',
  ],
  ['BackendConfig: sample rate', backendConfigWith('logging: {sampleRate: 2}'), /maximum of 1/, '2'],
  [
    'BackendConfig: logging.enabled',
    backendConfigWith('logging: {enabled: true}'),
    /"enable" instead of "enabled"/,
    'true',
  ],
  ['BackendConfig: header', backendConfigWith('customRequestHeaders: {headers: [X-A]}'), /Name:Value/, 'X-A'],
  ['BackendConfig: policy without name', backendConfigWith('securityPolicy: {}'), /Required: name/, 'securityPolicy'],
  [
    'BackendConfig: IAP and CDN',
    backendConfigWith('{iap: {enabled: true}, cdn: {enabled: true}}').replace('spec:\n ', 'spec:'),
    /iap and cdn together/,
    'true',
  ],
  [
    'BackendConfig: wrong version',
    backendConfigWith('timeoutSec: 30').replace('google.com/v1', 'google.com/v2'),
    /Write cloud.google.com\/v1/,
    'cloud.google.com/v2',
  ],
  [
    'BackendConfig: logging in v1beta1',
    backendConfigWith('logging: {enable: true}').replace('/v1', '/v1beta1'),
    /Write apiVersion: cloud.google.com\/v1/,
    '{enable: true}',
  ],
  ['ManagedCertificate: wildcard', certificateWith('domains: ["*.example.com"]'), /no wildcard/, '"*.example.com"'],
  [
    'ManagedCertificate: capitals',
    certificateWith('domains: [Milvus.example.com]'),
    /lower case/,
    'Milvus.example.com',
  ],
  [
    'ManagedCertificate: dot at the end',
    certificateWith('domains: [milvus.example.com.]'),
    /no dot at the end/,
    'milvus.example.com.',
  ],
  ['ManagedCertificate: address', certificateWith('domains: [203.0.113.7]'), /no address/, '203.0.113.7'],
  [
    'ManagedCertificate: long name',
    certificateWith(`domains: [${'a'.repeat(60)}.com]`),
    /maximum length of 63/,
    `${'a'.repeat(60)}.com`,
  ],
  ['ManagedCertificate: none', certificateWith('domains: []'), /too few items/i, '[]'],
  [
    'ManagedCertificate: 101',
    certificateWith(`domains: [${Array.from({ length: 101 }, (_, i) => `a${String(i)}.com`).join(', ')}]`),
    /too many items/i,
    '',
  ],
  ['ManagedCertificate: text for list', certificateWith('domains: a.com'), /Write a list/, 'a.com'],
  ['ManagedCertificate: domain', certificateWith('domains: [a.com]\n  domain: a.com'), /"domains", a list/, 'a.com'],
  [
    'ManagedCertificate: older version',
    certificateWith('domains: [a.com]').replace('/v1', '/v1beta2'),
    /older versions .* deprecated/,
    'networking.gke.io/v1beta2',
  ],
  [
    'FrontendConfig: v1',
    frontendConfigWith('sslPolicy: a').replace('/v1beta1', '/v1'),
    /Write networking.gke.io\/v1beta1/,
    'networking.gke.io/v1',
  ],
  ['FrontendConfig: policy', frontendConfigWith('sslPolicy: TLS_1_2'), /name of a global SSL policy/, 'TLS_1_2'],
  [
    'FrontendConfig: status code',
    frontendConfigWith('redirectToHttps: {enabled: true, responseCodeName: "301"}'),
    /MOVED_PERMANENTLY_DEFAULT \(301\)/,
    '"301"',
  ],
  [
    'FrontendConfig: flag as text',
    frontendConfigWith('redirectToHttps: {enabled: "true"}'),
    /without quotes/,
    '"true"',
  ],
  [
    'Ingress: class gce as a field',
    ingressWith('a: b', 'ingressClassName: gce'),
    /annotation kubernetes.io\/ingress.class: gce/,
    'gce',
  ],
  ['Ingress: allow-http as a boolean', ingressWith('kubernetes.io/ingress.allow-http: false'), /with quotes/, 'false'],
  [
    'Ingress: address for its name',
    ingressWith('kubernetes.io/ingress.global-static-ip-name: 203.0.113.7'),
    /not the address itself/,
    '203.0.113.7',
  ],
  [
    'Ingress: BackendConfig on it',
    ingressWith(`cloud.google.com/backend-config: '{"default":"a"}'`),
    /Move this line to the Service/,
    `'{"default":"a"}'`,
  ],
  ['Ingress: FrontendConfig key', ingressWith('networking.gke.io/FrontendConfig: a'), /v1beta1.FrontendConfig/, 'a'],
  [
    'Ingress: certificates as a list',
    ingressWith('networking.gke.io/managed-certificates: [a]'),
    /parted by commas/,
    '[a]',
  ],
  ['Ingress: wildcard with Prefix', pathWith(`{path: /*, pathType: Prefix, ${to}}`), /"\/" with Prefix/, '/*'],
  ['Ingress: no pathType', pathWith(`{path: /, ${to}}`), /Required: pathType/, '{'],
  [
    'Ingress: pathType',
    pathWith(`{path: /, pathType: prefix, ${to}}`),
    /Prefix, Exact or ImplementationSpecific/,
    'prefix',
  ],
  ['Ingress: relative path', pathWith(`{path: a, pathType: Prefix, ${to}}`), /begins with "\/"/, 'a'],
  [
    'Ingress: port as text',
    pathWith('{path: /, pathType: Prefix, backend: {service: {name: a, port: {number: "1"}}}}'),
    /without quotes/,
    '"1"',
  ],
  [
    'Ingress: port by name and number',
    pathWith('{path: /, pathType: Prefix, backend: {service: {name: a, port: {name: b, number: 1}}}}'),
    /either number or name/,
    'b',
  ],
  [
    'Ingress: old backend',
    pathWith('{path: /, pathType: Prefix, backend: {serviceName: a, service: {name: a, port: {number: 1}}}}'),
    /form of networking.k8s.io\/v1beta1/,
    'a',
  ],
  [
    'Ingress: resource backend',
    pathWith('{path: /, pathType: Prefix, backend: {resource: {}, service: {name: a, port: {number: 1}}}}'),
    /"service:" instead of "resource:"/,
    '{}',
  ],
  ['Ingress: rule without http', ingressWith('a: b', 'rules: [{host: a.example.com}]'), /Required: http/, '{'],
  [
    'Ingress: host with port',
    ingressWith('a: b', `rules: [{host: "a.example.com:443", http: {paths: [{path: /, pathType: Prefix, ${to}}]}}]`),
    /without port/,
    '"a.example.com:443"',
  ],
  ['Ingress: tls without Secret', ingressWith('a: b', 'tls: [{hosts: [a.example.com]}]'), /Required: secretName/, '{'],
  [
    'Ingress: removed version',
    ingressWith('a: b').replace('k8s.io/v1', 'k8s.io/v1beta1'),
    /Write networking.k8s.io\/v1/,
    'networking.k8s.io/v1beta1',
  ],
  ['Ingress: number as annotation', ingressWith('a: 1'), /in quotes/, '1'],
  [
    'Service: port number in app-protocols',
    serviceWith(`cloud.google.com/app-protocols: '{"19530":"HTTP2"}'`),
    /name of the Service port \(not its number\)/,
    `'{"19530":"HTTP2"}'`,
  ],
  [
    'Service: gRPC protocol',
    serviceWith(`cloud.google.com/app-protocols: '{"milvus":"GRPC"}'`),
    /HTTP, HTTPS or HTTP2/,
    `'{"milvus":"GRPC"}'`,
  ],
  [
    'Service: app-protocols as an object',
    serviceWith('cloud.google.com/app-protocols: {"milvus":"HTTP2"}'),
    /JSON in quotes/,
    '{"milvus":"HTTP2"}',
  ],
  [
    'Service: BackendConfig by name',
    serviceWith('cloud.google.com/backend-config: my-config'),
    /"default"/,
    'my-config',
  ],
  [
    'Service: empty BackendConfig',
    serviceWith(`cloud.google.com/backend-config: '{"ports":{}}'`),
    /"default"/,
    `'{"ports":{}}'`,
  ],
  [
    'Service: neg with text for true',
    serviceWith(`cloud.google.com/neg: '{"ingress":"true"}'`),
    /true is without quotes/,
    `'{"ingress":"true"}'`,
  ],
  [
    'Service: key without s',
    serviceWith(`cloud.google.com/app-protocol: '{"milvus":"HTTP2"}'`),
    /with "s" at the end/,
    `'{"milvus":"HTTP2"}'`,
  ],
  [
    'Service: beta key',
    serviceWith(`beta.cloud.google.com/backend-config: '{"default":"a"}'`),
    /deprecated/,
    `beta.cloud.google.com/backend-config: '{"default":"a"}'`,
  ],
  [
    'Service: alpha key',
    serviceWith(`service.alpha.kubernetes.io/app-protocols: '{"a":"HTTP2"}'`),
    /deprecated, and wins/,
    `service.alpha.kubernetes.io/app-protocols: '{"a":"HTTP2"}'`,
  ],
  [
    'Service: certificates on it',
    serviceWith('networking.gke.io/managed-certificates: a'),
    /Move this line to the Ingress/,
    'a',
  ],
];

describe('bad manifests', () => {
  it.each(bad)('%s is refused in words', async (_, text, says, at) => {
    const found = await validate(text);
    expect(found).toEqual([expect.objectContaining({ message: expect.stringMatching(says) as string })]);
    expect(found[0]?.source).toMatch(/^yaml-schema: GKE /);
    if (at !== '') expect(found[0]?.at).toBe(at);
  });
});

describe('documents of others', () => {
  const others = `apiVersion: v1
kind: Service
metadata: {name: other, annotations: {a: b}, labels: {x: y}}
spec: {ports: [{port: 80}], whatever: 1}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: other, whatever: 1}
spec: {healthCheck: {protocol: HTTP}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: nginx}
spec: {ingressClassName: nginx, whatever: 1}
---
just: a map
---
- a list
---
42
`;
  it('stay untouched beside one of ours, which keeps its finding', async () => {
    const found = await validate(`${others}---\n${healthCheckWith('protocol: HTTP')}---\n${others}`);
    expect(found.map(({ message }) => message)).toEqual([expect.stringMatching(/"type" instead of "protocol"/)]);
  });

  it('complete their kind from ours and no fields of ours', async () => {
    expect(await complete('apiVersion: cloud.google.com/v1\nkind: BackendConfig\n---\nkind: |')).toEqual(
      expect.arrayContaining(['BackendConfig', 'ManagedCertificate', 'FrontendConfig', 'Ingress', 'Service']),
    );
    const labels = await complete(
      `${healthCheckWith('port: 1')}---\napiVersion: apps/v1\nkind: Deployment\nspec:\n  |`,
    );
    expect(labels).not.toContain('healthCheck');
  });
});
