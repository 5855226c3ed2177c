import { describe, expect, it } from 'vitest';
import { covers } from './covers.ts';

describe('covers', () => {
  it('ignores what only the live object has', () => {
    expect(covers({ a: 1, b: { c: 2, d: 3 } }, { b: { c: 2 } })).toBe(true);
  });

  it.each([
    ['another value', { a: 1 }, { a: 2 }],
    ['a missing field', { a: 1 }, { b: 1 }],
    ['a shorter list', { a: [1] }, { a: [1, 2] }],
    ['a longer list', { a: [1, 2] }, { a: [1] }],
    ['a list for a map', { a: [] }, { a: {} }],
    ['null for a map', { a: null }, { a: {} }],
    ['text for a number', { a: '1' }, { a: 1 }],
  ])('sees %s', (_name, live, wanted) => {
    expect(covers(live, wanted)).toBe(false);
  });

  it('compares the items of lists as objects', () => {
    expect(covers({ rules: [{ host: 'a', http: {} }] }, { rules: [{ host: 'a' }] })).toBe(true);
  });
});
