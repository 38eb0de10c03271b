/** `make()` at its first use. A formatter of Intl takes a phone 10 ms and more, and the first paint needs none. */
export function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
