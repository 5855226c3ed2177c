import { describe, expect, it } from 'vitest';
import { checkHostName } from './hostName.ts';

describe('checkHostName', () => {
  it.each([
    'my-release.milvus.io',
    'a.io',
    'x1.y2.example.co',
    `${'a'.repeat(63 - '.example.com'.length)}.example.com`,
  ])('takes %s for both kinds', (host) => {
    expect(checkHostName(host, 'managed')).toBeUndefined();
    expect(checkHostName(host, 'self')).toBeUndefined();
  });

  it.each(['*.example.com', 'milvus', `${'a'.repeat(63)}.${'b'.repeat(63)}.example.com`, '1.2.3.4.5', 'milvus.x'])(
    'takes %s for a certificate of one’s own only',
    (host) => {
      expect(checkHostName(host, 'self')).toBeUndefined();
      expect(checkHostName(host, 'managed')).toBeTypeOf('string');
    },
  );

  it.each([
    ['', 'milvus.example.com'],
    ['   ', 'milvus.example.com'],
    ['https://my-release.milvus.io:443/v2', 'without scheme, port and path: my-release.milvus.io.'],
    ['my-release.milvus.io:443', ': my-release.milvus.io.'],
    ['root@my-release.milvus.io', ': my-release.milvus.io.'],
    ['https://34.111.144.65', 'such as milvus.example.com'],
    ['my release.milvus.io', 'no spaces: myrelease.milvus.io'],
    ['My-Release.Milvus.IO', 'lower case: my-release.milvus.io'],
    ['my-release.milvus.io.', 'dot at the end: my-release.milvus.io'],
    ['my_release.milvus.io', 'no underscores: my-release.milvus.io'],
    ['_milvus.example.com', 'no underscores: milvus.example.com'],
    ['34.111.144.65', 'A record is this address'],
    ['::1', 'such as milvus.example.com'],
    ['bücher.example.com', 'ASCII form of the host name: xn--bcher-kva.example.com'],
    ['a..example.com', 'write a.example.com'],
    ['.example.com', 'write example.com'],
    ['-a.example.com', '"-a" does not'],
    ['a-.example.com', '"a-" does not'],
    ['a!b.example.com', '"a!b" has others'],
    ['a.*.example.com', '*.example.com'],
    ['*', '*.example.com'],
    [`${'a'.repeat(64)}.example.com`, 'at most 63 characters'],
    [`${'a.'.repeat(127)}com`, 'at most 253 characters; this one has 257'],
  ])('says of "%s" what to write instead', (host, text) => {
    expect(checkHostName(host, 'self')).toContain(text);
  });

  // GoogleCloudPlatform/gke-managed-certs e2e/validation_test.go
  it.each([
    ['*.example.com', 'no wildcards: enter one name, such as milvus.example.com'],
    ['milvus', 'such as milvus.example.com'],
    ['1.2.3.4.5', 'The last part of the name, "5", begins with a letter'],
    ['milvus.x', 'has at least two characters'],
    [`${'a'.repeat(64 - '.example.com'.length)}.example.com`, 'at most 63 characters; this one has 64'],
  ])('says of "%s" what a Google-managed certificate takes', (host, text) => {
    expect(checkHostName(host, 'managed')).toContain(text);
  });
});
