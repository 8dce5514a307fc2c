"""Signs and verifies HTTP messages with the package http-message-signatures: a list of jobs in, a list of results out."""

import base64
import datetime
import json
import sys

from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, MappingKeyResolver, algorithms

ALGORITHMS = {
    "hmac-sha256": algorithms.HMAC_SHA256,
    "ed25519": algorithms.ED25519,
    "ecdsa-p256-sha256": algorithms.ECDSA_P256_SHA256,
    "rsa-pss-sha512": algorithms.RSA_PSS_SHA512,
}


class Fields:
    """Header fields as they are on the wire: lines, in order."""

    def __init__(self, lines):
        self.lines = [tuple(line) for line in lines]

    def items(self):
        return list(self.lines)

    def __iter__(self):
        return iter([name for name, _ in self.lines])

    def __contains__(self, name):
        return any(own.lower() == name.lower() for own in self)

    def __getitem__(self, name):
        return ", ".join(value for own, value in self.lines if own.lower() == name.lower())

    def __setitem__(self, name, value):
        self.lines = [line for line in self.lines if line[0].lower() != name.lower()]
        self.lines.append((name, value))

    def __delitem__(self, name):
        self.lines = [line for line in self.lines if line[0].lower() != name.lower()]


class Request:
    def __init__(self, told):
        self.method, self.url, self.headers = told["method"], told["url"], Fields(told["fields"])


class Response:
    def __init__(self, told):
        self.status_code, self.headers, self.request = told["status"], Fields(told["fields"]), Request(told["request"])


def work(job):
    key, name = job["key"], job.get("keyid", "k")
    if "secret" in key:
        private = public = base64.b64decode(key["secret"])
    else:
        private, public = key.get("private", "").encode(), key["public"].encode()
    keys = MappingKeyResolver(public_keys={name: public}, private_keys={name: private})
    algorithm = ALGORITHMS[job["algorithm"]]
    told = job["message"]
    message = Response(told) if "status" in told else Request(told)
    if job["do"] == "verify":
        verifier = HTTPMessageVerifier(signature_algorithm=algorithm, key_resolver=keys)
        body = base64.b64decode(job["body"]) if "body" in job else None
        results = verifier.verify(message, max_age=None, require_components=job["components"], body=body)
        return {"labels": [result.label for result in results]}
    signer = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=keys)
    created = datetime.datetime.fromtimestamp(job["created"], datetime.timezone.utc)
    signer.sign(
        message, key_id=name, created=created, label=job["label"], tag="tests", nonce=job.get("nonce", 'a "nonce"'),
        covered_component_ids=job["components"], use_existing_digest="Content-Digest" in message.headers,
    )
    return {"signature-input": message.headers["Signature-Input"], "signature": message.headers["Signature"]}


def attempt(job):
    try:
        return work(job)
    except Exception as error:  # What it objects to is what the tests want to know.
        return {"error": f"{type(error).__name__}: {error}"}


json.dump([attempt(job) for job in json.load(sys.stdin)], sys.stdout)
