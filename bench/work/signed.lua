-- Signs calls as they are sent: each has a nonce of its own, and the time of its second, like the calls of real clients.
-- Arguments: a file with the call as it is sent, one with the string that is signed (empty: the call is not signed), how
-- many clients sign in turn, and what begins the nonces.

local ffi = require "ffi"
ffi.cdef [[
const void *EVP_sha1(void);
unsigned char *HMAC(const void *, const void *, int, const char *, size_t, unsigned char *, unsigned int *);
int EVP_EncodeBlock(unsigned char *, const unsigned char *, int);
]]
local crypto = ffi.load("libcrypto.so.3")
local sha1 = crypto.EVP_sha1()
local mac, text = ffi.new("unsigned char[64]"), ffi.new("unsigned char[64]")
local sent, signed, clients, begin, number = {}, {}, 1, "", 0

-- The pieces of a file: texts, and names of what is put between them.
local function pieces(path)
  local file = assert(io.open(path, "rb"))
  local rest, found = file:read("*a"), {}
  file:close()
  while true do
    local from, to, name = rest:find("{(%l+)}")
    if not from then break end
    found[#found + 1] = rest:sub(1, from - 1)
    found[#found + 1] = { name }
    rest = rest:sub(to + 1)
  end
  found[#found + 1] = rest
  return found
end

local function filled(template, values)
  local parts = {}
  for at = 1, #template do
    local piece = template[at]
    parts[at] = type(piece) == "table" and values[piece[1]] or piece
  end
  return table.concat(parts)
end

local function signature(secret, message)
  crypto.HMAC(sha1, secret, #secret, message, #message, mac, nil)
  local length = crypto.EVP_EncodeBlock(text, mac, 20)
  return (ffi.string(text, length):gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" }))
end

local values = {}

function init(arguments)
  sent, signed = pieces(arguments[1]), pieces(arguments[2])
  clients, begin = tonumber(arguments[3]), arguments[4]
  if #signed == 1 then
    local call = filled(sent, values)
    request = function() return call end
  end
end

function request()
  number = number + 1
  local client = ("c%05d"):format(number % clients)
  values.client, values.nonce, values.stamp = client, begin .. number, tostring(os.time())
  values.signature = signature("the secret of " .. client, filled(signed, values))
  return filled(sent, values)
end
