/**
 * Whether `live` already holds everything that `wanted` says. Fields that only `live` has do not count: the API server
 * and other managers add them. Lists must agree item by item.
 */
export function covers(live: unknown, wanted: unknown): boolean {
  if (wanted === null || typeof wanted !== 'object') return live === wanted;
  if (live === null || typeof live !== 'object') return false;
  if (Array.isArray(wanted))
    return (
      Array.isArray(live) && live.length === wanted.length && wanted.every((item, index) => covers(live[index], item))
    );
  if (Array.isArray(live)) return false;
  const fields = live as Record<string, unknown>;
  return Object.entries(wanted).every(([name, value]) => covers(fields[name], value));
}
