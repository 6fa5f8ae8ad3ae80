-- R0.29 R0.30 R0.31 R0.32 R0.33 R0.34 R0.40 R0.41
local t = require "t"

local function pem(name)
    local data = io.readFile("/luadb/" .. name)
    t.ok(data and data:find("BEGIN"), name)
    return data
end

-- What the log says meanwhile.
local lines, shown = {}, print
function print(line)
    lines[#lines + 1] = line
    shown(line)
end

local function says(text)
    local all = table.concat(lines, "\n")
    t.ok(all:find(text, 1, true), "the log says '" .. text .. "', but: " .. all)
    lines = {}
end

local function connects(ssl, port, host)
    local c = t.client("tls", { ssl = ssl, port = t.number(port or "tls"), host = host })
    c:connect()
    t.event(c, "conack")
    c:close()
end

local function fails(ssl, port, host)
    local c = t.client("tls", { ssl = ssl, port = t.number(port or "tls"), host = host })
    c:connect()
    local what = t.event(c, "error")
    t.eq(what, "connect")
    t.event(c, "disconnect")
    t.event(c, "close")
    c:close()
end

t.run(function()
    local ca, other = pem("ca.pem"), pem("other-ca.pem")
    -- No certificate: encrypted, and nobody is checked.
    connects(true)
    connects({ verify = 0 })
    -- Certificates are data; the name is checked too.
    connects({ server_cert = ca })
    connects({ server_cert = ca, verify = 2 })
    connects({ server_cert = ca }, nil, "localhost")
    lines = {}
    fails({ server_cert = ca }, "no_san", "localhost")
    says("has no subject alternative name, and a common name alone is not looked at")
    fails({ server_cert = other })
    says("is signed by 'CN=Test CA', which is not in")
    fails({ server_cert = other, verify = 2 })
    fails({ server_cert = "no certificate" })
    fails({ server_cert = ca }, "expired", "localhost")
    -- Optional: what is wrong is told, and it connects.
    lines = {}
    connects({ server_cert = other, verify = 1 })
    says("connected all the same, as verify = 1 says")
    connects({ server_cert = ca, verify = 1 })
    connects({ verify = 1 })
    connects({ server_cert = ca, verify = 1 }, "no_san", "localhost")
    connects({ server_cert = ca, verify = 1 }, "expired", "localhost")
    connects({ server_cert = other, verify = 0 })
    -- Without authorities those of the system are asked, and have not signed this.
    lines = {}
    fails({})
    says("there is no server_cert, so whom this system trusts is trusted")
    fails({ verify = 2 })
    -- The server asks for a certificate.
    local mutual = { server_cert = ca, client_cert = pem("client.pem"), client_key = pem("client.key") }
    connects(mutual, "mutual")
    mutual.client_key, mutual.client_password = pem("client-encrypted.key"), "123456"
    connects(mutual, "mutual")
    mutual.client_password = "wrong"
    lines = {}
    fails(mutual, "mutual")
    says("pass phrase")
    mutual.client_password = nil
    fails(mutual, "mutual")
    says("is encrypted")
    -- As OpenSSL encrypted keys long ago.
    mutual.client_key, mutual.client_password = pem("client-old.key"), "123456"
    fails(mutual, "mutual")
    says("openssl pkcs8 -topk8 -in KEY -out new-key.pem")
    -- Half of an identity is none.
    mutual.client_key = nil
    t.eq(mqtt.create(nil, "localhost", t.number("mutual"), mutual), nil)
    mutual.client_cert = nil
    local c = t.client("tls", { ssl = mutual, port = t.number("mutual") })
    c:connect()
    t.find(c, "disconnect")
    t.eq(c:ready(), false)
end)
