// What the adapter of this host is.

export async function describe(gpu) {
  const adapter = await gpu?.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return null;
  const { description, vendor, architecture } = adapter.info;
  const name = description || `${vendor} ${architecture}`;
  return { name, f16: adapter.features.has('shader-f16'), software: /swiftshader|llvmpipe|lavapipe/i.test(`${name} ${architecture}`) };
}
