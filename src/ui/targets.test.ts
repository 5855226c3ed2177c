import { expect, it } from 'vitest';
import { parseKey, parseTarget, targetKey } from './targets.ts';

it('keeps targets apart whose names hold separators', () => {
  const a = targetKey({ context: 'a/b', namespace: 'c', release: 'd' });
  const b = targetKey({ context: 'a', namespace: 'b/c', release: 'd' });
  expect(a).not.toBe(b);
  expect(parseKey(a)).toEqual(['a/b', 'c', 'd']);
});

it('refuses keys it did not make', () => {
  expect(() => parseKey('{"a":1}')).toThrow();
});

it('reads a target from a tree item or plain, and refuses everything else', () => {
  const target = { context: 'c', namespace: 'n', release: 'r' };
  expect(parseTarget(target)).toEqual(target);
  expect(parseTarget({ type: 'release', target })).toEqual(target);
  for (const value of [undefined, null, 'r', {}, { context: 'c', namespace: 'n' }, { ...target, release: 1 }])
    expect(parseTarget(value)).toBeUndefined();
});
