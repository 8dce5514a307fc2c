//! Signs and verifies HTTP messages with the package http-message-sig: a list of jobs in, a list of results out.

import { createHmac, createPrivateKey, createPublicKey, sign, timingSafeEqual, verify, webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { component, createSignature, verifySignature, webcrypto as adapters } from "http-message-sig";

/// The parameters WebCrypto wants for a key.
const IMPORTS = { ed25519: { name: "Ed25519" }, "rsa-pss-sha512": { name: "RSA-PSS", hash: "SHA-512" } };

/// Signs and verifies: by the adapters of the package where it has any, by node itself otherwise.
async function keys(algorithm, key) {
  if (algorithm === "hmac-sha256") {
    const mac = (data) => createHmac("sha256", Buffer.from(key.secret, "base64")).update(data).digest();
    const equal = (one, other) => one.length === other.length && timingSafeEqual(one, other);
    return { signer: { algorithm, sign: mac }, verifier: { algorithm, verify: (data, bytes) => equal(mac(data), bytes) } };
  }
  if (algorithm === "ecdsa-p256-sha256") {
    const own = { key: createPrivateKey(key.private), dsaEncoding: "ieee-p1363" };
    const known = { key: createPublicKey(key.public), dsaEncoding: "ieee-p1363" };
    return {
      signer: { algorithm, sign: (data) => sign("sha256", data, own) },
      verifier: { algorithm, verify: (data, bytes) => verify("sha256", data, known, bytes) },
    };
  }
  const { d, p, q, dp, dq, qi, ...open } = key.jwk;
  const take = (jwk, usage) => webcrypto.subtle.importKey("jwk", jwk, IMPORTS[algorithm], false, [usage]);
  return {
    signer: adapters.signer(await take(key.jwk, "sign")),
    verifier: adapters.verifier(await take(open, "verify")),
  };
}

/// The message as the package wants it.
function described(told) {
  const fields = told.fields.map(([name, value]) => ({ name, value }));
  return "status" in told
    ? { kind: "response", status: told.status, fields, request: described(told.request) }
    : { kind: "request", method: told.method, targetUri: told.url, requestTarget: told.target, fields };
}

async function work(job) {
  const { signer, verifier } = await keys(job.algorithm, job.key);
  const message = described(job.message);
  const components = job.named.map(({ name, parameters }) => component(name, parameters));
  if (job.do === "verify") {
    const policy = { algorithms: [job.algorithm], requiredComponents: components, requiredParameters: ["created"], now: job.created };
    const verified = await verifySignature(message, { policy, resolveVerifier: () => verifier });
    return { labels: [verified.label] };
  }
  const { created, keyid = "k", nonce = 'a "nonce"', algorithm: alg } = job;
  const parameters = { created, keyid, tag: "tests", nonce, alg };
  const signed = await createSignature(message, { label: job.label, components, parameters, signer });
  return { "signature-input": signed.signatureInput, signature: signed.signature };
}

const results = [];
for (const job of JSON.parse(readFileSync(0, "utf8"))) {
  results.push(await work(job).catch((error) => ({ error: `${error.name} ${error.code}: ${error.message}` })));
}
process.stdout.write(JSON.stringify(results));
