/**
 * Source of the JSON schemas beside it: `node test/node.mjs schemas/generate.ts` writes them.
 *
 * Facts: the CRDs of kubernetes/ingress-gce (`pkg/apis/backendconfig`, `pkg/apis/frontendconfig`,
 * `pkg/backendconfig/validation.go`, `pkg/translator/healthchecks.go`) and GoogleCloudPlatform/gke-managed-certs
 * (`deploy/managedcertificates-crd.yaml`); annotations: kubernetes/ingress-gce `pkg/annotations`, `pkg/negannotation`;
 * the ranges that only Google's API enforces: the Compute API reference (backendServices, healthChecks).
 *
 * `errorMessage`, `patternErrorMessage`, `deprecationMessage` and `doNotSuggest` are extensions of yaml-language-server.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';

/** A JSON schema of draft 7. */
export type Schema = Record<string, unknown>;

const docs = 'https://cloud.google.com/kubernetes-engine/docs';
const source = {
  backendConfig: `${docs}/how-to/ingress-configuration`,
  ingress: `${docs}/concepts/ingress-xlb`,
  managedCertificate: `${docs}/how-to/managed-certs`,
  negs: `${docs}/how-to/standalone-neg`,
  service: `${docs}/concepts/service-load-balancer-parameters`,
  http2: `${docs}/how-to/ingress-http2`,
  compute: 'https://cloud.google.com/compute/docs/reference/rest/v1/backendServices',
  healthChecks: 'https://cloud.google.com/compute/docs/reference/rest/v1/healthChecks',
  cdn: 'https://cloud.google.com/cdn/docs/caching',
  kubernetes: 'https://kubernetes.io/docs/reference/kubernetes-api',
} as const;

/** What a field means. `range` and `default` are shown; the schema's own keywords enforce them. */
interface Doc {
  text: string;
  range?: string;
  default?: string;
  link: string;
}

/** Texts of a field: plain for editors without Markdown, and Markdown with default, range and source. */
function described(doc: Doc): Schema {
  const facts = [
    ...(doc.default === undefined
      ? []
      : [`Default: ${doc.default.includes(' ') ? doc.default : `\`${doc.default}\``}.`]),
    ...(doc.range === undefined ? [] : [`Allowed: ${doc.range}.`]),
  ];
  return {
    description: [doc.text, ...facts].join(' ').replaceAll('`', ''),
    markdownDescription: [doc.text, ...facts, `[Source](${doc.link})`].join('\n\n'),
  };
}

function whole(doc: Doc, minimum: number, maximum: number): Schema {
  return {
    ...described({ range: `${String(minimum)} to ${String(maximum)}`, ...doc }),
    type: 'integer',
    minimum,
    maximum,
    errorMessage: `Write a whole number from ${String(minimum)} to ${String(maximum)}, without quotes.`,
  };
}

function flag(doc: Doc): Schema {
  return { ...described(doc), type: 'boolean', errorMessage: 'Write true or false, without quotes.' };
}

function words(doc: Doc): Schema {
  return { ...described(doc), type: 'string', errorMessage: 'Write text; put a number or true/false in quotes.' };
}

function choice(doc: Doc, values: readonly string[], errorMessage: string): Schema {
  const range = values.map((value) => `\`${value}\``).join(', ');
  return { ...described({ range, ...doc }), type: 'string', enum: values, errorMessage };
}

function matching(doc: Doc, pattern: string, message: string): Schema {
  return { ...described(doc), type: 'string', pattern, patternErrorMessage: message, errorMessage: message };
}

function list(doc: Doc, items: Schema, limits: Schema = {}): Schema {
  return {
    ...described(doc),
    type: 'array',
    items,
    errorMessage: 'Write a list: one entry a line, each after "- ".',
    ...limits,
  };
}

/** A field that people write by mistake and the API server would drop: refused with what to write instead. */
function mistake(errorMessage: string): Schema {
  return { description: errorMessage, type: 'null', errorMessage, doNotSuggest: true };
}

/** An object whose other fields the API server would drop without a word. */
function closed(doc: Doc | undefined, properties: Record<string, Schema>, required: readonly string[] = []): Schema {
  const known = Object.entries(properties)
    .filter(([, field]) => field.doNotSuggest !== true)
    .map(([name]) => name);
  const needed = required.length === 0 ? '' : ` Required: ${required.join(', ')}.`;
  return {
    ...(doc ? described(doc) : {}),
    type: 'object',
    properties,
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
    errorMessage: `Only these fields count here: ${known.join(', ')}. The API server drops others without a word.${needed}`,
  };
}

const rfc1123 = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$';
const rfc1035 = '^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$';
const objectNameMessage = 'Write lower-case letters, digits, hyphens and dots; begin and end with a letter or digit.';

const metaLink = `${source.kubernetes}/common-definitions/object-meta/`;

function objectName(text: string, link: string): Schema {
  return { ...matching({ text, link }, rfc1123, objectNameMessage), maxLength: 253 };
}

function metadata(annotations: Record<string, Schema> = {}, nameMaxLength = 253): Schema {
  const server = { description: 'Written by the API server.', doNotSuggest: true };
  const map = (text: string, properties: Record<string, Schema>): Schema => ({
    ...described({ text, link: metaLink }),
    type: 'object',
    properties,
    additionalProperties: { type: 'string', errorMessage: 'Put the value in quotes: the API server takes text only.' },
    errorMessage: 'Write one "key: value" a line.',
  });
  return closed(
    { text: 'Name, namespace, labels and annotations of the object.', link: metaLink },
    {
      name: {
        ...objectName('Name of the object, unique for its kind in the namespace.', metaLink),
        maxLength: nameMaxLength,
      },
      namespace: {
        ...matching(
          {
            text: 'Namespace of the object. GKE finds BackendConfig, certificate, Secret and Service only in one namespace.',
            link: metaLink,
          },
          '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$',
          'Write lower-case letters, digits and hyphens; begin and end with a letter or digit.',
        ),
        maxLength: 63,
      },
      labels: map('Labels, by which objects are selected.', {}),
      annotations: map('Annotations, by which controllers are told more.', annotations),
      generateName: {
        ...words({ text: 'Begin of a name that the API server completes.', link: metaLink }),
        doNotSuggest: true,
      },
      finalizers: {
        type: 'array',
        items: { type: 'string' },
        description: 'Written by controllers.',
        doNotSuggest: true,
      },
      ownerReferences: {
        type: 'array',
        items: { type: 'object' },
        description: 'Written by controllers.',
        doNotSuggest: true,
      },
      ...Object.fromEntries(
        [
          'uid',
          'resourceVersion',
          'generation',
          'creationTimestamp',
          'deletionTimestamp',
          'deletionGracePeriodSeconds',
          'managedFields',
          'selfLink',
        ].map((name) => [name, server]),
      ),
    },
  );
}

function kindOf(options: {
  title: string;
  text: string;
  link: string;
  apiVersion: Schema;
  kind: string;
  metadata: Schema;
  spec: Schema;
  specRequired?: boolean;
  rest?: Schema;
}): Schema {
  const object = closed(
    undefined,
    {
      apiVersion: options.apiVersion,
      kind: {
        ...described({ text: options.text, link: options.link }),
        const: options.kind,
        errorMessage: `Write ${options.kind}.`,
      },
      metadata: options.metadata,
      spec: options.spec,
      status: { description: 'Written by controllers.', type: 'object', doNotSuggest: true },
    },
    ['apiVersion', 'kind', 'metadata', ...(options.specRequired === false ? [] : ['spec'])],
  );
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: options.title,
    ...described({ text: options.text, link: options.link }),
    ...object,
    ...options.rest,
  };
}

