import { expect, it } from 'vitest';
import { withoutIcons, withoutLinks } from './plainText.ts';

it('keeps icon syntax from becoming an icon', () => {
  expect(withoutIcons('a $(bug) b $(x)')).toBe('a \\$(bug) b \\$(x)');
});

it('keeps link syntax from becoming a link', () => {
  expect(withoutLinks('see [here](command:evil)')).not.toMatch(/\]\(/);
});
