import { describe, expect, it } from 'vitest';
import { objectYaml, redact } from './diff.ts';

describe('redact', () => {
  it('hides the values of a Secret and keeps its keys', () => {
    const text = redact('kind: Secret\nmetadata:\n  name: tls\ndata:\n  tls.key: S0VZ\n  tls.crt: Q1JU\n');
    expect(text).toContain('tls.key: (not shown)');
    expect(text).not.toMatch(/S0VZ|Q1JU/);
    expect(text).toContain('name: tls');
  });

  it('hides passwords inside a configuration text and leaves the rest', () => {
    const text = redact(
      'kind: ConfigMap\ndata:\n  user.yaml: |\n    minio:\n      secretAccessKey: hunter2\n      bucketName: vectors\n',
    );
    expect(text).not.toContain('hunter2');
    expect(text).toContain('bucketName: vectors');
  });

  it('handles several documents', () => {
    const text = redact('kind: Service\nmetadata: {name: a}\n---\nkind: Secret\nstringData: {password: x1}\n');
    expect(text).toContain('kind: Service');
    expect(text).not.toContain('x1');
  });
});

describe('objectYaml', () => {
  it('leaves out what only the API server keeps', () => {
    const text = objectYaml({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'milvus', uid: 'u', resourceVersion: '7', generation: 2, managedFields: [{}] },
    });
    expect(text).toBe('apiVersion: v1\nkind: Service\nmetadata:\n  name: milvus\n');
  });
});