function version(value: string, text: string, link: string): Schema {
  return { ...described({ text, link }), const: value, errorMessage: `Write ${value}.` };
}

// --- BackendConfig --------------------------------------------------------------------------------------------------

function backendConfig(apiVersion: 'v1' | 'v1beta1'): Schema {
  const link = source.backendConfig;
  const year = 31_622_400;
  const headerList = (text: string): Schema =>
    closed(
      { text, link },
      {
        headers: list(
          { text: 'Headers, each as `Name:Value`.', link },
          {
            type: 'string',
            pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+:.*$",
            patternErrorMessage: 'Write a header as Name:Value.',
            errorMessage: 'Write a header as text in quotes: "Name:Value".',
          },
        ),
      },
    );
  const secretName = (text: string): Schema => objectName(text, link);
  const spec = closed(
    { text: 'How the load balancer treats the backends of a Service. Every field may be absent.', link },
    {
      healthCheck: closed(
        {
          text: 'How the load balancer finds out which pods are healthy. Milvus answers HTTP on port 9091, path `/healthz`, whether gRPC speaks TLS or not; without this GKE asks the gRPC port and finds every pod unhealthy.',
          link,
        },
        {
          checkIntervalSec: whole(
            { text: 'Seconds between two checks.', default: '15', link: source.healthChecks },
            1,
            300,
          ),
          timeoutSec: whole(
            {
              text: 'Seconds after which a check without answer has failed. At most `checkIntervalSec`.',
              default: '15',
              link: source.healthChecks,
            },
            1,
            300,
          ),
          healthyThreshold: whole(
            { text: 'Checks in a row that make a pod healthy.', default: '1', link: source.healthChecks },
            1,
            10,
          ),
          unhealthyThreshold: whole(
            { text: 'Failed checks in a row that make a pod unhealthy.', default: '2', link: source.healthChecks },
            1,
            10,
          ),
          type: choice(
            { text: 'Protocol of the check. For Milvus: `HTTP`.', default: 'the protocol of the Service port', link },
            ['HTTP', 'HTTPS', 'HTTP2'],
            'Write HTTP, HTTPS or HTTP2 in capitals; for Milvus HTTP. GKE knows no gRPC or TCP check here.',
          ),
          requestPath: matching(
            { text: 'Path that is asked for. For Milvus: `/healthz`.', default: '/', link },
            '^/',
            'Write a path that begins with "/"; for Milvus /healthz.',
          ),
          port: whole(
            {
              text: 'Container port that is asked, not the Service port. For Milvus: 9091.',
              default: 'the port that serves',
              link,
            },
            1,
            65_535,
          ),
          protocol: mistake(
            'Write "type" instead of "protocol": the API server drops "protocol" without a word, and the check keeps the wrong protocol.',
          ),
          path: mistake('Write "requestPath" instead of "path".'),
          host: mistake('A BackendConfig cannot set the host of a health check. Remove this line.'),
        },
      ),
      timeoutSec: whole(
        {
          text: 'Seconds that a call may take. For HTTP/2 this bounds the whole call, so the default cuts long searches and loads. For Milvus: 3600.',
          default: '30',
          link: source.compute,
        },
        1,
        2_147_483_647,
      ),
      connectionDraining: closed(
        { text: 'What happens to calls in flight when a pod leaves.', link },
        {
          drainingTimeoutSec: whole(
            { text: 'Seconds that calls in flight get to end.', default: '0', link: source.compute },
            0,
            3600,
          ),
        },
      ),
      sessionAffinity: closed(
        { text: 'Whether a client keeps its pod.', link },
        {
          affinityType: choice(
            { text: 'How a client is known again.', default: 'NONE', link },
            ['NONE', 'CLIENT_IP', 'GENERATED_COOKIE'],
            'Write NONE, CLIENT_IP or GENERATED_COOKIE.',
          ),
          affinityCookieTtlSec: whole(
            {
              text: 'Seconds that the cookie of `GENERATED_COOKIE` lives; 0 is until the browser closes.',
              default: '0',
              link,
            },
            0,
            86_400,
          ),
        },
      ),
      securityPolicy: closed(
        { text: 'Google Cloud Armor.', link },
        {
          name: matching(
            { text: 'Name of a Cloud Armor security policy of the project. An empty text takes it away.', link },
            '^([a-z]([-a-z0-9]{0,61}[a-z0-9])?)?$',
            'Write the name of a Cloud Armor policy, or "" to take it away.',
          ),
        },
        ['name'],
      ),
      logging: closed(
        { text: 'Access log of the load balancer.', link },
        {
          enable: flag({ text: 'Whether calls are logged.', default: 'true', link }),
          sampleRate: {
            ...described({ text: 'Share of the calls that is logged.', default: '1.0', range: '0.0 to 1.0', link }),
            type: 'number',
            minimum: 0,
            maximum: 1,
            errorMessage: 'Write a number from 0.0 to 1.0, without quotes.',
          },
          enabled: mistake('Write "enable" instead of "enabled".'),
        },
      ),
      customRequestHeaders: headerList('Headers that the load balancer adds to a request.'),
      customResponseHeaders: headerList('Headers that the load balancer adds to a response.'),
      iap: closed(
        { text: 'Identity-Aware Proxy. Not together with `cdn`. gRPC clients of Milvus cannot log in to it.', link },
        {
          enabled: flag({ text: 'Whether Identity-Aware Proxy asks for a login.', default: 'false', link }),
          oauthclientCredentials: closed(
            { text: 'OAuth client.', link },
            {
              secretName: secretName(
                'Name of a Secret of this namespace with the keys `client_id` and `client_secret`.',
              ),
              clientID: words({ text: 'Written by the controller. Use `secretName`.', link }),
              clientSecret: words({
                text: 'Written by the controller. Use `secretName`, so that no secret stands in a manifest.',
                link,
              }),
            },
            ['secretName'],
          ),
        },
        ['enabled'],
      ),
      cdn: closed(
        { text: 'Cloud CDN. Not together with `iap`. gRPC is not cached.', link },
        {
          enabled: flag({ text: 'Whether responses are cached.', default: 'false', link }),
          bypassCacheOnRequestHeaders: list(
            {
              text: 'Requests with one of these headers are not answered from the cache.',
              range: 'at most 5',
              link: source.cdn,
            },
            closed(undefined, { headerName: words({ text: 'Name of a header.', link: source.cdn }) }),
            { maxItems: 5 },
          ),
          cachePolicy: closed(
            { text: 'What tells two cached responses apart.', link: source.cdn },
            {
              includeHost: flag({ text: 'The host counts.', default: 'false', link: source.cdn }),
              includeProtocol: flag({ text: 'HTTP and HTTPS count as two.', default: 'false', link: source.cdn }),
              includeQueryString: flag({ text: 'The query counts.', default: 'false', link: source.cdn }),
              queryStringBlacklist: list(
                {
                  text: 'Query parameters that do not count. Not together with `queryStringWhitelist`.',
                  link: source.cdn,
                },
                { type: 'string' },
              ),
              queryStringWhitelist: list(
                {
                  text: 'The only query parameters that count. Not together with `queryStringBlacklist`.',
                  link: source.cdn,
                },
                { type: 'string' },
              ),
            },
          ),
          cacheMode: choice(
            { text: 'What is cached.', default: 'CACHE_ALL_STATIC', link: source.cdn },
            ['CACHE_ALL_STATIC', 'USE_ORIGIN_HEADERS', 'FORCE_CACHE_ALL'],
            'Write CACHE_ALL_STATIC, USE_ORIGIN_HEADERS or FORCE_CACHE_ALL.',
          ),
          clientTtl: whole({ text: 'Seconds that a client may keep a response.', link: source.cdn }, 0, year),
          defaultTtl: whole(
            {
              text: 'Seconds that a response without a lifetime of its own is kept.',
              default: '3600',
              link: source.cdn,
            },
            0,
            year,
          ),
          maxTtl: whole(
            { text: 'Longest time in seconds that a response is kept.', default: '86400', link: source.cdn },
            0,
            year,
          ),
          negativeCaching: flag({ text: 'Whether error responses are cached.', link: source.cdn }),
          negativeCachingPolicy: list(
            { text: 'How long responses of one status are kept.', link: source.cdn },
            closed(undefined, {
              code: {
                ...described({
                  text: 'Status of the response.',
                  range: '300, 301, 302, 307, 308, 404, 405, 410, 421, 451 or 501',
                  link: source.cdn,
                }),
                type: 'integer',
                enum: [300, 301, 302, 307, 308, 404, 405, 410, 421, 451, 501],
                errorMessage: 'Write one of 300, 301, 302, 307, 308, 404, 405, 410, 421, 451, 501.',
              },
              ttl: whole({ text: 'Seconds that it is kept.', link: source.cdn }, 0, 1800),
            }),
          ),
          requestCoalescing: flag({
            text: 'Whether requests for one object at one time become one.',
            default: 'true',
            link: source.cdn,
          }),
          serveWhileStale: whole(
            {
              text: 'Seconds that an expired response may still be served while a new one is fetched.',
              default: '86400',
              link: source.cdn,
            },
            0,
            604_800,
          ),
          signedUrlCacheMaxAgeSec: whole(
            { text: 'Seconds that responses to signed URLs are kept.', default: '3600', link: source.cdn },
            0,
            2_147_483_647,
          ),
          signedUrlKeys: list(
            { text: 'Keys of signed URLs.', range: 'at most 3', link: source.cdn },
            closed(undefined, {
              keyName: words({ text: 'Name of the key.', link: source.cdn }),
              keyValue: words({
                text: 'Written by the controller. Use `secretName`, so that no secret stands in a manifest.',
                link: source.cdn,
              }),
              secretName: secretName('Name of a Secret of this namespace with the key `key_value`.'),
            }),
            { maxItems: 3 },
          ),
        },
        ['enabled'],
      ),
    },
  );
  if (apiVersion === 'v1beta1') {
    const properties = spec.properties as Record<string, Schema>;
    for (const name of ['logging', 'customResponseHeaders'])
      properties[name] = mistake(`cloud.google.com/v1beta1 has no "${name}". Write apiVersion: cloud.google.com/v1.`);
  }
  return kindOf({
    title: `GKE BackendConfig ${apiVersion}`,
    text: 'BackendConfig: health check, time-outs and more for the backends of a Service. A Service names it in its annotation `cloud.google.com/backend-config`.',
    link,
    apiVersion:
      apiVersion === 'v1'
        ? version('cloud.google.com/v1', 'Version of BackendConfig.', link)
        : version(
            'cloud.google.com/v1beta1',
            'Older version of BackendConfig, without logging and customResponseHeaders. New ones are `cloud.google.com/v1`.',
            link,
          ),
    kind: 'BackendConfig',
    metadata: metadata(),
    spec: {
      ...spec,
      // The controller refuses both at once (ingress-gce pkg/backendconfig/validation.go).
      if: {
        required: ['iap'],
        properties: { iap: { type: 'object', required: ['enabled'], properties: { enabled: { const: true } } } },
      },
      then: {
        properties: {
          cdn: {
            properties: {
              enabled: {
                const: false,
                errorMessage: 'GKE refuses iap and cdn together. Write false here, or turn iap off.',
              },
            },
          },
        },
      },
    },
  });
}

