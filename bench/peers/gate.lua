-- What a gateway checks, for nginx: an RS256 token, verified by libcrypto, and an API key.
-- The limit, the log and the forwarding are nginx's own. Tokens that were good are remembered in a shared dictionary.

local ffi = require "ffi"
local cjson = require "cjson.safe"

ffi.cdef [[
typedef struct evp_md_ctx_st EVP_MD_CTX;
typedef struct evp_md_st EVP_MD;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct bio_st BIO;
BIO *BIO_new_mem_buf(const void *buf, int len);
int BIO_free(BIO *a);
EVP_PKEY *PEM_read_bio_PUBKEY(BIO *bp, EVP_PKEY **x, void *cb, void *u);
EVP_MD_CTX *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(EVP_MD_CTX *ctx);
int EVP_MD_CTX_reset(EVP_MD_CTX *ctx);
const EVP_MD *EVP_sha256(void);
int EVP_DigestVerifyInit(EVP_MD_CTX *ctx, void **pctx, const EVP_MD *type, void *e, EVP_PKEY *pkey);
int EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *sig, size_t siglen, const unsigned char *tbs, size_t tbslen);
void ERR_clear_error(void);
]]

local crypto = ffi.C
local gate = {}

-- Takes the issuer's key, whom tokens must come from and be for, the API keys by client, and the name of the
-- dictionary in which good tokens are remembered, if they are.
function gate.set_up(settings)
  local bio = crypto.BIO_new_mem_buf(settings.public_pem, #settings.public_pem)
  gate.key = crypto.PEM_read_bio_PUBKEY(bio, nil, nil, nil)
  crypto.BIO_free(bio)
  assert(gate.key ~= nil, "the issuer's key cannot be read")
  gate.context = crypto.EVP_MD_CTX_new()
  gate.settings = settings
end

local function base64url(text)
  local plain = text:gsub("-", "+"):gsub("_", "/")
  return ngx.decode_base64(plain .. ("="):rep(-#plain % 4))
end

local function is_signed(signed, signature)
  crypto.EVP_MD_CTX_reset(gate.context)
  if crypto.EVP_DigestVerifyInit(gate.context, nil, crypto.EVP_sha256(), nil, gate.key) ~= 1 then
    return false
  end
  if crypto.EVP_DigestVerify(gate.context, signature, #signature, signed, #signed) == 1 then
    return true
  end
  crypto.ERR_clear_error()
  return false
end

local function names_audience(audiences, wanted)
  if type(audiences) ~= "table" then
    return audiences == wanted
  end
  for _, audience in ipairs(audiences) do
    if audience == wanted then
      return true
    end
  end
  return false
end

-- The payload of a token that is good, as it stands in the token, and when it ends.
local function verified(token)
  local head, payload, signature = token:match("^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
  if not head then
    return nil
  end
  local header = cjson.decode(base64url(head) or "")
  local raw = base64url(signature)
  if type(header) ~= "table" or header.alg ~= "RS256" or not raw then
    return nil
  end
  if not is_signed(head .. "." .. payload, raw) then
    return nil
  end
  local claims = cjson.decode(base64url(payload) or "")
  local now = ngx.time()
  if type(claims) ~= "table" or claims.iss ~= gate.settings.issuer or type(claims.exp) ~= "number" then
    return nil
  end
  if claims.exp <= now or (claims.nbf and claims.nbf > now) then
    return nil
  end
  if not names_audience(claims.aud, gate.settings.audience) then
    return nil
  end
  return payload, claims.exp
end

local function refuse()
  ngx.header["WWW-Authenticate"] = "Bearer"
  return ngx.exit(401)
end

-- One call: a refusal, or the fields its target is told.
function gate.check()
  local authorization = ngx.var.http_authorization
  local token = authorization and authorization:match("^[Bb]earer +(.+)$")
  if not token then
    return refuse()
  end
  local memory = gate.settings.memory and ngx.shared[gate.settings.memory]
  local user = memory and memory:get(token)
  if not user then
    local ends
    user, ends = verified(token)
    if not user then
      return refuse()
    end
    if memory then
      memory:set(token, user, ends - ngx.time())
    end
  end
  local key = ngx.var.http_x_api_key
  local client = key and gate.settings.api_keys[key]
  if not client then
    return refuse()
  end
  ngx.var.user, ngx.var.client = user, client
end

return gate
