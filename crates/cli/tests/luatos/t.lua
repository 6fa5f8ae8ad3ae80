-- What the cases share: clients whose events are kept in a list, waits with a bound, and comparisons.

local t = { args = {} }

for _, one in ipairs(arg) do
    local name, value = one:match("^([%w_]+)=(.*)$")
    t.args[name] = value
end

function t.number(name)
    return math.tointeger(tonumber(t.args[name]))
end

t.port = t.number("port")

-- Whatever is waited for, not longer than this.
local BOUND_MS = 15000

local function show(value)
    return type(value) == "string" and string.format("%q", value) or tostring(value)
end

function t.eq(got, wanted, what)
    if got ~= wanted then
        error((what or "value") .. ": got " .. show(got) .. ", wanted " .. show(wanted), 2)
    end
end

function t.ok(is, what)
    if not is then error(what or "not so", 2) end
end

-- The number of values: nothing at all is not nil.
function t.count(...)
    return select("#", ...)
end

-- Runs the case in a task; the program ends with it.
function t.run(case)
    sys.taskInit(function()
        local ok, said = xpcall(case, debug.traceback)
        if not ok then
            print(said)
            os.exit(1)
        end
        os.exit(0)
    end)
    sys.run()
end

-- Has the harness do something, such as "kill" the broker.
function t.ask(what)
    print("@" .. what)
    io.flush()
end

local events = {}

-- Keeps the events of a client.
function t.listen(client)
    events[client] = {}
    client:on(function(who, event, data, payload, metas, ...)
        t.eq(who, client, "the client of the event")
        t.eq(t.count(...), 0, "values behind metas")
        table.insert(events[client], { event, data, payload, metas })
        sys.publish(client)
    end)
    return client
end

function t.client(id, options)
    options = options or {}
    local client = mqtt.create(nil, options.host or "127.0.0.1", options.port or t.port, options.ssl, options.opts)
    t.ok(client, "mqtt.create has failed")
    t.eq(client:auth(id, options.user, options.password, options.clean), true, "auth")
    return t.listen(client)
end

-- The next event, which is to be this one; what came with it.
function t.event(client, name, bound_ms)
    local list = events[client]
    local until_ms = rtos.tick() + (bound_ms or BOUND_MS)
    while #list == 0 do
        local left = until_ms - rtos.tick()
        if left <= 0 then error("no " .. show(name) .. " in time", 2) end
        sys.waitUntil(client, left)
    end
    local event = table.remove(list, 1)
    if event[1] ~= name then
        error("the next event is " .. show(event[1]) .. " (" .. show(event[2]) .. ", " .. show(event[3])
            .. "), wanted " .. show(name), 2)
    end
    return event[2], event[3], event[4]
end

-- The next event, whatever it is: a list of its name and what came with it.
function t.any(client)
    local list = events[client]
    while #list == 0 do
        if not sys.waitUntil(client, BOUND_MS) then error("no event in time", 2) end
    end
    return table.remove(list, 1)
end

-- The next event of that name, whatever comes before it.
function t.find(client, name)
    while true do
        local list = events[client]
        local next_is = list[1] and list[1][1]
        if next_is == name then return t.event(client, name) end
        if next_is then
            table.remove(list, 1)
        else
            t.ok(sys.waitUntil(client, BOUND_MS), "no '" .. name .. "' in time")
        end
    end
end

-- Nothing comes within that time.
function t.quiet(client, ms)
    sys.wait(ms)
    local event = events[client][1]
    if event then error("an event came: " .. show(event[1]) .. " " .. show(event[2]), 2) end
end

function t.connected(id, options)
    local client = t.client(id, options)
    t.eq(client:connect(), true, "connect")
    t.event(client, "conack")
    return client
end

-- A message of another client, so that two do not share a session.
function t.subscribed(client, topic, qos)
    local id = client:subscribe(topic, qos)
    t.ok(id, "subscribe")
    t.event(client, "suback")
    return id
end

-- The fields of a CONNECT.
function t.connect_fields(bytes)
    local at = 2
    while bytes:byte(at) >= 128 do at = at + 1 end
    at = at + 1
    local function text()
        local length = string.unpack(">I2", bytes, at)
        local from = at + 2
        at = from + length
        return bytes:sub(from, at - 1)
    end
    local fields = { protocol = text() }
    fields.level, fields.flags, fields.keep_alive = string.unpack(">BBI2", bytes, at)
    at = at + 4
    if fields.level == 5 then at = at + 1 + bytes:byte(at) end
    fields.client_id = text()
    if fields.flags & 4 ~= 0 then
        if fields.level == 5 then at = at + 1 + bytes:byte(at) end
        fields.will_topic, fields.will_payload = text(), text()
    end
    if fields.flags & 128 ~= 0 then fields.user = text() end
    if fields.flags & 64 ~= 0 then fields.password = text() end
    t.eq(at, #bytes + 1, "the end of CONNECT")
    return fields
end

-- What a client says in its CONNECT: a server of the test sends it back.
function t.said(client)
    t.eq(client:connect(), true, "connect")
    t.event(client, "conack")
    local topic, bytes = t.event(client, "recv")
    t.eq(topic, "connect")
    return t.connect_fields(bytes)
end

return t