// --- ManagedCertificate, FrontendConfig -------------------------------------------------------------------------------

function managedCertificate(): Schema {
  const link = source.managedCertificate;
  return kindOf({
    title: 'GKE ManagedCertificate',
    text: 'ManagedCertificate: a certificate that Google issues and renews. An Ingress names it in its annotation `networking.gke.io/managed-certificates`; the certificate becomes active only after the host name leads to the address of that Ingress.',
    link,
    apiVersion: {
      ...described({
        text: 'Version of ManagedCertificate: `networking.gke.io/v1`. Older versions are deprecated.',
        link,
      }),
      type: 'string',
      enum: ['networking.gke.io/v1'],
      errorMessage: 'Write networking.gke.io/v1: older versions of ManagedCertificate are deprecated.',
    },
    kind: 'ManagedCertificate',
    metadata: metadata(),
    spec: closed(
      { text: 'What the certificate is for.', link },
      {
        domains: list(
          {
            text: 'Host names of the certificate. Each needs a DNS record that leads to the address of the Ingress, and no AAAA record that leads elsewhere.',
            range: '1 to 100 names of at most 63 characters, no wildcard',
            link,
          },
          {
            type: 'string',
            maxLength: 63,
            pattern: '^(([a-z0-9]+|[a-z0-9][-a-z0-9]*[a-z0-9])\\.)+[a-z][-a-z0-9]*[a-z0-9]$',
            patternErrorMessage:
              'Write a full host name in lower case, such as milvus.example.com: no wildcard, no address, no dot at the end.',
            errorMessage: 'Write a host name, such as milvus.example.com.',
          },
          { minItems: 1, maxItems: 100 },
        ),
        domain: mistake('Write "domains", a list, instead of "domain".'),
      },
      ['domains'],
    ),
  });
}

