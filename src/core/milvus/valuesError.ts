/**
 * Values that cannot be changed without risk to what else they say. The message is localised and names the place; it
 * never quotes a value, because values may hold secrets.
 */
export class ValuesError extends Error {
  override readonly name = 'ValuesError';
}
