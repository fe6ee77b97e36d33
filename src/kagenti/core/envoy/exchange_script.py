"""The source of the token exchange, for LuaJIT in Envoy 1.40: a constant, into which nothing is templated.

Whatever goes wrong, the caller's own token is off the request before anything else happens: no failure can send it on.
Credentials are read from the pod's files at each use. Facts: envoy-xds-facts sections 3, 8 and 11.

| answer to the app | reason | mend |
|---|---|---|
| 401 | TokenMissing, TokenMalformed | the caller sends one Bearer token, or the rule says onMissingToken ClientCredentials |
| 403 | ExchangeRefused | the provider does not exchange this token for this audience and these scopes |
| 503 | NotRegistered, AssertionMissing | wait for the registration or the SVID; look at those containers |
| 503 | IdentityProviderUnavailable | the token endpoint: unreachable, 5xx or 429 |
| 502 | ClientRefused | the client's own credentials, or the audience is unknown to the provider |
| 502 | AnswerUnexpected, AnswerMalformed, TokenOpaque | the token URL: it does not answer as RFC 8693 has it |
| 502 | AudienceMissing | the client's scopes: the token is not for the rule's audience |
| 500 | Internal | a bug: Envoy's log has it |
"""

from typing import Final

ROOT_VARIABLE: Final = "KAGENTI_FILES_ROOT"
"""Environment variable of the Envoy process that stands before the paths of the credential files; unset in pods."""