function frontendConfig(): Schema {
  const link = source.backendConfig;
  return kindOf({
    title: 'GKE FrontendConfig',
    text: 'FrontendConfig: TLS policy and redirect of the load balancer. An Ingress names it in its annotation `networking.gke.io/v1beta1.FrontendConfig`.',
    link,
    apiVersion: {
      ...described({ text: 'Version of FrontendConfig. GKE serves no newer one.', link }),
      const: 'networking.gke.io/v1beta1',
      errorMessage: 'Write networking.gke.io/v1beta1: GKE serves FrontendConfig in no other version.',
    },
    kind: 'FrontendConfig',
    metadata: metadata(),
    spec: closed(
      { text: 'TLS policy and redirect.', link },
      {
        sslPolicy: matching(
          {
            text: 'Name of a global SSL policy of the project, for instance one with TLS 1.2 as the oldest version. An empty text takes the policy away.',
            default: "Google's policy COMPATIBLE, TLS 1.0 and newer",
            link,
          },
          '^([a-z]([-a-z0-9]{0,61}[a-z0-9])?)?$',
          'Write the name of a global SSL policy, or "" to take it away.',
        ),
        redirectToHttps: closed(
          { text: 'Whether port 80 answers with a redirect to HTTPS. gRPC clients do not follow it.', link },
          {
            enabled: flag({ text: 'Whether HTTP is redirected.', default: 'false', link }),
            responseCodeName: choice(
              { text: 'Status of the redirect: 301, 302, 307 or 308.', default: 'MOVED_PERMANENTLY_DEFAULT', link },
              ['MOVED_PERMANENTLY_DEFAULT', 'FOUND', 'TEMPORARY_REDIRECT', 'PERMANENT_REDIRECT'],
              'Write MOVED_PERMANENTLY_DEFAULT (301), FOUND (302), TEMPORARY_REDIRECT (307) or PERMANENT_REDIRECT (308).',
            ),
          },
          ['enabled'],
        ),
      },
    ),
  });
}

