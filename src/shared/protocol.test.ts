import { describe, expect, it } from 'vitest';
import { parseFromPage, parseToPage } from './protocol.ts';

describe('parseFromPage', () => {
  it.each(['ready', 'apply', 'setUp', 'cancel', 'refresh', 'testConnection', 'exportManifests'])('takes %s', (type) => {
    expect(parseFromPage({ type })).toEqual({ type });
  });

  it('takes messages with fields, and only their own fields', () => {
    expect(parseFromPage({ type: 'showDiff', step: 'ingress', extra: 1 })).toEqual({
      type: 'showDiff',
      step: 'ingress',
    });
    expect(parseFromPage({ type: 'copy', what: 'snippet', id: 'python' })).toEqual({
      type: 'copy',
      what: 'snippet',
      id: 'python',
    });
  });

  it.each([
    undefined,
    null,
    'ready',
    42,
    [],
    {},
    { type: 1 },
    { type: 'toString' },
    { type: '__proto__' },
    { type: 'showDiff' },
    { type: 'showDiff', step: 7 },
    { type: 'copy', what: 'key', id: 'python' },
    { type: 'copy', what: 'fix' },
  ])('refuses %j', (value) => {
    expect(parseFromPage(value)).toBeUndefined();
  });
});

describe('parseToPage', () => {
  it('takes announcements and snapshots', () => {
    expect(parseToPage({ type: 'announce', text: 'Address: done' })).toEqual({
      type: 'announce',
      text: 'Address: done',
    });
    expect(parseToPage({ type: 'snapshot', state: { title: 'x' } })).toMatchObject({ type: 'snapshot' });
  });

  it.each([undefined, null, {}, { type: 'announce' }, { type: 'snapshot' }, { type: 'snapshot', state: null }])(
    'refuses %j',
    (value) => {
      expect(parseToPage(value)).toBeUndefined();
    },
  );
});
