// A certificate for a server that stands in for another one, signed by nobody but itself: made anew for each run, so that no key
// lies about in the repository.

import { generateKeyPairSync, sign } from 'node:crypto';

const der = (tag, ...parts) => {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from(head), content]);
};
const sequence = (...parts) => der(0x30, ...parts);
const time = (year) => der(0x17, Buffer.from(`${year}0101000000Z`));

// {key, cert} as node:https takes them.
export function certificate() {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ecdsaWithSha256 = sequence(Buffer.from('06082a8648ce3d040302', 'hex'));
  const commonName = sequence(Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from('stand-in')));
  const name = sequence(der(0x31, commonName));
  const facts = sequence(
    der(0x02, Buffer.from([1])), ecdsaWithSha256, name, sequence(time('20'), time('49')), name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = der(0x03, Buffer.from([0]), sign('sha256', facts, privateKey));
  const base64 = sequence(facts, ecdsaWithSha256, signature).toString('base64').match(/.{1,64}/g).join('\n');
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
  };
}