// --- Ingress --------------------------------------------------------------------------------------------------------

const gceClasses = ['gce', 'gce-internal', 'gce-regional-external', 'gce-multi-cluster'];

function onService(key: string): Schema {
  return mistake(`GKE reads ${key} on the Service, not on the Ingress. Move this line to the Service.`);
}

function ingress(): Schema {
  const link = source.ingress;
  const k8s = `${source.kubernetes}/service-resources/ingress-v1/`;
  const resourceList = (text: string, more: Doc | undefined, message: string): Schema =>
    matching(
      { text, link: more?.link ?? link },
      '^\\s*[a-z0-9]([-a-z0-9.]*[a-z0-9])?\\s*(,\\s*[a-z0-9]([-a-z0-9.]*[a-z0-9])?\\s*)*$',
      message,
    );
  const annotations: Record<string, Schema> = {
    'kubernetes.io/ingress.class': choice(
      {
        text: 'Which load balancer: `gce` is the external one, global. Write this annotation rather than `ingressClassName`, which GKE ignores.',
        default: 'gce, when `ingressClassName` is absent too',
        link,
      },
      gceClasses,
      'Write gce for the external load balancer, gce-internal for the internal one.',
    ),
    'kubernetes.io/ingress.allow-http': choice(
      { text: 'Whether port 80 is open. For gRPC: `"false"`, because gRPC needs TLS.', default: '"true"', link },
      ['true', 'false'],
      'Write "true" or "false" with quotes: the value of an annotation is text.',
    ),
    'kubernetes.io/ingress.global-static-ip-name': matching(
      {
        text: 'Name of a global static address of the project. Without one, the address changes when the Ingress is made anew, and DNS leads nowhere.',
        link,
      },
      rfc1035,
      'Write the name of a global static address, not the address itself.',
    ),
    'kubernetes.io/ingress.regional-static-ip-name': matching(
      {
        text: 'Name of a regional static address, for an internal or regional load balancer. Not together with `global-static-ip-name`.',
        link,
      },
      rfc1035,
      'Write the name of a regional static address, not the address itself.',
    ),
    'networking.gke.io/managed-certificates': resourceList(
      'Names of ManagedCertificates of this namespace, parted by commas. When one is missing, none is used.',
      { text: '', link: source.managedCertificate },
      'Write the names of ManagedCertificates, parted by commas; not host names with capitals, not a list.',
    ),
    'ingress.gcp.kubernetes.io/pre-shared-cert': resourceList(
      'Names of certificates of the project, parted by commas. The controller owns it when `managed-certificates` is there.',
      undefined,
      'Write the names of certificates of the project, parted by commas.',
    ),
    'networking.gke.io/v1beta1.FrontendConfig': objectName(
      'Name of a FrontendConfig of this namespace.',
      source.backendConfig,
    ),
    'networking.gke.io/suppress-firewall-xpn-error': choice(
      { text: 'Whether missing rights on a shared VPC’s firewall are not reported.', default: '"false"', link },
      ['true', 'false'],
      'Write "true" or "false" with quotes.',
    ),
    'cloud.google.com/backend-config': onService('cloud.google.com/backend-config'),
    'beta.cloud.google.com/backend-config': onService('beta.cloud.google.com/backend-config'),
    'cloud.google.com/app-protocols': onService('cloud.google.com/app-protocols'),
    'cloud.google.com/neg': onService('cloud.google.com/neg'),
    'networking.gke.io/managed-certificate': mistake(
      'Write networking.gke.io/managed-certificates, with "s" at the end.',
    ),
    'networking.gke.io/FrontendConfig': mistake('Write networking.gke.io/v1beta1.FrontendConfig.'),
    'networking.gke.io/v1.FrontendConfig': mistake('Write networking.gke.io/v1beta1.FrontendConfig.'),
    'networking.gke.io/frontend-config': mistake('Write networking.gke.io/v1beta1.FrontendConfig.'),
  };
  const backend = (text: string): Schema =>
    closed(
      { text, link: k8s },
      {
        service: closed(
          { text: 'A Service of this namespace.', link: k8s },
          {
            name: objectName('Name of the Service. For Milvus: the release’s client Service.', k8s),
            port: {
              ...closed(
                { text: 'The Service port, by number or by name, not both. For Milvus: `number: 19530`.', link: k8s },
                {
                  number: whole({ text: 'Number of the Service port. For Milvus: 19530.', link: k8s }, 1, 65_535),
                  name: matching(
                    { text: 'Name of the Service port. For Milvus: `milvus`.', link: k8s },
                    '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$',
                    'Write the name of a Service port; for its number, write "number:".',
                  ),
                },
              ),
              minProperties: 1,
              if: { required: ['number', 'name'] },
              then: {
                properties: { name: mistake('Write either number or name, not both: the API server refuses both.') },
              },
            },
          },
          ['name', 'port'],
        ),
        resource: mistake('GKE leads to Services only. Write "service:" instead of "resource:".'),
        serviceName: mistake(
          'This is the form of networking.k8s.io/v1beta1. Write "service:" with "name:" and "port:" below it.',
        ),
        servicePort: mistake(
          'This is the form of networking.k8s.io/v1beta1. Write "service:" with "name:" and "port:" below it.',
        ),
      },
      ['service'],
    );
  const host = (text: string): Schema => ({
    ...matching(
      { text, link: k8s },
      '^(\\*\\.)?([a-z0-9]([-a-z0-9]*[a-z0-9])?\\.)*[a-z]([-a-z0-9]*[a-z0-9])?$',
      'Write a host name in lower case, without port and without "https://"; an address is not allowed.',
    ),
    maxLength: 253,
  });
  return kindOf({
    title: 'GKE Ingress',
    text: 'Ingress: on GKE, an Application Load Balancer (Layer 7).',
    link,
    apiVersion: version('networking.k8s.io/v1', 'Version of Ingress.', k8s),
    kind: 'Ingress',
    metadata: metadata(annotations),
    spec: closed(
      { text: 'Hosts, paths, backends and certificates.', link: k8s },
      {
        defaultBackend: backend('Where requests go that no rule matches. Without it, they get a 404 of Google’s.'),
        ingressClassName: {
          ...matching(
            {
              text: 'Class of the Ingress. GKE ignores an Ingress that has it: write the annotation `kubernetes.io/ingress.class`.',
              link,
            },
            '^(?!gce)',
            'GKE ignores an Ingress with this ingressClassName, without a word. Remove this line and write the annotation kubernetes.io/ingress.class: gce.',
          ),
          doNotSuggest: true,
        },
        rules: list(
          { text: 'Which host and path lead where.', link: k8s },
          closed(
            undefined,
            {
              host: host('Host name that the rule is for. gRPC clients send it as authority. Absent: any.'),
              http: closed(
                { text: 'Paths of the host.', link: k8s },
                {
                  paths: list(
                    { text: 'Paths, at least one.', link: k8s },
                    {
                      ...closed(
                        undefined,
                        {
                          path: matching(
                            { text: 'Path of the request. For gRPC: `/`.', link: k8s },
                            '^/',
                            'Write a path that begins with "/"; for gRPC "/".',
                          ),
                          pathType: choice(
                            { text: 'How `path` is compared. For Milvus: `Prefix`.', link: k8s },
                            ['Prefix', 'Exact', 'ImplementationSpecific'],
                            'Write Prefix, Exact or ImplementationSpecific.',
                          ),
                          backend: backend('Where the requests go.'),
                        },
                        ['pathType', 'backend'],
                      ),
                      // "/*" is of ImplementationSpecific only (ingress-gce pkg/controller/translator).
                      if: { required: ['pathType'], properties: { pathType: { enum: ['Prefix', 'Exact'] } } },
                      then: {
                        properties: {
                          path: {
                            pattern: '^[^*]*$',
                            patternErrorMessage:
                              'GKE refuses "*" with this pathType. Write "/" with Prefix, or "/*" with ImplementationSpecific.',
                          },
                        },
                      },
                    },
                    { minItems: 1 },
                  ),
                },
                ['paths'],
              ),
            },
            ['http'],
          ),
        ),
        tls: list(
          { text: 'Certificates from Secrets. Leave it out with a ManagedCertificate.', range: 'at most 15', link },
          closed(
            undefined,
            {
              hosts: list(
                { text: 'Host names. GKE chooses a certificate by what stands in it, not by this list.', link },
                host('A host name.'),
              ),
              secretName: objectName(
                'Name of a Secret of type `kubernetes.io/tls` of this namespace. Without it the controller stops: `secret "" does not exist`.',
                link,
              ),
            },
            ['secretName'],
          ),
          { maxItems: 15 },
        ),
      },
    ),
  });
}