_SOURCE: Final = r"""
-- RFC 8693 token exchange. The rule is route metadata; a route without one passes untouched.
local ROOT = os.getenv("KAGENTI_FILES_ROOT") or ""
local ID, SECRET = "/shared/client-id.txt", "/shared/client-secret.txt"
local ASSERTIONS = {
  ["jwt-spiffe"] = "/opt/jwt_svid.token",
  ["jwt-bearer"] = "/var/run/secrets/kagenti/idp-token",
}
local TIMEOUT_MS, KEEP_MS, MARGIN_MS, FAILURE_MS = 5000, 300000, 30000, 1000
local GENERATION, LONGEST_KEY, LARGEST = 500, 8192, 65536

local function fail(status, reason, text)
  error({status = status, reason = reason, text = text}, 0)
end

-- JSON (RFC 8259), strict: what it cannot read is an error, never a guess.
local ESCAPES = {b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/"}
local WORDS = {["true"] = true, ["false"] = false}
local value

local function utf8(hex)
  local code = tonumber(hex, 16)
  if code < 0x80 then return string.char(code) end
  local low = 0x80 + code % 64
  if code < 0x800 then return string.char(0xC0 + math.floor(code / 64), low) end
  return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, low)
end

local function quoted(text, at)
  local parts = {}
  while true do
    local plain, stop = text:match('^([^"\\%z\1-\31]*)()', at)
    parts[#parts + 1] = plain
    local mark, escape = text:sub(stop, stop), text:sub(stop + 1, stop + 1)
    if mark == '"' then return table.concat(parts), stop + 1 end
    if mark ~= "\\" then error("string") end
    if escape == "u" then
      parts[#parts + 1] = utf8(text:match("^%x%x%x%x", stop + 2) or error("escape"))
      at = stop + 6
    else
      parts[#parts + 1] = ESCAPES[escape] or error("escape")
      at = stop + 2
    end
  end
end

local function members(text, at, depth, close)
  local result, mark = {}, text:match("^%s*(.)", at)
  if mark == close then return result, text:match("^%s*.()", at) end
  repeat
    local key = #result + 1
    if close == "}" then
      key, at = quoted(text, text:match('^%s*"()', at) or error("key"))
      at = text:match("^%s*:()", at) or error("colon")
      if result[key] ~= nil then error("duplicate key") end
    end
    local item
    item, at = value(text, at, depth + 1)
    result[key] = item
    mark, at = text:match("^%s*([,%]}])()", at)
  until mark ~= ","
  if mark ~= close then error("end") end
  return result, at
end

function value(text, at, depth)
  if depth > 16 then error("depth") end
  local mark, start = text:match("^%s*(.)()", at)
  if mark == '"' then return quoted(text, start) end
  if mark == "{" then return members(text, start, depth, "}") end
  if mark == "[" then return members(text, start, depth, "]") end
  local word, stop = text:match("^%s*([%w.+-]+)()", at)
  if WORDS[word] ~= nil then return WORDS[word], stop end
  if word == "null" then return {}, stop end
  if not word or not word:match("^-?%d+%.?%d*[eE]?[+-]?%d*$") then error("word") end
  return tonumber(word) or error("number"), stop
end

local function object(text)
  local ok, result, stop = pcall(value, text, 1, 1)
  if ok and type(result) == "table" and text:match("^%s*{") and text:match("^%s*$", stop) then return result end
end

-- Claims of a JWT, unverified: of the answer they come over our own connection to the token endpoint.
local DIGITS = {}
for at, digit in ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"):gmatch("()(.)") do
  DIGITS[digit] = at - 1
end

local function base64url(text)
  local bits, size, bytes = 0, 0, {}
  for digit in text:gmatch(".") do
    bits, size = bits * 64 + DIGITS[digit], size + 6
    if size >= 8 then
      size = size - 8
      bytes[#bytes + 1] = string.char(math.floor(bits / 2 ^ size))
      bits = bits % 2 ^ size
    end
  end
  return table.concat(bytes)
end

local function claims(token)
  local payload = token:match("^[%w_-]+%.([%w_-]+)%.[%w_-]+$")
  return payload and object(base64url(payload))
end

local function contains(aud, audience)
  if type(aud) ~= "table" then return aud == audience end
  for _, one in ipairs(aud) do
    if one == audience then return true end
  end
  return false
end

local function read(path, reason, text)
  local file = io.open(ROOT .. path, "r")
  local content = file and file:read(LARGEST)
  if file then file:close() end
  content = content and content:match("^%s*(.-)%s*$") or ""
  if content == "" then fail(503, reason, text) end
  return content
end

local function encoded(fields)
  local pairs_ = {}
  for _, field in ipairs(fields) do
    local text = field[2]:gsub("[^%w._~-]", function(char) return string.format("%%%02X", char:byte()) end)
    pairs_[#pairs_ + 1] = field[1] .. "=" .. text
  end
  return table.concat(pairs_, "&")
end

local TYPES = "urn:ietf:params:oauth:"
local function form(rule, subject)
  local fields = {
    {"client_id", read(ID, "NotRegistered", "the client id is not there yet; the workload is not registered")},
    {"audience", rule.audience},
  }
  if rule.scope ~= "" then fields[#fields + 1] = {"scope", rule.scope} end
  local assertion = ASSERTIONS[rule.client_authentication]
  if assertion then
    local text = read(assertion, "AssertionMissing", "the client assertion is not there yet")
    fields[#fields + 1] = {"client_assertion_type", TYPES .. "client-assertion-type:" .. rule.client_authentication}
    fields[#fields + 1] = {"client_assertion", text}
  else
    local text = read(SECRET, "NotRegistered", "the client secret is not there yet; the workload is not registered")
    fields[#fields + 1] = {"client_secret", text}
  end
  if subject == "" then
    fields[#fields + 1] = {"grant_type", "client_credentials"}
  else
    fields[#fields + 1] = {"grant_type", TYPES .. "grant-type:token-exchange"}
    fields[#fields + 1] = {"subject_token", subject}
    fields[#fields + 1] = {"subject_token_type", TYPES .. "token-type:access_token"}
    fields[#fields + 1] = {"requested_token_type", TYPES .. "token-type:access_token"}
  end
  return encoded(fields)
end

-- The endpoint's own words never reach the caller, only its error code, and that only if it is a plain word.
local function refused(status, body)
  local answer = object(body)
  local code = answer and type(answer.error) == "string" and #answer.error <= 40 and answer.error:match("^[%l_]+$")
  local said = "the token endpoint answered " .. status .. (code and " " .. code or "")
  if status >= 500 or status == 429 then fail(503, "IdentityProviderUnavailable", said) end
  if status == 401 or code == "invalid_client" or code == "unauthorized_client" then
    fail(502, "ClientRefused", said)
  end
  if status >= 400 then fail(403, "ExchangeRefused", said) end
  fail(502, "AnswerUnexpected", said)
end

local function checked(rule, status, body)
  if status ~= 200 then refused(status, body) end
  local answer = #body <= LARGEST and object(body)
  local token = answer and answer.access_token
  if type(token) ~= "string" then fail(502, "AnswerMalformed", "the token endpoint's answer has no access_token") end
  local found = claims(token)
  if not found then fail(502, "TokenOpaque", "the answer's token is no JWT, so its audience cannot be checked") end
  if not contains(found.aud, rule.audience) then
    fail(502, "AudienceMissing", "the answer's token is not for that audience")
  end
  return token, tonumber(found.exp) or 0
end

-- Two generations of at most 500 entries, per worker: the older one goes as a whole. The key holds the subject token
-- itself, so that two tokens can never be taken for one.
local young, old, count = {}, {}, 0

local function remember(key, entry)
  if #key > LONGEST_KEY then return end
  if count >= GENERATION then young, old, count = {}, young, 0 end
  if not young[key] then count = count + 1 end
  young[key] = entry
end

local function recall(key, now)
  local entry = young[key] or old[key]
  return entry and entry.until_ms > now and entry or nil
end

local function ask(handle, rule, subject)
  local headers, body = handle:httpCall(rule.cluster, {
    [":method"] = "POST", [":path"] = rule.path, [":authority"] = rule.authority,
    ["content-type"] = "application/x-www-form-urlencoded", ["accept"] = "application/json",
  }, form(rule, subject), {["timeout_ms"] = TIMEOUT_MS, ["send_xff"] = false})
  local ok, token, expires = pcall(checked, rule, tonumber(headers[":status"]), body or "")
  local now = handle:timestamp()
  if not ok and type(token) ~= "table" then error(token, 0) end
  if not ok then return {failure = token, until_ms = now + FAILURE_MS} end
  local caller = subject ~= "" and claims(subject)
  local limit = caller and tonumber(caller.exp)
  return {token = token, until_ms = math.min(expires * 1000 - MARGIN_MS, (limit or math.huge) * 1000, now + KEEP_MS)}
end

local function bearer(rule, header)
  if not header then
    if rule.on_missing_token == "ClientCredentials" then return "" end
    fail(401, "TokenMissing", "the request has no token to exchange")
  end
  local token = header:match("^[Bb][Ee][Aa][Rr][Ee][Rr] +([%w._~+/-]+=*)$")
  return token or fail(401, "TokenMalformed", "the Authorization header is not one Bearer token")
end

local function exchanged(handle, rule, header)
  local subject = bearer(rule, header)
  local key = rule.hash .. " " .. subject
  local entry = recall(key, handle:timestamp())
  if not entry then
    entry = ask(handle, rule, subject)
    remember(key, entry)
  end
  if entry.failure then error(entry.failure, 0) end
  return entry.token
end

local KEYS = {"audience", "scope", "cluster", "authority", "path", "client_authentication", "on_missing_token", "hash"}

local function rule_of(metadata)
  local rule = {}
  for _, key in ipairs(KEYS) do
    rule[key] = metadata:get(key) or error("the route's rule lacks " .. key)
  end
  return rule
end

local function respond(handle, audience, header, failure)
  local told, caller = handle:streamInfo():dynamicMetadata(), header and header:match("^%a+ +(%S+)$")
  caller = caller and claims(caller)
  told:set("kagenti", "audience", audience)
  told:set("kagenti", "reason", failure.reason)
  if caller and type(caller.sub) == "string" then told:set("kagenti", "sub", caller.sub:sub(1, 256)) end
  local headers = {[":status"] = tostring(failure.status), ["content-type"] = "text/plain; charset=utf-8"}
  if failure.status == 401 then headers["www-authenticate"] = "Bearer" end
  local body = "kagenti: no token for audience " .. audience .. ": " .. failure.reason .. ": " .. failure.text .. "\n"
  handle:respond(headers, body)
end

function envoy_on_request(handle)
  local metadata = handle:metadata()
  local audience = metadata:get("audience")
  if not audience then return end
  local header = handle:headers():get("authorization")
  -- First of all: an error in a script lets the request go on, and then it goes on without the caller's token.
  handle:headers():remove("authorization")
  local ok, token = pcall(function() return exchanged(handle, rule_of(metadata), header) end)
  if ok then
    handle:headers():add("authorization", "Bearer " .. token)
    return
  end
  if type(token) ~= "table" then
    handle:logErr("kagenti: token exchange: " .. tostring(token))
    token = {status = 500, reason = "Internal", text = "the exchange itself failed; see Envoy's log"}
  end
  respond(handle, audience, header, token)
end
"""

SCRIPT: Final = "\n".join(line for text in _SOURCE.splitlines() if (line := text.strip()) and not line.startswith("--"))
"""Source of the filter, for LuaJIT in Envoy 1.40 (reference: envoy-xds-facts sections 3, 8 and 11).

Without indentation and comments: each injected pod carries it in an annotation.
"""