// --- Service --------------------------------------------------------------------------------------------------------

const json = {
  /** A JSON object of these pairs, parted by commas. */
  object: (pair: string, empty: boolean): string => {
    const pairs = `${pair}(\\s*,\\s*${pair})*`;
    return `\\{\\s*${empty ? `(${pairs})?` : pairs}\\s*\\}`;
  },
};

function service(): Schema {
  const link = source.service;
  const whole = (pattern: string): string => `^\\s*${pattern}\\s*$`;
  const name = '"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"';
  const protocols = whole(
    json.object('"(?![0-9]+")[a-z0-9]([-a-z0-9]*[a-z0-9])?"\\s*:\\s*"(HTTP|HTTPS|HTTP2)"', false),
  );
  const backendConfigs = whole(
    json.object(
      `("default"\\s*:\\s*${name}|"ports"\\s*:\\s*${json.object(`"[a-z0-9]([-a-z0-9]*[a-z0-9])?"\\s*:\\s*${name}`, false)})`,
      false,
    ),
  );
  const exposedPorts = json.object('"[0-9]+"\\s*:\\s*\\{[^{}]*\\}', true);
  const neg = whole(json.object(`("ingress"\\s*:\\s*(true|false)|"exposed_ports"\\s*:\\s*${exposedPorts})`, false));
  const protocolsMessage =
    'Write JSON in quotes, from the name of the Service port (not its number) to HTTP, HTTPS or HTTP2: \'{"milvus":"HTTP2"}\'.';
  const backendConfigMessage =
    'Write JSON in quotes with the name of a BackendConfig: \'{"default":"my-release-backendconfig"}\'.';
  const annotations: Record<string, Schema> = {
    'cloud.google.com/app-protocols': matching(
      {
        text: 'Protocol from the load balancer to the pods: JSON from the name of the Service port to `HTTP`, `HTTPS` or `HTTP2`. For Milvus: `{"milvus":"HTTP2"}`, which is HTTP/2 over TLS. A port by number counts for nothing.',
        default: 'HTTP',
        link: source.http2,
      },
      protocols,
      protocolsMessage,
    ),
    'cloud.google.com/backend-config': matching(
      {
        text: 'BackendConfig of the Service ports: JSON with `default`, or `ports` from port name or number to a BackendConfig of this namespace.',
        link: source.backendConfig,
      },
      backendConfigs,
      backendConfigMessage,
    ),
    'cloud.google.com/neg': matching(
      {
        text: 'Network endpoint groups: with `{"ingress": true}` the load balancer leads straight to the pods, and the Service may be of type ClusterIP.',
        link: source.negs,
      },
      neg,
      'Write JSON in quotes; true is without quotes of its own: \'{"ingress": true}\'.',
    ),
    'networking.gke.io/max-rate-per-endpoint': matching(
      { text: 'Calls a second that one pod takes before calls go to another zone.', range: 'a number from 0', link },
      '^[0-9]+(\\.[0-9]+)?$',
      'Write a number from 0 in quotes, such as "100".',
    ),
    'cloud.google.com/l4-rbs': choice(
      {
        text: 'Whether a Service of type LoadBalancer gets a load balancer with a backend service. Layer 4 only.',
        link,
      },
      ['enabled'],
      'Write "enabled", or remove this line.',
    ),
    'cloud.google.com/network-tier': choice(
      { text: 'Network tier of a Service of type LoadBalancer. Layer 4 only.', default: 'Premium', link },
      ['Premium', 'Standard'],
      'Write Premium or Standard.',
    ),
    'networking.gke.io/load-balancer-type': choice(
      { text: 'Makes the load balancer of a Service of type LoadBalancer internal. Layer 4 only.', link },
      ['Internal'],
      'Write Internal, or remove this line for an external load balancer.',
    ),
    'cloud.google.com/load-balancer-type': {
      ...choice(
        { text: 'Older name of `networking.gke.io/load-balancer-type`.', link },
        ['Internal', 'internal', 'External'],
        'Write Internal.',
      ),
      deprecationMessage: 'Write networking.gke.io/load-balancer-type: this key is deprecated.',
    },
    'service.alpha.kubernetes.io/app-protocols': {
      ...matching(
        { text: 'Older key of `cloud.google.com/app-protocols`. Wins where both are present.', link: source.http2 },
        protocols,
        protocolsMessage,
      ),
      deprecationMessage:
        'Write cloud.google.com/app-protocols: this key is deprecated, and wins where both are present.',
    },
    'beta.cloud.google.com/backend-config': {
      ...matching(
        {
          text: 'Older key of `cloud.google.com/backend-config`. Ignored where both are present.',
          link: source.backendConfig,
        },
        backendConfigs,
        backendConfigMessage,
      ),
      deprecationMessage: 'Write cloud.google.com/backend-config: this key is deprecated.',
    },
    'cloud.google.com/neg-status': { description: 'Written by the controller.', type: 'string', doNotSuggest: true },
    'cloud.google.com/app-protocol': mistake('Write cloud.google.com/app-protocols, with "s" at the end.'),
    'cloud.google.com/backendconfig': mistake('Write cloud.google.com/backend-config.'),
    'networking.gke.io/managed-certificates': mistake(
      'GKE reads networking.gke.io/managed-certificates on the Ingress, not on the Service. Move this line to the Ingress.',
    ),
  };
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'GKE Service',
    ...described({ text: 'Service, with the annotations that GKE reads.', link }),
    type: 'object',
    properties: {
      apiVersion: version('v1', 'Version of Service.', `${source.kubernetes}/service-resources/service-v1/`),
      kind: { ...described({ text: 'Service: the ports of a set of pods.', link }), const: 'Service' },
      metadata: metadata(annotations, 63),
    },
    required: ['apiVersion', 'kind', 'metadata'],
    errorMessage: 'A Service needs apiVersion, kind and metadata.',
  };
}

// --- dispatcher -----------------------------------------------------------------------------------------------------

/** Chooses by apiVersion and kind, one document at a time; documents of other kinds have no finding. */
function dispatcher(): Schema {
  const when = (
    kind: string,
    apiVersion: Schema,
    file: string,
    more: Schema = {},
    required: string[] = [],
  ): Schema => ({
    if: {
      type: 'object',
      required: ['kind', ...required],
      properties: { kind: { const: kind }, apiVersion, ...more },
    },
    then: { $ref: file },
  });
  // Patterns, not constants: while it completes, the server takes a constant for met by any prefix of it.
  const google = '(cloud\\.google\\.com|networking\\.gke\\.io)(/|$)';
  const ofGke = {
    metadata: {
      properties: { annotations: { properties: { 'kubernetes.io/ingress.class': { pattern: '^gce' } } } },
    },
    spec: { properties: { ingressClassName: { pattern: '^gce' } } },
  };
  const suggested = (values: string[], doc: Doc): Schema => ({ ...described(doc), anyOf: [{ enum: values }, {}] });
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Milvus Layer 7',
    description: 'BackendConfig, ManagedCertificate, FrontendConfig, Ingress and Service on GKE.',
    properties: {
      apiVersion: suggested(
        ['cloud.google.com/v1', 'networking.gke.io/v1', 'networking.gke.io/v1beta1', 'networking.k8s.io/v1', 'v1'],
        { text: 'Group and version of the object.', link: `${source.kubernetes}/` },
      ),
      kind: suggested(['BackendConfig', 'ManagedCertificate', 'FrontendConfig', 'Ingress', 'Service'], {
        text: 'Kind of the object.',
        link: `${source.kubernetes}/`,
      }),
    },
    allOf: [
      when('BackendConfig', { pattern: '^cloud\\.google\\.com/v1beta1$' }, 'backendconfig.v1beta1.json', {}, [
        'apiVersion',
      ]),
      when('BackendConfig', { pattern: `^(?!cloud\\.google\\.com/v1beta1$)${google}` }, 'backendconfig.v1.json'),
      when('ManagedCertificate', { pattern: `^${google}` }, 'managedcertificate.v1.json'),
      when('FrontendConfig', { pattern: `^${google}` }, 'frontendconfig.v1beta1.json'),
      when(
        'Ingress',
        { enum: ['networking.k8s.io/v1', 'networking.k8s.io/v1beta1', 'extensions/v1beta1'] },
        'ingress.v1.json',
        ofGke,
        ['apiVersion'],
      ),
      when('Service', { pattern: '^v1$' }, 'service.v1.json', {}, ['apiVersion']),
    ],
  };
}

/** All schemas by file name. */
export function schemas(): Record<string, Schema> {
  return {
    'backendconfig.v1.json': backendConfig('v1'),
    'backendconfig.v1beta1.json': backendConfig('v1beta1'),
    'managedcertificate.v1.json': managedCertificate(),
    'frontendconfig.v1beta1.json': frontendConfig(),
    'ingress.v1.json': ingress(),
    'service.v1.json': service(),
    'milvus-layer7.json': dispatcher(),
  };
}

if (process.argv[1] === import.meta.filename)
  for (const [name, schema] of Object.entries(schemas()))
    writeFileSync(path.join(import.meta.dirname, name), `${JSON.stringify(schema, null, 2)}\n`);
